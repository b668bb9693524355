"""Model list of an endpoint, in the formats of the servers: a hint about a model's name, no proof.

Lists omit names that the endpoint accepts: Ollama lists ``llava:latest`` and accepts ``llava``, Azure lists base models
and accepts deployments, OpenRouter accepts variants (``:free``, ``:nitro``), vendors accept aliases with and without a
date; and some lists are paginated.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MODELS_SHOWN = 5
"""Maximum names in a message."""
LIKE = 3
"""Minimum letters of a name that is searched for in another."""
_LISTS = ("data", "models", "result", "items")
"""Fields with the list: OpenAI's; Gemini's, Cohere's and Ollama's own; Cloudflare's; others'."""
_MORE = ("has_more", "nextPageToken", "next_page_token", "next", "next_cursor")


@dataclass(frozen=True, slots=True)
class ModelList:
    """Names of models.

    Attributes:
        names: Names that a request may use, aliases included.
        in_pages: Whether there are further pages, which are not read.
    """

    names: tuple[str, ...]
    in_pages: bool = False

    @classmethod
    def of(cls, answer: object) -> ModelList | None:
        """Parse the JSON of a reply; ``None`` if it holds no list of models.

        Args:
            answer: An object with a list in it, or the list itself (Together, GitHub Models).
        """
        entries = answer
        if isinstance(answer, Mapping):
            entries = next((answer[name] for name in _LISTS if isinstance(answer.get(name), list)), None)
        if not isinstance(entries, list):
            return None
        names = [name for entry in entries for name in _names(entry)]
        if entries and not names:
            return None  # a list of something else
        more = isinstance(answer, Mapping) and any(answer.get(name) for name in _MORE)
        return cls(tuple(dict.fromkeys(names)), more)

    def has(self, model: str) -> bool:
        """Whether a model is listed under this exact name; Gemini lists ``models/x`` for ``x``."""
        return _bare(model) in map(_bare, self.names)

    def near(self, model: str) -> Sequence[str]:
        """Similar names, the most similar first; any few if none is similar."""
        known = {_plain(name): name for name in reversed(self.names)}
        wanted = _plain(model)
        found = [name for plain, name in known.items() if len(plain) >= LIKE and (plain in wanted or wanted in plain)]
        found += [known[plain] for plain in difflib.get_close_matches(wanted, known, MODELS_SHOWN, cutoff=0.5)]
        return (list(dict.fromkeys(found)) or sorted(self.names))[:MODELS_SHOWN]


def _names(entry: object) -> Iterator[str]:
    """The names of an entry: its id, or its name where it has none (Cohere, Gemini); its aliases (Mistral, xAI)."""
    if isinstance(entry, str):
        yield entry
    if not isinstance(entry, Mapping):
        return
    first = next((entry[key] for key in ("id", "name", "model") if isinstance(entry.get(key), str) and entry[key]), "")
    if first:
        yield first
    aliases = entry.get("aliases")
    if isinstance(aliases, list):
        yield from (alias for alias in aliases if isinstance(alias, str) and alias)


def _bare(name: str) -> str:
    return name.removeprefix("models/")


def _plain(name: str) -> str:
    """A name for comparison: without vendor and variant, and in lower case."""
    return name.casefold().rpartition("/")[2].partition(":")[0]
