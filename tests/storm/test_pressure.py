"""Behind an endpoint that takes a twentieth of what decoders make, nothing piles up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "cluster.py"
MB = 2**20


@pytest.mark.storm
@pytest.mark.timeout(600)
def test_a_slow_endpoint_holds_the_decoders_back() -> None:
    """Meanwhile decoders that nothing holds back would fill the object store of 100 MB six times over."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "pressure", "--one", '{"most": 30}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout.splitlines()[-1])
    assert row["answers"] == 30
    assert row["spilled"] == 0
    assert 0 < row["store"] < 100 * MB
    assert 0 < row["scratch"] <= 16 * MB
