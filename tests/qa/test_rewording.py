# ruff: noqa: RUF001 -- typographic apostrophes and quotation marks are what some models write

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lvqa_ray.qa.rewording import merged_line, reason_text, replace_caption_mentions
from lvqa_ray.records import Question, ReasoningStep

CAPTIONS = {
    "Video shows a room": "video shows a room",
    "A man walks": "a man walks",
    "Über die Brücke": "über die Brücke",
    "TV screens glow": "TV screens glow",
    "I see a man": "I see a man",
    "I'm at the door": "I'm at the door",
    "I’ve a key": "I’ve a key",
    "I, a robot": "I, a robot",
    "In the room": "in the room",
    "It's raining": "it's raining",
    "3D shapes": "3D shapes",
    "R2-D2 rolls by": "R2-D2 rolls by",
    "iPhone on a desk": "iPhone on a desk",
    "McDonald's at night": "McDonald's at night",
    "U.S. soldiers march": "U.S. soldiers march",
    "J. Smith speaks": "J. Smith speaks",
    "A. Smith speaks": "A. Smith speaks",
    "T-shirt on a chair": "T-shirt on a chair",
    "X marks the spot": "X marks the spot",
    '"The End" appears': '"The End" appears',
    "already lower": "already lower",
    "Alice walks": "alice walks",  # a name cannot be told from a word
    "一个人走进房间": "一个人走进房间",
    "One\n\ntwo\r\n three\t four  ": "one two three four",
}


@pytest.mark.parametrize(("caption", "text"), CAPTIONS.items(), ids=CAPTIONS)
def test_merged_line_folds_and_lowers_the_caption(caption: str, text: str) -> None:
    assert merged_line(0.0, 10.0, caption) == f"From 0 to 10, {text}"


def test_merged_line_cuts_times_to_seconds() -> None:
    assert merged_line(9.99, 30.04, "Rain.") == "From 9 to 30, rain."


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.text())
def test_a_merged_line_is_one_line(start_s: float, end_s: float, caption: str) -> None:
    assert len(merged_line(start_s, end_s, caption).splitlines()) == 1


CHANGED = {
    # the noun
    "the captions": "the video",
    "The captions, taken together.": "The video, taken together.",
    "THE CAPTIONS SHOW": "THE VIDEO SHOWS",
    "these captions": "the video",
    "This caption describes a man": "The video describes a man",
    "all the captions": "the video",
    "All of the captions show rain": "The video shows rain",
    "the provided captions": "the video",
    "the merged video captions": "the video",
    "the video captions": "the video",
    "video captions": "video",
    "Video captions": "Video",
    "the video's captions": "the video",
    "The video’s captions": "The video",
    "the first caption shows a door": "the first part of the video shows a door",
    "The later captions describe rain": "The later part of the video describes rain",
    # the verb
    "The captions show that": "The video shows that",
    "the captions describe": "the video describes",
    "the captions mention": "the video mentions",
    "the captions indicate": "the video indicates",
    "the captions state": "the video states",
    "the captions suggest": "the video suggests",
    "the captions note": "the video notes",
    "the captions specify": "the video specifies",
    "the captions clearly show": "the video clearly shows",
    "the captions also explicitly mention": "the video also explicitly mentions",
    "the captions do not mention it": "the video does not mention it",
    "the captions don't mention it": "the video doesn't mention it",
    "the captions have no dog": "the video has no dog",
    "the captions were clear": "the video was clear",
    "the captions showed a dog": "the video showed a dog",
    "the captions would show a dog": "the video would show a dog",
    "The captions from 0 to 10 describe a man": "The video from 0 to 10 describes a man",
    "the captions at 0:10 mention a dog": "the video at 0:10 mentions a dog",
    "the captions mention 'a red car'": "the video mentions 'a red car'",
    "The events in the captions show that": "The events in the video show that",
    "the caption shows a man": "the video shows a man",
    "the caption clearly states that he left": "the video clearly states that he left",
    # the place
    "According to the captions, he left": "According to the video, he left",
    "according to the caption": "according to the video",
    "according to captions": "according to the video",
    "Based on the provided captions, why?": "Based on the video, why?",
    "as described in the caption": "as described in the video",
    "in the caption from 0 to 10": "in the video from 0 to 10",
    "The caption [0 to 10] has it": "The video [0 to 10] has it",
    "He left. Captions show why.": "He left. The video shows why.",
    "From the captions we learn that the captions mention rain": "From the video we learn that the video mentions rain",
}

