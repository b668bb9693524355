"""The tables of docs/serve.md: every parameter and field of the vendor's SDK, and whether the service has it.

``python -m tests.serve.reference`` writes them into the page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from alibabacloud_quanmiaolightapp20240801 import models
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from lvqa_ray.serve.quanmiao import envelope
from lvqa_ray.serve.quanmiao.quanmiao_request import (
    UNSUPPORTED,
    RunVideoAnalysis,
    SubmitVideoAnalysisTask,
    UpdateVideoAnalysisTask,
)
from tests.blocks import ROOT

PAGE = ROOT / "docs" / "serve.md"
BEGIN, END = "<!-- generated: python -m tests.serve.reference -->", "<!-- end -->"
REQUESTS: Mapping[str, type[BaseModel]] = {
    "RunVideoAnalysis": RunVideoAnalysis,
    "SubmitVideoAnalysisTask": SubmitVideoAnalysisTask,
    "UpdateVideoAnalysisTask": UpdateVideoAnalysisTask,
}
TASK_FIELDS: Mapping[str, tuple[str, ...]] = {
    "SubmitVideoAnalysisTask": ("taskId",),
    "GetVideoAnalysisTask": ("errorMessage", "taskId", "taskRunInfo", "taskStatus"),
    "UpdateVideoAnalysisTask": ("taskErrorMessage", "taskId", "taskStatus"),
}
"""Fields of ``data``, besides ``header`` and ``payload``, which are those of an event."""


def parameters(name: str) -> list[str]:
    """The parameters of a request of the SDK, with the vendor's names."""
    return sorted(map(to_camel, inspect.signature(getattr(models, f"{name}Request")).parameters))


def fields(name: str) -> Iterator[str]:
    """The fields of a response of the SDK, as paths."""
    for field, parameter in inspect.signature(getattr(models, name)).parameters.items():
        inner = re.search(r"main_models\.(\w+)", str(parameter.annotation))
        several = "[]" if "List[" in str(parameter.annotation) else ""
        path = to_camel(field) + several
        if inner is None:
            yield path
        else:
            yield from (f"{path}.{each}" for each in fields(inner[1]))


def sent(model: type[BaseModel], depth: int = 0) -> Iterator[str]:
    """The fields that the service sends, as such paths."""
    for name, field in model.model_fields.items():
        inner, several = _model_of(field.annotation)
        path = to_camel(name) + ("[]" if several else "")
        if inner is None:
            yield path
        elif inner is not envelope.Node or depth < envelope.MIND_MAP_LEVELS:
            deeper = depth + 1 if inner is envelope.Node else depth
            yield from (f"{path}.{each}" for each in sent(inner, deeper))


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for each in get_args(annotation):
        found, several = _model_of(each)
        if found is not None:
            return found, several or "list" in str(annotation)
    return None, False


def tables() -> str:
    """Both tables, as Markdown."""
    rows = ["| parameter | requests | here |", "|---|---|---|"]
    of_name = {name: parameters(name) for name in REQUESTS}
    for parameter in sorted({each for names in of_name.values() for each in names}):
        requests = [name for name, names in of_name.items() if parameter in names]
        described = [
            next((field for name, field in REQUESTS[each].model_fields.items() if to_camel(name) == parameter), None)
            for each in requests
        ]
        told = next((str(field.description) for field in described if field), f"no: {UNSUPPORTED.get(parameter)}")
        rows.append(f"| `{parameter}` | {', '.join(requests)} | {told.rstrip('.')} |")
    rows += ["", "| response field | here |", "|---|---|"]
    ours = set(sent(envelope.Response))
    for path in sorted(fields("RunVideoAnalysisResponseBody")):
        rows.append(f"| `{path}` | {'yes' if path in ours else 'no'} |")
    return "\n".join(rows)


def page(text: str) -> str:
    """The page with its tables as they are now."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
