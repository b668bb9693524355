from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from lvqa_ray.demo import text_recognition
from lvqa_ray.demo.captions import Look, Shot
from lvqa_ray.demo.pictures import BadBody, describe, open_picture
from tests.demo.pictures import HEIGHT, WIDTH, Pixels, flat, jpeg, shown, texture, written


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    cv2.setNumThreads(1)


def window(right: int, down: int) -> Pixels:
    return texture()[down : down + HEIGHT, right : right + WIDTH]


def test_a_dark_red_still() -> None:
    described = describe(shown([flat(0, 0, 120)] * 4, start_s=10))
    assert described.shots == (Shot("10.00 s", "13.00 s", Look("dark", ("red",)), "hardly anything moves"),)
    assert described.lines == ()
    assert described.render() == (
        "From 10.00 s to 13.00 s the picture is dark and mainly red; hardly anything moves. The shot does not change."
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
    assert describe(shown([flat(*bgr)])).shots[0].look == look


def test_two_colours_are_named_largest_first() -> None:
    image = flat(200, 90, 20)
    image[:, : WIDTH * 2 // 5] = (20, 160, 20)
    assert describe(shown([image])).shots[0].look.colours == ("blue",)
    image[: HEIGHT // 3] = (0, 0, 0)
    assert describe(shown([image])).shots[0].look.colours == ("blue", "black")


def test_many_colours_are_not_called_main_ones() -> None:
    image = flat(0, 0, 0)
    colours = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (0, 0, 200), (0, 200, 0), (220, 100, 30), (40, 220, 235)]
    for i, stripe in enumerate(np.array_split(np.arange(WIDTH), len(colours))):
        image[:, stripe] = colours[i]
    assert describe(shown([image])).shots[0].look.palette == "of many colours"


@pytest.mark.parametrize(
    ("step", "movement"),
    [(0, "hardly anything moves"), (3, "there is some movement"), (90, "there is much movement")],
)
def test_how_much_moves(step: int, movement: str) -> None:
    (shot,) = describe(shown([window(300 + step * i, 200) for i in range(4)])).shots
    assert shot.movement == movement


def test_a_cut_is_found_between_its_frames() -> None:
    images = [flat(0, 0, 120)] * 3 + [texture()[:HEIGHT, :WIDTH]] * 2
    described = describe(shown(images, start_s=5))
    assert [(shot.start, shot.end) for shot in described.shots] == [("5.00 s", "7.00 s"), ("8.00 s", "9.00 s")]
    assert "Between 7.00 s and 8.00 s the shot changes: from 8.00 s to 9.00 s" in described.render()
    assert "does not change" not in described.render()


def test_a_single_frame_says_nothing_of_movement_or_cuts() -> None:
    said = describe(shown([flat(200, 90, 20)])).render()
    assert said == "At 0.00 s the picture is dim and mainly blue."


def test_text_is_read_and_quoted() -> None:
    described = describe(shown([flat(90, 30, 20), written("HELLO RAY DATA"), flat(90, 30, 20)]))
    assert (described.read_at, described.lines) == ("1.00 s", ("HELLO RAY DATA",))
    assert "At 1.00 s the words “HELLO RAY DATA” can be read." in described.render()


def test_lines_of_text_come_from_top_to_bottom() -> None:
    page = written("SECOND LINE")
    cv2.putText(page, "FIRST LINE", (60, 120), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (255, 255, 255), 4, cv2.LINE_AA)
    assert describe(shown([page])).lines == ("FIRST LINE", "SECOND LINE")


def test_a_page_of_credits_costs_no_more_than_the_lines_that_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rapidocr")
    engine = text_recognition._engine()
    assert engine is not None
    page = flat(90, 30, 20)
    for row in range(10):
        at = (60, 30 + 35 * row)
        cv2.putText(page, f"NAME NUMBER {row}", at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
    recognised: list[Pixels] = []

    def counted(picture: Pixels, **how: bool) -> object:
        if how["use_rec"]:
            recognised.append(picture)
        return engine(picture, **how)

    monkeypatch.setattr(text_recognition, "_engine", lambda: counted)
    assert describe(shown([page])).lines == tuple(f"NAME NUMBER {row}" for row in range(4))
    assert len(recognised) == 4


def test_no_text_no_recognition(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("recognition was asked for")

    monkeypatch.setattr(text_recognition, "_engine", fail)
    assert describe(shown([flat(90, 30, 20), flat(255, 255, 255)])).lines == ()


def test_without_the_recogniser_no_text_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_recognition, "_engine", lambda: None)
    assert describe(shown([written("HELLO RAY DATA")])).lines == ()


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0 torn"])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(BadBody):
        open_picture(data, "0.00 s")


def test_a_jpeg_with_a_torn_body_is_no_picture_or_still_one() -> None:
    whole = jpeg(texture()[:HEIGHT, :WIDTH])
    with pytest.raises(BadBody, match="damaged"):
        open_picture(whole[: len(whole) // 3], "0.00 s")


def test_png_is_read_too() -> None:
    picture = open_picture(bytes(cv2.imencode(".png", flat(0, 0, 120))[1]), "0.00 s")
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    assert describe([picture]).shots[0].look == Look("dark", ("red",))


def test_odd_and_tiny_pictures() -> None:
    for shape in ((1, 1), (3, 700), (701, 3)):
        image = np.full((*shape, 3), 200, np.uint8)
        assert describe([open_picture(jpeg(image), "frame 1")]).shots[0].look.lighting == "bright"


def test_what_a_caption_costs() -> None:
    pictures = shown([window(20 * i, 10 * i) for i in range(8)])
    took = []
    for _ in range(3):
        start = time.process_time()
        describe(pictures)
        took.append(time.process_time() - start)
    assert min(took) < 0.3  # 0.05 s when nothing else runs
