"""Which source tells what is said, and that it goes into captions' prompts and merged captions, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lvqa_ray.config import Job
from lvqa_ray.llm.messages import Text
from lvqa_ray.records import CaptionedClip, CaptionedVideo, Clip, Failure, ProbedVideo, Span, Subtitle, Video, VideoInfo
from lvqa_ray.stages.caption import PROMPT, CaptionClips
from lvqa_ray.stages.merge import MergeCaptions
from lvqa_ray.stages.speech import FindSpeech
from lvqa_ray.stages.split import SplitVideo
from tests import media
from tests.spoken import srt, with_sound, with_streams

INFO = VideoInfo(num_frames=750, height=90, width=160, fps=25, duration_sec=30)
ROW = ProbedVideo(video=Video(id="v", uri="/v.mp4", fingerprint="f"), info=INFO)
SAID = (
    Subtitle(start_ms=1000, end_ms=4000, text="Good morning."),
    Subtitle(start_ms=9000, end_ms=11_000, text='He said "no".'),
    Subtitle(start_ms=20_000, end_ms=21_000, text="Bye."),
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with a stream of subtitles."""
    folder = tmp_path_factory.mktemp("film")
    bare = media.make_video(folder / "bare.mp4", seconds=3, size=(64, 36))
    return with_streams(
        bare, folder / "film.mkv", [("eng", [(100, 900, "In the stream."), (3500, 3900, "Late.")])], "ass"
    )


def heard(film: Path, stage: FindSpeech) -> ProbedVideo | Failure:
    info = replace(INFO, duration_sec=3.0)
    (row,) = stage(ProbedVideo(video=Video(id="v", uri=str(film), fingerprint="f"), info=info))
    return row


def test_the_first_source_that_knows_is_taken(film: Path) -> None:
    stage, beside = FindSpeech(), film.with_suffix(".srt")
    row = heard(film, stage)
    assert isinstance(row, ProbedVideo)
    assert [line.text for line in row.speech] == ["In the stream."]  # what comes after the film's end is not of it
    assert stage.beside(row.video) == ()
    beside.write_text(srt([(0, 500, "Beside it.")]))
    row = heard(film, stage)
    assert isinstance(row, ProbedVideo)
    assert [line.text for line in row.speech] == ["Beside it."]
    now, before = stage.beside(row.video)
    assert before.startswith("film.srt ")
    beside.touch()
    assert stage.beside(row.video)[0] == now
    assert heard(film, FindSpeech(sources=("stream", "sidecar"))).speech[0].source == "stream"  # type: ignore[union-attr]
    assert heard(film, FindSpeech(sources=())) == replace(row, speech=())

    beside.write_text("nothing of use")
    row = heard(film, stage)
    assert isinstance(row, ProbedVideo)
    assert row.speech[0].source == "stream"
    assert row.note.startswith("film.srt holds no line")
    failed = heard(film, FindSpeech(broken="fail"))
    assert isinstance(failed, Failure)
    assert (failed.stage, failed.kind, failed.retryable) == ("speech", "bad_subtitles", False)
    beside.unlink()


def test_sound_is_handed_on_where_an_endpoint_is_next(film: Path) -> None:
    info = replace(INFO, duration_sec=3.0)
    talk = with_sound(film.with_name("bare.mp4"), film.with_name("talk.mkv"), [(0.5, "Then we swim.")])
    row = ProbedVideo(video=Video(id="v", uri=str(talk), fingerprint="f"), info=info)
    (first,) = FindSpeech()(row, asks=True)
    assert isinstance(first, ProbedVideo)
    (sound,) = first.sound
    assert (sound.start_ms, sound.mime, sound.identity) == (0, "audio/ogg", f"f sound 0-{sound.end_ms} opus")
    assert first.speech == ()
    assert list(FindSpeech()(row)) == [row]
    told = replace(row, video=replace(row.video, uri=str(film)))
    (silent,) = FindSpeech()(told, asks=True)
    assert isinstance(silent, ProbedVideo)
    assert (bool(silent.speech), silent.sound) == (True, ())
    (other,) = FindSpeech(sources=("endpoint", "stream"))(replace(told, info=info), asks=True)
    assert isinstance(other, ProbedVideo)
    assert (bool(other.speech), other.sound) == (True, ()), "there is no sound to hear"


