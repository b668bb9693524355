"""Hugging Face Hub upload: the data set of an output, without local paths and prompts, as one commit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.dataset import DatasetOptions, export_dataset
from lvqa_ray.report.export_files import Selection

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PRIVATE = frozenset({"rewrite_prompt", "prompts", "extra", "fingerprint", "input_hash"})
"""Columns that are not published: prompts, columns of the user's manifest, and hashes of the user's files."""

_NO_PLACE = "The hub has no place for {repo}: check the owner's name, and that no model has this name."
_STATUSES = {
    401: "The hub does not accept the token: run `hf auth login`, or set HF_TOKEN to a valid one.",
    403: "The token may not write to {repo}: make one with write access to it.",
    404: _NO_PLACE,
    409: _NO_PLACE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Result of an upload.

    Attributes:
        url: Web page of the data set.
        counts: Number of records by split.
        private: Whether the repository is private.
    """

    url: str
    counts: dict[str, int]
    private: bool


def push(
    output: OutputReader,
    repo: str,
    selection: Selection,
    *,
    licence: str = "",
    video_root: str = "",
    public: bool = False,
) -> Pushed:
    """Publish the records of an output on the Hugging Face Hub.

    An interrupted upload is resumed by the same call: files that arrived are not sent again, and the repository changes
    in one commit at the end. Shards of an earlier upload are replaced.

    Args:
        output: Output of a run.
        repo: Repository, as ``owner/name``; it is created if it does not exist.
        selection: Which records, which of the `PRIVATE` columns all the same, and the split.
        licence: Licence name of the hub, such as ``cc-by-4.0``.
        video_root: Folder or URL prefix of the videos. ``video`` is relative to it, or else the file name alone.
        public: Whether a new repository is public.

    Raises:
        ConfigError: The package or a token is missing, the hub refuses the upload or cannot be reached, or there are no
            such records.
    """
    api, token = _client()
    columns = tuple(name for name in SCHEMAS["data"].names if name not in PRIVATE or name in selection.columns)
    with tempfile.TemporaryDirectory(prefix="lvqa-push-") as folder:
        options = DatasetOptions(
            columns=columns, video_root=video_root, file_names=not video_root, licence=licence, published=True
        )
        made = export_dataset(output, Path(folder) / "dataset", selection, options)
        try:
            url = api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True, token=token)
            private = bool(api.repo_info(url.repo_id, repo_type="dataset", token=token).private)
            if not (private or public):
                raise ConfigError(f"{repo} exists and is public: give --public to publish there.")
            api.upload_folder(
                repo_id=url.repo_id,
                folder_path=made.paths[0],
                repo_type="dataset",
                token=token,
                commit_message=f"{sum(made.counts.values()):,} records by lvqa-ray",
                delete_patterns="data/*.parquet",
            )
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(_why(error, repo)) from None
    return Pushed(url=str(url), counts=made.counts, private=private)


def _client() -> tuple[HfApi, str]:
    try:
        from huggingface_hub import HfApi, get_token  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("lvqa push needs huggingface_hub: pip install 'lvqa-ray[hub]'.") from None
    token = get_token()
    if not token:
        raise ConfigError(
            "There is no Hugging Face token: run `hf auth login`, or set HF_TOKEN to a token with write access."
        )
    return HfApi(library_name="lvqa-ray"), token


def _why(error: Exception, repo: str) -> str:
    """Why an upload failed, in one sentence.

    Raises:
        Exception: The error or its cause, if it comes from neither the hub nor the network.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    if isinstance(error, HFValidationError):
        return f"{repo} is no repository of the hub: name it as owner/name, with letters, digits, -, _ and dots."
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = " ".join((getattr(error, "server_message", None) or error.response.reason_phrase or "").split())
        unknown = f"The hub answered {status}{f' ({said})' if said else ''}; the same command resumes the upload."
        return _STATUSES[status].format(repo=repo) if status in _STATUSES else unknown
    # The HTTP library of huggingface_hub changes with its release: requests, httpx, httpx2.
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0].startswith(("httpx", "requests")):
        return f"The hub cannot be reached ({type(error).__name__}); the same command resumes the upload."
    if error.__cause__ is not None and isinstance(error.__cause__, Exception):  # a RuntimeError names the file
        return _why(error.__cause__, repo)
    raise error
