"""Clips that are cut on a node and kept in a bucket; no run, and no real store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lvqa_ray.config import Job
from lvqa_ray.engine.clip_uploads import ClipUploader, clip_uploader
from lvqa_ray.engine.row_codec import pack, unpack
from lvqa_ray.engine.step_runner import failed
from lvqa_ray.records import CaptionedClip, Clip, Failure, Span, Video, VideoInfo
from lvqa_ray.storage.paths import ObjectPath
from lvqa_ray.video.cutting.sidecar_index import NOTES

VIDEO = Video(id="v", uri="v.mp4", fingerprint="f")


@pytest.fixture
def media(tmp_path: Path) -> ClipUploader:
    return ClipUploader(tmp_path / "staged", ObjectPath("s3://films/out/media"))


@pytest.fixture
def clip(media: ClipUploader) -> Clip:
    """A clip that was cut."""
    file = media.folder / "v" / "0.mp4"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mp4")
    file.with_name(NOTES).write_bytes(b"{}")
    whole = Span(start_s=0, end_s=1)
    info = VideoInfo(num_frames=25, height=36, width=64, fps=25, duration_sec=1)
    held = {"media_path": str(file), "media_span": whole, "media_mode": "exact"}
    return Clip(video=VIDEO, info=info, index=0, span=whole, last=True, **held)  # type: ignore[arg-type]


def made(media: ClipUploader, row: Clip | CaptionedClip) -> Clip | CaptionedClip:
    (packed,) = media.upload([pack(row)])
    (row,) = unpack(packed)
    assert not [path for path in media.folder.rglob("*") if path.is_file()], "nothing stays on the node"
    return row


def test_a_clip_that_is_uploaded_is_named_by_its_place(
    media: ClipUploader, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ObjectPath, "upload", lambda *_: None)
    assert made(media, clip) == replace(clip, media_path="s3://films/out/media/v/0.mp4")


def test_a_clip_that_failed_after_it_was_cut_names_no_file(media: ClipUploader, clip: Clip) -> None:
    row = failed(clip, Failure(video=VIDEO, stage="sample", kind="damaged", message="x", retryable=False))
    out = made(media, row)  # type: ignore[arg-type]
    assert isinstance(out, CaptionedClip)
    assert (out.clip.media_path, out.clip.media_span, out.clip.media_mode) == ("", None, "")


def test_a_clip_that_cannot_be_uploaded_names_no_file(
    media: ClipUploader, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upload(*_: object) -> None:
        raise PermissionError(13, "s3://films is not open to these credentials")

    monkeypatch.setattr(ObjectPath, "upload", upload)
    out = made(media, clip)
    assert isinstance(out, CaptionedClip)
    assert out.failure is not None
    assert (out.failure.kind, out.clip.media_path, out.clip.media_span) == ("not_written", "", None)
    assert "not open to these credentials" in out.failure.message


def test_two_outputs_share_no_folder_of_a_node() -> None:
    def folder(output: str) -> Path:
        at = {"base_url": "http://localhost", "model": "m"}
        job = {"videos": ["v.mp4"], "output": output, "endpoints": {"vlm": at, "llm": at}}
        return clip_uploader(Job.model_validate(job)).folder

    assert folder("s3://films/a") != folder("s3://films/b")
    assert folder("s3://films/a") == folder("s3://films/a")
