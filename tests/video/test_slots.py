"""AVI says when a packet is decoded, and not when its picture is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lvqa_ray.records import Span
from lvqa_ray.video.cutting.clip_file import cut_clip
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.reader.video_reader import open_video
from tests.video.films import as_avi, counted


@pytest.mark.parametrize(
    ("codec", "b_frames", "packed"), [("libx264", 3, False), ("mpeg4", 2, False), ("mpeg4", 1, True)]
)
def test_each_picture_of_an_avi_has_its_own_time(tmp_path: Path, codec: str, b_frames: int, packed: bool) -> None:
    plain = counted(tmp_path / "film.ts", codec, b_frames=b_frames)
    path = as_avi(tmp_path / "film.avi", plain, packed=packed)
    wanted, found = pictures(plain), pictures(path)
    assert [time for time, _ in found] == pytest.approx([number / 25 for number in range(50)], abs=1e-3)
    assert all(np.array_equal(mine, theirs) for (_, mine), (_, theirs) in zip(found, wanted, strict=True))

    after = pictures(path, start_s=1.3)
    assert after[0][0] <= 1.3 < after[-1][0]
    assert all(np.array_equal(picture, wanted[round(time * 25)][1]) for time, picture in after)
    info = probe(str(path))
    assert info.num_frames == 50
    assert info.duration_sec == pytest.approx(2.0)

    made = cut_clip(str(path), Span(start_s=0.52, end_s=1.52), tmp_path / "clip.mp4", mode="exact")
    assert (made.span.start_s, made.span.end_s) == pytest.approx((0.52, 1.52))
    assert len(pictures(tmp_path / "clip.mp4")) == 25


def test_the_sound_of_an_avi_begins_with_its_first_packet(tmp_path: Path) -> None:
    """The picture of which is shown later, but was not when it was written."""
    with open_video(str(as_avi(tmp_path / "film.avi", counted(tmp_path / "film.ts", "libx264")))) as source:
        assert source.sound_start_s == 0
        assert source.start_s > 0


def pictures(path: Path, start_s: float = 0.0) -> list[tuple[float, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]]:
    with open_video(str(path)) as source:
        return [
            (source.time_of(frame), np.asarray(frame.to_ndarray(), np.uint8)) for frame in source.frames_from(start_s)
        ]
