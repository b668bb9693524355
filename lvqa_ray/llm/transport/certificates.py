"""TLS certificates from the environment: SSL_CERT_FILE and SSL_CERT_DIR, checked before a connection needs them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from lvqa_ray.errors import ConfigError

CERTIFICATE_FILE, CERTIFICATE_FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
STORE_CERTIFICATES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""Variables with the certificates for object stores, in the order in which botocore reads them."""


def own_certificates(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext | None:
    """The TLS context for SSL_CERT_FILE or SSL_CERT_DIR; ``None`` if neither is set.

    Raises:
        ConfigError: The path holds no certificates, or does not exist.
    """
    if file := environ.get(CERTIFICATE_FILE, "").strip():
        return _of_file(file, CERTIFICATE_FILE)
    if folders := environ.get(CERTIFICATE_FOLDER, "").strip():
        for folder in filter(None, folders.split(os.pathsep)):
            if not Path(folder).is_dir():
                raise ConfigError(
                    f"the environment variable {CERTIFICATE_FOLDER} names {folder}, which is no folder: {_UNSET}."
                )
        return ssl.create_default_context(capath=folders)
    return None


def check_store_certificates(environ: Mapping[str, str] = os.environ) -> None:
    """Check that the certificates for object stores can be read.

    Raises:
        ConfigError: They cannot; names the variable.
    """
    for variable in STORE_CERTIFICATES:
        if given := environ.get(variable, "").strip():
            _of_file(given, variable)
            return


@lru_cache(8)
def _of_file(file: str, variable: str) -> ssl.SSLContext:
    prefix = f"the environment variable {variable} names {file}, "
    try:
        context = ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise ConfigError(f"{prefix}which holds no certificates in PEM format: {_UNSET}.") from None
    except OSError as error:
        reason = "it is a folder" if isinstance(error, IsADirectoryError) else str(error.strerror or error)
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({reason})"
        raise ConfigError(f"{prefix}which {why}: {_UNSET}.") from None
    if not context.cert_store_stats()["x509"]:
        raise ConfigError(f"{prefix}which holds no certificates: {_UNSET}.")
    return context


_UNSET = "correct it, or unset it"
