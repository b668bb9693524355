from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from lvqa_ray.demo import describe, facts, reading
from lvqa_ray.demo.describe import NotAPicture
from lvqa_ray.demo.facts import Look, Motion
from tests.demo.pictures import HEIGHT, WIDTH, Pixels, flat, jpeg, shown, texture, written


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    cv2.setNumThreads(1)


def window(right: int, down: int) -> Pixels:
    return texture()[down : down + HEIGHT, right : right + WIDTH]


def test_a_dark_red_still() -> None:
    described = describe.describe(shown([flat(0, 0, 120)] * 4, start_s=10))
    (shot,) = described.shots
    assert shot.look == Look("dark", ("red",))
    assert shot.detail == "plain"
    assert shot.motion == Motion("10.00 s", "13.00 s", "hardly anything moves")
    assert described.readings == ()
    assert facts.render(described) == (
        "From 10.00 s to 13.00 s the picture is dark, plain and mainly red; all the while hardly anything moves. "
        "The shot does not change."
    )


@pytest.mark.parametrize(
    ("bgr", "look"),
    [
        ((0, 0, 0), Look("dark", ("black",))),
        ((255, 255, 255), Look("bright", ("white",))),
        ((128, 128, 128), Look("evenly lit", ("grey",))),
        ((60, 140, 60), Look("evenly lit", ("green",))),
        ((220, 120, 40), Look("evenly lit", ("blue",))),
        ((30, 60, 100), Look("dim", ("brown",))),
        ((40, 220, 235), Look("bright", ("yellow",))),
        ((20, 130, 250), Look("bright", ("orange",))),
        ((180, 170, 20), Look("evenly lit", ("teal",))),
        ((180, 40, 120), Look("dim", ("purple",))),
        ((200, 170, 250), Look("bright", ("pink",))),
    ],
)
def test_light_and_colour_of_a_flat_picture(bgr: tuple[int, int, int], look: Look) -> None:
    assert describe.describe(shown([flat(*bgr)])).shots[0].look == look


def test_two_colours_are_named_largest_first() -> None:
    image = flat(200, 90, 20)
    image[:, : WIDTH * 2 // 5] = (20, 160, 20)
    assert describe.describe(shown([image])).shots[0].look.colours == ("blue",)
    image[: HEIGHT // 3] = (0, 0, 0)
    assert describe.describe(shown([image])).shots[0].look.colours == ("blue", "black")


def test_many_colours_are_not_called_main_ones() -> None:
    image = flat(0, 0, 0)
    colours = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (0, 0, 200), (0, 200, 0), (220, 100, 30), (40, 220, 235)]
    for i, stripe in enumerate(np.array_split(np.arange(WIDTH), len(colours))):
        image[:, stripe] = colours[i]
    assert describe.describe(shown([image])).shots[0].look.palette == "of many colours"


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ((30, 0), "the view pans right"),
        ((-30, 0), "the view pans left"),
        ((0, 30), "the view pans down"),
        ((0, -30), "the view pans up"),
    ],
)
def test_a_pan_has_its_direction(step: tuple[int, int], what: str) -> None:
    right, down = step
    described = describe.describe(shown([window(300 + right * i, 200 + down * i) for i in range(4)]))
    (shot,) = described.shots
    assert shot.motion == Motion("0.00 s", "3.00 s", what)


@pytest.mark.parametrize(("third", "where"), [(0, "on the left"), (1, "in the centre"), (2, "on the right")])
def test_local_movement_has_its_place(third: int, where: str) -> None:
    images = []
    for i in range(4):
        image = flat(150, 150, 150)
        left, top = third * WIDTH // 3 + 60, 60 + 70 * i
        image[top : top + 120, left : left + 120] = (30, 30, 30)
        images.append(image)
    (shot,) = describe.describe(shown(images)).shots
    assert shot.motion is not None
    assert shot.motion.what.startswith("something moves")
    assert shot.motion.what.endswith(where)


def test_a_cut_is_found_between_its_frames() -> None:
    images = [flat(0, 0, 120)] * 3 + [texture()[:HEIGHT, :WIDTH]] * 2
    described = describe.describe(shown(images, start_s=5))
    assert [(shot.start, shot.end) for shot in described.shots] == [("5.00 s", "7.00 s"), ("8.00 s", "9.00 s")]
    assert "Between 7.00 s and 8.00 s the shot changes: from 8.00 s to 9.00 s" in facts.render(described)
    assert facts.UNCHANGED not in facts.render(described)


def test_a_single_frame_says_nothing_of_movement_or_cuts() -> None:
    said = facts.render(describe.describe(shown([flat(200, 90, 20)])))
    assert said == "At 0.00 s the picture is dim, plain and mainly blue."


def test_text_is_read_and_quoted() -> None:
    described = describe.describe(shown([flat(90, 30, 20), written("HELLO RAY DATA"), flat(90, 30, 20)]))
    assert [(item.at, item.lines) for item in described.readings] == [("1.00 s", ("HELLO RAY DATA",))]
    assert "At 1.00 s the words “HELLO RAY DATA” can be read." in facts.render(described)


def test_no_text_no_recognition(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> tuple[facts.Reading, ...]:
        raise AssertionError("recognition was asked for")

    monkeypatch.setattr(reading, "read", fail)
    describe.describe(shown([flat(90, 30, 20), flat(255, 255, 255)]))


def test_recognition_stops_at_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BUDGET_S", -1.0)
    assert describe.describe(shown([written("HELLO RAY DATA")])).readings == ()


def test_recognition_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_WAIT_S", 0.05)
    with reading._one_at_a_time:
        assert describe.describe(shown([written("HELLO RAY DATA")])).readings == ()


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0 torn"])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(NotAPicture):
        describe.open_picture(data, "0.00 s")


def test_a_jpeg_with_a_torn_body_is_no_picture_or_still_one() -> None:
    whole = jpeg(texture()[:HEIGHT, :WIDTH])
    picture = describe.open_picture(whole[: len(whole) // 3], "0.00 s")
    with pytest.raises(NotAPicture, match="damaged"):
        describe.describe([picture])


def test_png_is_read_too() -> None:
    picture = describe.open_picture(bytes(cv2.imencode(".png", flat(0, 0, 120))[1]), "0.00 s")
    assert (picture.height, picture.width) == (HEIGHT, WIDTH)
    assert describe.describe([picture]).shots[0].look == Look("dark", ("red",))


def test_odd_and_tiny_pictures() -> None:
    for shape in ((1, 1), (3, 700), (701, 3)):
        image = np.full((*shape, 3), 200, np.uint8)
        assert describe.describe([describe.open_picture(jpeg(image), "frame 1")]).shots[0].look.lighting == "bright"


def test_what_a_caption_costs() -> None:
    pictures = shown([window(20 * i, 10 * i) for i in range(8)])
    describe.describe(pictures)
    start = time.process_time()
    describe.describe(pictures)
    assert time.process_time() - start < 0.3  # 0.05 s when nothing else runs
