"""Faults of a model server, from its log: one sentence with what is wrong and the remedy.

Engines say why they did not start in a log of thousands of lines, often in the middle of several tracebacks.
"""

from __future__ import annotations

import re
import signal

from lvqa_ray.llm.engines.fault_patterns import FAULT_PATTERNS, PORT_TAKEN

_MOST_TAIL = 200_000
"""Characters at the end of a log that are searched."""
_MOST_QUOTED = 240
"""Characters of an unknown error that are quoted."""
_SECRETS = re.compile(
    r"\bhf_\w{6,}|\bsk-[\w-]{8,}|\bAKIA\w{12,}|(?<=://)[^/\s@]+@|\bBearer\s+\S+"
    r"|(?i:(?<=token)|(?<=api[_-]key)|(?<=apikey)|(?<=secret)|(?<=secret_access_key)|(?<=password)|(?<=signature))"
    r"['\"]?\s*[=:]\s*['\"]?[^\s'\",)&]{4,}"
    r"|\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9+]{32,}\b"
)
_COLOR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_PREFIX = re.compile(
    r"^(?:\((?:EngineCore|APIServer|Worker|ServeReplica|Ray|raylet|LLM)[^)\n]*\)\s*)*(?:\[rank\d+\]:?\s*)?"
    r"(?:(?:ERROR|INFO|WARNING|CRITICAL)\s+(?:\d\d-\d\d )?\d\d:\d\d:\d\d\s*(?:\[[^\]\n]*\]|\w+\.py:\d+\])? ?)?"
    r"(?:\[\d{4}-\d\d-\d\d[^\]\n]*\] ?)?(?:\d+\.\d\d\.\d{3}\.\d{3} [A-Z] )?",
    re.MULTILINE,
)
"""What vLLM (process, level, time, place), PyTorch (rank), SGLang (time) and llama.cpp put before each line."""
_NO_CAUSE = re.compile(
    r"Engine core initialization failed|EngineDeadError|Failed core proc|exiting due to|SystemExit|KeyboardInterrupt"
    r"|root cause|stack trace|cleaning up before exit|resource_tracker|leaked (?:semaphore|shared_memory)"
    r"|destroy_process_group|For further information|Received sigquit"
    r"|^(?:File |Traceback|Process \S+:|Killed$|[\^~ ]+$)",
    re.IGNORECASE,
)
"""Lines around an error that do not explain it."""
_PYDANTIC = re.compile(r"\s*\[type=\w+, input_value=.*|^(?:Value )?error[,:] ", re.IGNORECASE)
"""Around the message of a validator: a repetition of the whole input."""
_ERROR_LINE = re.compile(r"^[\w.]*(?:Error|Exception)\b|\b(?:error|fatal|failed|cannot)\b", re.IGNORECASE)


def fault_of(engine: str, log_tail: str, exit_status: int | None) -> str:
    """Why a model server did not start, or ended, in one sentence for the user, without secrets.

    Args:
        engine: Name of the engine.
        log_tail: End of its log (standard output and standard error).
        exit_status: Exit status of its process, negative for a signal; ``None`` if it still runs.
    """
    text = without_secrets(_PREFIX.sub("", _COLOR.sub("", log_tail[-_MOST_TAIL:])))
    for fault in FAULT_PATTERNS:
        if found := fault.pattern.search(text):
            return _one_line(fault.told(found, engine))
    if exit_status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "The system killed it, most often because the node has too little memory: use a node with more memory."
    return _last_error(text) or _ended(exit_status)


def is_port_taken(log_tail: str) -> bool:
    """Whether a server ended because another program has its port: another port may be free."""
    return PORT_TAKEN.search(log_tail) is not None


def without_secrets(text: str) -> str:
    """A text in which everything that looks like a key, a token or a password is replaced."""
    return _SECRETS.sub("***", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _last_error(text: str) -> str:
    """Quotes the last line of a log that looks like the cause of its end, shortened; empty if there is none."""
    lines = (line.strip() for line in re.split(r"[\r\n]+", text))
    telling = [line for line in lines if line and not _NO_CAUSE.search(line)]
    if not telling:
        return ""
    last = next((line for line in reversed(telling) if _ERROR_LINE.search(line)), telling[-1])
    line = _one_line(_PYDANTIC.sub("", last))
    shown = line if len(line) <= _MOST_QUOTED else f"{line[:_MOST_QUOTED].rstrip()}..."
    return f"Its last error: {shown}" + ("" if shown.endswith((".", "!", "?")) else ".")


def _ended(exit_status: int | None) -> str:
    if exit_status is None:
        return "Its log is empty so far."
    if exit_status < 0:
        return f"Signal {-exit_status} ended it, and its log does not say why."
    return f"It ended with status {exit_status}, and its log does not say why."
