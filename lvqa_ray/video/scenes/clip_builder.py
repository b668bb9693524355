"""Shots: the clips of a video's scenes with their pictures, out of one pass over it.

Each comes as soon as it is settled, which for a scene longer than a clip is before the scene is over. So a film's first
clips can be captioned while the rest of it is being read, and what is held does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from lvqa_ray.records import Frame, Span
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.reader.display import PLAIN, Presentation
from lvqa_ray.video.reader.video_reader import EPSILON_S, VideoReader, open_video
from lvqa_ray.video.scenes.detection import FrameEvent, frame_events
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.frame_buffer import CHOICE, BufferedFrame, FrameBuffer
from lvqa_ray.video.spans import MAX_SPANS, ScenePlan, frame_times

HELD_BYTES = 300 * 2**20
"""Most memory for decoded frames. Larger pictures than 1080p are kept as JPEGs, most of which will not be wanted."""


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """Which pictures of a clip are wanted, and how they are encoded.

    Attributes:
        count: How many, evenly spread; or ``None``.
        fps: How many a second; or ``None``. Exactly one of the two is given.
        short_side: Most pixels of the shorter side of a JPEG.
        quality: JPEG quality, 1 to 100.
    """

    count: int | None
    fps: float | None
    short_side: int
    quality: int

    def times(self, span: Span) -> list[float]:
        """When to look at a clip (s)."""
        return frame_times(span, count=self.count, fps=self.fps)

    def is_sparse(self, plan: ScenePlan, source: VideoReader) -> bool:
        """Whether clips of full length have so many frames for each picture that a few more or less do not matter."""
        rate = self.fps or (self.count or 1) / plan.max_s
        return rate * source.period_s * CHOICE <= 1


class ClipCandidate:
    """A clip's span, and its pictures for as long as the iteration stands at it."""

    def __init__(self, span: Span, shelf: FrameBuffer, sampling: FrameSampling) -> None:
        self.span = span
        self._shelf = shelf
        self._sampling = sampling

    def frames(self) -> tuple[Frame, ...]:
        """The pictures in time order, each with its true time; not asked for, they cost nothing.

        For the wanted times see `Sampling.times`; for their distance from the true ones see `FrameBuffer`. At a
        rate, and in clips of full length, there is none: each picture is the one on display at the wanted time, or
        where frames are spared the last one before that which is not.
        """
        return self._shelf.take(self._sampling.times(self.span))


def iter_clips(
    path: str, *, detection: Detection, plan: ScenePlan, sampling: FrameSampling, threads: int = 1
) -> Iterator[ClipCandidate]:
    """Find the scenes of a video, make them into clips, and take the pictures of each, decoding once.

    Args:
        path: A local file.
        detection: How scenes are found.
        plan: How they become clips.
        sampling: Which pictures are taken.
        threads: Decoder threads.

    Yields:
        The clips in time order: those of `ScenePlan.clips` for each of
        `lvqa_ray.video.scenes.detection.iter_scenes`, with
        `ScenePlan.least_s`.

    Raises:
        VideoError: The video cannot be opened, or not one frame can be decoded.
    """
    with open_video(path, threads=threads) as source:
        finder = ClipBuilder(plan, sampling, presentation=source.presentation)
        sparing = sampling.is_sparse(plan, source)
        for moment in frame_events(source, detection, least_s=plan.least_s, sparing=sparing):
            yield from finder.add(moment)
        yield from finder.finish()


def scenes_with_frames(
    path: str, *, detection: Detection, plan: ScenePlan, sampling: FrameSampling, threads: int = 1
) -> Iterator[tuple[Span, tuple[Frame, ...]]]:
    """The spans and pictures of `iter_clips`, all of them encoded."""
    for shot in iter_clips(path, detection=detection, plan=plan, sampling=sampling, threads=threads):
        yield shot.span, shot.frames()


