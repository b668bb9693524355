from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lvqa_ray.demo.captions import COLOURS, LIGHTINGS, NAMED, STATED, CaptionFacts, Film, Look, Shot, looks
from lvqa_ray.demo.text_recognition import clean
from lvqa_ray.qa.rewording import merged_line

moments = st.one_of(
    st.decimals(0, 90_000, places=2).map(lambda s: f"{s} s"), st.integers(1, 256).map(lambda n: f"frame {n}")
)
all_looks = st.builds(
    Look, st.sampled_from(LIGHTINGS), st.lists(st.sampled_from(COLOURS), max_size=3, unique=True).map(tuple)
)
movements = st.sampled_from(("", "hardly anything moves", "there is some movement", "there is much movement"))
shots = st.builds(Shot, moments, moments, all_looks, movements)
lines = st.lists(st.text(min_size=1, max_size=80).map(clean).filter(bool), max_size=4).map(tuple)
captions = st.builds(CaptionFacts, st.lists(shots, min_size=1, max_size=5).map(tuple), moments, lines)


@given(captions)
@settings(max_examples=200, deadline=None)
def test_the_looks_that_are_written_are_read_back(caption: CaptionFacts) -> None:
    assert looks(STATED, caption.render()) == [shot.look for shot in caption.shots]


@given(st.lists(captions, min_size=1, max_size=5), st.floats(0, 1e5), st.floats(1, 100))
@settings(max_examples=100, deadline=None)
def test_also_from_merged_lines(told: list[CaptionFacts], start_s: float, length_s: float) -> None:
    times = [start_s + n * length_s for n in range(len(told) + 1)]
    merged = [merged_line(a, b, one.render()) for a, b, one in zip(times, times[1:], told, strict=False)]
    assert not any("\n" in line for line in merged)
    film = Film.read("\n".join(["Some prompt.", *merged, "From 3 to 4, a dog barks."]))
    assert [shot.look for shot in film.seen] == [shot.look for one in told for shot in one.shots]
    assert [shot.place for shot in film.seen] == [place for place, one in enumerate(told) for _ in one.shots]


@given(all_looks)
def test_a_look_is_named_and_stated(look: Look) -> None:
    assert looks(NAMED, f"What comes after {look.phrase}?") == looks(STATED, look.sentence) == [look]


@given(st.text())
def test_other_texts_hold_no_looks_and_do_no_harm(text: str) -> None:
    assert looks(STATED, text) == looks(NAMED, text) == []


def test_quoted_words_are_not_taken_for_facts() -> None:
    look = Look("bright", ("blue",))
    caption = CaptionFacts(
        (Shot("1.00 s", "1.00 s", look),), "1.00 s", ("At 2.00 s the picture is dark and mainly red.",)
    )
    assert looks(STATED, caption.render()) == [look]


def test_clear_of() -> None:
    assert Look("dark", ("red",)).clear_of(Look("dim", ("red",)))
    assert not Look("dark", ("red",)).clear_of(Look("dark", ("blue", "red")))
    assert not Look("dark", ("red", "blue")).clear_of(Look("dark", ("blue", "red")))
    assert not Look("dark", ()).clear_of(Look("dark", ("red",)))
    assert Look("dark", ("red", "blue")).clear_of(Look("dark", ("red", "green")))
