"""Cases of video timelines: late clocks, joined recordings, sparse recordings, stills, and changing audio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import simplejpeg
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.errors import VideoError
from lvqa_ray.records import Span
from lvqa_ray.video.audio.pcm import RATE, sound_of
from lvqa_ray.video.cutting.clip_file import CutMode, cut_clip
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.spans import fixed_spans
from tests.cases import Row, case, folder

RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 160, 0)
LETTERS = {RED: "R", BLUE: "B", GREEN: "G"}
SIZE = (160, 90)
MODES: tuple[CutMode, ...] = ("copy", "exact", "encode")
TO_THE_FRAME: tuple[CutMode, ...] = ("exact", "encode")


def write(
    path: Path,
    times_ms: Sequence[int],
    colour: Callable[[int], tuple[int, int, int]],
    *,
    codec: str = "libx264",
    size: tuple[int, int] = SIZE,
    tone_s: float = 0.0,
    hertz: int = 440,
    first_tone_ms: int = 0,
    rate: int = 25,
    format_name: str | None = None,
) -> Path:
    """Write frames of one colour at given times, and a tone; the last frame lasts one frame period."""
    with av.open(str(path), "w", format=format_name) as output:
        video = output.add_stream(codec, rate=rate, options={"bf": "0"} if codec == "libx264" else {})
        assert isinstance(video, VideoStream)
        video.width, video.height = size
        video.pix_fmt, video.gop_size, video.thread_count = "yuv420p", 25, 1
        video.codec_context.time_base = Fraction(1, 1000) if codec != "mpeg2video" else Fraction(1, rate)
        sound = output.add_stream("mp2" if codec == "mpeg2video" else "aac", rate=48_000) if tone_s else None
        for time_ms in times_ms:
            picture = np.full((size[1], size[0], 3), colour(time_ms), np.uint8)
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = video.codec_context.time_base
            frame.pts = round(Fraction(time_ms, 1000) / frame.time_base)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if isinstance(sound, AudioStream):
            for heard in tone(tone_s, hertz, first_ms=first_tone_ms):
                output.mux(sound.encode(heard))
            output.mux(sound.encode(None))
    return path


def tone(
    seconds: float, hertz: int, *, first_ms: int = 0, rate: int = 48_000, layout: str = "mono"
) -> list[AudioFrame]:
    """Sine tone in audio frames of 1152 samples."""
    channels = 2 if layout == "stereo" else 1
    wave = (0.3 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * hertz / rate)).astype(np.float32)
    frames = []
    for begin in range(0, len(wave), 1152):
        frame = AudioFrame.from_ndarray(np.tile(wave[begin : begin + 1152], (channels, 1)), "fltp", layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), begin + first_ms * rate // 1000
        frames.append(frame)
    return frames


def every(seconds: float, *, start_s: float = 0.0, rate: int = 25) -> list[int]:
    """Frame times at a constant rate (ms)."""
    return [round(1000 * (start_s + index / rate)) for index in range(round(seconds * rate))]


def letters(path: Path | str, times: Sequence[float]) -> str:
    """Letters of the colours displayed at given times."""
    found = ""
    for frame in sample_frames(str(path), times, short_side=32, quality=90):
        mean = simplejpeg.decode_jpeg(frame.jpeg).reshape(-1, 3).mean(axis=0)
        found += LETTERS[min(LETTERS, key=lambda colour: sum(abs(a - b) for a, b in zip(colour, mean, strict=True)))]
    return found


def length(path: Path | str) -> float | str:
    """Probed duration of a file (s), or the reason why it is used partly or not at all."""
    try:
        info = probe(str(path))
    except VideoError as error:
        return str(error.kind)
    return info.partial or round(info.duration_sec, 1)


def tones(path: Path | str, seconds: int) -> list[int]:
    """Pitch in the middle of each second, in Hz to the nearest 20; 0 for silence."""
    pieces = list(sound_of(str(path), float(seconds)))
    wave = np.concatenate(pieces).astype(np.float64) if pieces else np.zeros(0)
    found = []
    for second in range(round(len(wave) / RATE)):
        middle = wave[second * RATE + RATE // 4 : second * RATE + 3 * RATE // 4]
        peak = int(np.abs(np.fft.rfft(middle)).argmax()) * 2 if np.abs(middle).mean() > 50 else 0
        found.append(round(peak / 20) * 20)
    return found


def cut(path: Path | str, span: Span, mode: CutMode, to: Path) -> tuple[float, float] | str:
    """Video duration of a clip, as reported by the cutter and as measured in the file."""
    (to / "clip.mp4").unlink(missing_ok=True)
    try:
        made = cut_clip(str(path), span, to / "clip.mp4", mode=mode)
    except VideoError as error:
        return str(error.kind)
    return round(made.span.end_s - made.span.start_s, 1), round(probe(str(to / "clip.mp4")).duration_sec, 1)


def joined(path: Path, *parts: Path) -> Path:
    """Concatenate files byte by byte."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@case("11", "clocks that start late")
