"""Content-addressed cache key: a hash of everything that can change an answer, and of nothing else."""

from __future__ import annotations

import hashlib
import json

from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatRequest, Media, Part

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def cache_key(endpoint: Endpoint, request: ChatRequest) -> str:
    """SHA-256 (hex) of everything in a request that can change its answer.

    Media count by identity and MIME type, not by their bytes, so a lookup decodes no video.
    """
    asked = {
        "format": 1,
        "base_url": endpoint.base_url,
        "model": endpoint.model,
        "sampling": endpoint.sampling(request),
        "version": request.version,
        "attempt": request.attempt,
        "messages": [
            {"role": message.role, "parts": [_part(part) for part in message.parts]} for message in request.messages
        ],
    }
    return hashlib.sha256(_CANONICAL.encode(asked).encode("ascii")).hexdigest()


def _part(part: Part) -> dict[str, str]:
    if isinstance(part, Media):
        return {"media": part.identity, "mime": part.mime}
    return {"text": part.keyed or part.text}
