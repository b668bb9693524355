"""Model files on a node: a local folder, file or hub name as it is, and a bucket's folder or file from a local cache.

A model in a bucket is downloaded once per node, in a folder that appears complete or not at all: a second engine of the
node waits for the first one's download. A changed file in the bucket (another size or ETag) makes another folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.records import redact_url
from lvqa_ray.storage.options import StorageOptions, is_store
from lvqa_ray.storage.remote import RemoteFile, download, file_status, list_files

MODEL_CACHE = f"lvqa-models-{os.getuid()}"
"""Folder of models below the cache of a node; with the user, since the cache may be the system's temporary folder."""
_DISK_RESERVE_BYTES = 2**30
_NOT_NEEDED = (".md", ".gitattributes", ".png", ".jpg", ".pdf")
"""Files beside a model that no engine reads."""


def local_model(served: ServedEndpoint, cache_folder: str | Path, access: StorageOptions) -> str:
    """What the engine is given as its model on this node.

    Args:
        served: The model.
        cache_folder: Folder of the node's caches.
        access: Options of the bucket.

    Returns:
        The model as configured (a local path absolute), or the local path of a downloaded one.

    Raises:
        ConfigError: The bucket has no such model, it cannot be read, or the disk is too small.
    """
    model = served.model
    if not is_store(model):
        path = Path(served.model_path).expanduser()
        return str(path.resolve()) if path.exists() else served.model_path
    try:
        files = _files(model, access)
        if not files:
            raise ConfigError(f"{served.label}: there are no files at {redact_url(model)}: correct the setting model.")
        return str(_downloaded(model, files, Path(cache_folder) / MODEL_CACHE, access))
    except (FetchError, OSError) as error:
        why = str(error) if isinstance(error, FetchError) else f"{error.strerror} ({cache_folder})"
        raise ConfigError(f"{served.label}: the model cannot be downloaded: {why.rstrip('.')}.") from None


def _files(model: str, access: StorageOptions) -> Sequence[RemoteFile]:
    """The files of a model in a bucket: all below a prefix, or the one of this name."""
    below = [file for file in list_files(model, access) if not file.uri.lower().endswith(_NOT_NEEDED)]
    if below:
        return below
    try:
        return [file_status(model, access)]
    except FetchError as error:
        if error.kind == "missing_file":
            return []
        raise


def _downloaded(model: str, files: Sequence[RemoteFile], cache: Path, access: StorageOptions) -> Path:
    """The local folder or file of a model; downloads it unless it is there."""
    prefix = model.rstrip("/")
    versions = "\n".join(f"{file.uri} {file.size} {file.version}" for file in files)
    name = f"{PurePosixPath(prefix).name}-{hashlib.sha256(versions.encode()).hexdigest()[:12]}"
    complete = cache / name
    single = files[0].uri if len(files) == 1 and files[0].uri.rstrip("/") == prefix else ""
    found = complete / PurePosixPath(single).name if single else complete
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system releases it if this process dies
        if complete.exists():
            return found
        needed, free = sum(file.size or 0 for file in files), shutil.disk_usage(cache).free
        if needed + _DISK_RESERVE_BYTES > free:
            raise ConfigError(
                f"{redact_url(model)} has {needed / 1e9:.1f} GB, and {cache} only {free / 1e9:.1f} GB free: set "
                "engine.scratch_dir to a folder on a larger disk."
            )
        partial = cache / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
        for file in files:
            inside = PurePosixPath(found.name if single else file.uri.removeprefix(f"{prefix}/"))
            if ".." in inside.parts or inside.is_absolute():
                raise ConfigError(f"{redact_url(file.uri)} would leave the folder of its model: rename it.")
            _download(file, partial / inside, access)
        partial.rename(complete)
    return found


def _download(file: RemoteFile, path: Path, access: StorageOptions) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        download(file.uri, out, (file.size or 0) + 1, access, setting="model")
        out.flush()
        os.fsync(out.fileno())
