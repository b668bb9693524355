"""The command line in this process: what a shell would see, without the seconds that a new process takes to begin."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from lvqa_ray.cli import main


@dataclass(frozen=True)
class Done:
    returncode: object
    stdout: str
    stderr: str


def lvqa(*words: Any, **environment: str) -> Done:
    """Run ``lvqa``, with no endpoint's key in the environment but those that are given."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.delenv("OPENAI_API_KEY", raising=False)
        patch.setattr(sys, "argv", ["lvqa", *map(str, words)])
        patch.setattr(sys, "stdin", io.StringIO())  # nobody is there to answer
        patch.setenv("COLUMNS", "200")
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(ended.value.code, out.getvalue(), err.getvalue())


def cells(printed: str) -> dict[str, str]:
    """A printed table of two columns."""
    lines = [line.strip("│ ").split("│") for line in printed.splitlines() if "│" in line]
    return {name.strip(): value.strip() for name, value in lines}
