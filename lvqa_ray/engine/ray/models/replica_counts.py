"""Number of servers of each model that a run serves, from the GPUs and cores of the nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint

_ROUNDING = 1e-9
"""Shares of a GPU are fractions: five of 0.2 fit on one."""


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """What a node has for models.

    Attributes:
        gpus: GPUs that nothing reserves.
        cpus: All of its cores.
    """

    gpus: float
    cpus: float


def replica_counts(
    served: Mapping[str, ServedEndpoint],
    nodes: Sequence[NodeRoom],
    *,
    decoding: float,
    grows: bool,
    running: Collection[float] = (),
) -> dict[str, int]:
    """The number of replicas by digest.

    Models with a fixed number get theirs first; the others share the remaining GPUs, and each gets at least one.

    Args:
        served: The models to start.
        nodes: The nodes of the cluster.
        decoding: Cores that one decoding task needs.
        grows: Whether the cluster may still get nodes, so that nothing is refused.
        running: Cores of each replica of the job's models that run already.

    Raises:
        ConfigError: No node has the GPUs or cores; Ray would wait forever.
    """
    counts = {digest: at.replicas for digest, at in served.items() if at.replicas != "auto"}
    counts |= {digest: 1 for digest, at in served.items() if at.replicas == "auto" and not at.gpus}
    left = [node.gpus for node in nodes]
    lacking = [digest for digest in counts if not _gpus_taken(left, served[digest], counts[digest])]
    auto = [digest for digest in served if digest not in counts]
    for number, digest in enumerate(auto):
        each = served[digest].gpus
        share = _times(sum(left) / (len(auto) - number), each)
        counts[digest] = max(1, min(share, sum(_times(gpus, each) for gpus in left)))
        if not _gpus_taken(left, served[digest], counts[digest]):
            lacking.append(digest)
    if grows:
        return counts
    if lacking:
        wanted = max(lacking, key=lambda digest: served[digest].gpus * counts[digest])
        raise ConfigError(_too_few_gpus(served[wanted], counts[wanted], nodes))
    new = [at.cpus for digest, at in served.items() for _ in range(counts[digest])]
    every = sum(node.cpus for node in nodes)
    if not _cores_suffice([node.cpus for node in nodes], [*running, *new], decoding):
        several = f" on each of {len(nodes)} nodes" if len(nodes) > 1 else ""
        raise ConfigError(
            f"the served models reserve {sum([*running, *new]):g} of {_count(every, 'core')}, which leaves too few for "
            f"decoding{several} (engine.video_cpus = {decoding:g}): lower cpus or replicas of the models, or "
            f"{'add a larger node' if several else 'raise engine.num_cpus or add a node'}."
        )
    return counts


def _times(gpus: float, each: float) -> int:
    return int(gpus / each + _ROUNDING)


def _gpus_taken(left: list[float], at: ServedEndpoint, count: int) -> bool:
    """Take the GPUs of a model from nodes, each replica from the node where it fits best; returns whether all fit."""
    for _ in range(count if at.gpus else 0):
        fitting = [number for number, gpus in enumerate(left) if _times(gpus, at.gpus)]
        if not fitting:
            return False
        left[min(fitting, key=left.__getitem__)] -= at.gpus
    return True


def _cores_suffice(left: list[float], replicas: Collection[float], decoding: float) -> bool:
    """Whether a node can decode when all replicas have their cores; Ray Serve spreads them over the nodes."""
    for cpus in sorted(replicas, reverse=True):
        emptiest = max(range(len(left)), key=left.__getitem__)
        left[emptiest] -= cpus
        if left[emptiest] < -_ROUNDING:
            return False
    return max(left, default=0.0) + _ROUNDING >= decoding


def _too_few_gpus(at: ServedEndpoint, count: int, nodes: Sequence[NodeRoom]) -> str:
    free = sum(node.gpus for node in nodes)
    most = max((node.gpus for node in nodes), default=0.0)
    fragments = f", {most:g} at most on one node, as each replica needs" if at.gpus * count <= free else ""
    return (
        f"{at.label} needs {_count(at.gpus * count, 'GPU')}, and {_count(free, 'GPU')} of this Ray "
        f"{'is' if free == 1 else 'are'} free{fragments}: set replicas and gpus to what there is."
    )


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number == 1 else 's'}"
