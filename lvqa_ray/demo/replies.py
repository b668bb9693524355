"""Replies of the demo endpoint by stage: the table `REPLIES`.

The client sends the demo endpoint the stage's name and facts (`ChatRequest.facts`: the values of the prompt), so no
reply depends on the wording of a prompt. To support your own stage, add facts to its request, as in
``self.asks(Text(text=self.filled(values)), facts=values)``, and add a function from `Asked` to the text of the reply to
`REPLIES`, under the stage's name.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvqa_ray.demo import keyed_writer, question_writer
from lvqa_ray.demo.captions import CAPTION_LINE, COLOURS, LIGHTINGS, STATED, capital, looks
from lvqa_ray.demo.pictures import BadBody, Picture, describe
from lvqa_ray.llm.endpoint import DEMO_MODEL
from lvqa_ray.qa.formats.json_format import render_json_question, render_json_questions
from lvqa_ray.qa.formats.keyed_format import render_keyed
from lvqa_ray.qa.formats.keyed_json import keyed_as_json
from lvqa_ray.qa.formats.multi_question import render_questions
from lvqa_ray.qa.formats.text_format import parse_question, render_question
from lvqa_ray.records import Letter

WHAT = (
    f"This is {DEMO_MODEL}, which is no vision-language model. It measures light, colours, movement, changes of shot "
    "and text in frames, composes multiple-choice questions from such captions, answers and judges its own from "
    "them, and joins reasons into prose."
)
ABOUT = f"{WHAT} It does so for the stages of lvqa; of other requests it captions the pictures, and this one has none."
REFUSAL = "I'm sorry, but I can't write a question: none of the lines holds a fact that I can read."

_OPTION = re.compile(r"^([A-D])\. (.+)$", re.MULTILINE)
_ANSWER = re.compile(r"^ANSWER: [A-D]$", re.MULTILINE)
_ANY_ANSWER = re.compile(r"^ANSWER: .+$", re.MULTILINE)
_CONCLUDED = (re.compile(r"there are (\d+) separate times"), re.compile(r"takes its place is ([^.]+)\."))
_SENTENCE = re.compile(r"(?<=[a-z0-9”][.!?])\s+(?=[A-Z“])")
_FIRST = ("Watching the video", "As I watch the video", "Looking closely at the video")
_NEXT = ("Then", "Looking further", "Next", "Besides this", "Taking in another moment")
_SEE = ("I see that", "it is plain that", "I notice that")
_LOWERED = {"a", "an", "at", "from", "here", "in", "it", "no", "nothing", "nowhere", "so", "the", "there", "this"}
"""First words that are written in lower case inside a sentence."""
_NOT_A_FAULT = {
    "COMMON SENSE ONLY": "what a film looks like, and when, follows from no common sense",
    "SUBJECTIVE": "light, colours and their order are measured",
    "OUTSIDE KNOWLEDGE": "all of it can be measured in the pictures",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the facts of its stage, its frames, and whether the reply must follow a JSON schema."""

    facts: Mapping[str, Any]
    pictures: Sequence[Picture] = ()
    as_json: bool = False

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - text, number or list
        if name not in self.facts:
            raise BadBody(f"The stage came without the fact {name!r}.", code="missing_fact")
        return self.facts[name]


def caption(asked: Asked) -> str:
    """Caption from measurements of the frames; without frames, a description of this endpoint."""
    return describe(asked.pictures).render() if asked.pictures else ABOUT


def evidence(asked: Asked) -> str:
    """Share of the claimed looks that the frames have."""
    seen = {shot.look.sameness for shot in describe(asked.pictures).shots}
    claimed = [look.sameness in seen for look in looks(STATED, asked["claim"])]
    share = sum(claimed) / len(claimed) if claimed else 1.0
    return f"Of {len(claimed)} looks that are claimed, so many are in the pictures.\n\nSCORE: {share:.2f}"


