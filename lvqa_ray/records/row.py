"""The union of the rows that pass from step to step of a pipeline."""

from __future__ import annotations

from lvqa_ray.records.analysis import AnalyzedFilm, AnalyzedVideo
from lvqa_ray.records.parts import LookedPart, VideoPart
from lvqa_ray.records.questions import AskedFilm, FinishedFilm
from lvqa_ray.records.rows import CaptionedClip, Clip, Failure, Film, ProbedVideo, Video

Row = (
    Video
    | ProbedVideo
    | VideoPart
    | LookedPart
    | Clip
    | CaptionedClip
    | Film
    | AnalyzedFilm
    | AnalyzedVideo
    | AskedFilm
    | FinishedFilm
    | Failure
)
"""Any row that a step takes or makes."""