class ClipBuilder:
    """Makes the moments of a video into its shots, each told once it is settled.

    Args:
        plan: How scenes become clips.
        sampling: Which pictures are taken.
        start_s: When the first scene begins (s).
        presentation: How the frames are shown.
    """

    def __init__(
        self, plan: ScenePlan, sampling: FrameSampling, start_s: float = 0.0, *, presentation: Presentation = PLAIN
    ) -> None:
        encoder = JpegEncoder(short_side=sampling.short_side, quality=sampling.quality)
        encoder.presentation = presentation
        self._open = partial(_OpenScene, plan=plan, sampling=sampling, encoder=encoder)
        self._scene = self._open(start_s)
        self._end_s = start_s

    def add(self, moment: FrameEvent) -> Iterator[ClipCandidate]:
        """Take in the next moment; yields the shots that it settles, whose pictures can be had at once or never."""
        if moment.cut and moment.time_s > self._scene.start_s:
            yield from self._scene.close(moment.time_s)
            self._scene = self._open(moment.time_s)
        yield from self._scene.add(moment)
        self._end_s = moment.end_s

    def finish(self) -> Iterator[ClipCandidate]:
        """The video is over: yields what is left."""
        if self._end_s > self._scene.start_s:
            yield from self._scene.close(self._end_s)


class _OpenScene:
    """A scene that is running, and the shelves of those of its pieces that are not settled."""

    def __init__(self, start_s: float, plan: ScenePlan, sampling: FrameSampling, encoder: JpegEncoder) -> None:
        self.start_s = start_s
        self._plan = plan
        self._sampling = sampling
        self._encoder = encoder
        self._shelves: dict[int, FrameBuffer] = {}
        self._opened = self._settled = 0
        self._last: BufferedFrame | None = None

    def add(self, moment: FrameEvent) -> Iterator[ClipCandidate]:
        """Take in the next frame; yields the pieces that it settles."""
        yield from self._settle(moment.time_s)
        if not moment.held:
            return
        candidate = BufferedFrame(moment.time_s, moment.frame)
        while moment.time_s >= self._plan.piece(self.start_s, self._opened).start_s - EPSILON_S:
            self._open(sum(plane.buffer_size for plane in moment.frame.planes) if moment.frame else 0)
        for shelf in self._shelves.values():
            shelf.add(candidate)
        self._last = candidate

    def close(self, end_s: float) -> Iterator[ClipCandidate]:
        """The scene is over: yields what has not been settled before."""
        yield from self._settle(end_s)
        for span in self._plan.clips(Span(start_s=self.start_s, end_s=end_s)):
            index = round((span.start_s - self._plan.piece(self.start_s, 0).start_s) / self._plan.max_s)
            if index >= self._settled:
                yield self._shot(span, index)
        self._shelves.clear()

    def _settle(self, now_s: float) -> Iterator[ClipCandidate]:
        # At least this much is left, whatever comes: the piece neither shrinks nor takes up a sliver.
        if now_s - self.start_s > MAX_SPANS * self._plan.max_s:
            self._plan.clips(Span(start_s=self.start_s, end_s=now_s))  # says what is wrong with a clock gone mad
        piece = self._plan.piece(self.start_s, self._settled)
        while piece.end_s + self._plan.settling_s < now_s - EPSILON_S:
            yield self._shot(piece, self._settled)
            self._settled += 1
            piece = self._plan.piece(self.start_s, self._settled)

    def _shot(self, span: Span, index: int) -> ClipCandidate:
        # A piece in which no new frame appears shows the one before it, and has no shelf yet.
        while index >= self._opened and self._last is not None:
            self._open(0)
        return ClipCandidate(span, self._shelves.pop(index), self._sampling)

    def _open(self, frame_bytes: int) -> None:
        piece = self._plan.piece(self.start_s, self._opened)
        longest = Span(start_s=piece.start_s, end_s=piece.end_s + self._plan.sliver_s)
        # Times at a rate do not depend on where the clip ends, so that the few behind a full piece are sure as well.
        sure_s = self._sampling.times(piece)
        sure_s += [time for time in self._sampling.times(longest) if time >= piece.end_s]
        count = self._sampling.count or 1
        shelf = FrameBuffer(
            piece.start_s,
            sure_s=sure_s,
            count=count,
            encoder=self._encoder,
            compact=(CHOICE * count + len(sure_s)) * frame_bytes > HELD_BYTES,
        )
        if self._last is not None:  # it is still on display where the piece begins
            shelf.add(self._last)
        self._shelves[self._opened] = shelf
        self._opened += 1
