"""Lazy import of packages: `__init__` runs only when needed, so that submodules can be imported without it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec, module_from_spec
from pkgutil import iter_modules
from types import CodeType, ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """Package whose `__init__` runs on the first access to a name that it may define.

    Its submodules can be imported before that, since the import system needs only the `__path__` of their package; each
    must be importable alone.
    """

    def __getattr__(self, name: str) -> object:
        """Run the package's `__init__`, if it may define the name."""
        spec = self.__spec__
        # cloudpickle looks up its names in every loaded module; most of them are not of this package.
        private = name.startswith("_") and not (name.startswith("__") and name.endswith("__"))
        if private or spec is None or spec.loader is None or "_ran" in self.__dict__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if name not in _names(spec.name, spec.loader):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__dict__["_ran"] = True
        spec.loader.exec_module(self)
        return getattr(self, name)


def register(package: str) -> None:
    """Register a package with the import system without running its `__init__`; does nothing if it is loaded."""
    if package in sys.modules:
        return
    spec = find_spec(package)
    if spec is None:
        return
    lazy = LazyPackage(package)
    lazy.__dict__.update(module_from_spec(spec).__dict__)
    sys.modules[package] = lazy


def _names(package: str, loader: Any) -> set[str]:  # noqa: ANN401 - the base class lacks get_code
    """Names that the package's `__init__` mentions, also in its `__getattr__`, and its submodules."""
    code = loader.get_code(package)
    mentioned = {part for name in code.co_names for part in name.split(".")}
    for inner in code.co_consts:
        if isinstance(inner, CodeType) and inner.co_name == "__getattr__":
            mentioned |= _strings(inner.co_consts)
    return mentioned | {module.name for module in iter_modules(sys.modules[package].__path__)}


def _strings(constants: Iterable[object]) -> set[str]:
    """The strings among the constants of a function, also those in tuples and sets."""
    found: set[str] = set()
    for one in constants:
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, tuple | frozenset):
            found |= _strings(one)
    return found
