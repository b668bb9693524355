"""The prompts and replies of a report are those that went over the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.engine.run import run
from lvqa_ray.journal.book import Book
from lvqa_ray.journal.found_clips import clips_found
from lvqa_ray.report.films import CAPTIONS, films
from lvqa_ray.report.page import write_report
from lvqa_ray.report.replay import Replay
from tests import media
from tests.conftest import JobMaker
from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault


def test_prompts_and_replies_are_those_that_were_sent(fake: FakeEndpoint, make_job: JobMaker, tmp_path: Path) -> None:
    """Over scenes whose pictures a pass has taken, the film's own prompt, a reply of no use, a question that is sent
    back, pictures for questions, and three checks, one of which sees pictures."""
    media.make_video(tmp_path / "film.mp4", seconds=3, scenes=(1.0, 2.0))
    film = tmp_path / "films.json"
    film.write_text('{"video": "film.mp4", "conversation": [{"from": "human", "value": "<video> Who is there?"}]}')
    answers = iter(["I would rather not."])
    fake.answer = lambda body: next(answers, None) if "QUESTION:" in text_of(body) else None
    checks: dict[str, Any] = {"duplicates": {"corpus": False}, "blind": {"policy": "mark", "tries": 2}}
    checks |= {"evidence": {"policy": "mark", "frames": 2}}
    checks |= {check: {"policy": "off"} for check in ("structure", "solve", "prose")}
    job = make_job(
        film, split={"mode": "scenes", "max_seconds": 1}, ask={"quota": {"goal": 2}, "frames": 2}, checks=checks
    )
    fake.latency_s = 0.02
    fake.fail_next(Fault.NULL_CONTENT)
    assert run(job).exit_status == 0
    folder = Path(job.output)
    output = OutputReader(folder)
    book = Book(output.journal)
    (shown,) = films(output, ["film"], Replay(job, book, clips_found(folder)))
    said = [exchange for exchange in shown["said"] if not exchange["error"]]
    sent = [
        "\n".join(text_of({"messages": [message]}) for message in asked.body["messages"])
        for asked in fake.requests
        if asked.outcome == "ok"
    ]
    told = ["\n".join(text for _, text in one["messages"]).replace(CAPTIONS, shown["captions"]) for one in said]
    assert sorted(text.replace("\n[image/jpeg]", "") for text in told) == sorted(sent)
    stages = [one["stage"] for one in said]
    kept = len([question for question in shown["questions"] if question["fate"] == "kept"])
    assert [stages.count(stage) for stage in ("caption", "ask", "blind", "reformat")] == [3, 2, 2 * 2, kept]
    assert stages.count("evidence") > 0
    assert all("Who is there?" in text for text in told[:3])
    assert shown["unsaid"] == ""
    assert said[3]["reply"] == "I would rather not."
    first = shown["questions"][0]
    assert {shown["said"][number]["stage"] for number in first["said"]} == {"blind", "reformat"}
    assert all(one["seconds"] > 0 for one in said)
    assert sum(len(pace.at) for pace in book.paces.values()) == len(fake.requests)
    assert write_report(folder, found=clips_found(folder), within_s=30).videos == 1
