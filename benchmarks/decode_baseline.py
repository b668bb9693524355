"""CPU time of decoding alone: ``python benchmarks/decode_baseline.py FILM CLIP_SECONDS FRAMES [whole]``.

PyAV decodes only the packets that sampling the frames of fixed clips needs, without the frames that the reader skips,
and with ``whole`` the whole film too. Neither scales, encodes or sends anything. The figures are printed as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.video.frames.read_ahead import runs
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.reader.video_reader import VideoReader, open_video
from lvqa_ray.video.scenes.clip_builder import FrameSampling
from lvqa_ray.video.spans import fixed_spans


class Sent(NamedTuple):
    """A packet that the reader sent to the decoder: its decoding time, and whether the decoder may skip it."""

    dts: int
    skip_frame: str


def packets_of(film: str, clip_s: float, frames: int) -> list[list[Sent]]:
    """The packets that the reader decodes for the frames of all clips, by run."""
    sampling = FrameSampling(count=frames, fps=None, short_side=448, quality=85)
    times = [sampling.times(span) for span in fixed_spans(probe(film).duration_sec, interval_s=clip_s)]
    with open_video(film) as source:
        found: list[list[Sent]] = []
        for run in runs(times, source):
            found.append([])
            with_record(source, found[-1])
            for frame in source.frames_from(run[0], wanted_s=run):
                if source.time_of(frame) > run[-1]:
                    break
    return found


def with_record(source: VideoReader, sent: list[Sent]) -> None:
    """Record what the reader sends to its decoder; a seek that was repeated further back counts once."""
    decode = type(source)._decode

    def recorded(packet: Packet[VideoStream] | None) -> Iterator[VideoFrame]:
        if packet is not None and packet.dts is not None:
            if sent and packet.dts <= sent[-1].dts:
                sent.clear()
            sent.append(Sent(packet.dts, str(source.stream.codec_context.skip_frame)))
        return decode(source, packet)

    source._decode = recorded  # type: ignore[method-assign]


def decode_packets(film: str, found: list[list[Sent]]) -> None:
    """Decode recorded packets with PyAV."""
    with av.open(film) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for run in found:
            container.seek(run[0].dts, stream=stream)
            wanted = {each.dts: each.skip_frame for each in run}
            for packet in container.demux(stream):
                if packet.dts in wanted:
                    stream.codec_context.skip_frame = wanted[packet.dts]
                    stream.decode(packet)
                if packet.dts is None or packet.dts >= run[-1].dts:
                    break


def decode_all(film: str) -> None:
    """Decode a film with PyAV on one thread."""
    with av.open(film) as container:
        container.streams.video[0].thread_count = 1
        for _ in container.decode(video=0):
            pass


def cpu_s_of(work: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    film, clip_s, frames, *whole = sys.argv[1:]
    found = packets_of(film, float(clip_s), int(frames))
    figures = {"packets": sum(map(len, found)), "cpu_s": cpu_s_of(lambda: decode_packets(film, found))}
    if whole:
        figures["whole_cpu_s"] = cpu_s_of(lambda: decode_all(film))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
