# ruff: noqa: RUF001 -- full-width marks and other dashes are what some models write
"""Replies that vary in form read the same; those without a right question are a typed error."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.records import LETTERS, Question
from tests.qa.written import (
    EXPECTED,
    FIRST_HEADER,
    OPTION_BLOCK,
    REPLY,
    SECOND_HEADER,
    changed,
    with_reasons,
    with_span,
)


def marked(form: str) -> str:
    """The reply with option markers of another form."""
    return changed(*(text for letter in LETTERS for text in (f"\n{letter}. ", "\n" + form.replace("X", letter))))


def labelled(form: str) -> str:
    """The reply with labels of another form."""
    return changed(*(text for n in ("QUESTION", "OPTIONS", "ANSWER", "REASONS") for text in (f"{n}:", form.format(n))))


TWO_LINES = replace(EXPECTED, question="Look at the room.\nWhat is the person's main goal?")

SAME = {
    "as documented": REPLY,
    "bracketless headers": changed(FIRST_HEADER, "##### From 0 to 10:", SECOND_HEADER, "##### From 10 to 20:"),
    "option X)": marked("X) "),
    "option (X)": marked("(X) "),
    "option **X.**": marked("**X.** "),
    "option **X**.": marked("**X**. "),
    "option bulleted": marked("- X. "),
    "option x.": changed("\nA. ", "\na. ", "\nB. ", "\nb. ", "\nC. ", "\nc. ", "\nD. ", "\nd. "),
    "option X:": marked("X: "),
    "option X without a space": marked("X."),
    "option full width": marked("X．"),
    "option all bold": changed("A. Looking for keys", "**A. Looking for keys**"),
    "options on one line": changed(OPTION_BLOCK, OPTION_BLOCK.replace("\n", " ")),
    "options on the label's line": changed("OPTIONS:\n" + OPTION_BLOCK, "OPTIONS: " + OPTION_BLOCK.replace("\n", "  ")),
    "options in two columns": changed("keys\nB", "keys    B", "room\nD", "room    D"),
    "options in another order": changed(OPTION_BLOCK, "\n".join(reversed(OPTION_BLOCK.split("\n")))),
    "options with empty lines between": changed(OPTION_BLOCK, OPTION_BLOCK.replace("\n", "\n\n")),
    "option going on indented": changed("Looking for keys", "Looking\n   for keys"),
    "answer in a sentence": changed("ANSWER: B", "ANSWER: The correct answer is B."),
    "answer in a bold sentence": changed("ANSWER: B", "ANSWER: The correct answer is **B**."),
    "answer in a sentence of two lines": changed("ANSWER: B", "ANSWER: The correct answer is:\nB"),
    "answer is correct": changed("ANSWER: B", "ANSWER: Option B is correct."),
    "answer **B**": changed("ANSWER: B", "ANSWER: **B**"),
    "answer (B) text": changed("ANSWER: B", "ANSWER: (B) Reading a book"),
    "answer B. text": changed("ANSWER: B", "ANSWER: **B. Reading a book.**"),
    "answer B - text": changed("ANSWER: B", "ANSWER: B - reading a book"),
    "answer by text alone": changed("ANSWER: B", "ANSWER: Reading a book"),
    "answer lower case": changed("ANSWER: B", "ANSWER: b"),
    "answer full width": changed("ANSWER: B", "ANSWER：Ｂ"),
    "answer on the next line": changed("ANSWER: B", "ANSWER:\nB"),
    "answer said twice": changed("ANSWER: B", "ANSWER: B\nB. Reading a book"),
    "answer label correct answer": changed("ANSWER: B", "Correct Answer: B"),
    "labels **X:**": labelled("**{}:**"),
    "labels **X**:": labelled("**{}**:"),
    "labels ## X:": labelled("## {}:"),
    "labels ## X": labelled("## {}\n"),
    "labels ### **X**": labelled("### **{}**\n"),
    "labels alone": labelled("{}\n"),
    "labels lower case": changed(
        "QUESTION", "question", "OPTIONS", "options", "ANSWER", "answer", "REASONS", "reasons"
    ),
    "labels full-width colon": labelled("{}："),
    "labels spaced": labelled(" {} :"),
    "labels with lines between": labelled("\n---\n{}:"),
    "numbered question": changed("QUESTION:", "QUESTION 1:"),
    "label line all bold": changed(
        "QUESTION: What is the person's main goal?", "**QUESTION: What is the person's main goal?**"
    ),
    "question on the next line": changed("QUESTION: ", "QUESTION:\n"),
    "draft": f"<think>\nQUESTION: no\nANSWER: A\n</think>\n\n{REPLY}",
    "draft without opening": f"QUESTION: no, rather...\n</think>{REPLY}",
    "draft in capitals": f"<THINKING>hm</THINKING>{REPLY}",
    "two drafts": f"<think>a</think><think>b</think>\n{REPLY}",
    "bullets *": changed("\n- ", "\n* "),
    "bullets •": changed("\n- ", "\n• "),
    "bullets • unspaced": changed("\n- ", "\n•"),
    "bullets indented": changed("\n- ", "\n    - "),
    "bullets tabbed": changed("\n- ", "\n\t-\t"),
    "bullets numbered": changed("\n- ", "\n1. "),
    "bullets 1)": changed("\n- ", "\n  2) "),
    "bullets –": changed("\n- ", "\n– "),
    "bullets unspaced": changed("\n- ", "\n-"),
    "bullets with lines between": changed("\n- ", "\n\n- "),
    "an empty bullet": changed("\n- Environment", "\n-\n- Environment"),
    "a reason over two lines": changed("Environment shows", "Environment\n  shows"),
    "header ####": changed("#####", "####"),
    "header mixed": changed(FIRST_HEADER, "### From 0 to 10", SECOND_HEADER, "##### From [10 - 20]:"),
    "header without space": changed("##### From", "#####From"),
    "header without colon": changed("]:", "]"),
    "header bold": changed(FIRST_HEADER, "**From [0 to 10]:**", SECOND_HEADER, "**From 10 to 20**"),
    "header # and bold": changed("##### From [0 to 10]:", "##### **From [0 to 10]:**"),
    "header lower case": changed("From", "from"),
    "header unmarked": changed("##### ", ""),
    "header with step number": changed(
        FIRST_HEADER, "##### Step 1: From [0 to 10]:", SECOND_HEADER, "Step 2 (10 to 20):"
    ),
    "header without From": changed("From ", ""),
    "header From inside": changed("From [", "[From "),
    "header brackets around each time": changed("0 to 10]", "0] to [10]"),
    "header full-width colon": changed("]:", "]："),
    "header dash": changed("[0 to 10]", "[0–10]"),
    "header note": changed("[0 to 10]:", "[0 to 10] (the kitchen, by day):"),
    "header note inside": changed("[0 to 10]:", "[0 to 10, the kitchen]:"),
    "header note inside in brackets": changed("[0 to 10]:", "[0 to 10 (the kitchen)]:"),
    "header note in square brackets": changed("[0 to 10]:", "[0 to 10] [the kitchen]:"),
    "header with its reason": changed("]:\n- Person enters", "]: Person enters"),
    "a reason without a bullet": changed("]:\n- Person enters", "]:\nPerson enters"),
    "CRLF": REPLY.replace("\n", "\r\n"),
    "CR": REPLY.replace("\n", "\r"),
    "code fence": f"```\n{REPLY}\n```",
    "code fence with talk": f"Sure! Here it is:\n\n```markdown\n{REPLY}\n```\n\nLet me know if you need more.",
    "talk before": f"Sure! Here is a question.\n\n{REPLY}",
    "a closing remark": f"{REPLY}\n\nTherefore, the correct answer is B.\nI hope this helps!",
    "byte order mark": f"\ufeff{REPLY}",
    "white space around": f"\n\n  {REPLY}  \n\n",
    "answer boxed": changed("ANSWER: B", r"ANSWER: \boxed{B}"),
    "answer boxed with its text": changed("ANSWER: B", r"ANSWER: $\boxed{\text{B. Reading a book}}$"),
    "answer boxed at the end of a sentence": changed("ANSWER: B", r"ANSWER: So the answer is \boxed{B}."),
    "answer at the end of a sentence": changed("ANSWER: B", "ANSWER: Taking all moments together, it must be B."),
    "answer at the end of two sentences": changed(
        "ANSWER: B", "ANSWER: A person takes a book from the shelf.\nSo the right choice here is **(B)**."
    ),
    "answer at the end of a Chinese sentence": changed("ANSWER: B", "ANSWER: 综合所有片段，应当选择B。"),
    "Chinese labels": changed("QUESTION:", "问题：", "OPTIONS:", "选项：", "ANSWER:", "答案：", "REASONS:", "推理："),
    "Chinese labels, bold": changed(
        "QUESTION:", "**问题**：", "OPTIONS:", "**选项：**", "ANSWER:", "## 正确答案：", "REASONS:", "**推理过程**"
    ),
    "a Chinese label in a reply with English ones": f"{REPLY}\n\n答案：B",
    "header bold with its hashes": changed(
        FIRST_HEADER, f"**{FIRST_HEADER}**", SECOND_HEADER, "**##### From [10 to 20]**:"
    ),
    "labels bold with their hashes": labelled("**## {}:**"),
    "invisible characters before labels": changed(
        "QUESTION",
        "\ufeff\u200eQUESTION",
        "OPTIONS",
        "\u200b OPTIONS",
        "ANSWER",
        "\u202aANSWER",
        "REASONS",
        "\u2066REASONS",
    ),
    "invisible characters before markers": changed(
        "\nA. ", "\n\u200eA. ", "\n- ", "\n\u200f- ", "#####", "\u200b#####"
    ),
    "invisible characters around the answer": changed("ANSWER: B", "ANSWER:\u200e \u200eB"),
    "reasons without bullets, one per line": changed("\n- ", "\n"),
    "sections in another order": changed("ANSWER: B\n", "", "OPTIONS:", "ANSWER: B\nOPTIONS:"),
}

OTHER = {
    "a reason that mentions an option": (changed("Person enters room", "option C. is wrong"), with_reasons(
        "option C. is wrong", "Environment shows bookshelf")),
    "a reason that starts with an option": (changed("Person enters room", "C. is wrong: ANSWER: D"), with_reasons(
        "C. is wrong: ANSWER: D", "Environment shows bookshelf")),
    "a reason that is a label": (changed("Person enters room", "ANSWER: D"), with_reasons(
        "ANSWER: D", "Environment shows bookshelf")),
    "a reason with dashes": (changed("Person enters room", "-5 degrees outside -"), with_reasons(
        "-5 degrees outside -", "Environment shows bookshelf")),
    "a reason that cites a span": (changed("Person enters room", "From [10 to 20]: he reads"), with_reasons(
        "From [10 to 20]: he reads", "Environment shows bookshelf")),
    "reasons without bullets that are sentences": (
        changed(
            "- Person enters room\n- Environment shows bookshelf", "A person enters.\nA shelf is seen.\nIt is full."),
        with_reasons("A person enters.", "A shelf is seen.", "It is full.")),
    "a reason without a bullet over two lines": (
        changed("- Person enters room\n- Environment shows bookshelf", "A person enters the room\nand Alice looks up."),
        with_reasons("A person enters the room and Alice looks up.")),
    "a long reason without a bullet, wrapped before a name": (
        changed("- Person enters room\n- Environment shows bookshelf",
                "A person enters the room by the door at the back, walks up to the desk and greets\nAlice."),
        with_reasons("A person enters the room by the door at the back, walks up to the desk and greets Alice.")),
    "a reason with a Chinese label": (changed("- Person enters room", "- Person enters room\n  答案：是"), with_reasons(
        "Person enters room 答案：是", "Environment shows bookshelf")),
    "a question of two lines": (changed("What is the", "Look at the room.\nWhat is the"), TWO_LINES),
    "a question with a label inside": (changed("What is the person's", "After the sign Answer: B, what is the"),
        replace(EXPECTED, question="After the sign Answer: B, what is the main goal?")),
    "an option that starts like another": (changed("Looking for keys", "A. B. See's keys"), replace(
        EXPECTED, options={**EXPECTED.options, "A": "A. B. See's keys"})),
    "an answer that is an article": (
        changed("Reading a book", "A person enters", "ANSWER: B", "ANSWER: A person enters"),
        replace(EXPECTED, options={**EXPECTED.options, "B": "A person enters"})),
    "options that are letters": (changed("Looking for keys", "B", "Reading a book", "A", "ANSWER: B", "ANSWER: A"),
        replace(EXPECTED, options={**EXPECTED.options, "A": "B", "B": "A"}, answer="A")),
    "mm:ss": (changed("[0 to 10]", "[0:00 to 1:10]"), with_span("0:00 to 1:10", 0.0, 70.0)),
    "hh:mm:ss": (changed("[0 to 10]", "[00:01:05 to 01:01:15]"), with_span("00:01:05 to 01:01:15", 65.0, 3675.0)),
    "hh:mm:ss.fff": (changed("[0 to 10]", "[00:00:01.500 --> 00:00:02]".replace("-->", "→")), with_span(
        "00:00:01.500 → 00:00:02", 1.5, 2.0)),
    "hh:mm:ss with an en dash": (changed("[0 to 10]", "(0:00:20–0:00:30)"), with_span("0:00:20–0:00:30", 20.0, 30.0)),
    "mm:ss bracketless with a reason": (changed(FIRST_HEADER + "\n- ", "From 0:10 - 0:20: "), with_span(
        "0:10 - 0:20", 10.0, 20.0)),
    "decimals": (changed("[0 to 10]", "[12.5 to 20]"), with_span("12.5 to 20", 12.5, 20.0)),
    "seconds": (changed("[0 to 10]", "0s to 10s"), with_span("0s to 10s", 0.0, 10.0)),
    "seconds in words": (changed("[0 to 10]", "[0 to 10 seconds]"), with_span("0 to 10 seconds", 0.0, 10.0)),
    "seconds after the bracket": (changed("[0 to 10]", "[0 to 10] seconds"), with_span("0 to 10", 0.0, 10.0)),
    "a moment": (changed("[0 to 10]", "[10 to 10]"), with_span("10 to 10", 10.0, 10.0)),
}  # fmt: skip

WRONG = {
    "answer B, D": (changed("ANSWER: B", "ANSWER: B, D"), ParseFault.BAD_ANSWER),
    "answer B and D": (changed("ANSWER: B", "ANSWER: B and D"), ParseFault.BAD_ANSWER),
    "answer B/D": (changed("ANSWER: B", "ANSWER: B/D"), ParseFault.BAD_ANSWER),
    "answer not B": (changed("ANSWER: B", "ANSWER: not B"), ParseFault.BAD_ANSWER),
    "answer B?": (changed("ANSWER: B", "ANSWER: B?"), ParseFault.BAD_ANSWER),
    "answer cannot be determined": (changed("ANSWER: B", "ANSWER: Cannot be determined"), ParseFault.BAD_ANSWER),
    "answer that starts with a letter": (changed("ANSWER: B", "ANSWER: A person reads"), ParseFault.BAD_ANSWER),
    "answer all of the above": (changed("ANSWER: B", "ANSWER: All of the above"), ParseFault.BAD_ANSWER),
    "answer E": (changed("ANSWER: B", "ANSWER: E"), ParseFault.BAD_ANSWER),
    "answer on two lines": (changed("ANSWER: B", "ANSWER: B\nC"), ParseFault.BAD_ANSWER),
    "answer contradicts its letter": (
        changed("Looking for keys", "Reading", "ANSWER: B", "ANSWER: B. Reading"), ParseFault.BAD_ANSWER),
    "answer is its letter and another text": (
        changed("ANSWER: B", "ANSWER: B. Making a phone call"), ParseFault.BAD_ANSWER),
    "answer boxed twice": (changed("ANSWER: B", r"ANSWER: \boxed{B} \boxed{C}"), ParseFault.BAD_ANSWER),
    "answer boxed and unknown": (changed("ANSWER: B", r"ANSWER: \boxed{E}"), ParseFault.BAD_ANSWER),
    "answer sentence that denies": (changed("ANSWER: B", "ANSWER: It cannot be B."), ParseFault.BAD_ANSWER),
    "answer sentence with two letters": (changed("ANSWER: B", "ANSWER: Not A, so it is B."), ParseFault.BAD_ANSWER),
    "answer sentence that doubts": (changed("ANSWER: B", "ANSWER: Perhaps the answer is B."), ParseFault.BAD_ANSWER),
    "answer sentence that quotes another option": (
        changed("ANSWER: B", "ANSWER: Looking for keys, so it is B."), ParseFault.BAD_ANSWER),
    "answer sentence that ends in a name": (changed("ANSWER: B", "ANSWER: He is in team B."), ParseFault.BAD_ANSWER),
    "answer empty": (changed("ANSWER: B", "ANSWER:"), ParseFault.NO_ANSWER),
    "answer missing": (changed("ANSWER: B\n", ""), ParseFault.NO_ANSWER),
    "answer D of three": (changed("\nD. Making a phone call", "", "ANSWER: B", "ANSWER: D"), ParseFault.MISSING_OPTION),
    "an empty option": (changed("C. Organizing the room", "C. "), ParseFault.EMPTY_OPTION),
    "an option that is bold nothing": (changed("C. Organizing the room", "**C.**"), ParseFault.EMPTY_OPTION),
    "a duplicate option": (changed("Organizing the room", " looking  For keys"), ParseFault.DUPLICATE_OPTION),
    "a duplicate letter": (changed("C. Organizing", "B. Organizing"), ParseFault.DUPLICATE_OPTION),
    "five options": (changed("phone call", "phone call\nE. None of these"), ParseFault.BAD_OPTIONS),
    "no lettered options": (marked("- "), ParseFault.BAD_OPTIONS),
    "a stray line among the options": (changed("phone call", "phone call\n\nChoose one."), ParseFault.BAD_OPTIONS),
    "options label missing": (changed("OPTIONS:\n", ""), ParseFault.NO_OPTIONS),
    "one line with an option's marker twice": (
        changed(OPTION_BLOCK, "A. Vitamin B. or B. milk C. tea D. rum"), ParseFault.MISSING_OPTION),
    "a missing option named in another": (
        changed("keys\nB. Reading a book", "vitamin B. pills"), ParseFault.MISSING_OPTION),
    "question empty": (changed("What is the person's main goal?", ""), ParseFault.NO_QUESTION),
    "question missing": (REPLY[REPLY.index("OPTIONS") :], ParseFault.NO_QUESTION),
    "two QAs": (f"{REPLY}\n\n{REPLY}", ParseFault.SEVERAL_QUESTIONS),
    "two numbered QAs": (
        f"{REPLY}\n\n{REPLY}".replace("QUESTION", "**QUESTION 1**", 1).replace("\nQUESTION", "\n**QUESTION 2**"),
        ParseFault.SEVERAL_QUESTIONS),
    "a label line in the question": (
        changed("What is", "The sign says\nAnswer: what is"), ParseFault.SEVERAL_QUESTIONS),
    "a draft without an end": (f"<think>\n{REPLY}", ParseFault.TRUNCATED),
    "a draft and nothing": ("<think>What shall I ask?</think>\n", ParseFault.TRUNCATED),
    "refusal": ("I'm sorry, but I can't help with that.", ParseFault.REFUSAL),
    "refusal with a typographic apostrophe": ("I can’t write questions about this video.", ParseFault.REFUSAL),
    "refusal in Chinese": ("抱歉，我无法回答这个问题。", ParseFault.REFUSAL),
    "nothing": ("", ParseFault.NO_QUESTION),
    "another format": ('{"question": "What?", "answer": "B"}', ParseFault.NO_QUESTION),
    "ends in the question": (REPLY[: REPLY.index(" goal?")], ParseFault.TRUNCATED),
    "ends in the options": (REPLY[: REPLY.index("\nC. ")], ParseFault.TRUNCATED),
    "ends after the options": (REPLY[: REPLY.index("\nANSWER")], ParseFault.TRUNCATED),
    "ends after the answer": (REPLY[: REPLY.index("\nREASONS")], ParseFault.NO_REASONS),
    "ends after REASONS": (REPLY[: REPLY.index("\n#####")], ParseFault.TRUNCATED),
    "ends in a header": (REPLY[: REPLY.index(" to 20]")], ParseFault.BAD_STEP),
    "ends after a header": (REPLY[: REPLY.index("\n- Person walks")], ParseFault.TRUNCATED),
    "ends in a bullet": (REPLY[: REPLY.index(" Person walks")], ParseFault.TRUNCATED),
    "a step without reasons": (
        changed(SECOND_HEADER, f"##### From [12 to 14]:\n{SECOND_HEADER}"), ParseFault.BAD_STEP),
    "a first step without reasons": (
        changed("- Person enters room\n", "", "- Environment shows bookshelf\n", ""), ParseFault.BAD_STEP),
    "reasons before a header": (changed(FIRST_HEADER + "\n", ""), ParseFault.BAD_STEP),
    "reasons without headers": (changed(FIRST_HEADER + "\n", "", SECOND_HEADER + "\n", ""), ParseFault.BAD_STEP),
    "a header in bullets": (changed(SECOND_HEADER, "- **From [10 to 20]:**"), ParseFault.BAD_STEP),
    "a header without a span": (changed("From [10 to 20]", "Step 2"), ParseFault.BAD_STEP),
    "an unmarked header without a span": (changed(SECOND_HEADER, "Step 2:"), ParseFault.BAD_STEP),
    "an unmarked header that may be text": (changed(SECOND_HEADER, "from 10 to 20"), ParseFault.BAD_STEP),
    "an unmarked header with text": (changed(SECOND_HEADER, "From 10 to 20 he walks"), ParseFault.BAD_STEP),
    "an end before the start": (changed("[10 to 20]", "[20 to 10]"), ParseFault.BAD_STEP),
    "minutes": (changed("[10 to 20]", "[10 to 20 minutes]"), ParseFault.BAD_STEP),
    "minutes in a note": (changed("[10 to 20]", "[10 to 20] (minutes)"), ParseFault.BAD_STEP),
    "seconds over 59": (changed("[10 to 20]", "[0:10 to 1:75]"), ParseFault.BAD_STEP),
    "frames in the time code": (changed("[10 to 20]", "[00:00:10:05 to 00:00:20:05]"), ParseFault.BAD_STEP),
    "one time only": (changed("[10 to 20]", "[10]"), ParseFault.BAD_STEP),
    "negative times": (changed("[10 to 20]", "[-10 to 20]"), ParseFault.BAD_STEP),
    "a step number that runs into the span": (changed("From [10 to 20]", "Step 10 to 20"), ParseFault.BAD_STEP),
    "times without end": (changed("[10 to 20]", f"[10 to {'9' * 5000}]"), ParseFault.BAD_STEP),
    "units in another alphabet": (changed("[10 to 20]", "[10 to ２０]"), ParseFault.BAD_STEP),
    "a step after the closing remark": (
        changed(SECOND_HEADER, f"\nNow the next.\n\n{SECOND_HEADER}"), ParseFault.BAD_STEP),
    "the placeholder of the prompt": (f"{REPLY}\n##### (Add as many steps as needed)", ParseFault.BAD_STEP),
}  # fmt: skip


@pytest.mark.parametrize("reply", SAME.values(), ids=SAME)
def test_variation_reads_the_same(reply: str) -> None:
    assert parse_question(reply) == EXPECTED


@pytest.mark.parametrize(("reply", "expected"), OTHER.values(), ids=OTHER)
def test_variation_keeps_what_was_said(reply: str, expected: Question) -> None:
    assert parse_question(reply) == expected


@pytest.mark.parametrize(("reply", "kind"), WRONG.values(), ids=WRONG)
def test_no_right_result_is_a_typed_error(reply: str, kind: ParseFault) -> None:
    with pytest.raises(ParseError) as raised:
        parse_question(reply)
    assert raised.value.kind is kind
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_every_fault_is_raised_somewhere() -> None:
    elsewhere = {ParseFault.BAD_JSON, ParseFault.EMPTY_REPLY, ParseFault.BAD_TREE}
    of_text = set(ParseFault) - elsewhere
    assert {kind for _, kind in WRONG.values()} == of_text


def test_every_cut_between_lines_is_an_error_or_ends_with_a_whole_reason() -> None:
    lines = REPLY.split("\n")
    for end in range(len(lines)):
        try:
            question = parse_question("\n".join(lines[:end]))
        except ParseError:
            continue
        reasons = [reason for step in question.steps for reason in step.reasons]
        assert lines[end - 1] == f"- {reasons[-1]}"
