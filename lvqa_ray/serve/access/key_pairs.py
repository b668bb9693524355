"""Access key pairs of clients, from a file or an environment variable."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from lvqa_ray.config import Serve
from lvqa_ray.errors import ConfigError

SHORTEST_SECRET = 16
_HEADER = re.compile(r"access\s*key\s*id", re.IGNORECASE)


def key_pairs(settings: Serve) -> Mapping[str, str]:
    """Read the access keys that clients may sign with: secret by id.

    The file has one ``id,secret`` per line, as the vendor's console exports it. The variable holds ``id:secret`` pairs,
    separated by commas or blanks.

    Raises:
        ConfigError: The file cannot be read, or a pair is malformed; the message quotes no secret.
    """
    pairs: dict[str, str] = {}
    if settings.access_keys_file:
        try:
            lines = Path(settings.access_keys_file).expanduser().read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"serve.access_keys_file {settings.access_keys_file} cannot be read: {why}.") from None
        for number, line in enumerate(lines, start=1):
            if line.strip() and not line.startswith("#") and not (number == 1 and _HEADER.match(line.strip('" '))):
                pairs |= _pair(line, ",", f"line {number} of serve.access_keys_file")
    given = os.environ.get(settings.access_keys_env, "").replace(",", " ").split()
    for number, pair in enumerate(given, start=1):
        pairs |= _pair(pair, ":", f"pair {number} in the environment variable {settings.access_keys_env}")
    return pairs


def _pair(text: str, separator: str, where: str) -> dict[str, str]:
    key_id, found, secret = (part.strip().strip('"') for part in text.partition(separator))
    if not found or not key_id or not secret:
        raise ConfigError(f"{where} is not an access key: write ID{separator}SECRET.")
    if len(secret) < SHORTEST_SECRET:
        raise ConfigError(f"{where}: the secret has fewer than {SHORTEST_SECRET} characters; make a longer one.")
    return {key_id: secret}
