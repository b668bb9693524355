"""Number of servers of each model that a run serves, from the cluster's GPUs and cores."""

from __future__ import annotations

from collections.abc import Mapping

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint


def replica_counts(
    served: Mapping[str, ServedEndpoint], gpus: float, cpus: float, *, decoding: float, grows: bool
) -> dict[str, int]:
    """The number of replicas by digest.

    Models with a fixed number get theirs first; the others share the remaining GPUs, and each gets at least one.

    Args:
        served: The models to start.
        gpus: GPUs of the cluster that no other model reserves.
        cpus: Cores of the cluster.
        decoding: Cores that one decoding task needs.
        grows: Whether the cluster may still get nodes, so that nothing is refused.

    Raises:
        ConfigError: There are too few GPUs or cores; Ray would wait forever.
    """
    counts = {digest: at.replicas for digest, at in served.items() if at.replicas != "auto"}
    counts |= {digest: 1 for digest, at in served.items() if at.replicas == "auto" and not at.gpus}
    left = gpus - sum(served[digest].gpus * count for digest, count in counts.items())
    auto = [digest for digest in served if digest not in counts]
    for number, digest in enumerate(auto):
        share = left / (len(auto) - number)
        counts[digest] = max(1, int(share // served[digest].gpus))
        left -= counts[digest] * served[digest].gpus
    if grows:
        return counts
    if left < 0:
        wanted = max(served, key=lambda digest: served[digest].gpus * counts[digest])
        need = served[wanted].gpus * counts[wanted]
        raise ConfigError(
            f"{served[wanted].label} needs {_count(need, 'GPU')}, and {_count(max(0.0, gpus), 'GPU')} of this Ray "
            f"{'is' if gpus == 1 else 'are'} free: set replicas and gpus to what there is."
        )
    reserved = sum(at.cpus * counts[digest] for digest, at in served.items())
    if reserved + decoding > cpus:
        raise ConfigError(
            f"the served models reserve {reserved:g} of {_count(cpus, 'core')}, which leaves too few for decoding "
            f"(engine.video_cpus = {decoding:g}): lower cpus or replicas of the models, or raise engine.num_cpus."
        )
    return counts


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number == 1 else 's'}"
