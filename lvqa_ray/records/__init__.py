"""Dataclasses that pass between stages (`rows`, `questions`, `analyzed_video`) and the output tables (`tables`)."""

from lvqa_ray.records.analyzed_video import STYLES, TASKS, Analysis, AnalysisRecord, AnalyzedVideo, Style, Task
from lvqa_ray.records.parts import ScoredPart, VideoPart
from lvqa_ray.records.questions import (
    LETTERS,
    Action,
    AskedQuestion,
    Drop,
    FinishedVideo,
    Letter,
    Question,
    QuestionedVideo,
    ReasoningStep,
    Record,
    Verdict,
)
from lvqa_ray.records.row import Row
from lvqa_ray.records.rows import (
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Failure,
    Frame,
    ProbedVideo,
    Span,
    Subtitle,
    Turn,
    Video,
    VideoInfo,
)
from lvqa_ray.records.uri import STORES, redact_url
from lvqa_ray.records.usage import NO_USAGE, Usage

__all__ = [
    "LETTERS",
    "NO_USAGE",
    "STORES",
    "STYLES",
    "TASKS",
    "Action",
    "Analysis",
    "AnalysisRecord",
    "AnalyzedVideo",
    "AskedQuestion",
    "CaptionedClip",
    "CaptionedVideo",
    "Clip",
    "Drop",
    "Failure",
    "FinishedVideo",
    "Frame",
    "Letter",
    "ProbedVideo",
    "Question",
    "QuestionedVideo",
    "ReasoningStep",
    "Record",
    "Row",
    "ScoredPart",
    "Span",
    "Style",
    "Subtitle",
    "Task",
    "Turn",
    "Usage",
    "Verdict",
    "Video",
    "VideoInfo",
    "VideoPart",
    "redact_url",
]
