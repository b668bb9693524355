"""Change what you ask, pay for what changed; and do again what failed, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.dataset.run_state import stored_job, write_job, write_run
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.dataset.verify import verify
from lvqa_ray.engine.preflight.dry_run import plan
from lvqa_ray.engine.run import RunSummary, run
from lvqa_ray.errors import ConfigError
from tests import media
from tests.conftest import JobMaker
from tests.fakes.answers import media_urls, text_of
from tests.fakes.endpoint import FakeEndpoint

pytestmark = pytest.mark.timeout(240)


class Corpus:
    """A folder of films of 2 s, and what was asked about it since the last look."""

    def __init__(self, folder: Path, fake: FakeEndpoint, make_job: JobMaker) -> None:
        self.folder, self._fake, self._make_job = folder, fake, make_job
        self._looked = 0

    def add(self, name: str, at: float) -> Path:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        return media.make_video(self.folder / name, seconds=2, scenes=(at,))

    def job(self, **settings: Any) -> Job:
        return self._make_job(self.folder, split={"max_seconds": 1.0}, **settings)

    def asked(self) -> Counter[str]:
        new = [request.body for request in self._fake.requests[self._looked :]]
        self._looked += len(new)
        return Counter(
            "caption" if media_urls(body) else "ask" if "ANSWER: <" in text_of(body) else "reformat" for body in new
        )


@pytest.fixture
def corpus(tmp_path: Path, fake: FakeEndpoint, make_job: JobMaker) -> Corpus:
    return Corpus(tmp_path / "films", fake, make_job)


def rows(job: Job, table: Any = "data") -> dict[str, dict[str, Any]]:
    found = list(read_rows(Path(job.output), table))
    assert len({row["id"] for row in found}) == len(found)
    return {row["video_id"] if table == "data" else row["id"]: row for row in found}


def in_order(summary: RunSummary) -> None:
    assert summary.verdict.ok, summary.verdict.line
    assert verify(Path(summary.output)) == summary.verdict


def test_what_changed_is_asked_again_and_what_did_not_is_not(corpus: Corpus) -> None:
    for name, at in (("a/p.mp4", 0.5), ("q.mp4", 1.2), ("r.mp4", 0.8)):
        corpus.add(name, at)
    first = run(corpus.job())
    in_order(first)
    assert corpus.asked() == {"caption": 6, "ask": 3, "reformat": 3}
    said = json.loads((Path(first.output) / "run.json").read_text())
    assert said["summary"]["verdict"]["records"] == 3

    reworded = {"system": "Be kind."}
    planned = plan(corpus.job(reformat=reworded))
    assert planned.reasons == {"settings changed: reformat": 3}
    assert [planned.stages[stage].calls for stage in ("caption", "ask", "reformat")] == [0, 0, 3]
    before = rows(corpus.job())

    # Another way to ask, a file that changed, and a longer corpus, with a second file of the same name.
    sterner = {"ask": {"system": "Be strict."}}
    corpus.add("b/p.mp4", 1.5)
    path = corpus.add("r.mp4", 1.0)
    planned = plan(corpus.job(**sterner))
    assert planned.reasons == {"settings changed: ask": 2, "new": 1, "file changed": 1}
    assert [planned.stages[stage].calls for stage in ("caption", "ask", "reformat")] == [4, 4, 4]
    in_order(run(corpus.job(**sterner)))
    assert corpus.asked() == {"caption": 4, "ask": 4, "reformat": 4}
    after = rows(corpus.job())
    assert after["p"]["video"].endswith("a/p.mp4")
    assert after["r"]["fingerprint"] != before["r"]["fingerprint"]
    assert after["r"]["video"] == str(path)
    ((name, newcomer),) = ((name, row) for name, row in after.items() if name not in before)
    assert name.startswith("p-")
    assert newcomer["video"].endswith("b/p.mp4")
    assert len(rows(corpus.job(), "clips")) == 8

    # What is reworded is the last thing that is asked; the rest comes from the journal.
    again = sterner | {"reformat": reworded}
    assert plan(corpus.job(**again)).reasons == {"settings changed: reformat": 4}
    in_order(run(corpus.job(**again)))
    assert corpus.asked() == {"reformat": 4}


def test_retry_does_again_what_failed_so_and_asks_anew_only_for_what_failed(
    corpus: Corpus, fake: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    corpus.add("p.mp4", 0.5)
    corpus.add("q.mp4", 1.5)
    (corpus.folder / "text.mp4").write_text("This is no video.")
    # Four replies a video that are no question: the journal keeps them as answers.
    fake.answer = lambda body: "No question." if "ANSWER: <" in text_of(body) else None
    first = run(corpus.job())
    in_order(first)
    assert first.failures == {"no_question": 2, "not_a_video": 1}
    asked = corpus.asked()
    assert asked == {"caption": 4, "ask": 8}
    assert plan(corpus.job()).reasons == {"already done": 3}

    fake.answer = None
    monkeypatch.chdir(tmp_path)
    out = Path(first.output)
    again = stored_job(out, None, ["engine.retry_failures=true"])
    mended = run(again, only=["no_question"])
    in_order(mended)
    assert (mended.records, mended.failures) == (2, {"not_a_video": 1})
    assert corpus.asked() == {"ask": 2, "reformat": 2}, "what could be used is not asked for again"
    assert stored_job(out, None, []).engine.retry_failures is False

    # A fault of the input's own, once the file is another: its kind is named, and nothing else is touched.
    before = rows(corpus.job())
    media.make_video(corpus.folder / "text.mp4", seconds=2)
    corpus.add("r.mp4", 1.0)
    done = run(again, only=["not_a_video"])
    assert (done.records, done.failures) == (3, {})
    assert corpus.asked() == {"caption": 2, "ask": 1, "reformat": 1}
    assert {name: row for name, row in rows(corpus.job()).items() if name != "text"} == before


def test_the_stored_job_is_complete_or_says_what_it_lacks(
    make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"holds no job\.yaml"):
        stored_job(tmp_path, None, [])
    job = make_job("/nowhere/a.mp4", "http://127.0.0.1:9/b.mp4?signature=secret", ask={"system": "Be kind."})
    with pytest.raises(ConfigError, match="does not exist"):
        run(job)
    job = job.model_copy(update={"videos": job.videos[1:]})
    out = Path(job.output)
    out.mkdir()
    write_job(out, job, read_manifest(job.videos))  # as a run does it
    write_run(out, job, None)
    assert b"secret" not in b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    with pytest.raises(ConfigError, match="signed addresses"):
        stored_job(out, None, [])
    own = tmp_path / "own.yaml"
    own.write_text(json.dumps(job.model_dump(mode="json") | {"output": "elsewhere"}))
    assert stored_job(out, own, ["engine.passes=1"]).output == str(out)
    with pytest.raises(ConfigError, match="changes answers"):
        stored_job(out, own, ["ask.system=Be rude."])
