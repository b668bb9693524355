"""Preference pairs for DPO: a correct and an incorrect trace of the same question, of similar length.

The fields are those of trl's conversational preference format with an explicit prompt
(https://huggingface.co/docs/trl/dataset_formats); ``videos`` names the video of the row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.statistics.preference_pairs import (
    TRACE_KEYS,
    TRACE_TEXTS,
    PreferencePair,
    TraceRow,
    pair_of,
    questions,
    with_lengths,
)
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.questions import before_answer
from lvqa_ray.report.export_files import Exported, Selection, VideoPlaces, records, writing
from lvqa_ray.report.trainers.training_sample import SampleStyle, reply_of, without_media

PairForm = Literal["trl", "llamafactory", "ms-swift"]
_SHOWN = ("video_id", "video", "category", "full_question", "key")


def export_dpo(
    output: OutputReader, to: Path, selection: Selection, style: SampleStyle, *, form: PairForm = "trl"
) -> Exported:
    """Write one preference pair per record that has one, to one file or one per split.

    Args:
        output: Output of a run with ``checks.watch`` or ``checks.solve``.
        to: File to write, JSON Lines; one JSON array if it ends in ``.json``.
        selection: Which records, which columns besides, and the split.
        style: How replies and video paths are written.
        form: Whose fields the rows have: those of trl, LLaMA-Factory (``ranking: true``) or ms-swift.

    Raises:
        ConfigError: There are no traces, a video is not below ``style.video_root``, or a file cannot be written.
    """
    of_records = _current_records(output, selection)
    paths = {part: to.with_suffix(f".{part}{to.suffix}") if selection.fraction else to for part in selection.splits}
    counts, left_out, places = dict.fromkeys(paths, 0), 0, VideoPlaces()
    array = to.suffix.lower() == ".json"
    with ExitStack() as stack:
        files = {part: stack.enter_context(writing(path)) for part, path in paths.items()}
        for traces in _traces(output):
            texts, more = of_records.get(traces[0]["question_id"], (None, {}))
            if texts != _texts(traces[0]["full_question"], traces[0]["key"]):  # dropped, edited or not selected
                continue
            if (pair := pair_of(traces)) is None:
                left_out += 1
                continue
            places.see(pair.chosen["video"])
            part = selection.split(pair.chosen["video_id"])
            line = json.dumps({**more, **_pair_row(pair, style, form)}, ensure_ascii=False)
            files[part].write(f"{',' if counts[part] else '['}\n{line}" if array else f"{line}\n")
            counts[part] += 1
        for part, file in files.items() if array else ():
            file.write("\n]\n" if counts[part] else "[]\n")
    notes = (f"{left_out:,} records left out, whose traces make no pair of similar length.",) if left_out else ()
    return Exported(list(paths.values()), counts, left_out, what="pairs", notes=(*notes, *places.notes))


def _pair_row(pair: PreferencePair, style: SampleStyle, form: PairForm) -> dict[str, Any]:
    def reply(row: TraceRow) -> str:
        reasoning = without_media(row["thoughts"] or before_answer(row["reply"] or ""))
        return reply_of(reasoning, row["answer"], style.answer)

    first = pair.chosen
    asked, chosen, rejected = without_media(first["full_question"]), reply(first), reply(pair.rejected)
    fields: dict[str, Any]
    if form == "ms-swift":
        fields = {
            "messages": [_said("user", f"<video>{asked}"), _said("assistant", chosen)],
            "rejected_response": rejected,
        }
    elif form == "llamafactory":
        turns = [{"from": "human", "value": f"<video>{asked}"}]
        fields = {"conversations": turns} | {
            name: {"from": "gpt", "value": text} for name, text in (("chosen", chosen), ("rejected", rejected))
        }
    else:
        replies = {"chosen": [_said("assistant", chosen)], "rejected": [_said("assistant", rejected)]}
        fields = {"prompt": [_said("user", asked)]} | replies
    return fields | {
        "id": first["question_id"],
        "category": first["category"] or "general",
        "videos": [style.place(first["video"])],
        "source": first["check"],
    }


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _current_records(output: OutputReader, selection: Selection) -> dict[str, tuple[int, dict[str, Any]]]:
    """Digest of the texts, and the chosen columns, of the chosen records by id: a review may have edited a record."""
    wanted = ["id", "full_question", "parsed_reasoning", *selection.columns]
    rows = records(output, list(dict.fromkeys(wanted)), selection.where)
    return {
        row["id"]: (
            _texts(row["full_question"], row["parsed_reasoning"]["ANSWER"]),
            {name: row[name] for name in selection.columns},
        )
        for row in rows
    }


def _texts(full_question: str, key: str) -> int:
    return hash((full_question, key))


def _traces(output: OutputReader) -> Iterator[list[TraceRow]]:
    """The traces of each record.

    Raises:
        ConfigError: There are none, or a shard cannot be read.
    """
    wanted = [*TRACE_KEYS, *TRACE_TEXTS, *_SHOWN]

    def rows() -> Iterator[TraceRow]:
        for batch in output.batches("traces", wanted):
            yield from with_lengths(batch, wanted)

    some = False
    for traces in questions(rows()):
        some = True
        yield traces
    if not some:
        raise ConfigError(
            f"{output.folder} holds no traces: run the job with checks.watch.policy set to mark or drop (checks.solve "
            "makes some too)."
        )
