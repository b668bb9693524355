"""The layout of the package: small folders, so that a reader finds things."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import lvqa_ray

MOST_MODULES = 16
MOST_LINES = 350
MOST_UNTYPED = 15
"""Places in the package that may be exempt from ANN401 (`Any` as a parameter or a result)."""
PACKAGE = Path(lvqa_ray.__file__).parent
SHARED_MODULE_NAMES = {"audit", "endpoint", "run"}
"""Names that modules of several packages share: the command and what it calls, and the two ends of a connection."""


def test_no_folder_has_more_than_sixteen_modules() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    modules = {
        str(folder.relative_to(PACKAGE)): sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in folders
    }
    assert {name: count for name, count in modules.items() if count > MOST_MODULES} == {}


def test_a_module_fits_in_the_head() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path.relative_to(PACKAGE)): count for path, count in lines.items() if count > MOST_LINES} == {}


def test_few_places_are_untyped() -> None:
    exempt = [path for path in PACKAGE.rglob("*.py") for _ in range(path.read_text(encoding="utf-8").count("ANN401"))]
    assert len(exempt) <= MOST_UNTYPED, exempt


def test_only_one_package_imports_ray() -> None:
    importing = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if line.strip().startswith(("import ray", "from ray"))
    }
    assert {name for name in importing if not name.startswith("engine/ray/")} == set()


def test_a_constant_has_one_name_and_one_meaning() -> None:
    """A name in capitals is defined in one module; `PROMPT` is the default prompt of whichever stage defines it."""
    homes: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            for name in (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)):
                if name.isupper() and len(name) > 1 and not name.startswith("_"):
                    homes[name].add(path.relative_to(PACKAGE).as_posix())
    assert {name: sorted(paths) for name, paths in homes.items() if len(paths) > 1 and name != "PROMPT"} == {}


def test_a_module_name_stands_in_one_package() -> None:
    modules = {path: [path.stem] for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    assert _shared(modules) == SHARED_MODULE_NAMES


def test_a_class_name_has_one_meaning() -> None:
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    classes = {
        path: [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)] for path, tree in trees.items()
    }
    assert _shared(classes) == set()


def _shared(names: Mapping[Path, Iterable[str]]) -> set[str]:
    """The names that stand in several files."""
    files: dict[str, set[Path]] = {}
    for path, inside in names.items():
        for name in inside:
            files.setdefault(name, set()).add(path)
    return {name for name, paths in files.items() if len(paths) > 1}
