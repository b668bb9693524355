"""PySceneDetect's detectors, imported without its package's own `__init__`, which runs programs.

`import scenedetect` looks for ffmpeg by running it, and loads readers (moviepy) that do the same. ffmpeg changes the
settings of the terminal that it finds on its input; the kernel stops a background process for that (SIGTTOU), and with
it the worker that waits for ffmpeg. Importing this package must run no program, so that only the submodules with the
detectors are imported here. The package itself stays importable for everybody else: see `LazyPackage`.
"""

from __future__ import annotations

import sys
from importlib.abc import InspectLoader
from importlib.util import find_spec, module_from_spec
from pkgutil import iter_modules
from types import ModuleType

PACKAGE = "scenedetect"


class LazyPackage(ModuleType):
    """A package whose `__init__` runs when somebody first asks for a name that it defines, and not before.

    Its submodules can be imported at once, because the import system only needs `__path__` of their package.
    """

    def __getattr__(self, name: str) -> object:
        """Run the package's `__init__`, if it may define the name."""
        spec = self.__spec__
        # cloudpickle asks every loaded module for the names that it looks for: most of them are none of this package.
        if name.startswith("_") or spec is None or spec.loader is None or "_ran" in self.__dict__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if not isinstance(spec.loader, InspectLoader) or name not in _names(spec.loader):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__dict__["_ran"] = True
        spec.loader.exec_module(self)
        return getattr(self, name)


def _names(loader: InspectLoader) -> set[str]:
    """Every name that the package's `__init__` mentions, and its submodules."""
    code = loader.get_code(PACKAGE)
    mentioned = {part for name in (code.co_names if code else ()) for part in name.split(".")}
    return mentioned | {module.name for module in iter_modules(sys.modules[PACKAGE].__path__)}


def _register() -> None:
    """Make the package known to the import system without running its `__init__`."""
    spec = find_spec(PACKAGE)
    if PACKAGE in sys.modules or spec is None:
        return
    package = module_from_spec(spec)
    lazy = LazyPackage(PACKAGE)
    lazy.__dict__.update(package.__dict__)
    sys.modules[PACKAGE] = lazy


_register()

from scenedetect.common import FrameTimecode, Timecode  # noqa: E402 - after the registration
from scenedetect.detectors import (  # noqa: E402
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    ThresholdDetector,
)

__all__ = [
    "AdaptiveDetector",
    "ContentDetector",
    "FrameTimecode",
    "HashDetector",
    "HistogramDetector",
    "ThresholdDetector",
    "Timecode",
]
