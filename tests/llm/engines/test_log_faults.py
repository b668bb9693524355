"""Every known fault in an engine's log becomes one sentence with a remedy, and a key in a log never reaches it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from lvqa_ray.llm.engines.engine_args import missing_extra
from lvqa_ray.llm.engines.fault_patterns import FAULT_PATTERNS
from lvqa_ray.llm.engines.log_faults import fault_of, is_port_taken, without_secrets
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.llm.engines.server_command import server_command
from tests.llm.engines.logs import LOGS, LogEnd

KEYS = ["hf_AbCdEfGhIjKlMnOpQrStUvWxYz123456", "sk-proj-0123456789abcdefXYZ", "AKIAIOSFODNN7EXAMPLE"]
BEFORE = (
    "INFO 06-30 13:53:10 [api_server.py:1044] args: Namespace(model='x', gpu_memory_utilization=0.9, host='0.0.0.0')\n"
    "INFO 06-30 13:53:12 [__init__.py:239] Automatically detected platform cuda.\n"
)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.seen)
def test_a_fault_is_one_sentence_with_a_remedy(log: LogEnd) -> None:
    install = missing_extra(log.engine).partition(": ")[2].rstrip(".") or "install it there, next to SGLang"
    assert fault_of(log.engine, BEFORE + log.text, 1) == log.sentence.format(install=install)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.seen)
def test_a_key_in_a_log_never_reaches_the_sentence(log: LogEnd) -> None:
    for key in KEYS:
        text = (
            f"HF_TOKEN={key} {log.text} (token {key}, https://user:{key}@host/x?X-Amz-Signature={key})\nError: {key}\n"
        )
        assert key not in fault_of(log.engine, text, 1)
        assert key not in fault_of("command", f"Error: cannot log in with {key}", 1)


def test_every_known_fault_is_seen_in_a_log_or_here() -> None:
    texts = [without_secrets(log.text) for log in LOGS] + [text for text, _ in FURTHER]
    assert [each.pattern.pattern for each in FAULT_PATTERNS if not any(map(each.pattern.search, texts))] == []


FURTHER = [
    ("OSError: Invalid user token. The token from HF_TOKEN environment variable is invalid", "HF_TOKEN"),
    ("OSError: We couldn't connect to 'https://huggingface.co' to load the files", "does not reach the hub"),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "no code for the GPU"),
    ("RuntimeError: unable to write to file </torch_1_2>: No space left on device (/dev/shm)", "--shm-size"),
    ("RuntimeError: It is possible that the worker has insufficient shared memory (shm).", "--shm-size"),
    (
        "ValueError: User-specified max_model_len (131072) is greater than the derived max_model_len "
        "(max_position_embeddings=32768 or model_max_length=None in model's config.json).",
        "at most 32768 tokens",
    ),
    ("vllm serve: error: argument --dtype: invalid choice: 'fp16' (choose from 'auto', 'half')", "value of --dtype"),
    ('error while handling argument "--ctx-size": stoi', "value of --ctx-size: stoi"),
    ("error: invalid value for argument --ctx-size: 'many'", "value of --ctx-size: 'many'"),
    ("Please pass the argument `trust_remote_code=True` to allow custom code to be run.", "trust_remote_code to true"),
    ("OSError: [Errno 28] No space left on device: '/root/.cache/huggingface'", "HF_HOME"),
]
"""Texts of the libraries' own sources, and what their sentence must hold."""


@pytest.mark.parametrize(("text", "telling"), FURTHER, ids=lambda value: value[:30])
def test_a_fault_of_a_library_has_its_remedy(text: str, telling: str) -> None:
    sentence = fault_of("vllm", BEFORE + text, 1)
    assert telling in sentence
    assert sentence.count("\n") == 0
    assert sentence.endswith(".")


def test_an_argument_that_another_release_has_is_not_its_own_closest() -> None:
    for title, log in (
        ("llama.cpp", "error: invalid argument: --defrag-thold"),
        ("xllamacpp", "error: xllamacpp does not take --defrag-thold"),
    ):
        assert fault_of("llama_cpp", log, 1) == (
            f"{title} does not know the argument --defrag-thold: remove it from engine_args, or install the program "
            "llama-server on the nodes that serve the model."
        )


def test_an_unknown_error_is_quoted_and_short() -> None:
    text = (
        "INFO starting\nZeroDivisionError: " + "so long " * 100 + "\nRuntimeError: Engine core initialization failed.\n"
    )
    sentence = fault_of("vllm", text, 1)
    assert sentence.startswith("Its last error: ZeroDivisionError: so long")
    assert len(sentence) < 300
    assert "Engine core" not in sentence


@pytest.mark.parametrize(
    ("status", "telling"),
    [(-signal.SIGKILL, "memory"), (137, "memory"), (3, "status 3"), (-signal.SIGSEGV, "Signal 11"), (None, "empty")],
)
def test_a_silent_end_says_what_is_known(status: int | None, telling: str) -> None:
    assert telling in fault_of("command", "", status)


@pytest.mark.parametrize(
    "healthy",
    [
        BEFORE,
        "[2025-08-04 10:10:06] Port 30000 is already in use, trying port 30001\n",
        "E llama_init_from_model: failed to initialize the context (this is normal during memory fitting)\n",
        "model-00001-of-00005.safetensors: 100%|####| 3.95G/3.95G [00:25<00:00]\n",
    ],
)
def test_what_a_healthy_start_says_is_not_the_cause(healthy: str) -> None:
    """A line of a start that goes on is not taken for the cause, when the process is killed later."""
    assert fault_of("sglang", healthy, -9).startswith("The system killed it")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04" * 100)
    return str(path)


def ended(model: str, port: int, **args: object) -> tuple[str, int]:
    """The log and the exit status of a real llama.cpp server that cannot start."""
    pytest.importorskip("xllamacpp")
    served = ServedEndpoint.model_validate({"engine": "llama_cpp", "model": model, "engine_args": args})
    command = server_command(served, model, "127.0.0.1", port)
    end = subprocess.run(
        command.argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **command.env},
    )
    return end.stdout, end.returncode


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_real_server_says_that_its_file_is_no_model(model: str, free_port: int) -> None:
    log, status = ended(model, free_port)
    assert "is no GGUF file" in fault_of("llama_cpp", log, status)
    assert not is_port_taken(log)


def test_a_real_server_says_that_its_port_is_taken(model: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        log, status = ended(model, port)
    assert f"uses port {port}" in fault_of("llama_cpp", log, status)
    assert is_port_taken(log)


def test_a_real_server_says_which_argument_it_does_not_take(model: str, free_port: int) -> None:
    assert (
        "does not know the argument --defrag-thold: remove it from engine_args, or install the program llama-server"
        in fault_of("llama_cpp", *ended(model, free_port, defrag_thold=1))
    )
    assert "value of --ctx-size" in fault_of("llama_cpp", *ended(model, free_port, ctx_size="many"))