def summarize(asked: Asked) -> str:
    """Extractive summary: evenly spaced captions, each extended over those up to the next."""
    lines = CAPTION_LINE.findall(asked["captions"])
    count = min(int(asked["lines"]), -(-len(lines) // 2))
    parts = [lines[n * len(lines) // count : (n + 1) * len(lines) // count] for n in range(count)]
    return "\n".join(f"From {part[0][0]} to {part[-1][1]}, {part[0][2]}" for part in parts)


def ask(asked: Asked) -> str:
    """Questions about the video, as many as requested."""
    count = asked["count"]
    kind = asked.facts.get("kind", "choice")
    if kind != "choice":
        keyed = keyed_writer.write_keyed(asked["captions"], kind, count, asked["earlier"])
        if not keyed:
            return REFUSAL
        return keyed_as_json(keyed) if asked.as_json else "\n\n".join(map(render_keyed, keyed))
    written = question_writer.write(asked["captions"], count, asked["earlier"])
    if not written:
        return REFUSAL
    if count == 1:
        return (render_json_question if asked.as_json else render_question)(written[0])
    return (render_json_questions if asked.as_json else render_questions)([("temporal", one) for one in written])


def rewrite(asked: Asked) -> str:
    """Another question about the video."""
    old = parse_question(asked["question"])
    written = question_writer.write(asked["captions"], 1, [old.question])
    return render_question(written[0]) if written else REFUSAL


def answer(asked: Asked) -> str:
    """The option that the captions support; otherwise a guess seeded by the question."""
    stem, options = _question(asked)
    captions = asked.facts.get("captions", "")
    if not options:
        key = keyed_writer.key_text(captions, asked["question"])
        return f"Going by the captions, it is this.\n\nANSWER: {key}" if key else "Nothing tells.\n\nANSWER: none"
    letters = question_writer.right(captions, stem, options) or []
    if len(letters) == 1:
        return f"Going by the captions, it is this: {options[letters[0]]}.\n\nANSWER: {letters[0]}"
    letter = _draw(stem, options, captions).choice(sorted(options))
    return f"Nothing that I am given tells; this is a guess.\n\nANSWER: {letter}"


def solve(asked: Asked) -> str:
    """The option that the captions support. It never guesses: a guess would let questions of other writers pass."""
    stem, options = _question(asked)
    if options and len(question_writer.right(asked["captions"], stem, options) or []) != 1:
        return "The captions decide nothing.\n\nANSWER: none"
    return answer(asked)


def hops(asked: Asked) -> str:
    """What the shown captions support; a summary, where one is asked for."""
    if "summary" in asked.facts:
        return "A film of pictures in changing light and colours."
    stem, options = _question(asked)
    if not options:
        return answer(asked)
    letters = question_writer.right(asked["captions"], stem, options) or []
    return f"It is told.\n\nANSWER: {letters[0]}" if len(letters) == 1 else "Nothing tells.\n\nANSWER: none"


def watch(asked: Asked) -> str:
    """The option that the frames bear out, with the looks of the shots as reasons; otherwise a guess.

    It reads nothing but pixels and times, so how often it is right is known before: always, if the frames show each
    shot that the question is about; else as often as a guess, which the frames and the order of the options decide.
    """
    stem, options = _question(asked)
    shots = describe(asked.pictures).shots if asked.pictures else ()
    seen = "\n".join(f"From {_second(shot.start)} to {_second(shot.end)}, {shot.look.clause}." for shot in shots)
    told = " ".join(f"At {shot.start} {shot.look.clause}." for shot in shots)
    if not options:  # a shot lasts until the next one begins
        ends = [*(_second(shot.start) for shot in shots[1:]), *(_second(shot.end) for shot in shots[-1:])]
        pairs = zip(shots, ends, strict=True)
        whole = "\n".join(f"From {_second(shot.start)} to {end}, {shot.look.clause}." for shot, end in pairs)
        return f"{told}\n\nANSWER: {keyed_writer.key_text(whole, asked['question']) or 'none'}".lstrip()
    letters = question_writer.right(seen, stem, options) or []
    if len(letters) == 1:
        return f"{told} So this is it: {options[letters[0]]}.\n\nANSWER: {letters[0]}"
    letter = _draw(stem, options, seen).choice(sorted(options))
    return f"{told} That decides nothing; this is a guess: {options[letter]}.\n\nANSWER: {letter}".lstrip()


def _second(moment: str) -> str:
    """The time of a moment, in seconds; the number of a frame without a time."""
    return moment.removeprefix("frame ").removesuffix(" s")


def prose(asked: Asked) -> str:
    """The option that the reasoning concludes with, or the only one that it does not rule out."""
    if not _question(asked)[1]:
        said = next((match for form in _CONCLUDED if (match := form.search(asked["prose"]))), None)
        order = ", ".join(re.findall(r"This is moment (\d+)", asked["prose"]))
        return f"The thoughts end so.\n\nANSWER: {said[1] if said else order or 'none'}"
    thoughts = asked["prose"].casefold()
    options = {letter: option.casefold() for letter, option in _question(asked)[1].items()}
    concluded = r"so {0} comes first|(?:takes its place|leads up to it) is {0}\.|so this is it: {0}\."
    ruled_out = r"so {0} is ruled out|nowhere in the film is there [^.]*{0}"
    for pattern, holds in ((concluded, True), (ruled_out, False)):
        matches = {
            letter: bool(re.search(pattern.format(re.escape(option)), thoughts)) for letter, option in options.items()
        }
        found = [letter for letter in options if matches[letter] is holds]
        if len(found) == 1:
            return f"The thoughts end with this: {options[found[0]]}.\n\nANSWER: {found[0]}"
    return "Nothing follows from these thoughts.\n\nANSWER: none"


def judge(asked: Asked) -> str:
    """One line for each point of the rubric that the captions can decide; none for questions of other writers."""
    stem, options = _question(asked)
    right: Sequence[str] | None = question_writer.right(asked["captions"], stem, options)
    if not options and (key := keyed_writer.key_text(asked["captions"], _keyed_question(asked["question"]))):
        right = [key.removesuffix(" times").removesuffix(" s")]
    if right is None:
        return "I measure pictures, and this question asks for something else: I cannot judge it."
    sound = [f"ANSWER: {one}" for one in right] == (_ANSWER if options else _ANY_ANSWER).findall(asked["question"])
    borne_out = f"the captions bear out {', '.join(right) or 'no option'}"
    verdicts = {point: f"no - {why}" for point, why in _NOT_A_FAULT.items()}
    verdicts["AMBIGUOUS"] = f"{'no' if sound else 'yes'} - {borne_out}"
    points = [line.partition(":")[0] for line in asked["rubric"].splitlines()]
    return "\n".join(f"{point}: {verdicts[point]}." for point in points if point in verdicts)


def reformat(asked: Asked) -> str:
    """Join the reasons verbatim to one paragraph that ends with the answer."""
    reason, key = asked["reason"], asked["answer"]
    draw = _draw(reason, key)
    sentences: list[str] = []
    steps = re.split(r"\n?\bStep \d+: ", reason)[1:]
    for step in steps or [reason.removeprefix("Start thinking.")]:
        head, *rest = _SENTENCE.split(step.strip())
        opener = draw.choice(_NEXT if sentences else _FIRST)
        if head.split(maxsplit=1)[0].lower() in _LOWERED:
            sentences.append(f"{opener}, {draw.choice(_SEE)} {head[0].lower()}{head[1:]}")
        else:
            sentences.append(f"{opener}, one thing stands out: {head}")
        sentences += rest
    return " ".join([*sentences, f"Therefore, the correct answer is {key}."])


def summary(asked: Asked) -> str:
    """Extractive summary of a whole video in one of the styles, from its sentences and word counts."""
    seen, speech = (CAPTION_LINE.findall(asked[name]) for name in ("video_analysis_text", "video_asr_text"))
    text = " ".join(text for _, _, text in (*seen, *speech)).casefold()
    words = re.findall(rf"\b(?:{'|'.join((*COLOURS, *LIGHTINGS))})\b", text) or re.findall(r"[^\W\d_]{4,}", text)
    tags = [word for word, _ in Counter(words).most_common(8)] or ["film"]
    highlights = [f"From {start} to {end}, {_short(text)}." for start, end, text in seen[:: -(-len(seen) // 3) or 1]]
    sentences = [capital(text) for _, _, text in (seen if asked["style"] == "plot_detail" else (*seen[:1], *seen[-1:]))]
    sentences += [f"Somebody says: “{text.rstrip('.')}”." for _, _, text in speech]
    fields = {"title": _short(sentences[0]), "tags": tags, "highlights": highlights}
    written = {"tags": "\n".join(tags), "highlights": "\n".join(highlights), "multi_task": json.dumps(fields)}
    return written.get(asked["style"], " ".join(dict.fromkeys(sentences)))


def titles(asked: Asked) -> str:
    """Titles: the beginnings of sentences of the summary."""
    sentences = map(_short, _SENTENCE.split(asked["summary"]))
    return "\n".join([*dict.fromkeys(sentences)][: int(asked["count"])])


def mind_map(asked: Asked) -> str:
    """Mind map: the sentences of the summary under beginning, middle and end."""
    names = [*map(_short, _SENTENCE.split(asked["summary"]))]
    third = -(-len(names) // 3)
    parts = {"Beginning": names[:third], "Middle": names[third : 2 * third], "End": names[2 * third :]}
    children = [
        {"name": part, "children": [{"name": name} for name in third_names]}
        for part, third_names in parts.items()
        if third_names
    ]
    return json.dumps({"name": names[0], "children": children})


def _question(asked: Asked) -> tuple[str, dict[Letter, str]]:
    """Parse the stem and the options of the question in the facts."""
    text = asked["question"]
    options: list[tuple[Letter, str]] = _OPTION.findall(text)
    return text.partition("\n")[0].removeprefix("QUESTION: "), dict(options)


def _keyed_question(text: str) -> str:
    """A question without options, as one text, from its text format."""
    return text.removeprefix("QUESTION: ").partition("\nANSWER:")[0]


def _draw(*of: object) -> random.Random:
    return random.Random(hashlib.sha256(repr(of).encode()).digest())


def _short(sentence: str) -> str:
    return capital(" ".join(sentence.split()[:12]).rstrip(".,;:"))


REPLIES: Mapping[str, Callable[[Asked], str]] = {
    "caption": caption,
    "summarize": summarize,
    "ask": ask,
    "rewrite": rewrite,
    "blind": answer,
    "solve": solve,
    "unaided": solve,
    "hops": hops,
    "judge": judge,
    "evidence": evidence,
    "watch": watch,
    "reformat": reformat,
    "prose": prose,
    "summary": summary,
    "titles": titles,
    "mind_map": mind_map,
}
