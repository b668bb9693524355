"""Prompt cache of the fake endpoint: hashes of token blocks, filled by finished requests only, as real endpoints do."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

BLOCK_TOKENS = 128
TTL_S = 300.0


class PrefixCache:
    """Cached prompt prefixes by model, in blocks; a block's hash covers everything before it.

    Args:
        block_tokens: Tokens of a block.
        ttl_s: How long a block stays after its last use (s).
        clock: Monotonic time (s).
    """

    def __init__(
        self, block_tokens: int = BLOCK_TOKENS, ttl_s: float = TTL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._block_tokens = block_tokens
        self._ttl_s = ttl_s
        self._clock = clock
        self._used: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def read(self, body: dict[str, Any]) -> int:
        """Cached tokens at the start of a request's prompt, whose blocks stay longer from now on."""
        found, now = 0, self._clock()
        with self._lock:
            for block in self._blocks(body):
                if now - self._used.get(block, -self._ttl_s) >= self._ttl_s:
                    break
                self._used[block] = now
                found += self._block_tokens
        return found

    def fill(self, body: dict[str, Any]) -> None:
        """Cache the prompt of a request that has finished."""
        now = self._clock()
        with self._lock:
            self._used.update(dict.fromkeys(self._blocks(body), now))

    def _blocks(self, body: dict[str, Any]) -> Iterator[bytes]:
        """Hashes of the full blocks of the prompt."""
        digest, tokens = hashlib.sha256(str(body.get("model")).encode()), list(prompt_tokens(body))
        for end in range(self._block_tokens, len(tokens) + 1, self._block_tokens):
            digest.update(" ".join(tokens[end - self._block_tokens : end]).encode() + b"\0")
            yield digest.digest()


def prompt_tokens(body: dict[str, Any]) -> Iterator[str]:
    """Tokens of a prompt in order, as many as `answers.tokens_in` counts: words, and 85 for an image."""
    for message in body.get("messages", []):
        content = message.get("content")
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        for part in parts:
            if part.get("type") == "text":
                yield from part["text"].split()
            elif part.get("type") in {"image_url", "video_url"}:
                yield from [hashlib.sha256(part[part["type"]]["url"].encode()).hexdigest()] * 85
