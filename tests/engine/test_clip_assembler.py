"""Clips come in any order and a video leaves once, when its last clip is in."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.engine.ray.clip_assembler import ClipAssembler
from lvqa_ray.engine.row_codec import pack, unpack
from lvqa_ray.records import CaptionedClip, CaptionedVideo, Clip, Failure, Span, Video, VideoInfo
from lvqa_ray.stages.merge import MergeCaptions

INFO = VideoInfo(num_frames=250, height=90, width=160, fps=25, duration_sec=10)


def clips(video_id: str, count: int) -> list[CaptionedClip]:
    video = Video(id=video_id, uri=f"/{video_id}.mp4", fingerprint="f")
    return [
        CaptionedClip(
            clip=Clip(video=video, info=INFO, index=n, span=Span(start_s=n, end_s=n + 1), last=n == count - 1),
            caption=f"{video_id} {n}",
        )
        for n in range(count)
    ]


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=5), seed=st.integers())
def test_every_video_leaves_once_with_all_its_clips_in_order(counts: list[int], seed: int) -> None:
    rows = [clip for number, count in enumerate(counts) for clip in clips(f"v{number}", count)]
    random.Random(seed).shuffle(rows)  # noqa: S311
    assembler = ClipAssembler(MergeCaptions())
    out = [made for row in rows for packed in assembler(pack(row)) for made in unpack(packed)]
    films = {row.video.id: row for row in out if isinstance(row, CaptionedVideo)}
    assert set(films) == {f"v{number}" for number in range(len(counts))}
    for number, count in enumerate(counts):
        lines = films[f"v{number}"].captions.splitlines()
        assert lines == [f"From {n} to {n + 1}, v{number} {n}" for n in range(count)]
    assert sum(isinstance(row, CaptionedClip) for row in out) == sum(counts)


def test_a_failure_of_a_video_passes_by() -> None:
    failure = Failure(video=clips("v", 1)[0].clip.video, stage="probe", kind="k", message="m")
    assert [unpack(row) for row in ClipAssembler(MergeCaptions())(pack(failure))] == [[failure]]


def test_a_video_that_fails_in_the_middle_takes_its_clips_along_whenever_they_come() -> None:
    first, second, last = clips("v", 3)
    failure = Failure(video=first.clip.video, stage="split", kind="decoder_crashed", message="m")
    assembler = ClipAssembler(MergeCaptions())
    out = [made for row in (first, failure, second, last) for packed in assembler(pack(row)) for made in unpack(packed)]
    assert out == [failure]
    (packed,) = assembler(pack(first, *clips("w", 1), second))
    assert len(unpack(packed)) == 2
