"""Replies of models: drafts, wrappers, finish reasons, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from lvqa_ray.llm.draft import without_draft
from tests.cases import Row, case, folder


@case("02", "drafts in other tags")
def drafts(_: Path) -> Iterable[Row]:
    for file in sorted(folder("02").glob("*.json")):
        said = json.loads(file.read_text())
        yield file.stem, said["caption_right"], without_draft(said["content"])
