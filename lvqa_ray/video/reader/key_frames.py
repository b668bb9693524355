"""Key frames that do not come out of a decoder: all pictures up to the next one are then made of others' remains."""

from __future__ import annotations

from collections import deque


class KeyFrames:
    """Watches for key frames that went into a decoder and never came out, as after damage that raises no error.

    Those before the first picture do not count: after a seek, a decoder may need more than one of them to begin.
    """

    def __init__(self) -> None:
        self._given: deque[int] = deque()
        self._began = False
        self.lost_from: int | None = None
        """When the key frame should have appeared that the current picture depends on, if it was lost."""

    def give(self, pts: int | None) -> None:
        """A key frame goes into the decoder that is to be shown at this time."""
        if self._began and pts is not None:
            self._given.append(pts)

    def frame_decoded(self, pts: int) -> None:
        """A picture has come out of the decoder."""
        self._began = True
        while self._given and self._given[0] <= pts:
            key = self._given.popleft()
            self.lost_from = None if key == pts else key
