"""Audio conversion to one format, also where the layout, sample rate or format of a stream changes midway."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from lvqa_ray.video.reader.container_formats import raise_if_out_of_memory


class AudioConverter:
    """Converts the audio frames of a stream to one sample format, channel layout and sample rate.

    FFmpeg's resampler accepts one kind of input. Broadcasts change from stereo to 5.1 at a programme boundary, and
    joined files change the sample rate: the converter then creates a new resampler.
    """

    def __init__(self, *, format: str, layout: str, rate: int) -> None:  # noqa: A002 - as PyAV names it
        self.rate = rate
        self._format = format
        self._layout = layout
        self._input: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None

    def convert(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        """Yield the output frames that a frame completes; none for a frame that FFmpeg cannot convert."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._input:
            yield from self._converted(None)
            self._input = kind
            self._resampler = AudioResampler(format=self._format, layout=self._layout, rate=self.rate)
        yield from self._converted(frame)

    def _converted(self, frame: AudioFrame | None) -> Iterator[AudioFrame]:
        if self._resampler is None:
            return
        try:
            yield from self._resampler.resample(frame)
        except (av.FFmpegError, ValueError) as error:
            raise_if_out_of_memory(error)