def late_clocks(to: Path) -> Iterable[Row]:
    """The second file of a recording in parts: its clock starts late."""
    for file in ("seg1.mkv", "segw1.webm"):
        yield file, 10.0, length(folder("11") / file)
    cut_short = to / "short.mkv"
    cut_short.write_bytes((folder("11") / "seg1.mkv").read_bytes()[:80_000])
    found = length(cut_short)
    yield "the first half of seg1.mkv", "promises 10.0 s", str(found)[9:24]
    for suffix in ("mkv", "mp4", "ts", "flv", "wmv"):
        codec = "wmv2" if suffix == "wmv" else "libx264"
        path = to / f"late.{suffix}"
        with av.open(str(path), "w") as output:
            video = output.add_stream(codec, rate=25)
            assert isinstance(video, VideoStream)
            video.width, video.height, video.pix_fmt, video.thread_count = 160, 90, "yuv420p", 1
            for index in range(100):
                frame = VideoFrame.from_ndarray(np.full((90, 160, 3), RED, np.uint8), format="rgb24")
                frame.pts, frame.time_base = 250 + index, Fraction(1, 25)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        yield f"{suffix} that starts at 10 s", (4.0, "RR"), (length(path), letters(path, [0.5, 3.5]))


@case("12", "recordings that are joined byte by byte")
def joined_recordings(to: Path) -> Iterable[Row]:
    """Joined recordings, whose clock restarts or jumps ahead."""
    file = folder("12") / "concat.ts"
    middle = [second + 0.5 for second in range(12)]
    yield "concat.ts", 12.0, length(file)
    yield "concat.ts, pictures in one go", "RRRRRRBBBBBB"[: len(middle)], letters(file, middle)
    yield "concat.ts, pictures one by one", "RRRRRRBBBBBB", "".join(letters(file, [time]) for time in middle)
    for mode in MODES:
        made = cut(file, Span(start_s=4.0, end_s=8.0), mode, to)
        yield f"concat.ts, {mode} 4-8 s", ((4.0, 4.0), "RRBB"), (made, letters(to / "clip.mp4", [0.5, 1.5, 2.5, 3.5]))

    one = write(to / "one.ts", every(3), lambda _: RED, tone_s=3, hertz=440)
    two = write(to / "two.ts", every(3), lambda _: BLUE, tone_s=3, hertz=880)
    later = write(to / "later.ts", every(3, start_s=500), lambda _: BLUE, tone_s=3, hertz=880, first_tone_ms=500_000)
    sizes = write(to / "sizes.ts", every(3), lambda _: BLUE, size=(320, 180), tone_s=3, hertz=880)
    program = [
        write(to / f"{hertz}.mpg", every(3), lambda _, c=colour: c, codec="mpeg2video", tone_s=3, hertz=hertz)  # type: ignore[misc]
        for colour, hertz in ((RED, 440), (BLUE, 880))
    ]
    for name, parts, times, expected in (
        ("jump ahead", (one, later), 6, "RRRBBB"),
        ("jump back before the start", (later, one), 6, "BBBRRR"),
        ("three parts", (one, two, one), 9, "RRRBBBRRR"),
        ("another size", (one, sizes), 6, "RRRBBB"),
        ("program stream", program, 6, "RRRBBB"),
    ):
        path = joined(to / f"joined{parts[0].suffix}", *parts)
        seen = "".join(letters(path, [second + 0.5]) for second in range(times))
        pitch = [{"R": 440, "B": 880}[letter] for letter in expected]
        found = length(path)
        is_close = isinstance(found, float) and abs(found - times) < 0.2
        yield name, (True, expected, pitch), (is_close, seen, tones(path, times))
        path.unlink()
    tags = [write(to / f"{c[0]}.flv", every(3), lambda _, c=c: c, tone_s=3) for c in (RED, BLUE)]  # type: ignore[misc]
    appended = to / "appended.flv"
    appended.write_bytes(tags[0].read_bytes() + tags[1].read_bytes()[13:])  # without the head of the file
    seen = "".join(letters(appended, [second + 0.5]) for second in range(6))
    yield "a live recording in FLV that goes on", (6.0, "RRRBBB"), (length(appended), seen)
    yield "a clip of it", (2.0, 2.0), cut(appended, Span(start_s=2.0, end_s=4.0), "encode", to)
    for suffix in ("mp4", "mkv", "flv"):
        parts = [write(to / f"{c}.{suffix}", every(3), lambda _, c=c: c) for c in (RED, BLUE)]  # type: ignore[misc]
        found = str(length(joined(to / f"joined.{suffix}", *parts)))
        yield f"two files in one .{suffix}", "Another file begins behind its end", found[:34]


