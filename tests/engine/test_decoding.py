"""Decoding in a process of its own: it may die, hang or want the whole memory, and the row is a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.engine.decoding.supervisor import DecodeLimits, DecodeProcess
from lvqa_ray.engine.row_codec import unpack
from lvqa_ray.engine.step_runner import times_ahead
from lvqa_ray.records import CaptionedClip, Clip, Failure, ProbedVideo, Span, Video, VideoInfo
from lvqa_ray.stage.steps import VideoStep
from lvqa_ray.stages.probe import ProbeVideo
from lvqa_ray.stages.sample import SampleFrames
from lvqa_ray.stages.split import SplitVideo
from tests import media

STEPS = [VideoStep("probe", Video, ProbeVideo()), VideoStep("split", ProbedVideo, SplitVideo(max_seconds=1.0))]
SCENES = [
    VideoStep("probe", Video, ProbeVideo()),
    VideoStep("split", ProbedVideo, partial(SplitVideo(mode="scenes", max_seconds=1.0), sampler=SampleFrames(count=8))),
]
BOUNDS = DecodeLimits(stall_timeout_s=60, slowest=60, memory_bytes=2**30)


@pytest.fixture
def decoder() -> Iterator[DecodeProcess]:
    decoder = DecodeProcess(BOUNDS)
    yield decoder
    if decoder.pid:
        os.kill(decoder.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=30, size=(640, 360))


def video(path: Path) -> Video:
    return Video(id=path.stem, uri=str(path), fingerprint="f")


def rows(decoder: DecodeProcess, row: Any, steps: list[VideoStep] = STEPS) -> list[Any]:
    return [made for packed in decoder(steps, row) for made in unpack(packed)]


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_rows_are_those_of_the_steps_and_the_child_is_kept(decoder: DecodeProcess, tmp_path: Path) -> None:
    films = [media.make_video(tmp_path / f"{name}.mp4", seconds=3) for name in "ab"]
    first = rows(decoder, video(films[0]))
    pid = decoder.pid
    assert [row.span for row in first] == [Span(start_s=0, end_s=1), Span(start_s=1, end_s=2), Span(start_s=2, end_s=3)]
    assert [row.video.id for row in rows(decoder, video(films[1]))] == ["b"] * 3
    assert decoder.pid == pid
    assert pid
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0), "it gives way to all others"


def test_a_row_that_no_step_takes_costs_no_child(decoder: DecodeProcess, tmp_path: Path) -> None:
    failure = Failure(video=video(tmp_path / "x.mp4"), stage="probe", kind="k", message="m")
    assert rows(decoder, failure) == [failure]
    assert decoder.pid is None


@pytest.mark.parametrize(
    ("number", "says", "retryable"),
    [(signal.SIGSEGV, "SIGSEGV", False), (signal.SIGKILL, "killed from outside", True)],
)
def test_a_decoder_that_dies_in_the_middle_is_a_failure_and_what_it_gave_is_kept(
    decoder: DecodeProcess, film: Path, number: signal.Signals, says: str, retryable: bool
) -> None:
    before = children()
    given = decoder(SCENES, video(film))
    (first,) = unpack(next(given))
    (pid,) = set(children()) - set(before)
    os.kill(pid, number)
    *others, last = [made for packed in given for made in unpack(packed)]
    assert isinstance(first, Clip)
    assert len(others) < 28
    assert (last.kind, last.stage, last.retryable) == ("decoder_crashed", "split", retryable)
    assert says in last.message
    assert str(film) in last.message
    assert len(rows(decoder, video(film))) == 30  # in a new child


def test_a_decoder_that_stands_still_is_ended(film: Path) -> None:
    decoder = DecodeProcess(DecodeLimits(stall_timeout_s=5, slowest=60, memory_bytes=2**30))
    before = children()
    given = decoder(SCENES, video(film))
    next(given)
    (pid,) = set(children()) - set(before)
    os.kill(pid, signal.SIGSTOP)
    *_, last = [made for packed in given for made in unpack(packed)]
    assert (last.kind, last.retryable) == ("decoder_timeout", False)
    assert "made no progress for 5 s" in last.message
    assert pid not in children()


def test_a_decoder_that_goes_on_for_too_long_is_ended(film: Path) -> None:
    *_, last = rows(
        DecodeProcess(DecodeLimits(stall_timeout_s=0.2, slowest=0.001, memory_bytes=2**30)), video(film), SCENES
    )
    assert last.kind == "decoder_timeout"


def test_waiting_for_those_who_take_the_rows_counts_for_nothing(film: Path) -> None:
    given = DecodeProcess(DecodeLimits(stall_timeout_s=5, slowest=60, memory_bytes=2**30))(SCENES, video(film))
    next(given)
    time.sleep(6)
    assert all(isinstance(made, Clip) for packed in given for made in unpack(packed))


def test_a_picture_that_wants_too_much_memory_is_a_failure(tmp_path: Path) -> None:
    bomb = media.make_bomb(tmp_path / "bomb.mov")
    assert bomb.stat().st_size < 2e6
    decoder = DecodeProcess(DecodeLimits(stall_timeout_s=60, slowest=600, memory_bytes=200 * 2**20))
    steps = [VideoStep("sample", Clip, SampleFrames())]
    info = VideoInfo(num_frames=2, height=8000, width=8000, fps=25, duration_sec=0.1)
    clip = Clip(video=video(bomb), info=info, index=0, span=Span(start_s=0, end_s=0.1), last=True)
    (row,) = rows(decoder, clip, steps)
    assert isinstance(row, CaptionedClip)
    assert row.failure is not None
    assert (row.failure.kind, row.failure.clip_id) == ("decoder_memory", "bomb_0")
    good = media.make_video(tmp_path / "good.mp4", seconds=1)
    assert len(rows(decoder, video(good))) == 1


def test_the_next_clips_of_a_video_are_decoded_in_one_go(decoder: DecodeProcess, tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=20, size=(640, 360), gop=250)
    sample = SampleFrames()
    steps = [VideoStep("sample", Clip, sample, times=sample.times)]
    clips = rows(decoder, video(film))
    alone = [made for clip in clips for made in rows(decoder, clip, steps)]
    began_s = cpu_s(decoder)
    assert [made for clip in clips for made in rows(decoder, clip, steps)] == alone
    alone_s, began_s = cpu_s(decoder) - began_s, cpu_s(decoder)
    ahead = [times_ahead(steps, clips[at:]) for at in range(len(clips))]
    assert [len(each) for each in ahead] == list(range(20, 0, -1))
    made = [decoder(steps, clip, ahead=times) for clip, times in zip(clips, ahead, strict=True)]
    assert [row for packeds in made for packed in packeds for row in unpack(packed)] == alone
    assert cpu_s(decoder) - began_s < 0.8 * alone_s


def cpu_s(decoder: DecodeProcess) -> float:
    fields = Path(f"/proc/{decoder.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_rows_that_nobody_takes_any_more_end_the_child(decoder: DecodeProcess, film: Path) -> None:
    before = children()
    given = decoder(SCENES, video(film))
    next(given)
    given.close()
    assert set(children()) <= set(before)
    assert [row.video.id for row in rows(decoder, video(film))] == ["film"] * 30


WORKER = """
import sys
from tests.engine.test_decoding import BOUNDS, SCENES, video, Path, DecodeProcess, children
given = DecodeProcess(BOUNDS)(SCENES, video(Path(sys.argv[1])))
next(given)
print(*children(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("stopped", [False, True], ids=["working", "hanging"])
def test_a_child_goes_with_its_worker(film: Path, stopped: bool) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(film)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    worker.kill()
    worker.wait()
    if stopped:
        os.kill(pid, signal.SIGCONT)
    assert within(10, lambda: not running(pid))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        threading.Event().wait(0.05)
    return False
