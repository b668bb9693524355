"""Where Ray Serve listens for the models of a run."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import ray
from ray import serve
from lvqa_ray.engine.ray.models.serve_address import proxy_address
from lvqa_ray.errors import ConfigError

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
print("first", proxy_address())
print("again", proxy_address())
serve.shutdown()
serve.start(proxy_location="Disabled")
try:
    proxy_address()
except ConfigError as error:
    print("refused", error)
ray.shutdown()
"""


def test_the_models_port_is_on_loopback_and_a_serve_without_one_is_refused() -> None:
    """On a Ray that the user of the library has started, which listens on the network; in a process of its own."""
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    said = dict(line.partition(" ")[::2] for line in ran.stdout.splitlines())
    assert said.get("first", "").startswith("http://127.0.0.1:"), ran.stdout + ran.stderr
    assert said["again"] == said["first"]
    assert "has no HTTP proxy" in said["refused"]
