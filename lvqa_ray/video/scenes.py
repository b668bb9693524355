"""Scenes: where the picture cuts, as PySceneDetect sees it, fed with small pictures of frames from PyAV.

PyAV decodes what OpenCV's reader silently does not (AV1), and knows when each frame is shown, which a frame number
divided by a rate does not where the rate varies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame
from scenedetect import FrameTimecode
from scenedetect.common import Timecode

from lvqa_ray.records import Span
from lvqa_ray.video.detect import CutFinder, Detection
from lvqa_ray.video.shrink import Shrinker
from lvqa_ray.video.source import EPSILON_S, Source, no_frames, open_source

HELD_FRAMES = 32
"""Most decoded frames held back until it is known whether one of them is a cut."""


def detect_scenes(path: str, detection: Detection, *, threads: int = 1) -> list[Span]:
    """Find all scenes of a video; see `iter_scenes`."""
    return list(iter_scenes(path, detection, threads=threads))


def iter_scenes(path: str, detection: Detection, *, threads: int = 1) -> Iterator[Span]:
    """Find the scenes of a video, each told once it is certain where it ends, while the rest is still unread.

    Args:
        path: A local file.
        detection: How.
        threads: Decoder threads.

    Yields:
        Scenes in time order without gaps, from 0 to the end of the last frame that could be decoded. A video without
        cuts is one scene.

    Raises:
        VideoError: The video cannot be opened, or not one frame can be decoded.
    """
    with open_source(path, threads=threads) as source:
        start_s = end_s = 0.0
        for moment in moments(source, detection, keep=False):
            if moment.cut and moment.time_s > start_s:
                yield Span(start_s=start_s, end_s=moment.time_s)
                start_s = moment.time_s
            end_s = moment.end_s
        if end_s > start_s:
            yield Span(start_s=start_s, end_s=end_s)


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame's place in time.

    Attributes:
        time_s: When it appears, in seconds from the first picture.
        end_s: When it has been shown.
        cut: Whether a scene begins with it.
        frame: The frame; ``None`` where frames are not kept.
    """

    time_s: float
    end_s: float
    cut: bool
    frame: VideoFrame | None


def moments(source: Source, detection: Detection, *, keep: bool = True) -> Iterator[Moment]:
    """Decode a video once, and tell of each frame when it is certain whether a scene begins with it.

    Frames wait for as long as the detector may still call them a cut, which are `Detection.min_scene_frames`, by
    default 15. Of a longer queue than `HELD_FRAMES` only every so-manieth frame is kept.

    Args:
        source: The open video, at its start.
        detection: How cuts are found.
        keep: Whether the frames are wanted.

    Yields:
        One moment a frame, in display order.

    Raises:
        VideoError: Not one frame can be decoded.
    """
    finder = CutFinder(detection)
    codec = source.stream.codec_context
    shrink = Shrinker(codec.width, codec.height, detection.accuracy)
    rate = source.fps or Fraction(25)
    stride = detection.frame_skip + 1
    held_every = -(-finder.lag * stride // HELD_FRAMES) or 1
    waiting: deque[Moment] = deque()
    cuts: set[int] = set()
    count = 0
    for frame in source.frames():
        time_s = source.time_of(frame)
        held = frame if keep and count % held_every == 0 else None
        waiting.append(Moment(time_s, source.end_of(frame), cut=False, frame=held))
        if count % stride == 0:
            position = FrameTimecode(Timecode(pts=max(0, source.offset_of(frame)), time_base=source.time_base), rate)
            cuts.update(map(_key, finder.look(position, shrink(frame))))
            yield from _released(waiting, cuts, finder.settled_s)
        count += 1
    if not count:
        raise no_frames(source.path)
    cuts.update(map(_key, finder.finish()))
    yield from _released(waiting, cuts, float("inf"))


def _released(waiting: deque[Moment], cuts: set[int], settled_s: float) -> Iterator[Moment]:
    settled_s += EPSILON_S
    while waiting and waiting[0].time_s <= settled_s:
        moment = waiting.popleft()
        if cuts and (key := round(moment.time_s * 1e6)) in cuts:
            cuts.remove(key)
            moment = Moment(moment.time_s, moment.end_s, cut=True, frame=moment.frame)
        yield moment


def _key(cut: FrameTimecode) -> int:
    """Microseconds: the detector's seconds and ours are computed differently."""
    return round(float(cut.seconds) * 1e6)
