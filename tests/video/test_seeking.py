"""Files without an index, in which a seek ends anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lvqa_ray.records import Span
from lvqa_ray.video.cutting.clip_file import cut_clip
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.reader.video_reader import open_video
from tests.video.films import counted


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_the_pictures_after_a_seek_are_those_of_their_times(tmp_path: Path, codec: str) -> None:
    path = counted(tmp_path / "film.vob", codec, frames=75)
    with open_video(str(path)) as source:  # of this file: x264 does not always encode the same frames alike
        wanted = [np.asarray(frame.to_ndarray(), np.uint8) for frame in source.frames()]
    assert len(wanted) == 75
    with open_video(str(path)) as source:
        for start_s in (0.5, 0.8, 1.3, 1.9, 2.5):
            frames = source.frames_from(start_s)
            for _, frame in zip(range(12), frames, strict=False):
                assert np.array_equal(frame.to_ndarray(), wanted[round(source.time_of(frame) * 25)])


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "ts"), ("mpeg2video", "ts"), ("mpeg2video", "vob")])
def test_the_last_picture_counts(tmp_path: Path, codec: str, suffix: str) -> None:
    info = probe(str(counted(tmp_path / f"film.{suffix}", codec)))
    assert info.num_frames == 50
    assert info.duration_sec == pytest.approx(2.0)


def test_a_copy_begins_at_the_key_frame_before_its_span(tmp_path: Path) -> None:
    path = counted(tmp_path / "film.ts", "libx264", frames=75)
    for start_s, key_s in ((1.7, 1.6), (1.6, 1.6), (1.5, 0.8), (0.4, 0.0)):
        made = cut_clip(str(path), Span(start_s=start_s, end_s=start_s + 0.5), tmp_path / "clip.mp4", mode="copy")
        assert made.span.start_s == pytest.approx(key_s)
