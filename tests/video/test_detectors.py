"""Scene detectors by name: PySceneDetect's own classes, and one that a user writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import scenedetect
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.plugins import PluginError
from lvqa_ray.video.reader.video_reader import open_video
from lvqa_ray.video.scenes.clip_builder import FrameSampling, iter_clips
from lvqa_ray.video.scenes.detection import MOST_HELD_FRAMES, CutTracker, frame_events
from lvqa_ray.video.scenes.detectors import Detection, FastDetector, ScoringDetector
from lvqa_ray.video.scenes.downscale import FrameSize, Picture, shrinker
from lvqa_ray.video.scenes.named_detectors import STOCK, STOCK_DETECTORS, check_detector, start_detector
from lvqa_ray.video.spans import ScenePlan
from tests import media
from tests.video.detected import detect_scenes
from tests.video.test_parts import check as same_in_parts

BASE, FPS = Fraction(1, 12800), Fraction(25)
ARGS: dict[str, list[dict[str, Any]]] = {
    "AdaptiveDetector": [{}, {"adaptive_threshold": 2.0, "window_width": 3}],
    "ContentDetector": [{}, {"threshold": 15.0, "luma_only": True}],
    "HashDetector": [{}, {"threshold": 0.2, "size": 16}],
    "HistogramDetector": [{}, {"threshold": 0.02, "bins": 64}],
    "ThresholdDetector": [{}, {"threshold": 110, "fade_bias": 0.3}, {"threshold": 110, "add_final_scene": True}],
}


def stock_cuts(path: Path, name: str, args: dict[str, Any]) -> list[float]:
    manager = scenedetect.SceneManager()
    manager.add_detector(getattr(scenedetect, name)(**args))
    manager.detect_scenes(scenedetect.open_video(str(path), backend="opencv"))
    return [round(start.seconds, 3) for start, _ in manager.get_scene_list()][1:]


def our_cuts(path: Path, detection: Detection) -> list[float]:
    return [round(scene.start_s, 3) for scene in detect_scenes(str(path), detection)][1:]


@pytest.mark.parametrize(("name", "args"), [(name, args) for name in STOCK_DETECTORS for args in ARGS[name]])
def test_cuts_are_those_that_pyscenedetect_finds_in_the_file(name: str, args: dict[str, Any]) -> None:
    theirs = stock_cuts(media.bikes(), name, args)
    assert theirs or not args, "parameters that find nothing show nothing"
    assert our_cuts(media.bikes(), Detection(detector=f"{STOCK}{name}", args=args)) == theirs


def faded(path: Path) -> Path:
    """Two pictures with twelve seconds of black between them, and black at the end."""
    bright = media.scene_picture(1, 0.3, width=160, height=96)
    black = np.zeros_like(bright)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        for picture in [*[bright] * 60, *[black] * 300, *[bright] * 60, *[black] * 30]:
            output.mux(video.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(video.encode(None))
    return path


@pytest.mark.parametrize("bias", [-1.0, 0.0, 0.7])
@pytest.mark.parametrize("final", [False, True])
def test_a_fade_of_any_length_is_waited_for(tmp_path: Path, bias: float, final: bool) -> None:
    args = {"fade_bias": bias, "add_final_scene": final}
    path = faded(tmp_path / "faded.mp4")
    theirs = stock_cuts(path, "ThresholdDetector", args)
    assert len(theirs) == 1 + final
    assert our_cuts(path, Detection(detector=f"{STOCK}ThresholdDetector", args=args)) == theirs


def test_few_frames_are_held_while_a_fade_is_waited_for(tmp_path: Path) -> None:
    with open_video(str(faded(tmp_path / "faded.mp4"))) as source:
        told = list(frame_events(source, Detection(detector=f"{STOCK}ThresholdDetector")))
    assert len(told) == 450
    held = [moment.frame is not None for moment in told]
    assert all(held[:59]), "what is settled at once is kept whole"
    assert MOST_HELD_FRAMES // 2 <= sum(held[60:360]) <= MOST_HELD_FRAMES, "what waits is thinned out"


def test_clips_and_their_pictures_come_with_a_stock_detector() -> None:
    detection = Detection(detector=f"{STOCK}HistogramDetector")
    sampling = FrameSampling(count=2, fps=None, short_side=96, quality=80)
    clips = iter_clips(str(media.bikes()), detection=detection, plan=ScenePlan(max_s=5), sampling=sampling)
    shots = [(clip.span, clip.frames()) for clip in clips]
    cuts = stock_cuts(media.bikes(), "HistogramDetector", {})
    assert [round(span.start_s, 3) for span, _ in shots] == [0, *cuts[:-1]], "the last scene is short, and joins"
    assert all(len(frames) == 2 and all(frame.jpeg for frame in frames) for _, frames in shots)


def test_the_fast_detector_says_what_the_protocol_asks() -> None:
    detector = start_detector(Detection(), BASE, FPS)
    assert isinstance(detector, FastDetector)
    assert isinstance(detector, ScoringDetector)
    assert (detector.frame_size, detector.may_skip_frames, detector.may_run_in_parts) == ("fast", True, True)
    assert 0 < detector.lag_s < 2
    assert not start_detector(Detection(detector="adaptive"), BASE, FPS).may_skip_frames
    assert not start_detector(Detection(frame_skip=2), BASE, FPS).may_skip_frames


def test_a_picture_fed_whole_says_the_same_as_its_scores() -> None:
    whole, scored = (start_detector(Detection(accuracy="exact"), BASE, FPS) for _ in range(2))
    assert isinstance(scored, ScoringDetector)
    found: list[list[float]] = [[], []]
    with open_video(str(media.bikes())) as source:
        shrink = shrinker(source.stream.codec_context.width, source.stream.codec_context.height, "exact")
        for frame in source.frames():
            picture, time_s = shrink(frame), source.time_of(frame)
            found[0] += whole.feed(time_s, picture)
            found[1] += scored.feed_scores(time_s, scored.score(picture))
    assert len(found[0]) >= 4
    assert found[0] == found[1]


class EveryThird:
    """Calls every third second a cut, some frames later; notes what it was fed."""

    may_skip_frames = False
    may_run_in_parts = False

    def __init__(self, lag_s: float = 0.5, frame_size: FrameSize = (48, 27)) -> None:
        self.lag_s, self.frame_size = lag_s, frame_size
        self.shapes: set[tuple[int, ...]] = set()
        self.due: list[float] = []
        self.next_s = 3.0

    def feed(self, time_s: float, frame: Picture) -> Iterable[float]:
        self.shapes.add(frame.shape)
        if time_s >= self.next_s:
            self.due.append(time_s)
            self.next_s += 3
        told = [cut for cut in self.due if time_s >= cut + self.lag_s - 0.1]
        self.due = [cut for cut in self.due if cut not in told]
        return told

    def finish(self) -> Iterable[float]:
        return self.due


def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str, name: str = "third") -> None:
    """Put a distribution on the path that registers something of this module."""
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[lvqa_ray.scene_detectors]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("size", [(48, 27), "fast"])
def test_a_detector_of_ones_own_is_fed_and_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: Any) -> None:
    registered(monkeypatch, tmp_path, "tests.video.test_detectors:made")
    detection = Detection(detector="third", args={"frame_size": size})
    cuts = our_cuts(media.bikes(), detection)
    assert cuts == [3.0, 6.0, 9.0]
    assert LAST[-1].shapes == {(27, 48, 3) if size == (48, 27) else (54, 128, 3)}


class MeanChange:
    """Scores of its own: how much the mean of the picture changes. A `ScoringDetector`."""

    frame_size: FrameSize = "fast"
    lag_s = 0.0
    may_run_in_parts = True

    def __init__(self, fps: float, skips: bool = False) -> None:  # noqa: ARG002
        self.may_skip_frames = skips
        self.seen: Any = None

    def score(self, frame: Picture) -> tuple[float, ...]:
        before, self.seen = self.seen, frame.mean(axis=(0, 1))
        return (0.0,) if before is None else (float(np.abs(self.seen - before).mean()),)

    def feed_scores(self, time_s: float, scores: Sequence[float]) -> list[float]:
        return [time_s] if self.in_doubt(scores) else []

    def in_doubt(self, scores: Sequence[float]) -> bool:
        return max(scores) > 8

    def feed(self, time_s: float, frame: Picture) -> list[float]:
        return self.feed_scores(time_s, self.score(frame))

    def finish(self) -> list[float]:
        return []


@pytest.mark.parametrize("skips", [False, True])
def test_scores_of_ones_own_come_to_the_same_in_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, skips: bool
) -> None:
    registered(monkeypatch, tmp_path, "tests.video.test_detectors:MeanChange", "mean")
    detection = Detection(detector="mean", args={"skips": skips})
    assert isinstance(start_detector(detection, BASE, FPS), ScoringDetector)
    assert len(our_cuts(media.bikes(), detection)) >= 3
    same_in_parts(media.bikes(), 2.5, detection)


LAST: list[EveryThird] = []


def made(*, fps: float, lag_s: float = 0.5, frame_size: FrameSize = (48, 27)) -> EveryThird:
    assert fps == pytest.approx(25)
    LAST.append(EveryThird(lag_s, frame_size))
    return LAST[-1]


class Lacks:
    def __init__(self, fps: float) -> None: ...


@pytest.mark.parametrize(
    ("detection", "says"),
    [
        (Detection(detector="nope"), "there is no detector nope; there is content, adaptive, both, pyscenedetect:Adap"),
        (Detection(detector=f"{STOCK}Nope"), "pyscenedetect:ThresholdDetector, third"),
        (Detection(detector=f"{STOCK}HashDetector", args={"bins": 3}), "takes no bins; it takes threshold, size"),
        (Detection(detector=f"{STOCK}ThresholdDetector", args={"method": 7}), "cannot be started with"),
        (Detection(args={"threshold": 3}), "takes no detector_args"),
        (Detection(detector="third", args={"nope": 1}), "takes no nope; it takes lag_s, frame_size"),
    ],
)
def test_a_wrong_name_or_parameter_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, detection: Detection, says: str
) -> None:
    registered(monkeypatch, tmp_path, "tests.video.test_detectors:made")
    with pytest.raises(PluginError) as caught:
        check_detector(detection)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("tests.video.test_detectors:Lacks", "the detector broken lacks frame_size, lag_s"),
        ("tests.no_such_module:x", "of the package theirs cannot be imported (tests.no_such_module:x): Module"),
        ("tests.video.test_detectors:gone", "of the package theirs cannot be imported"),
    ],
)
def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str, says: str) -> None:
    registered(monkeypatch, tmp_path, target, "broken")
    with pytest.raises(PluginError) as caught:
        check_detector(Detection(detector="broken"))
    assert says in str(caught.value)


def test_a_cut_that_is_told_too_late_is_no_cut_in_silence() -> None:
    finder = CutTracker(EveryThird(lag_s=0.1), FPS)
    for number in range(100):
        list(finder.add(number / 25, (number + 1) / 25, ()))
    with pytest.raises(ValueError, match="a cut at 1 s later than its lag_s allows"):
        list(finder.add(4.0, 4.04, [1.0]))
