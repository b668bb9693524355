"""Clips that are read one after another have the frames and the losses of clips that are read alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import pytest

from lvqa_ray.records import CaptionedClip, Clip, Video, VideoInfo
from lvqa_ray.stages.sample import SampleFrames
from lvqa_ray.video.frames.read_ahead import ReadAhead, reading_ahead
from lvqa_ray.video.reader import container, video_reader
from lvqa_ray.video.spans import fixed_spans
from tests import media

SECONDS = 12.0


def clips(path: Path, length_s: float = 1.0, seconds: float = SECONDS) -> list[Clip]:
    info = VideoInfo(num_frames=int(25 * seconds), height=90, width=160, fps=25, duration_sec=seconds)
    video = Video(id="v", uri=str(path), fingerprint="f")
    spans = fixed_spans(seconds, interval_s=length_s)
    return [
        Clip(video=video, info=info, index=at, span=span, last=at == len(spans) - 1) for at, span in enumerate(spans)
    ]


def alone(rows: Sequence[Clip], sample: SampleFrames) -> list[Clip | CaptionedClip]:
    return [made for clip in rows for made in sample(clip)]


def together(rows: Sequence[Clip], sample: SampleFrames) -> list[Clip | CaptionedClip]:
    ahead = ReadAhead()
    made: list[Clip | CaptionedClip] = []
    with reading_ahead(ahead):
        for at, clip in enumerate(rows):
            ahead.announce(clip.video.uri, [sample.times(each) for each in rows[at:]])
            made += sample(clip)
    return made


class Opened:
    """Counts the files that are opened, and the packets that are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files = self.packets = 0
        opened, decode = container.open_container, video_reader.VideoReader._decode

        def counted_open(path: str) -> av.container.InputContainer:
            self.files += 1
            return opened(path)

        def counted_decode(reader: video_reader.VideoReader, packet: object) -> object:
            self.packets += 1
            return decode(reader, packet)  # type: ignore[arg-type]

        monkeypatch.setattr(video_reader, "open_container", counted_open)
        monkeypatch.setattr(video_reader.VideoReader, "_decode", counted_decode)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
@pytest.mark.parametrize(("gop", "open_gop"), [(12, False), (250, False), (40, True)])
@pytest.mark.parametrize("count", [1, 8])
def test_the_same_frames_as_alone(tmp_path: Path, suffix: str, gop: int, open_gop: bool, count: int) -> None:
    film = media.make_video(tmp_path / f"film{suffix}", seconds=SECONDS, gop=gop, open_gop=open_gop, scenes=[3, 7.5])
    sample = SampleFrames(count=count)
    assert together(clips(film), sample) == alone(clips(film), sample)


def test_the_file_is_opened_once_and_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=SECONDS, gop=250)
    rows, sample = clips(film), SampleFrames()
    each = Opened(monkeypatch)
    alone(rows, sample)
    assert (each.files, each.packets > 4 * 25 * SECONDS) == (len(rows), True)
    each = Opened(monkeypatch)
    together(rows, sample)
    assert each.files == 1
    assert each.packets <= 25 * SECONDS + 2


def test_a_key_frame_on_the_way_is_worth_a_seek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=30.0, gop=12)
    rows, sample = clips(film, 10.0, 30.0), SampleFrames(count=1)
    each = Opened(monkeypatch)
    together(rows, sample)
    assert each.files == 1
    assert each.packets < 3 * 60, "10 s apart, with key frames every half second: not all 750 frames"


def test_clips_that_were_not_announced_are_read_alone(tmp_path: Path) -> None:
    film, other = (media.make_video(tmp_path / name, seconds=SECONDS) for name in ("film.mp4", "other.mp4"))
    rows, others, sample = clips(film), clips(other), SampleFrames()
    ahead = ReadAhead()
    with reading_ahead(ahead):
        ahead.announce(str(film), [sample.times(each) for each in rows])
        assert list(sample(rows[0])) == alone(rows[:1], sample)
        assert list(sample(rows[5])) == alone(rows[5:6], sample)
        assert list(sample(others[3])) == alone(others[3:4], sample)
        ahead.announce(str(film), [sample.times(each) for each in rows[7:]])
        assert list(sample(rows[7])) == alone(rows[7:8], sample)
        ahead.announce(str(other), [])
        assert list(sample(others[0])) == alone(others[:1], sample)


def test_damage_is_lost_to_the_clips_that_it_is_in(tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.mkv", seconds=SECONDS, gop=25)
    data = bytearray(film.read_bytes())
    for at in range(len(data) // 3, len(data) // 2, 97):
        data[at] ^= 0xFF
    film.write_bytes(data)
    sample = SampleFrames()
    made = together(clips(film), sample)
    assert made == alone(clips(film), sample)
    assert any(clip.lost_s for clip in made if isinstance(clip, Clip))


def test_a_file_cut_short_ends_where_it_ends(tmp_path: Path) -> None:
    film = media.make_video(tmp_path / "film.ts", seconds=SECONDS)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    sample = SampleFrames()
    made = together(clips(film), sample)
    assert made == alone(clips(film), sample)
    assert any(isinstance(row, CaptionedClip) for row in made)
