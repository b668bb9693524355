"""How many servers of each model fit on a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from lvqa_ray.engine.ray.models.cluster_room import is_fixed
from lvqa_ray.engine.ray.models.replica_counts import NodeRoom, replica_counts
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint


def model(name: str, **settings: Any) -> ServedEndpoint:
    return ServedEndpoint.model_validate({"engine": "vllm", "model": name, **settings})


def counts(
    gpus: float | Sequence[float],
    *models: ServedEndpoint,
    cpus: float = 32,
    grows: bool = False,
    decoding: float = 1,
    running: Sequence[float] = (),
) -> list[int]:
    """Numbers of replicas on nodes with these GPUs, and the same cores each."""
    named = {at.model: at for at in models}
    nodes = [NodeRoom(each, cpus) for each in (gpus if isinstance(gpus, Sequence) else [gpus])]
    found = replica_counts(named, nodes, decoding=decoding, grows=grows, running=running)
    return [found[at.model] for at in models]


def test_models_share_the_gpus() -> None:
    assert counts(8, model("a")) == [8]
    assert counts(8, model("a"), model("b", gpus=2)) == [4, 2]
    assert counts(8, model("a", replicas=3), model("b", gpus=4)) == [3, 1]
    assert counts(1, model("a", gpus=0.5), model("b", gpus=0.5)) == [1, 1]
    assert counts(0, model("a", gpus=0)) == [1]


def test_shares_of_a_gpu_fit_as_often_as_they_should() -> None:
    assert counts(1, model("a", gpus=0.2)) == [5]  # 1 // 0.2 is 4
    assert counts([1, 1], model("a", gpus=0.4)) == [4]
    assert counts(1, model("a", gpus=0.1, replicas=10)) == [10]


def test_a_replica_has_its_gpus_on_one_node() -> None:
    assert counts([6, 6], model("a", gpus=4)) == [2]
    assert counts([8, 8], model("a", replicas=4), model("b", gpus=8)) == [4, 1]
    with pytest.raises(ConfigError, match="needs 4 GPUs, and 6 GPUs of this Ray are free, 3 at most on one node"):
        counts([3, 3], model("a", gpus=4))


def test_what_does_not_fit_is_one_sentence_unless_the_cluster_grows() -> None:
    with pytest.raises(ConfigError, match="a on vllm needs 1 GPU, and 0 GPUs of this Ray are free"):
        counts(0, model("a"))
    with pytest.raises(ConfigError, match="reserve 2 of 2 cores"):
        counts(2, model("a"), cpus=2)
    assert counts(0, model("a"), cpus=0, grows=True) == [1]


def test_some_node_can_decode_when_the_models_have_their_cores() -> None:
    """Ray Serve spreads the replicas, so that each node has lost a core: 4 cores in all are not enough for 2."""
    two = model("a", gpus=0, replicas=2, cpus=1)
    assert counts([0, 0], two, cpus=2) == [2]
    with pytest.raises(ConfigError, match=r"reserve 2 of 4 cores.*on each of 2 nodes \(engine.video_cpus = 2\)"):
        counts([0, 0], two, cpus=2, decoding=2)
    with pytest.raises(ConfigError, match="reserve 3 of 4 cores"):  # a replica of 3 cores fits on no node
        counts([0, 0], model("a", gpus=0, cpus=3), cpus=2)


def test_models_that_run_already_have_their_cores() -> None:
    with pytest.raises(ConfigError, match="reserve 2 of 2 cores"):
        counts(0, cpus=2, running=[2])
    assert counts(0, model("a", gpus=0), cpus=4, running=[2]) == [1]


@pytest.mark.parametrize(
    ("report", "fixed"),
    [
        ({"active_nodes": {"node_" + "c" * 56: 1}, "idle_nodes": None, "pending_launches": {}}, True),
        ({"active_nodes": {"headgroup": 1}, "pending_launches": {}}, False),
        ({"active_nodes": {"node_" + "c" * 56: 1}, "pending_launches": {"gpu-workers": 2}}, False),
        (None, True),
    ],
)
def test_a_cluster_without_an_autoscaler_is_fixed(report: object, *, fixed: bool) -> None:
    assert is_fixed(json.dumps({"autoscaler_report": report}).encode()) is fixed
