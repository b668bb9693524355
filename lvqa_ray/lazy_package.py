"""Lazy import of packages: `__init__` runs only when needed, so that submodules can be imported without it."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """Package whose `__init__` runs on the first access to a name that it may define.

    Its submodules can be imported before that, since the import system needs only the `__path__` of their package.
    """

    def __getattr__(self, name: str) -> object:
        """Run the package's `__init__`, if it may define the name."""
        spec = self.__spec__
        # cloudpickle looks up its names in every loaded module; most of them are not of this package.
        if name.startswith("_") or spec is None or spec.loader is None or "_ran" in self.__dict__:
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
    """Names that the package's `__init__` mentions, and its submodules."""
    mentioned = {part for name in loader.get_code(package).co_names for part in name.split(".")}
    return mentioned | {module.name for module in iter_modules(sys.modules[package].__path__)}
