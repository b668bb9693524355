"""Clip builder: divides scenes into clips and samples their frames, in one decoding pass.

A clip is emitted as soon as it is final; in a scene longer than a clip that is before the scene ends. So the first
clips of a video can be captioned while the rest is decoded, and memory does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from lvqa_ray.records import Frame, Span
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.reader.display import PLAIN, Presentation
from lvqa_ray.video.reader.video_reader import VideoReader, open_video
from lvqa_ray.video.scenes.detection import FrameEvent, frame_events
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.frame_buffer import CHOICE, BufferedFrame, FrameBuffer
from lvqa_ray.video.spans import EPSILON_S, MAX_SPANS, ScenePlan, frame_times

HELD_BYTES = 300 * 2**20
"""Memory limit for decoded frames; frames larger than 1080p are encoded at once, although most are not used."""


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """Which frames of a clip to sample, and how to encode them.

    Attributes:
        count: Number of frames, evenly spread; or ``None``.
        fps: Frames per second; or ``None``. Exactly one of the two is given.
        short_side: Maximum length of a JPEG's shorter side (px).
        quality: JPEG quality, 1 to 100.
    """

    count: int | None
    fps: float | None
    short_side: int
    quality: int

    def times(self, span: Span) -> list[float]:
        """Sampling times of a clip (s)."""
        return frame_times(span, count=self.count, fps=self.fps)

    def is_sparse(self, plan: ScenePlan, source: VideoReader) -> bool:
        """Whether full-length clips have so many frames per sample that non-reference frames may be skipped."""
        rate = self.fps or (self.count or 1) / plan.max_s
        return rate * source.period_s * CHOICE <= 1


class ClipCandidate:
    """Span of a clip, and its sampled frames, which must be read before the iteration goes on."""

    def __init__(self, span: Span, buffer: FrameBuffer, sampling: FrameSampling) -> None:
        self.span = span
        self._buffer = buffer
        self._sampling = sampling

    def frames(self) -> tuple[Frame, ...]:
        """Encode the sampled frames, in time order, each with its true time.

        With a rate, and in full-length clips, each is the frame on display at the time of `FrameSampling.times` (or the
        last one before it that was not skipped). Otherwise `FrameBuffer` states the maximum deviation.
        """
        return self._buffer.take(self._sampling.times(self.span))


def iter_clips(
    path: str, *, detection: Detection, plan: ScenePlan, sampling: FrameSampling, threads: int = 1
) -> Iterator[ClipCandidate]:
    """Find the scenes of a video, divide them into clips, and sample their frames, decoding once.

    Args:
        path: A local file.
        detection: Scene detection settings.
        plan: Rules for dividing scenes into clips.
        sampling: Which frames to sample.
        threads: Decoder threads.

    Yields:
        Clips in time order: `ScenePlan.clips` of each of `lvqa_ray.video.scenes.detection.iter_scenes`, with
        `ScenePlan.least_s`.

    Raises:
        VideoError: The video cannot be opened, or no frame can be decoded.
    """
    with open_video(path, threads=threads) as source:
        builder = ClipBuilder(plan, sampling, presentation=source.presentation)
        sparing = sampling.is_sparse(plan, source)
        for event in frame_events(source, detection, least_s=plan.least_s, sparing=sparing):
            yield from builder.add(event)
        yield from builder.finish()


class ClipBuilder:
    """Builds clips from the frame events of a video, and emits each as soon as it is final.

    Args:
        plan: Rules for dividing scenes into clips.
        sampling: Which frames to sample.
        start_s: Start of the first scene (s).
        presentation: Display properties of the frames.
    """

    def __init__(
        self, plan: ScenePlan, sampling: FrameSampling, start_s: float = 0.0, *, presentation: Presentation = PLAIN
    ) -> None:
        encoder = JpegEncoder(short_side=sampling.short_side, quality=sampling.quality)
        encoder.presentation = presentation
        self._open = partial(_OpenScene, plan=plan, sampling=sampling, encoder=encoder)
        self._scene = self._open(start_s)
        self._end_s = start_s

    def add(self, event: FrameEvent) -> Iterator[ClipCandidate]:
        """Add the next frame; yields the clips that are now final, whose frames must be read at once."""
        if event.cut and event.time_s > self._scene.start_s:
            yield from self._scene.close(event.time_s)
            self._scene = self._open(event.time_s)
        yield from self._scene.add(event)
        self._end_s = event.end_s

    def finish(self) -> Iterator[ClipCandidate]:
        """End of the video: yields the remaining clips."""
        if self._end_s > self._scene.start_s:
            yield from self._scene.close(self._end_s)


class _OpenScene:
    """Scene whose end is not known yet, with a frame buffer for each piece that is not final."""

    def __init__(self, start_s: float, plan: ScenePlan, sampling: FrameSampling, encoder: JpegEncoder) -> None:
        self.start_s = start_s
        self._plan = plan
        self._sampling = sampling
        self._encoder = encoder
        self._buffers: dict[int, FrameBuffer] = {}
        self._opened = self._emitted = 0
        self._last: BufferedFrame | None = None

    def add(self, event: FrameEvent) -> Iterator[ClipCandidate]:
        """Add the next frame; yields the pieces that are now final."""
        yield from self._emit(event.time_s)
        if not event.held:
            return
        candidate = BufferedFrame(event.time_s, event.frame)
        while event.time_s >= self._plan.piece(self.start_s, self._opened).start_s - EPSILON_S:
            self._open(sum(plane.buffer_size for plane in event.frame.planes) if event.frame else 0)
        for buffer in self._buffers.values():
            buffer.add(candidate)
        self._last = candidate

    def close(self, end_s: float) -> Iterator[ClipCandidate]:
        """End of the scene: yields its remaining clips."""
        yield from self._emit(end_s)
        for span in self._plan.clips(Span(start_s=self.start_s, end_s=end_s)):
            index = round((span.start_s - self._plan.piece(self.start_s, 0).start_s) / self._plan.max_s)
            if index >= self._emitted:
                yield self._clip(span, index)
        self._buffers.clear()

    def _emit(self, now_s: float) -> Iterator[ClipCandidate]:
        if now_s - self.start_s > MAX_SPANS * self._plan.max_s:
            self._plan.clips(Span(start_s=self.start_s, end_s=now_s))  # raises, for absurd timestamps
        # After `settling_s` the piece can neither shrink nor absorb a sliver.
        piece = self._plan.piece(self.start_s, self._emitted)
        while piece.end_s + self._plan.settling_s < now_s - EPSILON_S:
            yield self._clip(piece, self._emitted)
            self._emitted += 1
            piece = self._plan.piece(self.start_s, self._emitted)

    def _clip(self, span: Span, index: int) -> ClipCandidate:
        # A piece in which no new frame appears shows the frame before it, and has no buffer yet.
        while index >= self._opened and self._last is not None:
            self._open(0)
        return ClipCandidate(span, self._buffers.pop(index), self._sampling)

    def _open(self, frame_bytes: int) -> None:
        piece = self._plan.piece(self.start_s, self._opened)
        longest = Span(start_s=piece.start_s, end_s=piece.end_s + self._plan.sliver_s)
        # Times at a rate do not depend on the end of the clip, so those after a full piece are certain as well.
        sure_s = self._sampling.times(piece)
        sure_s += [time for time in self._sampling.times(longest) if time >= piece.end_s]
        count = self._sampling.count or 1
        buffer = FrameBuffer(
            piece.start_s,
            sure_s=sure_s,
            count=count,
            encoder=self._encoder,
            compact=(CHOICE * count + len(sure_s)) * frame_bytes > HELD_BYTES,
        )
        if self._last is not None:  # still on display at the start of the piece
            buffer.add(self._last)
        self._buffers[self._opened] = buffer
        self._opened += 1
