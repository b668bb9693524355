"""What headers say of limits, in all the ways in which they are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.llm.rate_headers import RateInfo, seconds_until

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1), ("6m0s", 360), ("350ms", 0.35), ("1h2m3.5s", 3723.5), ("1d", 86400), ("20", 20), ("0.5", 0.5),
        ("0", 0), (str(NOW.timestamp() + 7), 7), (str(int(NOW.timestamp() * 1000) + 1500), 1.5),
        ("2026-03-01T12:00:09Z", 9), ("2026-03-01T13:00:09+01:00", 9), ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:30 GMT", 0), ("", None), ("soon", None), ("-5", None), ("nan", None), (None, None),
    ],
)  # fmt: skip
def test_times(text: str | None, seconds: float | None) -> None:
    found = seconds_until(text, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-3))


def test_openai() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    info = RateInfo.of(headers)
    assert info == RateInfo(0, 149984, 1.0, 360.0)
    assert info.wait_s() == 1.0


def test_others() -> None:
    headers = {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-03-01T12:00:09Z"}
    info = RateInfo.of(headers, NOW)
    assert info is not None
    assert info.wait_s() == 9
    info = RateInfo.of({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "9"}, NOW)
    assert info is not None
    assert info.remaining_requests == 3
    assert info.wait_s() is None


def test_a_date_is_read_against_the_replys_own() -> None:
    info = RateInfo.of({"date": "Sun, 01 Mar 2020 12:00:00 GMT", "retry-after": "Sun, 01 Mar 2020 12:00:30 GMT"})
    assert info == RateInfo(retry_after_s=30)
    assert RateInfo.of({"retry-after-ms": "250", "retry-after": "9"}) == RateInfo(retry_after_s=0.25)


def test_a_reply_that_says_nothing() -> None:
    assert RateInfo.of({"content-type": "application/json"}) is None


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = seconds_until(text, NOW)
    assert found is None or 0 <= found <= timedelta(days=366).total_seconds()
