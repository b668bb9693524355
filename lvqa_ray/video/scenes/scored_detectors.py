"""PySceneDetect's detectors on frame scores; imported only where scenes are detected."""

from __future__ import annotations

from lvqa_ray.video.scenes.pyscenedetect import AdaptiveDetector, ContentDetector, FrameTimecode, Timecode

__all__ = ["ContentDetector", "FrameTimecode", "ScoredAdaptive", "ScoredContent", "Timecode"]


class _Scored(ContentDetector):  # type: ignore[misc]  # PySceneDetect ships no types
    """Takes a score in place of a frame. Overrides a private method; the test of `Scorer` covers it."""

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: float) -> float:  # noqa: ARG002
        return frame_img


class ScoredContent(_Scored):
    """`ContentDetector` on scores."""

    _last = -1
    _settled = False

    def wants(self, number: int, score: float) -> bool:
        """Whether a frame matters: one below the threshold does not, if the last one above it has left the buffer."""
        if score >= self._threshold:
            self._last, self._settled = number, False
            return True
        settled, self._settled = self._settled, self._settled or number > self._last + self.event_buffer_length
        return not settled


class ScoredAdaptive(_Scored, AdaptiveDetector):  # type: ignore[misc]  # as above
    """`AdaptiveDetector` on scores."""

    def wants(self, number: int, score: float) -> bool:  # noqa: ARG002
        """Every frame: each is compared with those around it."""
        return True
