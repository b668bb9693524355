"""One run over files that are made to hang, crash or exhaust a decoder, beside videos that are fine."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.engine.ray.clip_assembler import ClipAssembler
from lvqa_ray.engine.row_codec import pack, unpack
from lvqa_ray.engine.run import run
from lvqa_ray.engine.step_runner import run_video_steps
from lvqa_ray.pipeline import build
from lvqa_ray.records import CaptionedClip, Clip, Failure, Video
from tests import media
from tests.conftest import JobMaker


def decoding() -> list[tuple[str, int]]:
    """Files that a decoder has open, with its process."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and b"lvqa_ray.engine.decoding.worker" in (process / "cmdline").read_bytes():
                files = [os.readlink(descriptor) for descriptor in (process / "fd").iterdir()]  # noqa: PTH115
                found += [(file, int(process.name)) for file in files]
        except OSError:  # it has ended meanwhile
            continue
    return found


def signal_decoders(signals: dict[str, signal.Signals], over: threading.Event) -> None:
    while not over.wait(0.1):
        for file, pid in decoding():
            if file in signals:
                with suppress(ProcessLookupError):
                    os.kill(pid, signals[file])


@pytest.mark.usefixtures("ray_session")
def test_each_is_a_failure_of_its_own_and_the_others_are_finished(make_job: JobMaker, tmp_path: Path) -> None:
    good = [media.make_video(tmp_path / f"good{n}.mp4", seconds=3, scenes=(1.0, 2.0)) for n in range(2)]
    garbage = media.scribble(media.make_video(tmp_path / "garbage.mkv", seconds=8, size=(320, 180)), 0.4, 0.6)
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(os.urandom(100_000))
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    bomb = media.make_bomb(tmp_path / "bomb.mov")
    wide = media.make_video(tmp_path / "wide.mkv", seconds=0.1, size=(20_000, 16), codec="ffv1", pix_fmt="bgr0")
    crashing = media.make_video(tmp_path / "crashing.mp4", seconds=30, size=(640, 360))
    hanging = Path(shutil.copy(crashing, tmp_path / "hanging.mp4"))
    manifest = tmp_path / "corpus.csv"
    files = (*good, garbage, noise, fifo, bomb, wide, crashing, hanging)
    manifest.write_text("\n".join(["video", *map(str, files)]))
    job = make_job(
        manifest,
        split={"mode": "scenes", "max_seconds": 2.0},
        engine={"num_cpus": 2, "decode_still_s": 20, "decode_memory_gb": 0.3},
    )
    over = threading.Event()
    signals = {str(crashing): signal.SIGSEGV, str(hanging): signal.SIGSTOP}
    faults = threading.Thread(target=signal_decoders, args=(signals, over))
    faults.start()
    try:
        summary = run(job)
    finally:
        over.set()
        faults.join()
    output = Path(job.output)
    failures = {row["id"]: row for row in read_rows(output, "failures")}
    assert {name: row["kind"] for name, row in failures.items()} == {
        "noise": "not_a_video",
        "fifo": "unreadable",
        "bomb": "decoder_memory",
        "wide": "bad_dimensions",
        "crashing": "decoder_crashed",
        "hanging": "decoder_timeout",
    }
    assert not any(row["retryable"] for row in failures.values())
    assert (summary.records, summary.unfinished, summary.exit_status) == (3, 0, 0)
    records = {row["video_id"]: row for row in read_rows(output, "data")}
    assert "do not decode" in records["garbage"]["video_info"]["partial"]
    assert records["good0"]["video_info"]["partial"] == ""
    clips = list(read_rows(output, "clips"))
    assert {row["video_id"] for row in clips} == set(records)
    lost = {row["id"]: row["lost_sec"] for row in clips if row["lost_sec"]}
    assert set(lost) <= {f"garbage_{index}" for index in (1, 2)}
    assert 0.5 < sum(lost.values()) < 2.5


def test_damage_fails_the_video_where_the_job_says_so(make_job: JobMaker, tmp_path: Path) -> None:
    garbage = media.scribble(media.make_video(tmp_path / "garbage.mp4", seconds=8, size=(320, 180)), 0.4, 0.6)
    job = make_job(garbage, split={"max_seconds": 2.0}, sample={"per_second": 4.0}, probe={"damaged": "fail"})
    pipeline = build(job)
    rows: list[Any] = [Video(id="garbage", uri=str(garbage), fingerprint="f")]
    for steps in (pipeline.split, pipeline.look):
        rows = [out for row in rows for out in run_video_steps(steps, row, lambda *_: None)]
    assembler = ClipAssembler(pipeline.merge)
    captioned = [CaptionedClip(clip=row, caption="A block.") if isinstance(row, Clip) else row for row in rows]
    made = [out for row in captioned for packed in assembler(pack(row)) for out in unpack(packed)]
    (failure,) = (row for row in made if not isinstance(row, CaptionedClip))
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.kind, failure.retryable) == ("probe", "damaged", False)
    assert "probe.damaged=keep" in failure.message
