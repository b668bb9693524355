"""Estimated GPU hours and cost of the models that a run serves itself, from the GPU time of earlier runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from lvqa_ray.config import Job
from lvqa_ray.config.places import output_path
from lvqa_ray.dataset.model_use import ModelUse, read_model_use
from lvqa_ray.engine.preflight.estimate import JobEstimate
from lvqa_ray.journal.costs import spent
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Estimate for one served model.

    Attributes:
        label: Model and engine.
        gpus: GPUs of all replicas; ``None`` if the cluster decides how many there are.
        price_gpu_hour: US dollars per GPU and hour; ``None`` if the job sets none.
        gpu_hours: GPU hours of the run: its tokens divided by the tokens per GPU hour of earlier runs into this output;
            ``None`` without such a run.
    """

    label: str
    gpus: float | None
    price_gpu_hour: float | None
    gpu_hours: float | None

    @property
    def cost_usd(self) -> float | None:
        """US dollars; 0 without a GPU, and ``None`` if the price or the hours are unknown."""
        if self.gpus == 0:
            return 0.0
        if self.price_gpu_hour is None or self.gpu_hours is None:
            return None
        return self.price_gpu_hour * self.gpu_hours


def model_costs(job: Job, stages: Mapping[str, JobEstimate]) -> tuple[ModelCost, ...]:
    """Estimate the GPU hours of every model that the run serves.

    Args:
        job: The job.
        stages: Estimate of the calls by stage.
    """
    if not job.endpoints.served:
        return ()
    used = read_model_use(output_path(job))
    counted = _tokens_per_gpu_hour(job, used) if used else {}
    needed = Counter[str]()
    for stage in job.asking:
        at = job.endpoints.of(stage.role)
        if stage.name in stages and isinstance(at, ServedEndpoint):
            needed[at.digest] += stages[stage.name].input_tokens + stages[stage.name].output_tokens
    found = []
    for digest, at in job.endpoints.served.items():
        speed = counted.get(at.label)
        gpus = None if at.replicas == "auto" and at.gpus else at.gpus * (1 if at.replicas == "auto" else at.replicas)
        hours = 0.0 if gpus == 0 else needed[digest] / speed if speed else None
        found.append(ModelCost(at.label, gpus, at.price_gpu_hour, hours))
    return tuple(found)


def _tokens_per_gpu_hour(job: Job, used: list[ModelUse]) -> dict[str, float]:
    """Measured speed of each model: the tokens of the runs that served it, by their GPU hours, loading included."""
    tokens, hours = Counter[str](), defaultdict[str, float](float)
    journal = open_segments(output_path(job) / "cache", make=False)
    for run_id in {use.run_id for use in used}:
        mine = {use.model: use.label for use in used if use.run_id == run_id}
        for models in spent(journal, run_id).values():
            for model, usage in models.items():
                if model in mine:
                    tokens[mine[model]] += usage.input_tokens + usage.output_tokens
    for use in used:
        hours[use.label] += use.gpu_hours
    return {label: tokens[label] / hours[label] for label in tokens if hours[label] and tokens[label]}
