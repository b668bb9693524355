"""The llama.cpp server as a process, with a real small language model."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from pydantic import JsonValue, SecretStr

from lvqa_ray.demo.language_model import fetch_language_model
from lvqa_ray.errors import ConfigError, TooLong
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.engines.log_faults import fault_of
from lvqa_ray.llm.engines.xllamacpp_server import BadOption, read_options
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message, ReplySchema
from lvqa_ray.llm.transport.chat_completions import OpenAITransport

SERVER = [sys.executable, "-m", "lvqa_ray.llm.engines.xllamacpp_server"]
WITHIN_S = 120.0
HELLO = ChatRequest(
    messages=(Message.of("user", "Say hello."),), max_tokens=100, temperature=0.0, stage="ask", version="test"
)
COLOUR: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


def test_options_are_those_of_llama_server() -> None:
    words = (
        "--model m.gguf --port=81 --alias smol --parallel 2 --ctx-size 4096 --threads 3 --no-warmup --flash-attn off"
    )
    assert read_options(words.split()) == {
        "model.path": "m.gguf",
        "port": 81,
        "model_alias": "smol",
        "n_parallel": 2,
        "n_ctx": 4096,
        "cpuparams.n_threads": 3,
        "cpuparams_batch.n_threads": 3,  # as llama-server does
        "warmup": False,
        "flash_attn_type": "off",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model m.gguf --paralel 2", "xllamacpp does not take --paralel"),
        ("--model m.gguf --parallel many", "invalid value for argument --parallel: 'many'"),
        ("--model m.gguf --port", "expected value for argument: --port"),
        ("--model m.gguf --no-warmup=1", "xllamacpp does not take --no-warmup=1"),
        ("model m.gguf", "xllamacpp does not take model"),
        ("--parallel 2", "no GGUF file is given as --model"),
    ],
)
def test_a_bad_option_is_told(words: str, said: str) -> None:
    with pytest.raises(BadOption, match=said):
        read_options(words.split())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def model() -> Path:
    pytest.importorskip("xllamacpp")
    try:
        return fetch_language_model()
    except ConfigError as error:
        pytest.skip(str(error))


def options(model: Path, port: int) -> list[str]:
    words = f"--alias smol --parallel 2 --ctx-size 4096 --threads 1 --n-gpu-layers 0 --host 127.0.0.1 --port {port}"
    return ["--model", str(model), *words.split()]


def ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def wait_until_ready(port: int, log: Path) -> None:
    until = time.monotonic() + WITHIN_S
    while not ready(port):
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as out, subprocess.Popen([*SERVER, *options(model, port)], stderr=out) as process:
        try:
            wait_until_ready(port, log)
            yield port, process
        finally:
            process.kill()


def ask(port: int, *requests: ChatRequest, stream: bool = False) -> Sequence[ChatReply]:
    """Send requests at once with the client of the stages."""
    url = f"http://127.0.0.1:{port}/v1"
    endpoint = Endpoint(base_url=url, model="smol", api_key_env=None, stream=stream, timeout_s=WITHIN_S)

    async def send() -> Sequence[ChatReply]:
        transport = OpenAITransport(endpoint, SecretStr(""))
        try:
            return await asyncio.gather(*map(transport, requests))
        finally:
            await transport.aclose()

    return asyncio.run(send())


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_has_text_and_counts(server: tuple[int, object], stream: bool) -> None:
    first, second = ask(server[0], HELLO, replace(HELLO, attempt=1), stream=stream)
    for reply in (first, second):
        assert reply.text.strip()
        assert 0 < reply.usage.output_tokens < 100
        assert reply.usage.input_tokens > 10
    assert ask(server[0], HELLO, stream=stream)[0].usage.cached_tokens  # the prompt is still known


def test_a_schema_binds_the_reply(server: tuple[int, object]) -> None:
    request = replace(HELLO, reply_schema=ReplySchema(name="colour", schema=COLOUR))
    (reply,) = ask(server[0], request)
    assert "".join(reply.text.split()) in {'{"colour":"red"}', '{"colour":"blue"}'}


def test_a_prompt_beyond_the_context_is_too_long(server: tuple[int, object]) -> None:
    with pytest.raises(TooLong):
        ask(server[0], replace(HELLO, messages=(Message.of("user", "The picture is red. " * 1000),)))


def test_faults_are_one_sentence(server: tuple[int, object], model: Path, tmp_path: Path) -> None:
    """A port in use, and files that are no model."""
    junk = tmp_path / "junk.gguf"
    junk.write_bytes(b"junk")
    for words, said in (
        (options(model, server[0]), "port"),
        (options(junk, free_port()), "GGUF"),
        (options(tmp_path / "none.gguf", free_port()), "none.gguf"),
    ):
        done = subprocess.run([*SERVER, *words], capture_output=True, text=True, check=False, timeout=WITHIN_S)
        assert done.returncode == 1
        assert said in fault_of("llama_cpp", done.stderr, 1), done.stderr[-2000:]


def test_it_ends_with_its_parent(model: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    words = [*SERVER, *options(model, port)]
    started = f"subprocess.Popen({words!r}, stderr=open({str(log)!r}, 'w'))"
    start = f"import subprocess; p = {started}; print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until_ready(port, log)
        parent.kill()
    until = time.monotonic() + WITHIN_S
    while ready(port) and time.monotonic() < until:
        time.sleep(0.1)
    assert not ready(port), f"process {pid} still serves"


def test_a_signal_ends_it_at_once(server: tuple[int, subprocess.Popen[bytes]]) -> None:
    """The last test of the module, since it ends the server."""
    _, process = server
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(WITHIN_S) == -signal.SIGTERM
