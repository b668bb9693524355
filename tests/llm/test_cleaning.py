"""Replies are cleaned in one place, those of the journal too, and the journal keeps what was received."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lvqa_ray.errors import DegenerateReply
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.replies.repetition import repetition
from lvqa_ray.records import Usage

ENDPOINT = Endpoint(base_url="http://127.0.0.1:9/v1", model="m", api_key_env=None)
REQUEST = ChatRequest(stage="caption", version="1", messages=(Message.of("user", "What is seen?"),))
DIRTY = "<thought>DRAFT</thought>A \x1b[31mred\x1b[0m block\u202e moves.<|im_end|>"


def asked(folder: Path, text: str = "", *, ask_again: bool = False, times: int = 1) -> tuple[list[ChatReply], int]:
    """The replies to one request, and how often it was sent."""
    sent, writer = 0, f"w{len(list(folder.glob('*')))}"

    async def wire(_: ChatRequest) -> ChatReply:
        nonlocal sent
        sent += 1
        return ChatReply(
            text=text, model="m\x1b[1m", usage=Usage(calls=1, input_tokens=5, output_tokens=7, cost_usd=0.1)
        )

    async def ask() -> list[ChatReply]:
        journal = JournalReplyStore(folder, writer=writer, stage="caption")
        permits = LeasePool(LocalLeaseServer(Limiter(Limits.of(ENDPOINT))))
        chat = build_client([EndpointRoute(ENDPOINT, wire, permits)], journal, ask_again=ask_again)
        return [await chat(REQUEST) for _ in range(times)]

    return asyncio.run(ask()), sent


def test_a_reply_is_cleaned_and_the_journal_keeps_what_was_received(tmp_path: Path) -> None:
    (first, second), sent = asked(tmp_path, DIRTY, times=2)
    assert sent == 1
    assert first.text == second.text == "A red block moves."
    assert "DRAFT" in first.received
    assert "\x1b" not in first.received + first.model
    kept = JournalReplyStore(tmp_path, writer="r", stage="caption").get(cache_key(ENDPOINT, REQUEST))
    assert isinstance(kept, ChatReply)
    assert kept.text == DIRTY


def test_an_answer_that_was_paid_by_an_earlier_release_is_cleaned_and_not_paid_again(tmp_path: Path) -> None:
    old = ChatReply(text=DIRTY, model="m", usage=Usage(calls=1, input_tokens=5, output_tokens=7))
    JournalReplyStore(tmp_path, writer="old", stage="caption").put(cache_key(ENDPOINT, REQUEST), old)
    (reply,), sent = asked(tmp_path, "never")
    assert (reply.text, reply.usage.cached, sent) == ("A red block moves.", 1, 0)


def test_a_degenerate_reply_is_a_typed_failure_that_is_paid_once(tmp_path: Path) -> None:
    loop = "The man walks to the door. " * 200
    for cached in (False, True):
        with pytest.raises(DegenerateReply) as caught:
            asked(tmp_path, loop)
        assert caught.value.bill is not None
        assert caught.value.cached is cached
    (reply,), sent = asked(tmp_path, "A man walks.", ask_again=True)
    assert (reply.text, sent) == ("A man walks.", 1)


@pytest.mark.parametrize(
    "text",
    [
        "A man walks. " + "the " * 200,
        "The man walks to the door. " * 200,
        "😂🤣" * 400,
        "!?" * 500,
        "A man." + " " * 5000 + "He",
        "QUJD" * 500,
        "In a wide shot of a kitchen a woman with dark hair prepares dough on a table, while the sun shines. " * 6,
        "一个男人走向门口。" * 200,
        "的" * 400,
        "0 " * 500,
        "He looks left. He looks right. " * 40,
        "A long and useful beginning that is not repeated at all. " + "and a red car and a blue car " * 60,
        "".join(f"The man moves his hand. He {verb}. " for verb in ["smiles", "nods"] * 30),
    ],
)
def test_a_loop_is_degenerate(text: str) -> None:
    assert repetition(text)


@pytest.mark.parametrize(
    "text",
    [
        "He laughs: ha ha ha ha ha ha ha ha. Then he leaves.",
        "La la la la la la la la, sings the crowd. " * 3,
        "\n".join(f"- item {n}: a {colour} car" for n, colour in enumerate(["red", "blue", "green"] * 30)),
        "\n".join(f"From {n} to {n + 10}, the screen is black." for n in range(0, 100, 10)),
        "Title\n" + "=" * 500 + "\ntext",
        "| name | 0 | 0 | 0 |\n" * 6,
        "\n".join("\t".join([str(n), *"00000000"]) for n in range(20)),
        "Chapter 1 " + "." * 400 + " 12",
        " ".join(f"In shot {n} the person number {n * 7 % 31} opens door {n * 3}." for n in range(500)),
    ],
)
def test_lists_and_long_texts_pass(text: str) -> None:
    assert repetition(text) == ""
