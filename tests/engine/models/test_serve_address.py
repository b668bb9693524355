"""Where Ray Serve listens for the models of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray import serve

from lvqa_ray.engine.ray.models.serve_address import proxy_address
from lvqa_ray.errors import ConfigError


@pytest.fixture
def own_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Ray that the user of the library has started, which listens on the network."""
    assert not ray.is_initialized()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("own_ray")
def test_the_models_port_is_on_loopback_and_a_serve_without_one_is_refused() -> None:
    address = proxy_address()
    assert address.startswith("http://127.0.0.1:")
    assert proxy_address() == address
    serve.shutdown()
    start: Any = serve.start
    start(proxy_location="Disabled")
    with pytest.raises(ConfigError, match="has no HTTP proxy"):
        proxy_address()
    serve.shutdown()
