"""Merge stage: all clips of a video -> one row with the merged captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import VideoFault
from lvqa_ray.qa.rewording import merged_line
from lvqa_ray.qa.time_labels import decimals
from lvqa_ray.records import CaptionedClip, CaptionedVideo, Failure, Subtitle, redact_url


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MergeCaptions:
    """Join the captions of a video in time order, one line per clip."""

    name: ClassVar[str] = "merge"

    min_captioned: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="Minimum share of the clips' time that must have a caption; below it the video fails.",
    )

    def __call__(
        self, clips: Sequence[CaptionedClip], *, heard: bool = True, max_lost_share: float = 0.0
    ) -> Iterator[CaptionedVideo | Failure]:
        """Merge the captions, or return the failure if there are too few.

        A clip with a retryable failure fails the video, so that a rerun can fill the gap. Only permanent gaps count
        against ``min_captioned``.

        Args:
            clips: All clips of a video.
            heard: Append speech to each caption; a line that spans several clips appears once.
            max_lost_share: Maximum share of the clips' time that may be lost to damage.
        """
        clips = sorted(clips, key=lambda row: row.clip.index)
        video, info = clips[0].clip.video, clips[0].clip.info
        failures = [row.failure for row in clips if row.failure is not None]
        used: set[Subtitle] = set()
        lines = []
        with_caption = [row for row in clips if row.caption.strip()]
        for row, places in zip(with_caption, decimals([row.clip.span for row in with_caption]), strict=True):
            speech = [line for line in row.clip.speech if line not in used] if heard else []
            used.update(speech)
            span = row.clip.span
            lines.append(merged_line(span.start_s, span.end_s, _with_speech(row.caption, speech), places))
        wanted = sum(row.clip.span.duration_s for row in clips if not (row.clip.dropped or _is_lost(row)))
        captioned = sum(row.clip.span.duration_s for row in with_caption)
        waiting = next((failure for failure in failures if failure.retryable), None)
        lost_s = sum(row.clip.lost_s for row in clips)
        max_lost_s = max_lost_share * sum(row.clip.span.duration_s for row in clips)
        damage = next((row.failure for row in clips if _is_lost(row)), None) if lost_s > max_lost_s else None
        if lost_s:
            partial = f"{info.partial} {lost_s:.2f} s of the picture do not decode.".lstrip()
            info = replace(info, partial=partial)
        if damage or waiting or not lines or captioned < self.min_captioned * wanted:
            yield self._failure(clips, damage or waiting or next(iter(failures), None), captioned, wanted)
        else:
            yield CaptionedVideo(
                video=video,
                info=info,
                clips=tuple(clips),
                captions="\n".join(lines),
                num_clips=len(lines),
                speech=clips[0].clip.heard,
            )

    def _failure(
        self, clips: Sequence[CaptionedClip], cause: Failure | None, captioned: float, wanted: float
    ) -> Failure:
        video = clips[0].clip.video
        if cause is None:
            rejected = all(row.clip.dropped for row in clips)
            kind = "all_clips_filtered" if rejected else "empty_captions"
            message = (
                f"every clip was rejected by filter.{clips[0].clip.dropped}; widen it"
                if rejected
                else "the captions are empty or too few"
            )
            return Failure(video=video, stage=self.name, kind=kind, message=f"{redact_url(video.uri)}: {message}")
        failed = sum(row.failure is not None for row in clips)
        return Failure(
            video=video,
            clip_id=cause.clip_id,
            stage=cause.stage,
            kind=cause.kind,
            message=f"{failed} of {len(clips)} clips have no caption ({captioned:.0f} of {wanted:.0f} s have one); "
            f"{cause.clip_id}: {cause.message}",
            attempts=cause.attempts,
            retryable=cause.retryable,
            raw=cause.raw,
        )


def _is_lost(row: CaptionedClip) -> bool:
    return row.failure is not None and row.failure.kind == VideoFault.DAMAGED


def _with_speech(caption: str, speech: Sequence[Subtitle]) -> str:
    """Append the speech to the caption, in quotes."""
    if not speech:
        return caption
    text = " ".join(line.text for line in speech).replace('"', "'")
    return f'{caption.rstrip()}{"" if caption.rstrip().endswith(ENDS) else "."} One hears: "{text}"'


ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f")
"""Sentence-final punctuation, also Chinese and Japanese."""
