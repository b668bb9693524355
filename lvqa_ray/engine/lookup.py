"""Where the lines of earlier passes stand: put into Ray's object store once, and shared by all tasks of a node."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ray

from lvqa_ray.engine.found import clips_folder, index_of
from lvqa_ray.engine.journals import segments_at
from lvqa_ray.engine.place import Place
from lvqa_ray.llm.index import Index
from lvqa_ray.llm.journal import Journal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """Where the lines stand: of the answers to one stage, and of the clips of videos."""

    answers: Index
    clips: Index


def look_up(journal: Place, stage: str) -> Any:  # noqa: ANN401 - Ray's references have no type of their own
    """A reference to what is `Known` now; a task reads it, so that it is never in the driver's memory."""
    as_task: Any = ray.remote  # its types know of functions without options only
    return as_task(num_cpus=0)(_read).remote(journal, stage)


def _read(journal: Place, stage: str) -> Known:
    nothing = Index.of({})
    try:
        answers = Journal(segments_at(journal), writer="reader", stage=stage).index()
        return Known(answers, index_of(clips_folder(journal)))
    except OSError as error:  # the worker that is to write there says so, and stops the run
        logger.warning("%s cannot be read (%s)", journal, error)
        return Known(nothing, nothing)


@lru_cache(maxsize=1)
def known(reference: Any) -> Known:  # noqa: ANN401 - as above
    """What `look_up` has found, read in place."""
    found: Known = ray.get(reference)
    return found
