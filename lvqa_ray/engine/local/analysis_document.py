"""All that is known of one video's analysis so far: rows go in as they come, and it is a document at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from lvqa_ray.qa.rewording import merged_line
from lvqa_ray.qa.time_labels import decimals
from lvqa_ray.records import (
    Analysis,
    AnalysisRecord,
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Failure,
    ProbedVideo,
    Span,
    Subtitle,
    Task,
    Usage,
    Video,
    VideoInfo,
    redact_url,
)

State = Literal["running", "done", "failed", "stopped"]


def now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(slots=True, kw_only=True)
class AnalysisDocument:
    """An analysis and what came of it.

    Attributes:
        task: Names what is analyzed; reruns of parts share it.
        session: Names this one analysis of it.
        video: What is analyzed.
        tasks: What is wanted, in order.
        asked: The request, as plain values that hold no secret.
        state: ``done`` where everything that was wanted is there; ``failed`` where a part or all of it is lacking.
        found: Clips that were found so far.
        split: Whether these are all.
        looked: Whether all of them have been looked at.
        speech: What is said, once that is known.
        results: Of tasks, as they come.
        failure: Why the video could not be analyzed, if it could not.
    """

    task: str
    session: str
    video: Video
    tasks: Sequence[Task]
    asked: Mapping[str, Any] = field(default_factory=dict)
    state: State = "running"
    created: str = field(default_factory=now)
    info: VideoInfo | None = None
    found: int = 0
    split: bool = False
    looked: bool = False
    captions: dict[int, CaptionedClip] = field(default_factory=dict)
    speech: Sequence[Subtitle] | None = None
    results: list[Analysis] = field(default_factory=list)
    failure: Failure | None = None

    def add(self, row: Any) -> None:  # noqa: ANN401 - any of the frozen rows
        """Take a row of the analysis in."""
        match row:
            case ProbedVideo():
                self.info = row.info
            case Clip():
                self.found += 1
                self.split = self.split or row.last
                self.speech = row.heard if row.index == 0 else self.speech
            case CaptionedClip():
                self.captions[row.clip.index] = row
            case CaptionedVideo():
                self.speech, self.info, self.looked = row.speech, row.info, True
            case Analysis():
                self.results.append(row)
            case AnalysisRecord():
                self.state = "failed" if self.lacks else "done"
            case Failure():
                self.state, self.failure = "failed", row

    @property
    def lacks(self) -> Sequence[Failure]:
        """Why parts of what was wanted are not there."""
        every = (self.failure, *(result.failure for result in self.results))
        return [failure for failure in every if failure is not None]

    @property
    def shots(self) -> list[dict[str, Any]]:
        """What is seen, shot by shot, as far as it is known: ``start_ms``, ``end_ms``, ``text``."""
        told = [self.captions[index] for index in sorted(self.captions) if self.captions[index].caption.strip()]
        return [
            {
                "start_ms": round(row.clip.span.start_s * 1000),
                "end_ms": round(row.clip.span.end_s * 1000),
                "text": row.caption.strip(),
            }
            for row in told
        ]

    @property
    def usage(self) -> Usage:
        """What all of it cost."""
        others = (result.usage for result in self.results if result.task != "analysis")  # which is the captions' own
        return sum((*(row.usage for row in self.captions.values()), *others), Usage())

    def document(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "task": self.task,
            "session": self.session,
            "state": self.state,
            "created": self.created,
            "updated": now(),
            "video": {
                "id": self.video.id,
                "uri": redact_url(self.video.uri),
                "fingerprint": self.video.fingerprint,
                "info": self.info and asdict(self.info),
            },
            "tasks": list(self.tasks),
            "asked": dict(self.asked),
            "clips": {
                "found": self.found,
                "all_found": self.split,
                "looked_at": self.looked,
                "captioned": len(self.shots),
                "failed": sum(row.failure is not None for row in self.captions.values()),
            },
            "shots": self.shots,
            "speech": None if self.speech is None else [asdict(line) for line in self.speech],
            "results": [_result(result) for result in self._with_analysis()],
            "usage": asdict(self.usage),
            "failure": _failure(self.failure),
        }

    def _with_analysis(self) -> Sequence[Analysis]:
        """The results; while shots are looked at, the first is what is known of them so far."""
        if not self.captions or any(result.task == "analysis" for result in self.results):
            return self.results
        shots = self.shots
        spans = [Span(start_s=shot["start_ms"] / 1000, end_s=shot["end_ms"] / 1000) for shot in shots]
        lines = [
            merged_line(span.start_s, span.end_s, shot["text"], places)
            for span, shot, places in zip(spans, shots, decimals(spans), strict=True)
        ]
        usage = sum((row.usage for row in self.captions.values()), Usage())
        return [Analysis(task="analysis", text="\n".join(lines), usage=usage), *self.results]


def _result(result: Analysis) -> dict[str, Any]:
    return {
        "task": result.task,
        "style": result.style,
        "text": result.text,
        "value": None if result.task == "analysis" else result.value,  # the shots are told apart
        "model": result.model,
        "usage": asdict(result.usage),
        "note": result.note,
        "failure": _failure(result.failure),
    }


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {name: getattr(failure, name) for name in ("stage", "kind", "message", "retryable")}
