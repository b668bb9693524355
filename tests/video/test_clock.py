"""Clocks that jump, as plain numbers; files whose clock jumps are in `tests.cases.timelines`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from lvqa_ray.errors import VideoError
from lvqa_ray.records import ProbedVideo, Video
from lvqa_ray.stages.split import SplitVideo
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.reader.timing import clock
from lvqa_ray.video.reader.timing.clock import Clock, Stamped, build
from lvqa_ray.video.scenes.detection import iter_scenes
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.parallel import find_parts, score_part
from lvqa_ray.video.scenes.parallel_join import JoinedParts
from lvqa_ray.video.spans import ScenePlan
from tests.cases import folder

SECOND = 1000


def stamped(times_ms: Iterable[int], *, every: int = 40) -> list[Stamped]:
    """Packets of 100 bytes, every fifth a key frame."""
    return [Stamped(100 * i, time, time + 80, every, i % 5 == 0) for i, time in enumerate(times_ms)]


def made(times_ms: Iterable[int], *, every: int = 40) -> Clock | None:
    return build(stamped(times_ms, every=every), ticks_per_s=SECOND)


def test_a_clock_that_runs_through_is_none() -> None:
    assert made([]) is None
    assert made([7]) is None
    assert made(range(0, 10_000, 40)) is None
    assert made([*range(0, 2000, 40), *range(8000, 9000, 40)]) is None  # a gap, as of a lost signal


def test_slides_a_minute_apart_are_no_jumps() -> None:
    assert made(range(0, 600_000, 60_000), every=60_000) is None


def test_a_single_wrong_stamp_is_no_jump() -> None:
    assert made([*range(0, 400, 40), 90_000, *range(440, 900, 40)]) is None
    assert made([*range(5000, 5400, 40), 0, *range(5440, 5900, 40)]) is None


@pytest.mark.parametrize("start", [0, 500, 3_600_000])
def test_a_part_follows_upon_the_one_before(start: int) -> None:
    found = made([*range(1000, 2000, 40), *range(start, start + 1000, 40)])
    assert found is not None
    assert [(part.place, part.shift) for part in found.parts] == [(0, 0), (2500, 2000 - start)]
    assert list(found.key_times) == list(range(1080, 3080, 200))
    assert [found.place_before(time) for time in (0, 1080, 2079, 2080, 9999)] == [0, 0, 2000, 2500, 4500]


@pytest.mark.parametrize("start", [1880, 1920, 1960])
def test_a_part_that_overlaps_by_a_few_frames(start: int) -> None:
    found = made([*range(1000, 2000, 40), *range(start, start + 1000, 40)])
    assert found is not None
    assert [(part.place, part.shift) for part in found.parts] == [(0, 0), (2500, 2000 - start)]


def test_frames_that_lack_decoding_times_do_not_jump() -> None:
    packets = [(40 * i + (80, -40, -40)[i % 3], i % 15 == 0) for i in range(99)]  # decoded P B B, shown B B P
    assert build([Stamped(100 * i, t, t, 40, key) for i, (t, key) in enumerate(packets)], ticks_per_s=SECOND) is None


def test_a_part_that_decodes_further_ahead_begins_no_earlier_than_its_first_packet_can() -> None:
    before = [Stamped(100 * i, 40 * i, 40 * i, 40, i == 0) for i in range(10)]
    ahead = [Stamped(1000 + 100 * i, 40 * i - 80, 40 * i, 40, i == 0) for i in range(10)]
    found = build([*before, *ahead], ticks_per_s=SECOND)
    assert found is not None
    assert ahead[0].dts + found.parts[1].shift > before[-1].dts


def test_what_was_found_is_kept_for_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    clock._clock_of.cache_clear()
    file = folder("12") / "concat.ts"
    assert probe(str(file)).duration_sec == pytest.approx(12.0)
    (note,) = tmp_path.glob("lvqa-clocks-*/*.json")
    before = note.stat().st_mtime_ns
    clock._clock_of.cache_clear()
    assert probe(str(file)).duration_sec == pytest.approx(12.0)
    assert note.stat().st_mtime_ns == before
    note.write_text("torn")
    clock._clock_of.cache_clear()
    assert probe(str(file)).duration_sec == pytest.approx(12.0)


def test_scenes_of_a_joined_recording_are_the_same_in_parts() -> None:
    path = str(folder("12") / "concat.ts")
    plan = ScenePlan(max_s=10)
    scenes = list(iter_scenes(path, Detection(), least_s=plan.least_s))
    assert [round(scene.end_s, 2) for scene in scenes] == [6.0, 12.0]
    row = ProbedVideo(video=Video(id="v", uri=path, fingerprint="f"), info=probe(path))
    parts = [score_part(part, detection=Detection(), plan=plan, sampling=None) for part in find_parts(row, 3.0)]
    assert len(parts) >= 3
    joining = JoinedParts(Detection(), plan, None)
    assert [span for span, _ in [*(s for part in parts for s in joining.add(part)), *joining.finish()]] == scenes
    assert len(list(SplitVideo()(row))) == 2


def test_decord_refuses_what_it_would_get_wrong() -> None:
    pytest.importorskip("decord")
    with pytest.raises(VideoError, match='"pyav"'):
        sample_frames(str(folder("12") / "concat.ts"), [1.0], short_side=32, quality=80, reader="decord")
