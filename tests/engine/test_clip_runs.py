"""Runs of consecutive clips: few seeks, and work for every process to the end."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg

from lvqa_ray.engine.decoding.clip_runs import in_runs, run_lengths
from lvqa_ray.engine.row_codec import pack, unpack
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.frames.read_ahead import ReadAhead, reading_ahead


@pytest.mark.parametrize("clips", [0, 1, 2, 7, 60, 200, 1001])
@pytest.mark.parametrize("workers", [0.01, 0.5, 1, 1.5, 2, 64])
def test_runs_hold_every_clip_once_and_get_shorter(clips: int, workers: float) -> None:
    lengths = list(run_lengths(clips, workers, 32))
    assert sum(lengths) == clips
    assert all(1 <= length <= 32 for length in lengths)
    assert lengths == sorted(lengths, reverse=True)


def test_no_process_waits_long_for_the_last_run() -> None:
    for clips in (60, 200, 1000):
        lengths = list(run_lengths(clips, 2, 32))
        assert lengths[0] <= clips / 4
        assert lengths[-1] <= clips / 12
        assert len(lengths) < 30 + clips / 32
    assert len(list(run_lengths(60, 2, 16))) == 6, "each run costs a seek"
    assert list(run_lengths(60, 0.01, 32)) == [32, 28], "other videos give work to the other processes"
    assert list(run_lengths(60, 64, 32)) == [1] * 60


def test_bundles_hold_runs() -> None:
    bundles = [unpack(bundle) for bundle in in_runs((pack(number) for number in range(60)), workers=2, most=32)]
    assert [len(rows) for rows in bundles] == list(run_lengths(60, 2, 32))
    assert [row for rows in bundles for row in rows] == list(range(60))
    assert list(in_runs(iter(()), workers=2, most=32)) == []


def test_frames_of_all_runs_are_those_of_their_times(tmp_path: Path) -> None:
    """A film with one key frame, whose frames tell their number by their green: as in vllm-project/vllm#42586."""
    film = tmp_path / "film.mp4"
    with av.open(film, "w") as out:
        options = {"g": "1000", "keyint_min": "1000", "sc_threshold": "0", "crf": "4", "bf": "3"}
        stream = out.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(200):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (0, green(number), 0), np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    times = [[second + 0.05, second + 0.35, second + 0.85] for second in range(20)]
    start, seen = 0, 0
    for length in run_lengths(len(times), 2, 32):
        ahead, run = ReadAhead(), times[start : start + length]
        for number, clip in enumerate(run):
            ahead.announce(str(film), run[number:])
            with reading_ahead(ahead):
                frames = sample_frames(str(film), clip, short_side=48, quality=95)
            for sampled in frames:
                pixels = simplejpeg.decode_jpeg(sampled.jpeg, "RGB")
                assert abs(pixels[20:28, 28:36, 1].mean() - green(round(10 * sampled.time_s))) < 5
                seen += 1
        start += length
    assert seen == 60


def green(number: int) -> int:
    return 20 + number * 37 % 200
