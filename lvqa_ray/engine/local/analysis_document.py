"""Document of one video's analysis, built from rows as they arrive; it can be read at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from lvqa_ray.engine.local.live_updates import GrowingText, Spent
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
    Row,
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
    """The current time in UTC, as ISO 8601 text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(slots=True, kw_only=True)
class AnalysisDocument:
    """State and results of one analysis.

    Attributes:
        task: Id of the task; reruns of parts share it.
        session: Id of this analysis of the task.
        video: The video.
        tasks: The requested results, in order.
        asked: The request, as plain values without secrets.
        address: Hash of the address of the video with its query, which is stored nowhere; empty if unknown.
        fresh: Tasks that were requested again, with the session that did.
        state: ``done`` if all requested results exist; ``failed`` if some or all are missing.
        found: Number of clips found so far.
        split: Whether the video is split to its end.
        looked: Whether all clips are captioned.
        speech: The transcript, once it is known.
        results: Results of tasks, as they arrive.
        growing: Texts of results that are being written, by task and style.
        spent: Usage that this session paid for, by stage: without replies from the cache.
        failure: Why the video could not be analyzed, if it failed.
    """

    task: str
    session: str
    video: Video
    tasks: Sequence[Task]
    asked: Mapping[str, Any] = field(default_factory=dict)
    address: str = ""
    fresh: Mapping[Task, str] = field(default_factory=dict)
    state: State = "running"
    created: str = field(default_factory=now)
    info: VideoInfo | None = None
    found: int = 0
    split: bool = False
    looked: bool = False
    captions: dict[int, CaptionedClip] = field(default_factory=dict)
    speech: Sequence[Subtitle] | None = None
    results: list[Analysis] = field(default_factory=list)
    growing: dict[tuple[Task, str], GrowingText] = field(default_factory=dict)
    spent: dict[str, Usage] = field(default_factory=dict)
    failure: Failure | None = None

    def add(self, row: Row | Analysis | GrowingText | Spent) -> None:
        """Add a row of the analysis."""
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
                self.growing.pop((row.task, row.style), None)
            case GrowingText():
                self.growing[row.task, row.style] = row
            case Spent():
                self.spent[row.stage] = self.spent.get(row.stage, Usage()) + row.usage
            case AnalysisRecord():
                self.state = "failed" if self.lacks else "done"
            case Failure():
                self.state, self.failure = "failed", row

    @property
    def lacks(self) -> Sequence[Failure]:
        """The failures of the video and of its tasks."""
        every = (self.failure, *(result.failure for result in self.results))
        return [failure for failure in every if failure is not None]

    @property
    def shots(self) -> list[dict[str, Any]]:
        """The captions so far, by clip: ``start_ms``, ``end_ms``, ``text``."""
        captioned = [self.captions[index] for index in sorted(self.captions) if self.captions[index].caption.strip()]
        return [
            {
                "start_ms": round(row.clip.span.start_s * 1000),
                "end_ms": round(row.clip.span.end_s * 1000),
                "text": row.caption.strip(),
            }
            for row in captioned
        ]

    @property
    def usage(self) -> Usage:
        """Total usage."""
        others = (
            result.usage for result in self.results if result.task != "analysis"
        )  # whose usage is that of the captions
        return sum((*(row.usage for row in self.captions.values()), *others), Usage())

    def document(self) -> dict[str, Any]:
        """The document as plain values, ready for JSON."""
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
                "address": self.address,
                "info": self.info and asdict(self.info),
            },
            "tasks": list(self.tasks),
            "asked": dict(self.asked),
            "fresh": dict(self.fresh),
            "clips": {
                "found": self.found,
                "all_found": self.split,
                "looked_at": self.looked,
                "captioned": len(self.shots),
                "failed": sum(row.failure is not None for row in self.captions.values()),
            },
            "shots": self.shots,
            "speech": None if self.speech is None else [asdict(line) for line in self.speech],
            "results": [
                *(_result(result) for result in self._with_analysis()),
                *(_result(Analysis(task=each.task, text=each.text), each.style) for each in self._written),
            ],
            "usage": usage_fields(self.usage),
            "spent": usage_fields(sum(self.spent.values(), Usage())),
            "spent_by_stage": {stage: usage_fields(usage) for stage, usage in self.spent.items()},
            "failure": _failure(self.failure),
        }

    @property
    def _written(self) -> list[GrowingText]:
        """The texts that are being written."""
        return [*self.growing.values()] if self.state == "running" else []

    def _with_analysis(self) -> Sequence[Analysis]:
        """The results; while clips are captioned, the first one holds the captions so far."""
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


def _result(result: Analysis, growing: str | None = None) -> dict[str, Any]:
    """A result as JSON, or the text of one that is being written, in the style ``growing``."""
    return {
        "task": result.task,
        "style": result.style if growing is None else growing,
        "finished": growing is None,
        "text": result.text,
        "value": None if result.task == "analysis" else result.value,  # see "shots"
        "model": result.model,
        "usage": usage_fields(result.usage),
        "note": result.note,
        "failure": _failure(result.failure),
    }


def usage_fields(usage: Usage) -> dict[str, Any]:
    """The usage of results that were used, as JSON."""
    return {name: value for name, value in asdict(usage).items() if name != "unusable"}


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {name: getattr(failure, name) for name in ("stage", "kind", "message", "retryable")}
