"""How many servers of each model fit on a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from lvqa_ray.engine.ray.models.replica_counts import replica_counts
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint


def model(name: str, **settings: Any) -> ServedEndpoint:
    return ServedEndpoint.model_validate({"engine": "vllm", "model": name, **settings})


def counts(gpus: float, *models: ServedEndpoint, cpus: float = 32, grows: bool = False) -> list[int]:
    named = {at.model: at for at in models}
    found = replica_counts(named, gpus, cpus, decoding=1, grows=grows)
    return [found[at.model] for at in models]


def test_models_share_the_gpus() -> None:
    assert counts(8, model("a")) == [8]
    assert counts(8, model("a"), model("b", gpus=2)) == [4, 2]
    assert counts(8, model("a", replicas=3), model("b", gpus=4)) == [3, 1]
    assert counts(1, model("a", gpus=0.5), model("b", gpus=0.5)) == [1, 1]
    assert counts(0, model("a", gpus=0)) == [1]


def test_what_does_not_fit_is_one_sentence_unless_the_cluster_grows() -> None:
    with pytest.raises(ConfigError, match="a on vllm needs 1 GPU, and 0 GPUs of this Ray are free"):
        counts(0, model("a"))
    with pytest.raises(ConfigError, match="reserve 2 of 2 cores"):
        counts(2, model("a"), cpus=2)
    assert counts(0, model("a"), cpus=0, grows=True) == [1]
