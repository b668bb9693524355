"""Packages whose `__init__` runs only when it is needed, so that a few of their submodules can be imported alone."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package whose `__init__` runs when somebody first asks for a name that it defines, and not before.

    Its submodules can be imported at once, because the import system only needs `__path__` of their package.
    """

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the package defines
        """Run the package's `__init__`, if it may define the name."""
        spec = self.__spec__
        # cloudpickle asks every loaded module for the names that it looks for: most of them are none of this package.
        if name.startswith("_") or spec is None or spec.loader is None or "_ran" in self.__dict__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if name not in _names(spec.name, spec.loader):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__dict__["_ran"] = True
        spec.loader.exec_module(self)
        return getattr(self, name)


def register(package: str) -> None:
    """Make a package known to the import system without running its `__init__`; one that is loaded stays as it is."""
    if package in sys.modules:
        return
    spec = find_spec(package)
    if spec is None:
        return
    lazy = LazyPackage(package)
    lazy.__dict__.update(module_from_spec(spec).__dict__)
    sys.modules[package] = lazy


def _names(package: str, loader: Any) -> set[str]:  # noqa: ANN401 - loaders of source code have more than the base class
    """Every name that the package's `__init__` mentions, and its submodules."""
    mentioned = {part for name in loader.get_code(package).co_names for part in name.split(".")}
    return mentioned | {module.name for module in iter_modules(sys.modules[package].__path__)}
