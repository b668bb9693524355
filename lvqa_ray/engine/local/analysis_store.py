"""Store of analysis documents in the output, with a retention time."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from lvqa_ray.storage.paths import StoragePath, write_whole

TASK_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,119}")
"""Valid ids of tasks and sessions, which become file names."""
KEPT_DAYS = 7.0
logger = logging.getLogger(__name__)


class AnalysisStore:
    """Documents by task and session; expired ones count as missing.

    Args:
        output: The output folder.
        kept_days: Retention time since the last write (days).
        workspace: Keeps its documents in ``served/<workspace>``; empty for the folder ``analyses``.
    """

    def __init__(self, output: StoragePath, kept_days: float = KEPT_DAYS, workspace: str = "") -> None:
        self._folder = output / "served" / workspace if workspace else output / "analyses"
        self._kept = timedelta(days=kept_days)

    def save(self, document: Mapping[str, Any]) -> None:
        """Write a document.

        Raises:
            OSError: The write failed.
        """
        folder = self._folder / document["task"]
        folder.mkdir(parents=True, exist_ok=True)
        data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        write_whole(folder / f"{document['session']}.json", data)

    def load(self, task: str, session: str) -> dict[str, Any] | None:
        """A document; ``None`` if it is missing or expired."""
        if not TASK_NAME.fullmatch(task) or not TASK_NAME.fullmatch(session):
            return None
        return self._unexpired(self._folder / task / f"{session}.json")

    def of(self, task: str) -> list[dict[str, Any]]:
        """The documents of a task, newest first."""
        if not TASK_NAME.fullmatch(task):
            return []
        found = (self._unexpired(path) for path in self._in(self._folder / task))
        return sorted((each for each in found if each), key=lambda each: str(each["created"]), reverse=True)

    def find(self, session: str) -> dict[str, Any] | None:
        """The document of a session of any task."""
        found = (self.load(folder.name, session) for folder in self._in(self._folder))
        return next((document for document in found if document), None)

    def forget(self) -> int:
        """Remove expired documents; returns their number. Unreadable ones stay: the fault may be temporary."""
        removed = 0
        for folder in self._in(self._folder):
            for path in self._in(folder):
                if (document := _read(path)) and self._too_old(document):
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
                        removed += 1
        return removed

    def _in(self, folder: StoragePath) -> Iterator[StoragePath]:
        with suppress(OSError):
            yield from [*folder.iterdir()]

    def _unexpired(self, path: StoragePath) -> dict[str, Any] | None:
        document = _read(path)
        return None if document is None or self._too_old(document) else document

    def _too_old(self, document: Mapping[str, Any]) -> bool:
        return datetime.now(UTC) - datetime.fromisoformat(document["updated"]) > self._kept


def _read(path: StoragePath) -> dict[str, Any] | None:
    """A document; ``None`` if it is missing or unreadable."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        datetime.fromisoformat(document["updated"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s)", path, type(error).__name__)
        return None
    return document
