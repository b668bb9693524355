"""Secrets in environment variables: removes them from the environment of child processes."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

SECRET = re.compile(
    r"(^|_)(API_?KEYS?|ACCESS_?KEY(_ID)?|SECRET(_?KEY)?S?|PRIVATE_?KEY|KEY|TOKENS?|PASSW(OR)?D|PASSPHRASE|PWD|CREDENTIALS?|AUTH|COOKIE)(_|$)"
    r"|APIKEY|DSN$",
    re.IGNORECASE,
)
"""Names of variables that may hold a secret."""
ENDPOINT_KEY = re.compile(r"(^|_)API_?(KEY|TOKEN)S?(_|$)|APIKEY", re.IGNORECASE)
"""Names of variables that hold an API key, of any service."""
DECODER_NEEDS = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|TZDIR|TMPDIR|TEMP|TMP|VIRTUAL_ENV|CONDA_PREFIX|XDG_CACHE_HOME"
    r"|HF_HOME|HF_HUB_(CACHE|OFFLINE)|LD_LIBRARY_PATH|LD_PRELOAD|LIBRARY_PATH|GLIBC_TUNABLES"
    r"|(LC|PYTHON|DYLD|MALLOC|MIMALLOC|OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|NUMEXPR|CUDA|NVIDIA|HIP|ROCR|ORT|OPENCV|COVERAGE)_?\w*"
)
"""Allowlist of variables that decoding may need; an allowlist, so that a new secret does not pass."""


def decoder_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a decoder process: no key, token or password."""
    return {name: value for name, value in environ.items() if DECODER_NEEDS.fullmatch(name) and not SECRET.search(name)}


@contextmanager
def environment_without(names: Collection[str]) -> Iterator[None]:
    """Remove API keys from the environment of this process inside the block.

    Processes started meanwhile do not inherit them. Keys of object stores stay: workers may need them.

    Args:
        names: Variables to remove, besides those whose names match `ENDPOINT_KEY`.
    """
    hidden = {name: value for name, value in os.environ.items() if name in names or ENDPOINT_KEY.search(name)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
