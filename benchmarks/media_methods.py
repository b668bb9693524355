"""Methods for scenes, frames and clips that `media` compares; each runs in its own process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import av

from lvqa_ray.records import Span
from lvqa_ray.video.cutting.clip_file import CutMode, cut_clip
from lvqa_ray.video.cutting.reencode import EncodedPicture, Encoding
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.frames.read_ahead import ReadAhead, reading_ahead
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.reader.video_reader import VideoReader, open_video
from lvqa_ray.video.scenes.clip_builder import FrameSampling, iter_clips
from lvqa_ray.video.scenes.detection import iter_scenes
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.spans import ScenePlan, fixed_spans

CLIP_S = 10.0
SAMPLING = FrameSampling(count=8, fps=None, short_side=448, quality=85)
DECODE = "decode only (PyAV, one thread)"
STOCK = "stock PySceneDetect, opencv"
REFERENCE = "re-encode, seek after the input"
PART = 6
BUNDLE = 8
"""Clips that are read in one go."""
REFERENCE_PART = f"{REFERENCE}, from every sixth clip"


def decode_only(film: str) -> list[float]:
    with av.open(film) as container:
        container.streams.video[0].thread_count = 1
        for _ in container.decode(video=0):
            pass
    return []


def stock(film: str) -> list[float]:
    import scenedetect  # noqa: PLC0415 - only here: other methods must not load its readers

    manager = scenedetect.SceneManager()
    manager.add_detector(scenedetect.ContentDetector())
    manager.detect_scenes(scenedetect.open_video(film, backend="opencv"))
    return [start.seconds for start, _ in manager.get_scene_list()][1:]


def exact(film: str) -> list[float]:
    return [scene.start_s for scene in iter_scenes(film, Detection(accuracy="exact"))][1:]


def fast(film: str) -> list[float]:
    return [scene.start_s for scene in iter_scenes(film, Detection(accuracy="fast"))][1:]


def exact_frames(film: str) -> list[float]:
    return _shots(film, Detection(accuracy="exact"))


def fast_frames(film: str) -> list[float]:
    return _shots(film, Detection(accuracy="fast"))


def _shots(film: str, detection: Detection) -> list[float]:
    for shot in iter_clips(film, detection=detection, plan=ScenePlan(max_s=CLIP_S), sampling=SAMPLING):
        shot.frames()
    return []


def fixed_frames(film: str) -> list[float]:
    for span in _spans(film):
        sample_frames(film, SAMPLING.times(span), short_side=SAMPLING.short_side, quality=SAMPLING.quality)
    return []


def fixed_frames_together(film: str) -> list[float]:
    """As a decoding task does it: the clips of a bundle are read in one go."""
    spans = _spans(film)
    ahead = ReadAhead()
    with reading_ahead(ahead):
        for at, span in enumerate(spans):
            ahead.announce(film, [SAMPLING.times(each) for each in spans[at : at // BUNDLE * BUNDLE + BUNDLE]])
            sample_frames(film, SAMPLING.times(span), short_side=SAMPLING.short_side, quality=SAMPLING.quality)
    return []


def cut_encode(film: str) -> list[float]:
    return _cut(film, "encode")


def cut_exact(film: str) -> list[float]:
    return _cut(film, "exact")


def cut_copy(film: str) -> list[float]:
    return _cut(film, "copy")


def _cut(film: str, mode: CutMode) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        for span in _spans(film):
            cut_clip(film, span, Path(folder) / "clip.mp4", mode=mode, audio=False)
    return []


def cut_after_input(film: str) -> list[float]:
    return _cut_after_input(film, _spans(film))


def cut_after_input_part(film: str) -> list[float]:
    return _cut_after_input(film, _spans(film)[PART // 2 :: PART])


def _cut_after_input(film: str, spans: Iterable[Span]) -> list[float]:
    """Output seeking (ffmpeg ``-ss`` after ``-i``) with our codecs: decodes from the start of the file per clip."""
    with tempfile.TemporaryDirectory() as folder:
        for span in spans:
            with _from_the_start(film) as source, av.open(str(Path(folder) / "clip.mp4"), "w") as output:
                picture = EncodedPicture(source, output, span, Encoding())
                for packet in picture.packets():
                    output.mux(packet)
    return []


@contextmanager
def _from_the_start(film: str) -> Iterator[VideoReader]:
    with open_video(film) as source:
        source.frames_from = lambda _time_s: source.frames()  # type: ignore[method-assign, assignment, misc]
        yield source


def _spans(film: str) -> list[Span]:
    return fixed_spans(probe(film).duration_sec, interval_s=CLIP_S)


SCENES: Mapping[str, Callable[[str], list[float]]] = {
    DECODE: decode_only,
    STOCK: stock,
    "exact": exact,
    "fast": fast,
    "exact + frames": exact_frames,
    "fast + frames": fast_frames,
    "fixed + frames, a seek a clip": fixed_frames,
    "fixed + frames, clips in bundles": fixed_frames_together,
}
CUTS: Mapping[str, Callable[[str], list[float]]] = {
    "cut: encode": cut_encode,
    "cut: exact": cut_exact,
    "cut: copy": cut_copy,
}
METHODS: Mapping[str, Callable[[str], list[float]]] = {
    **SCENES,
    **CUTS,
    REFERENCE: cut_after_input,
    REFERENCE_PART: cut_after_input_part,
}
