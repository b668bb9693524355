"""The words of all parts, on the clock of the video, each once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lvqa_ray.errors import BadRequest, RateLimited
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Text
from lvqa_ray.records import Failure, ProbedVideo, Subtitle, Usage, Video, VideoInfo
from lvqa_ray.records.sound import Sound
from lvqa_ray.records.transcript import Segment, Transcript
from lvqa_ray.stages.transcribe import TranscribeSpeech, joined, unrepeated

INFO = VideoInfo(num_frames=750, height=90, width=160, fps=25, duration_sec=30)
VIDEO = Video(id="v", uri="/v.mp4", fingerprint="f")


def sound(start_ms: int, end_ms: int) -> Sound:
    return Sound(start_ms=start_ms, end_ms=end_ms, mime="audio/ogg", identity=f"f sound {start_ms}", data=b"x")


def transcript(*segments: tuple[float, float, str]) -> Transcript:
    return Transcript(tuple(Segment(*each) for each in segments), "english")


def told(sounds: list[Sound], transcripts: list[Transcript]) -> list[tuple[int, int, str]]:
    return [(line.start_ms, line.end_ms, line.text) for line in joined(sounds, transcripts)]


def test_times_are_those_of_the_video() -> None:
    sounds = [sound(500, 10_000), sound(12_000, 20_000)]
    said = [transcript((0.5, 2.0, "One."), (9.0, 9.5, "Two.")), transcript((0.0, 1.25, "Three."))]
    assert told(sounds, said) == [(1000, 2500, "One."), (9500, 10_000, "Two."), (12_000, 13_250, "Three.")]


@pytest.mark.parametrize(
    ("first", "second", "lines"),
    [
        # The seam of sound from 0 to 10 s and from 8 s on is at 9 s.
        ([(5, 8, "Well."), (8.2, 8.8, "Yes.")], [(0.2, 0.8, "Yes."), (2, 3, "Go on.")], ["Well.", "Yes.", "Go on."]),
        ([(7, 10, "I think we should go")], [(0.5, 4, "we should go now.")], ["I think we should go", "now."]),
        ([(7, 10, "I think that we")], [(0.5, 4, "Should go now.")], ["I think that we", "Should go now."]),
        ([(9.2, 10, "no")], [(1.2, 2.0, "No, never.")], ["No, never."]),
        ([(6, 9.5, "Go home.")], [(0, 1.5, "Go home.")], ["Go home."]),
        ([], [(0.1, 0.5, "Only here."), (3, 4, "Later.")], ["Later."]),
    ],
)  # fmt: skip
def test_words_at_a_seam_are_told_once(first: list[Any], second: list[Any], lines: list[str]) -> None:
    made = told([sound(0, 10_000), sound(8_000, 20_000)], [transcript(*first), transcript(*second)])
    assert [text for _, _, text in made] == lines
    assert all(start < end for start, end, _ in made)
    assert made == sorted(made)


def test_repeated_words() -> None:
    assert unrepeated("We go home", "Go home, now.") == "now."
    assert unrepeated("We go", "They go") == "They go"
    assert unrepeated("Yes.", "yes!") == ""
    assert unrepeated("", "Yes.") == "Yes."


def asked(row: ProbedVideo, answer: str | Exception, stage: TranscribeSpeech | None = None) -> tuple[Any, list[Any]]:
    requests: list[ChatRequest] = []

    async def chat(request: ChatRequest) -> ChatReply:
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return ChatReply(text=answer, model="m", usage=Usage())

    (made,) = asyncio.run((stage or TranscribeSpeech())(row, chat))
    return made, requests


def test_what_is_heard_takes_the_place_of_other_sources_unless_it_is_nothing() -> None:
    others = (Subtitle(start_ms=0, end_ms=500, text="Beside.", source="sidecar"),)
    row = ProbedVideo(video=VIDEO, info=INFO, speech=others, sound=(sound(0, 40_000),))
    made, (request,) = asked(row, transcript((1, 2, "Hello."), (35, 36, "After the end.")).text)
    assert [(line.text, line.source, line.language) for line in made.speech] == [("Hello.", "endpoint", "english")]
    assert made.sound == ()
    assert request.messages[0].parts == (Media(identity="f sound 0", mime="audio/ogg", data=b"x", seconds=40.0),)
    made, _ = asked(row, transcript().text)
    assert made.speech == others
    silent = ProbedVideo(video=VIDEO, info=INFO)
    assert asked(silent, "") == (silent, [])
    _, (request,) = asked(row, transcript().text, TranscribeSpeech(prompt="Names: Ann {{x}}"))
    assert request.messages[0].parts[0] == Text(text="Names: Ann {x}")


@pytest.mark.parametrize(("error", "retryable"), [(RateLimited("Slow down."), True), (BadRequest("No."), False)])
def test_a_call_without_an_answer_is_a_failure_of_the_video(error: Exception, *, retryable: bool) -> None:
    made, _ = asked(ProbedVideo(video=VIDEO, info=INFO, sound=(sound(0, 1000),)), error)
    assert isinstance(made, Failure)
    assert (made.stage, made.retryable) == ("transcribe", retryable)
    made, _ = asked(ProbedVideo(video=VIDEO, info=INFO, sound=(sound(0, 1000),)), '{"no": "transcript"}')
    assert isinstance(made, Failure)
    assert made.kind == "malformed_reply"
