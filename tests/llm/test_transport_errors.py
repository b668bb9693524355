"""Errors by status, code and type; waits; and no secrets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest

from lvqa_ray import errors
from lvqa_ray.llm.rate_headers import retry_after_s
from lvqa_ray.llm.transport import error_mapping as faults
from lvqa_ray.llm.transport.error_body import names_in, quote_of

KEY = "tk_live.9f8e7d"


@pytest.mark.parametrize(
    ("status", "names", "expected"),
    [
        (500, "", errors.Overloaded),
        (501, "", errors.Overloaded),
        (529, "", errors.Overloaded),
        (301, "", errors.NotFound),
        (418, "", errors.BadRequest),
        (429, "rate_limit_exceeded", errors.RateLimited),
        (429, "insufficient_quota", errors.QuotaExceeded),
        (400, "arrearage", errors.QuotaExceeded),
        (400, "invalid_request_error", errors.BadRequest),
        (None, "", errors.MalformedReply),
    ],
)
def test_classes(status: int | None, names: str, expected: type[errors.ApiError]) -> None:
    assert faults.classify(status, frozenset(names.split())) is expected


def test_words_in_a_message_choose_nothing() -> None:
    body = {"error": {"message": "insufficient_quota context_length_exceeded 401", "code": None}}
    assert faults.classify(400, names_in(body)) is errors.BadRequest


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "too hot"}}, "too hot"),
        ({"message": "too hot"}, "too hot"),
        ({"detail": "too hot"}, "too hot"),
        ({"error": "too hot"}, "too hot"),
        ([{"error": {"message": "too hot"}}], "too hot"),
        ("too hot", "too hot"),
        ("<html>too hot</html>", ""),
        ({"error": {"message": ["too", "hot"]}}, ""),
        (None, ""),
        (7, ""),
    ],
)
def test_the_endpoints_own_words(body: object, words: str) -> None:
    assert quote_of(body) == words


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_retry_after_a_date_without_a_date_to_read_it_against() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after_s({"retry-after": until}) == pytest.approx(29.5, abs=1.5)


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (TimeoutError(), errors.TimedOut),
        (aiohttp.ServerTimeoutError(), errors.TimedOut),
        (aiohttp.ServerDisconnectedError(), errors.Disconnected),
        (aiohttp.ClientPayloadError(), errors.Disconnected),
        (ConnectionResetError(), errors.Disconnected),
        (RuntimeError("what is this"), errors.ApiError),
    ],
)
def test_failures_without_a_status(exc: BaseException, expected: type[errors.ApiError]) -> None:
    assert type(faults.as_api_error(exc, secret=KEY)) is expected


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = errors.Refused("no")
    assert faults.as_api_error(error, secret=KEY) is error


@pytest.mark.parametrize(
    "echo",
    [
        f"key {KEY} is wrong",
        f"key={KEY}",
        f"you sent 'Authorization: Bearer {KEY}'",
        "x" * (faults.QUOTE_CHARS - 8) + KEY,  # half of it would be left if the message were cut first
    ],
)
def test_no_trace_of_the_key(echo: str) -> None:
    message = str(faults.fault(errors.AuthFailed, echo, secret=KEY, status=401))
    assert not [part for part in (KEY, KEY[:6], KEY[-6:]) if part in message]


@pytest.mark.parametrize(
    "token", ["sk-proj-abcDEF123456", "sk-ab*****wxyz", "gsk_abcdef123456", "hf_abcdefghijkl", "AIzaSyA1234567890abcd"]
)
def test_no_trace_of_other_keys(token: str) -> None:
    assert faults.redacted(f"not {token}.", "") in {"not ***.", "not ***"}


def test_a_message_is_one_short_sentence() -> None:
    message = str(faults.fault(errors.Overloaded, "line one\n\n\tline two " + "x" * 900, secret="", status=503))
    assert message.startswith("The endpoint failed or is overloaded (503): line one line two x")
    assert len(message) < faults.QUOTE_CHARS + 60
    assert "\n" not in message
