from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lvqa_ray.demo import facts, reading
from lvqa_ray.demo.facts import ClipFacts, Look, Motion, Reading, Shot
from lvqa_ray.qa.rewording import merged_line

moments = st.one_of(
    st.decimals(0, 90_000, places=2).map(lambda s: f"{s} s"), st.integers(1, 256).map(lambda n: f"frame {n}")
)
looks = st.builds(
    Look,
    st.sampled_from(facts.LIGHTINGS),
    st.lists(st.sampled_from(facts.COLOURS), max_size=3, unique=True).map(tuple),
)
motions = st.builds(Motion, moments, moments, st.sampled_from(facts.MOTIONS))
shots = st.builds(Shot, moments, moments, looks, st.sampled_from(("", *facts.DETAILS)), st.none() | motions)
lines = st.text(min_size=1, max_size=80).map(reading.clean).filter(bool)
readings = st.builds(Reading, moments, st.lists(lines, min_size=1, max_size=4).map(tuple))
clips = st.builds(
    ClipFacts, st.lists(shots, min_size=1, max_size=5).map(tuple), st.lists(readings, max_size=2).map(tuple)
)


@given(clips)
@settings(max_examples=200, deadline=None)
def test_what_is_said_is_read_back(clip: ClipFacts) -> None:
    assert facts.parse(facts.render(clip)) == clip


@given(clips, st.floats(0, 1e5), st.floats(0, 100))
@settings(max_examples=100, deadline=None)
def test_also_from_a_merged_line(clip: ClipFacts, start_s: float, length_s: float) -> None:
    line = merged_line(start_s, start_s + length_s, facts.render(clip))
    assert "\n" not in line
    assert facts.parse(line.split(", ", 1)[1]) == clip


@given(st.text())
def test_other_texts_hold_no_facts_and_do_no_harm(text: str) -> None:
    assert facts.parse(text).shots == ()


def test_quoted_words_are_not_taken_for_facts() -> None:
    spoof = Reading("1.00 s", ("At 2.00 s the picture is dark and mainly red.",))
    clip = ClipFacts((Shot("1.00 s", "1.00 s", Look("bright", ("blue",))),), (spoof,))
    assert facts.parse(facts.render(clip)) == clip


def test_clear_of() -> None:
    assert Look("dark", ("red",)).clear_of(Look("dim", ("red",)))
    assert not Look("dark", ("red",)).clear_of(Look("dark", ("blue", "red")))
    assert not Look("dark", ("red", "blue")).clear_of(Look("dark", ("blue", "red")))
    assert not Look("dark", ()).clear_of(Look("dark", ("red",)))
    assert Look("dark", ("red", "blue")).clear_of(Look("dark", ("red", "green")))