@case("13", "pictures that stay on display")
def sparse(to: Path) -> Iterable[Row]:
    """Sparse frames: screen recordings, slide shows, a last frame that stays."""
    spans = [Span(start_s=start, end_s=min(56.0, start + 10.0)) for start in range(0, 60, 10)]
    wanted = [(span.duration_s, span.duration_s) for span in spans]
    for file in ("sparse.mp4", "sparse.webm"):
        for mode in TO_THE_FRAME:
            yield f"{file}, {mode}", wanted, [cut(folder("13") / file, span, mode, to) for span in spans]
    copied = [cut(folder("13") / "sparse.mp4", span, "copy", to) for span in spans]
    yield "sparse.mp4, copy from its key frame", [(span.end_s, span.end_s) for span in spans], copied

    colours = [RED, BLUE, GREEN]
    slides = write(to / "slides.mkv", [0, 60_000, 120_000], lambda time: colours[time // 60_000], rate=1)
    yield "a slide a minute", "RRRBBBGG", letters(slides, [1, 30, 59, 61, 90, 119, 121, 120.5])
    for mode in TO_THE_FRAME:
        made = cut(slides, Span(start_s=70.0, end_s=110.0), mode, to)
        yield f"a slide a minute, {mode}", ((40.0, 40.0), "BB"), (made, letters(to / "clip.mp4", [1, 39]))
    held = write(to / "held.webm", every(2), lambda _: RED, codec="libvpx")
    stated(held, 30_000.0)
    yield "a last picture that stays for 28 s", (30.0, "RRR"), (length(held), letters(held, [1, 10, 29]))
    made = cut(held, Span(start_s=10.0, end_s=20.0), "encode", to)
    yield "a clip of it", (10.0, 10.0), made
    still = write(to / "still.mp4", [0], lambda _: GREEN, tone_s=12)
    yield "one picture for all of the sound", (12.0, "GG"), (length(still), letters(still, [0.5, 11.5]))
    for mode in MODES:
        yield f"one picture, {mode}", (5.0, 5.0), cut(still, Span(start_s=5.0, end_s=10.0), mode, to)
    phone = write(to / "phone.mp4", [0, 33, 66, 200, 233, 900, 933, 1000, 1900], lambda _: RED, rate=30)
    uneven = [cut(phone, span, "encode", to) for span in fixed_spans(1.9, interval_s=0.5)]
    yield "a phone's uneven frames", [0.5, 0.5, 0.5, 0.4], [made[0] for made in uneven]
    yield "the same by the files", True, all(abs(float(made[1]) - float(made[0])) < 0.11 for made in uneven)


def stated(path: Path, duration_ms: float) -> None:
    """Rewrite the duration in the header of a Matroska file."""
    data = bytearray(path.read_bytes())
    at = data.find(b"\x44\x89\x88") + 3
    data[at : at + 8] = np.array(duration_ms, ">f8").tobytes()
    path.write_bytes(data)


@case("15", "a still beside the film")
def stills(to: Path) -> Iterable[Row]:
    """The video track is the one with more frames, in any track order."""
    for suffix in ("mp4", "mkv", "ts"):
        for name, counts in (("still first", (1, 75)), ("film first", (75, 1)), ("three stills first", (3, 75))):
            path = tracks(to / f"tracks.{suffix}", counts)
            if "three" in name and suffix == "ts":
                continue
            yield f"{name}, {suffix}", (3.0, "B"), (length(path), letters(path, [1.5]))
    same = tracks(to / "same.mp4", (75, 75))
    yield "two films: the first", (3.0, "R"), (length(same), letters(same, [1.5]))


def tracks(path: Path, counts: Sequence[int]) -> Path:
    """Write a file with several tracks; those with more than ten frames are blue, except the first of equal length."""
    with av.open(str(path), "w") as output:
        made = []
        for count in counts:
            video = output.add_stream("libx264", rate=25, options={"bf": "0"})
            assert isinstance(video, VideoStream)
            video.width, video.height, video.pix_fmt, video.thread_count = 160, 90, "yuv420p", 1
            made.append((video, count))
        few = min(counts) == max(counts)
        for number, (video, count) in enumerate(made):
            colour = RED if count <= 3 or (few and number == 0) else BLUE
            for index in range(count):
                frame = VideoFrame.from_ndarray(np.full((90, 160, 3), colour, np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
    return path


@case("18", "audio that changes midway, and several audio tracks")
def changing_audio(to: Path) -> Iterable[Row]:
    """Audio changes: layout, sample rate, undecodable and empty tracks."""
    for file in ("layout.ts", "layout_mp2.ts"):
        path = folder("18") / file
        heard = tones(path, 8)
        yield f"{file}, speech", (8, True), (len(heard), all(heard))
        for mode in MODES:
            cut(path, Span(start_s=2.0, end_s=6.0), mode, to)
            heard = tones(to / "clip.mp4", 4)
            yield f"{file}, {mode}", (4, True), (len(heard), all(heard))
    one = write(to / "one.ts", every(2), lambda _: RED, tone_s=2)
    two = to / "two.ts"
    with av.open(str(two), "w") as output:
        video = output.add_stream("libx264", rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 160, 90, "yuv420p"
        sound = output.add_stream("aac", rate=44_100, layout="stereo")
        for index in range(50):
            frame = VideoFrame.from_ndarray(np.full((90, 160, 3), BLUE, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for made in tone(2, 880, rate=44_100, layout="stereo"):
            output.mux(sound.encode(made))
        output.mux(sound.encode(None))
    path = joined(to / "aac.ts", one, two)
    yield "AAC, other rate and layout, speech", [440, 440, 880, 880], tones(path, 4)
    for mode in MODES:
        cut(path, Span(start_s=0.0, end_s=4.0), mode, to)
        yield f"AAC, other rate and layout, {mode}", [440, 440, 880, 880], tones(to / "clip.mp4", 4)
    for suffix, known in (("mp4", (b"mp4a", b"esds")), ("mkv", (b"A_AAC",))):
        path = two_languages(to / f"tracks.{suffix}")
        data = path.read_bytes()
        for name in known:  # the first of each is that of the first track
            at = data.find(name)
            data = data[:at] + b"zzzzz"[: len(name)] + data[at + len(name) :]
        path.write_bytes(data)
        cut(path, Span(start_s=0.0, end_s=2.0), "copy", to)
        yield (
            f"first track not decodable, {suffix}",
            ([880] * 2, [880] * 2),
            (tones(path, 2), tones(to / "clip.mp4", 2)),
        )
    path = two_languages(to / "languages.mp4")
    yield "several languages: the first", [440] * 2, tones(path, 2)


def two_languages(path: Path) -> Path:
    """A video with two audio tracks."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 160, 90, "yuv420p"
        sounds = [output.add_stream("aac", rate=48_000) for _ in range(2)]
        for index in range(50):
            frame = VideoFrame.from_ndarray(np.full((90, 160, 3), RED, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for sound, hertz in zip(sounds, (440, 880), strict=True):
            for made in tone(2, hertz):
                output.mux(sound.encode(made))
            output.mux(sound.encode(None))
    return path
