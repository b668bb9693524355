"""No kind of failure is without a mend."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import lvqa_ray
from lvqa_ray.dataset.remedies import MENDS, mend
from lvqa_ray.errors import ApiError, ParseFault, VideoFault
from lvqa_ray.stages.reformat import NOTHING_LEFT


def api_kinds(error: type[ApiError]) -> Iterator[str]:
    yield error.kind
    for inner in error.__subclasses__():
        yield from api_kinds(inner)


def texts(value: ast.expr) -> Iterator[str]:
    yield from (
        node.value for node in ast.walk(value) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def written_kinds() -> Iterator[str]:
    """The kinds that stand in the code as texts, where failures are made."""
    package = Path(lvqa_ray.__file__).parent
    for path in (path for room in ("engine", "stages", "storage", "corpus") for path in (package / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="FetchError"), args=[ast.Constant(value=str(kind)), *_]):
                    yield kind
                case ast.Call(func=ast.Name(id="Failure"), keywords=keywords):
                    yield from (kind for word in keywords if word.arg == "kind" for kind in texts(word.value))
                case ast.Assign(targets=[ast.Name(id="kind")], value=ast.IfExp() as value):
                    yield from (*texts(value.body), *texts(value.orelse))


def test_every_kind_has_a_mend_and_every_mend_a_kind() -> None:
    written = set(written_kinds())
    assert {"worker_crashed", "internal_error", "not_fetched", "all_clips_filtered"} <= written
    kinds = {*map(str, VideoFault), *map(str, ParseFault), *api_kinds(ApiError), NOTHING_LEFT, *written}
    assert set(MENDS) == kinds


def test_a_mend_names_the_kind_where_it_is_needed() -> None:
    assert mend("refused").startswith("`lvqa retry --kind refused`")
    assert not any("{" in mend(kind) for kind in MENDS)
