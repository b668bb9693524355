"""The documents of analyses in an output, found again by their names for as long as they are kept."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from lvqa_ray.storage.paths import StoragePath, write_whole

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,119}")
"""What a task or a session may be called: it becomes the name of a file."""
KEPT_DAYS = 7.0
logger = logging.getLogger(__name__)


class AnalysisStore:
    """Documents by task and session; one that is older than they are kept is as good as gone.

    Args:
        output: The output folder.
        kept_days: How long, from when it was last written.
        workspace: Keeps those of some users apart from the others'.
    """

    def __init__(self, output: StoragePath, kept_days: float = KEPT_DAYS, workspace: str = "") -> None:
        self._folder = output / "served" / workspace if workspace else output / "analyses"
        self._kept = timedelta(days=kept_days)

    def save(self, document: Mapping[str, Any]) -> None:
        """Keep a document as it is now.

        Raises:
            OSError: It cannot be written.
        """
        folder = self._folder / document["task"]
        folder.mkdir(parents=True, exist_ok=True)
        data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        write_whole(folder / f"{document['session']}.json", data)

    def load(self, task: str, session: str) -> dict[str, Any] | None:
        """A document, or ``None`` where there is none any more."""
        if not NAME.fullmatch(task) or not NAME.fullmatch(session):
            return None
        return self._kept_one(self._folder / task / f"{session}.json")

    def of(self, task: str) -> list[dict[str, Any]]:
        """The documents of a task, the latest first."""
        if not NAME.fullmatch(task):
            return []
        found = (self._kept_one(place) for place in self._in(self._folder / task))
        return sorted((each for each in found if each), key=lambda each: str(each["created"]), reverse=True)

    def find(self, session: str) -> dict[str, Any] | None:
        """The document of a session, whichever task it is of."""
        found = (self.load(folder.name, session) for folder in self._in(self._folder))
        return next((document for document in found if document), None)

    def forget(self) -> int:
        """Remove what is not kept any longer; gives how many that were. What cannot be read stays: it may be later."""
        gone = 0
        for folder in self._in(self._folder):
            for place in self._in(folder):
                if (document := _read(place)) and self._too_old(document):
                    with suppress(OSError):
                        place.unlink(missing_ok=True)
                        gone += 1
        return gone

    def _in(self, folder: StoragePath) -> Iterator[StoragePath]:
        with suppress(OSError):
            yield from [*folder.iterdir()]

    def _kept_one(self, place: StoragePath) -> dict[str, Any] | None:
        document = _read(place)
        return None if document is None or self._too_old(document) else document

    def _too_old(self, document: Mapping[str, Any]) -> bool:
        return datetime.now(UTC) - datetime.fromisoformat(document["updated"]) > self._kept


def _read(place: StoragePath) -> dict[str, Any] | None:
    """A document; ``None`` where there is none, or none that can be read."""
    try:
        document: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        datetime.fromisoformat(document["updated"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s)", place, type(error).__name__)
        return None
    return document