KEPT = [
    "closed captions on the screen",
    "the closed captions show his name",
    "Closed captions indicate music",
    "a captioned photo",
    "captioning is hard",
    "he must recaption it",
    "re-caption the captions-based set",
    "a caption on the screen",
    "a caption at the bottom reads 'EXIT'",
    "The caption on the screen shows a name",
    "The captions on the screen show a name",
    "the captions at the bottom of the frame",
    "the captions across the banner mention a sale",
    "the captions in the lower corner",
    "the captions in white letters",
    "the captions in English",
    "The captions appear after the music",
    "the captions that appear on the TV",
    "the captions are displayed on a wall",
    "the captions are briefly visible",
    "the caption reads EXIT",
    "the caption says 'EXIT'",
    "The caption shows “EXIT”",
    'The captions say "EXIT"',
    "the word in the caption",
    "she turns on the captions",
    "he turned off the captions",
    "he reads the captions",
    "none of the captions mention a dog",
    "both of the captions show a dog",
    "the captions' order",
    "the caption's colour",
    "photo captions",
    "an on-screen caption",
    "She writes captions for a newspaper",
    "two captions",
    "capture the captains",
    "",
]


@pytest.mark.parametrize(("text", "expected"), CHANGED.items(), ids=CHANGED)
def test_captions_as_the_source_become_the_video(text: str, expected: str) -> None:
    assert replace_caption_mentions(text) == expected


@pytest.mark.parametrize("text", KEPT)
def test_other_captions_are_left_alone(text: str) -> None:
    assert replace_caption_mentions(text) == text


WORDS = [
    *(
        "the",
        "The",
        "a",
        "these",
        "all",
        "of",
        "video",
        "video's",
        "provided",
        "first",
        "closed",
        "none",
        "screen",
        "turn",
    ),
    *(
        "captions",
        "Captions",
        "caption",
        "captioned",
        "recaption",
        "show",
        "shows",
        "mention",
        "do",
        "not",
        "are",
        "is",
    ),
    *("in", "on", "from", "at", "according to", "based on", "0", "10", "to", "clearly", ".", ",", "'EXIT'", "'", "\n"),
]


@example("the captions provided captions")
@example("the captions video captions")
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join) | st.text())
def test_rewriting_twice_changes_nothing_more(text: str) -> None:
    once = replace_caption_mentions(text)
    assert replace_caption_mentions(once) == once


@given(st.text())
def test_text_without_captions_is_kept(text: str) -> None:
    assert "caption" in text.lower() or replace_caption_mentions(text) == text


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit", ["the ", "the captions ", "video ", " ", "captions", "all of ", "captions " + "a" * 50]
)
def test_long_texts_end(unit: str) -> None:
    replace_caption_mentions(unit * (200_000 // len(unit)))


def test_reason_text_lists_the_steps() -> None:
    question = Question(
        question="Why?",
        options={"A": "a", "B": "b", "C": "c", "D": "d"},
        answer="A",
        steps=(
            ReasoningStep(timestamp="0 to 10", start_s=0, end_s=10, reasons=("The captions show a man", "He reads.")),
            ReasoningStep(timestamp="10 to 20", start_s=10, end_s=20, reasons=('He says "stop!"',)),
        ),
    )
    assert reason_text(question) == (
        'Start thinking.\nStep 1: The video shows a man. He reads.\nStep 2: He says "stop!"'
    )
