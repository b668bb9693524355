"""The stages that work on files, each alone on plain rows, without Ray."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from lvqa_ray.config import Job
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.engine.step_runner import run_video_steps
from lvqa_ray.pipeline import Pipeline, build
from lvqa_ray.records import CaptionedClip, Clip, Failure, ProbedVideo, Row, Span, Video
from lvqa_ray.records.table_rows import clip_row
from lvqa_ray.stage.steps import VideoStep
from lvqa_ray.stages.cut import CutClips
from lvqa_ray.stages.filter import FilterClips
from lvqa_ray.stages.probe import ProbeVideo
from lvqa_ray.stages.sample import SampleFrames
from lvqa_ray.stages.split import SplitVideo
from lvqa_ray.video.reader.decode_losses import watch_losses
from lvqa_ray.video.reader.video_reader import open_video
from tests import media


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> ProbedVideo:
    path = media.make_video(tmp_path_factory.mktemp("v") / "film.mp4", seconds=4, scenes=(1.2, 2.8), audio_seconds=6)
    (row,) = ProbeVideo()(read_manifest([str(path)])[0])
    assert isinstance(row, ProbedVideo)
    return row


def clips_of(probed: ProbedVideo, split: SplitVideo) -> list[Clip]:
    return [clip for clip in split(probed) if isinstance(clip, Clip)]


def test_a_missing_file_is_a_row_with_a_reason() -> None:
    (row,) = ProbeVideo()(Video(id="x", uri="/nowhere/x.mp4", fingerprint=""))
    assert isinstance(row, Failure)
    assert (row.stage, row.kind, row.retryable) == ("probe", "missing_file", False)
    assert "/nowhere/x.mp4" in row.message


@pytest.mark.parametrize("choice", ["fail", "keep"])
def test_a_truncated_file_fails_or_is_used_in_part(tmp_path: Path, choice: str) -> None:
    path = media.make_video(tmp_path / "half.mp4", seconds=6, faststart=True)
    media.truncate(path, 0.6)
    (row,) = ProbeVideo(truncated=choice)(read_manifest([str(path)])[0])  # type: ignore[arg-type]
    if choice == "keep":
        assert isinstance(row, ProbedVideo)
        assert row.info.partial
        assert 1 < row.info.duration_sec < 5.5
    else:
        assert isinstance(row, Failure)
        assert row.kind == "truncated"


def test_fixed_clips_cover_the_picture_and_not_the_longer_sound(probed: ProbedVideo) -> None:
    clips = clips_of(probed, SplitVideo(max_seconds=1.5))
    assert [(clip.id, clip.span.start_s, clip.span.end_s) for clip in clips] == [
        ("film_0", 0.0, 1.5),
        ("film_1", 1.5, 3.0),
        ("film_2", 3.0, 4.0),
    ]
    assert [clip.last for clip in clips] == [False, False, True]


def test_scenes_become_clips(probed: ProbedVideo) -> None:
    clips = clips_of(probed, SplitVideo(mode="scenes", min_scene_frames=5))
    assert [round(clip.span.start_s, 2) for clip in clips] == [0.0, 1.2, 2.8]


def test_a_video_without_cuts_is_one_scene_split_by_the_longest_clip(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "still.mp4", seconds=5, static=True)
    (row,) = ProbeVideo()(read_manifest([str(path)])[0])
    assert isinstance(row, ProbedVideo)
    clips = clips_of(row, SplitVideo(mode="scenes", max_seconds=2))
    assert [clip.span.duration_s for clip in clips] == pytest.approx([2, 2, 1])


def test_settings_that_leave_nothing_are_a_reason(probed: ProbedVideo) -> None:
    (row,) = SplitVideo(start_remove_seconds=3, end_remove_seconds=3)(probed)
    assert isinstance(row, Failure)
    assert row.kind == "no_clips"
    assert "lower split.min_seconds" in row.message


def test_filters_mark_and_do_not_renumber(probed: ProbedVideo) -> None:
    clips = clips_of(probed, SplitVideo(max_seconds=1.5))
    kept = [clip for given in clips for clip in FilterClips(frames_min=30)(given)]
    assert [(clip.index, clip.dropped) for clip in kept] == [(0, ""), (1, ""), (2, "frames_min")]
    assert kept[-1].last
    (over,) = FilterClips(resolution_max=100)(clips[0])
    assert over.dropped == "resolution_max"


def test_frames_carry_the_times_that_were_asked_for(probed: ProbedVideo) -> None:
    clip = clips_of(probed, SplitVideo(max_seconds=2))[1]
    (row,) = SampleFrames(count=4, short_side=32)(clip)
    assert isinstance(row, Clip)
    assert [frame.time_s for frame in row.frames] == pytest.approx([2.25, 2.75, 3.25, 3.75])
    assert all(frame.jpeg.startswith(b"\xff\xd8") for frame in row.frames)
    assert row.identity == SampleFrames(count=4, short_side=32).identity(clip)
    assert row.identity != SampleFrames(count=5, short_side=32).identity(clip)


def test_what_a_clip_will_show_is_known_unless_it_is_damaged(tmp_path: Path) -> None:
    path = media.scribble(media.make_video(tmp_path / "film.mp4", seconds=8, size=(320, 180)), 0.4, 0.6)
    (row,) = ProbeVideo()(read_manifest([str(path)])[0])
    assert isinstance(row, ProbedVideo)
    sample = SampleFrames(per_second=4, short_side=32)
    whole = 0
    for clip in clips_of(row, SplitVideo(max_seconds=2)):
        (shown,) = sample(clip)
        assert isinstance(shown, Clip)
        expected = sample.expected(clip)
        same = (expected.identity, [frame.time_s for frame in expected.frames]) == (
            shown.identity,
            [frame.time_s for frame in shown.frames],
        )
        assert same == (shown.lost_s == 0)
        whole += same
    assert 0 < whole < 4


def test_frames_without_pictures_get_them_again(probed: ProbedVideo) -> None:
    sample = SampleFrames(count=4, short_side=32)
    split = SplitVideo(mode="scenes", max_seconds=1, min_scene_frames=5)
    for clip in split(probed, sampler=sample):
        assert isinstance(clip, Clip)
        bare = replace(clip, frames=tuple(replace(frame, jpeg=b"") for frame in clip.frames))
        assert list(sample(bare)) == [clip]
        earlier = replace(bare, frames=tuple(replace(frame, time_s=frame.time_s + 0.01) for frame in bare.frames))
        assert [again.identity for again in sample(earlier) if isinstance(again, Clip)] == [clip.identity]


def test_cut_files_are_whole_and_named_by_what_they_are(probed: ProbedVideo, tmp_path: Path) -> None:
    clip = clips_of(probed, SplitVideo(max_seconds=2))[1]
    (row,) = CutClips(mode="encode")(clip, folder=tmp_path, attach=True)
    assert isinstance(row, Clip)
    path = Path(row.media_path)
    assert path.read_bytes() == row.media
    assert row.media_mode == "encode"
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50
    # Another length in the same folder gives another file: the old one is never taken for it.
    (longer,) = CutClips(mode="encode")(replace(clip, span=Span(start_s=2, end_s=3)), folder=tmp_path)
    assert isinstance(longer, Clip)
    assert longer.media_path != row.media_path


def test_a_clip_says_how_it_was_made_and_its_identity_only_how_it_was_wanted(
    probed: ProbedVideo, tmp_path: Path
) -> None:
    whole = clips_of(probed, SplitVideo(max_seconds=2))[1]
    inside_a_group = replace(whole, span=Span(start_s=2.08, end_s=2.2))
    for clip, mode in ((whole, "exact"), (inside_a_group, "encode")):
        first, again = (next(CutClips(mode="exact")(clip, folder=tmp_path / n, attach=True)) for n in "ab")
        assert isinstance(first, Clip)
        assert isinstance(again, Clip)
        assert first.media_mode == mode
        assert clip_row(CaptionedClip(clip=first))["media_mode"] == mode
        assert "_exact_" in Path(first.media_path).name
        assert (again.identity, again.media) == (first.identity, first.media)


def test_the_settings_that_change_a_file_are_in_its_name(probed: ProbedVideo, tmp_path: Path) -> None:
    clip = clips_of(probed, SplitVideo(max_seconds=2))[0]

    def name(**settings: Any) -> str:
        row = next(CutClips(**settings)(clip, folder=tmp_path))
        assert isinstance(row, Clip)
        return Path(row.media_path).name.partition("_")[2]

    span = "000000000-000002000"
    assert name(mode="copy", crf=30) == name(mode="copy") == f"{span}_copy_audio-true.mp4"
    assert name(mode="exact") == f"{span}_exact_audio-true_crf-23_preset-veryfast.mp4"
    changed = name(mode="encode", codec="libx265", fps=5, short_side=64)
    assert changed == f"{span}_encode_audio-true_codec-libx265_crf-23_fps-5.0_preset-veryfast_short_side-64.mp4"


def test_a_garbage_file_in_the_place_of_a_clip_is_not_taken_for_it(probed: ProbedVideo, tmp_path: Path) -> None:
    clip = clips_of(probed, SplitVideo(max_seconds=2))[0]
    (first,) = CutClips(mode="encode")(clip, folder=tmp_path)
    assert isinstance(first, Clip)
    Path(first.media_path).write_bytes(b"garbage")
    (again,) = CutClips(mode="encode")(clip, folder=tmp_path)
    assert isinstance(again, Clip)
    with av.open(again.media_path) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50


def test_a_clip_file_that_is_there_and_whole_is_not_cut_again(probed: ProbedVideo, tmp_path: Path) -> None:
    cut = CutClips(mode="copy")
    one, two = clips_of(probed, SplitVideo(max_seconds=2))[:2]
    assert cut.made(one, folder=tmp_path) is None
    made = [next(cut(clip, folder=tmp_path, attach=True)) for clip in (one, two)]
    gone = replace(probed.video, uri="/nowhere.mp4")  # whose fingerprint is the same
    again = [next(cut(replace(clip, video=gone), folder=tmp_path, attach=True)) for clip in (one, two)]
    assert again == [replace(clip, video=gone) for clip in made if isinstance(clip, Clip)]
    known = cut.made(one, folder=tmp_path)
    assert known is not None
    with Path(known.media_path).open("r+b") as file:
        file.truncate(known_size := Path(known.media_path).stat().st_size // 2)
    assert cut.made(one, folder=tmp_path) is None
    assert isinstance(next(cut(one, folder=tmp_path)), Clip)
    assert Path(known.media_path).stat().st_size > known_size


def test_one_unreadable_clip_is_a_row_of_its_own(probed: ProbedVideo) -> None:
    gone = replace(clips_of(probed, SplitVideo())[0], video=replace(probed.video, uri="/nowhere.mp4"))
    (row,) = SampleFrames()(gone)
    assert isinstance(row, CaptionedClip)
    assert row.failure is not None
    assert (row.failure.clip_id, row.failure.kind) == ("film_0", "missing_file")


def test_a_folder_that_cannot_be_written_may_be_mended(probed: ProbedVideo, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / probed.video.id).write_text("a file where the folder belongs")
    else:
        tmp_path.chmod(0o500)
    (row,) = CutClips(mode="encode")(clips_of(probed, SplitVideo())[0], folder=tmp_path)
    assert isinstance(row, CaptionedClip)
    assert row.failure is not None
    assert (row.failure.kind, row.failure.retryable) == ("not_written", True)


def scenes_job(**sections: dict[str, object]) -> Job:
    endpoint = {"base_url": "http://localhost:1/v1", "model": "m"}
    given = {
        "videos": ["x.mp4"],
        "output": "out",
        "endpoints": {"vlm": endpoint, "llm": endpoint},
        "split": {"mode": "scenes", "min_scene_frames": 5},
        "sample": {"count": 4, "short_side": 32},
    }
    return Job.of({**given, **sections})


def splitting(pipeline: Pipeline) -> VideoStep:
    return next(step for step in pipeline.split if step.name == "split")


def only_clips(rows: Iterable[Row]) -> list[Clip]:
    rows = list(rows)
    clips = [row for row in rows if isinstance(row, Clip)]
    assert clips == rows
    return clips


def test_a_damaged_clip_is_not_copied(tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=6, gop=25, b_frames=0)
    with av.open(str(film)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][4 * 25 + 12]
    content = bytearray(film.read_bytes())
    assert packet.pos is not None
    content[packet.pos + 12 : packet.pos + packet.size] = bytes(packet.size - 12)
    film.write_bytes(content)
    job = scenes_job(split={"mode": "fixed", "max_seconds": 2}, cut={"mode": "exact"})
    pipeline = build(job, tmp_path / "media")
    (probed,) = pipeline.split[0].call(Video(id="film", uri=str(film), fingerprint="f"))
    clips = only_clips(
        row for clip in splitting(pipeline).call(probed) for row in run_video_steps(pipeline.look, clip, print)
    )
    assert [clip.media_mode for clip in clips] == ["exact", "exact", "encode"]
    assert [bool(clip.lost_s) for clip in clips] == [False, False, True]
    with watch_losses() as losses, open_video(clips[2].media_path) as source:
        assert len(list(source.frames())) > 40
    assert losses.within(Span(start_s=0, end_s=2)) == 0


def test_in_scenes_mode_the_pass_that_finds_them_brings_the_frames(probed: ProbedVideo) -> None:
    pipeline = build(scenes_job(filter={"frames_max": 35}))
    rows = only_clips(splitting(pipeline).call(probed))
    assert [round(row.span.start_s, 2) for row in rows] == [0.0, 1.2, 2.8]
    assert [row.last for row in rows] == [False, False, True]
    assert [(row.dropped, len(row.frames)) for row in rows] == [("", 4), ("frames_max", 0), ("", 4)]
    sample = pipeline.look[0]
    assert sample.name == "sample"
    assert [list(sample.call(row)) for row in rows] == [[row] for row in rows]
    again = only_clips(splitting(pipeline).call(probed))
    assert again == rows
    assert len({row.identity for row in rows}) == 3


def test_fixed_clips_and_those_read_by_decord_get_their_frames_later(probed: ProbedVideo) -> None:
    for job in (
        scenes_job(split={"mode": "fixed", "max_seconds": 2}),
        scenes_job(sample={"reader": "decord"}),
    ):
        rows = only_clips(splitting(build(job)).call(probed))
        assert [row.last for row in rows][-1:] == [True]
        assert not any(row.frames for row in rows)


def test_a_video_that_fails_while_it_is_split_says_so(probed: ProbedVideo) -> None:
    gone = replace(probed, video=replace(probed.video, uri="/nowhere/film.mp4"))
    (row,) = splitting(build(scenes_job())).call(gone)
    assert isinstance(row, Failure)
    assert (row.stage, row.kind) == ("split", "missing_file")


@pytest.mark.parametrize("mode", ["fixed", "scenes"])
def test_a_video_that_says_it_is_too_long_fails_before_it_is_opened(probed: ProbedVideo, mode: Any) -> None:
    video = Video(id="x", uri="/nowhere/x.mp4", fingerprint="")
    row = replace(probed, video=video, info=replace(probed.info, duration_sec=36_000.0))
    split = SplitVideo(mode=mode)
    for made in (split(row), split.divide(row, parts=4, least_s=60)):
        (failure,) = made
        assert isinstance(failure, Failure)
        assert (failure.stage, failure.kind, failure.retryable) == ("split", "too_many_clips", True)
        assert "10.0 hours" in failure.message
        assert "split.max_clips=3000" in failure.message
    assert len(clips_of(row, SplitVideo(max_clips=3600))) == 3600
    (failure,) = SplitVideo(max_seconds=0.001)(row)  # more than there can be at all
    assert isinstance(failure, Failure)


def test_a_video_with_more_scenes_than_allowed_fails_when_they_are_found(probed: ProbedVideo) -> None:
    *clips, failure = SplitVideo(mode="scenes", max_clips=2)(probed)
    assert [type(clip) for clip in clips] == [Clip]
    assert isinstance(failure, Failure)
    assert failure.kind == "too_many_clips"


def test_max_clips_changes_no_answer() -> None:
    endpoint = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    given = {"videos": "v.mp4", "output": "out", "endpoints": {"vlm": endpoint, "llm": endpoint}}
    plain, raised = Job.of(given), Job.of(given | {"split": {"max_clips": 9}})
    assert (plain.job_hash, plain.part_hashes) == (raised.job_hash, raised.part_hashes)
    assert build(plain).recipe == build(raised).recipe
