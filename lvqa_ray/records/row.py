"""Union type of the rows that pass between the steps of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvqa_ray.records.analyzed_video import AnalysisRecord, AnalyzedVideo
from lvqa_ray.records.parts import ScoredPart, VideoPart
from lvqa_ray.records.questions import FinishedVideo, QuestionedVideo
from lvqa_ray.records.rows import CaptionedClip, CaptionedVideo, Clip, Failure, ProbedVideo, Video

Row = (
    Video
    | ProbedVideo
    | VideoPart
    | ScoredPart
    | Clip
    | CaptionedClip
    | CaptionedVideo
    | AnalyzedVideo
    | AnalysisRecord
    | QuestionedVideo
    | FinishedVideo
    | Failure
)
"""Any row that a step takes or makes."""

TableRow = Mapping[str, Any]
"""A row of a table, as Python values by column."""