def test_a_node_without_the_recognizer_fails_the_video_for_now(film: Path, tmp_path: Path) -> None:
    failed = heard(film, FindSpeech(sources=("whisper", "stream"), whisper_model=str(tmp_path)))
    # No sound, no recognizer: nothing was to be heard.
    assert isinstance(failed, ProbedVideo)
    talk = with_sound(film.with_name("bare.mp4"), tmp_path / "talk.mkv", [(0.5, "Then we swim.")])
    failed = heard(talk, FindSpeech(whisper_model=str(tmp_path)))
    assert isinstance(failed, Failure)
    assert (failed.stage, failed.kind, failed.retryable) == ("speech", "no_recognizer", True)
    assert "faster-whisper" in failed.message


def clips(row: ProbedVideo) -> list[Clip]:
    made = list(SplitVideo()(row))
    return [clip for clip in made if isinstance(clip, Clip)]


def test_each_clip_has_the_lines_that_reach_into_it() -> None:
    first, second, third = clips(replace(ROW, speech=SAID, note="odd"))
    assert [first.speech, second.speech, third.speech] == [SAID[:2], SAID[1:2], SAID[2:]]
    assert [first.heard, second.heard, third.heard] == [SAID, (), ()]
    assert [first.note, second.note] == ["odd", ""]
    ends = Span(start_s=4.0, end_s=9.0)
    assert not any(line.reaches(ends) for line in SAID)


def prompt(clip: Clip, stage: CaptionClips | None = None) -> str:
    (part,) = (stage or CaptionClips()).request(clip).messages[-1].parts
    assert isinstance(part, Text)
    return part.text


def test_a_caption_is_asked_for_with_what_is_said_and_without_it_as_ever() -> None:
    silent, spoken = clips(ROW)[0], clips(replace(ROW, speech=SAID))[0]
    assert prompt(silent) == PROMPT.format(start="0.00", end="10.00")
    assert prompt(spoken).startswith(prompt(silent) + "\n\nThis is said in the clip")
    assert '\n1.00 s: Good morning.\n9.00 s: He said "no".\n' in prompt(spoken)
    own = CaptionClips(prompt="See {start}.")
    assert prompt(spoken, own) == prompt(silent, own) == "See 0.00."
    fused = CaptionClips(prompt="Said: {asr}!")
    assert prompt(silent, fused) == "Said: !"
    assert prompt(spoken, fused) == 'Said: 1.00 s: Good morning.\n9.00 s: He said "no".!'


def test_merged_captions_tell_each_line_once() -> None:
    def merged(*, heard: bool, lacking: bool = False) -> CaptionedVideo:
        rows = [CaptionedClip(clip=clip, caption=f"Scene {clip.index}") for clip in clips(replace(ROW, speech=SAID))]
        rows[0] = replace(rows[0], caption="" if lacking else "A room.")
        (film,) = MergeCaptions(min_captioned=0.5)(rows, heard=heard)
        assert isinstance(film, CaptionedVideo)
        return film

    assert merged(heard=True).captions.splitlines() == [
        "From 0 to 10, a room. One hears: \"Good morning. He said 'no'.\"",
        "From 10 to 20, scene 1",
        'From 20 to 30, scene 2. One hears: "Bye."',
    ]
    assert "One hears: \"He said 'no'.\"" in merged(heard=True, lacking=True).captions.splitlines()[0]
    assert "hears" not in merged(heard=False).captions
    assert merged(heard=False).speech == SAID


def test_jobs_from_before_there_was_speech_are_the_same_jobs() -> None:
    at = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    given = {"videos": ["a.mp4"], "output": "out", "endpoints": {"vlm": at, "llm": at}}
    assert Job.of(given).job_hash == "a5489f8f04b66a42"  # as of the release before
    assert "speech" not in Job.of(given).part_hashes
    assert Job.of(given | {"speech": {"languages": ["en"]}}).job_hash != Job.of(given).job_hash
