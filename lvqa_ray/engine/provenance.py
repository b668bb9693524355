"""The provenance of rows: job and run, the model and the prompt version of each stage, and the version of the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import lvqa_ray
from lvqa_ray.config import Job
from lvqa_ray.stage import Role
from lvqa_ray.stages.transcribe import TranscribeSpeech

DISTRIBUTION = "lvqa-ray"
HEX = 12
"""Digits of a commit."""


def provenance_of(job: Job, run_id: str) -> dict[str, str]:
    """The columns that are equal in all rows of a run: ``job_hash``, ``run_id``, ``models``, ``prompts``, ``code``."""
    asked = list(_asked(job))
    return {
        "job_hash": job.job_hash,
        "run_id": run_id,
        "models": _json({name: job.endpoints.of(role).model for name, role, _ in asked}),
        "prompts": _json({name: version for name, _, version in asked}),
        "code": code_version(),
    }


def _asked(job: Job) -> Iterator[tuple[str, Role, str]]:
    """The stages that ask a model: name, role, and version of the prompt, with a mark where the job has its own."""
    if job.endpoints.speech is not None:
        yield TranscribeSpeech.name, "speech", TranscribeSpeech.version
    for stage in job.asking:
        own = type(stage)().prompt != stage.prompt
        yield stage.name, stage.role, f"{stage.version}, own" if own else stage.version


@cache
def code_version() -> str:
    """The version of the package, and its commit where that is known: ``0.1.0+g7e7ea9a1b2c3``."""
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
    commit = _installed_commit(installed.read_text("direct_url.json")) or _checked_out(
        Path(lvqa_ray.__file__).parents[1]
    )
    return f"{installed.version}+g{commit[:HEX]}" if commit else installed.version


def _installed_commit(direct_url: str | None) -> str:
    """The commit that pip installed from a repository."""
    try:
        return str(json.loads(direct_url or "{}").get("vcs_info", {}).get("commit_id", ""))
    except (ValueError, AttributeError):
        return ""


def _checked_out(root: Path) -> str:
    """The commit of the working tree that the code is run from, read from the files of Git."""
    try:
        git = root / ".git"
        if git.is_file():  # a second working tree
            git = root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref:"):
            return head
        name, common = head.removeprefix("ref:").strip(), git
        if (shared := git / "commondir").is_file():
            common = git / shared.read_text(encoding="utf-8").strip()
        if (common / name).is_file():
            return (common / name).read_text(encoding="utf-8").strip()
        packed = (common / "packed-refs").read_text(encoding="utf-8").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    except (OSError, ValueError):
        return ""


def _json(values: dict[str, str]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True)
