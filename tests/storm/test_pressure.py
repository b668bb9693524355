"""Behind an endpoint that takes a twentieth of what decoders make, nothing piles up."""

from __future__ import annotations

import pytest

from benchmarks.cluster import PICTURE_BYTES, SCRATCH_BYTES, SLOW, STORE_MB, in_a_process, stubbed

pytestmark = [pytest.mark.storm, pytest.mark.timeout(600)]


def test_a_slow_endpoint_holds_the_decoders_back() -> None:
    row = in_a_process(stubbed, **SLOW, picture_bytes=PICTURE_BYTES, store_mb=STORE_MB, most=30)
    assert row["answers"] == 30, "as long as decoders that nothing holds back fill the object store five times over"
    assert row["spilled"] == 0
    assert 0 < row["store"] < STORE_MB * 2**20
    assert 0 < row["scratch"] <= SCRATCH_BYTES
