"""Cases of endpoint set-up: model lists, base URLs, `lvqa check`, proxies and certificates."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lvqa_ray.config import Job
from lvqa_ray.engine.preflight.doctor import check
from lvqa_ray.engine.preflight.validation import check_endpoints
from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import file_status
from tests import media
from tests.cases import Row, case, folder
from tests.fakes.dialects import Ask, Dialect, Proxy, Reply, answered, error
from tests.fakes.files import FileServer

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - on Linux a way to this machine that is not in the loopback network
STARTS, STOPS = "starts, with a warning", "exit 2"


def job_of(base_url: str, model: str, output: Path, video: Path | None = None, **settings: Any) -> Job:
    """Make a job that uses one endpoint for all roles."""
    at = {"base_url": base_url, "model": model, "api_key_env": None, **settings.pop("endpoint", {})}
    videos = [str(video or output / "none.mp4")]
    return Job.of({"videos": videos, "output": str(output / "out"), "endpoints": {"vlm": at, "llm": at}, **settings})


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set exactly these proxy and certificate variables inside the block."""
    names = [name for known in VARIABLES for name in (known, known.upper())]
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


class Heard(logging.Handler):
    """Log handler that records the warnings of the preflight checks."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def seen_before_a_run(job: Job) -> tuple[str, str]:
    """Outcome of the preflight checks, and their message."""
    heard = Heard()
    logger = logging.getLogger("lvqa_ray.engine.preflight.validation")
    logger.addHandler(heard)
    try:
        check_endpoints(job)
    except ConfigError as refusal:
        return STOPS, str(refusal)
    finally:
        logger.removeHandler(heard)
    return (STARTS if heard.said else "starts"), " ".join(heard.said)


def server(models: Reply, chat: Mapping[str, Reply], *, prefix: str = "/v1", elsewhere: Reply | None = None) -> Dialect:
    """Endpoint with a model list and a reply for each model; ``*`` is any other model."""

    def reply(ask: Ask) -> Reply:
        if ask.path == f"{prefix}/models":
            return models
        if ask.path == f"{prefix}/chat/completions" and ask.method == "POST":
            return chat.get(ask.body["model"], chat["*"])
        return elsewhere or error(404)

    return Dialect(reply)


def of_names(*names: str, **more: Any) -> Reply:
    """Model list in OpenAI's format."""
    return Reply(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names], **more})


UNKNOWN = error(404, "model_not_found", "The model does not exist.")
LISTS: list[tuple[str, str, Reply, Reply, str]] = [
    ("the very name", "m", of_names("m", "n"), error(500), "starts"),
    ("Gemini: models/ before the name", "gemini-2.5-flash", of_names("models/gemini-2.5-flash"), error(500), "starts"),
    ("an alias in the entry (Mistral)", "pixtral-large-latest", Reply(200, {"data": [
        {"id": "pixtral-large-2411", "aliases": ["pixtral-large-latest"]}]}), error(500), "starts"),
    ("names in `name` (Cohere)", "c4ai", Reply(200, {"models": [{"name": "c4ai"}]}), error(500), "starts"),
    ("a bare list (Together)", "m", Reply(200, [{"id": "m"}]), error(500), "starts"),
    ("a dated alias (OpenAI)", "gpt-4o", of_names("gpt-4o-2024-08-06"), answered(), STARTS),
    ("openrouter/auto, which is not listed", "openrouter/auto", of_names("openai/gpt-4.1"), answered(), STARTS),
    ("only the first page", "z", of_names("a", has_more=True), answered(), STARTS),
    ("an empty list", "m", Reply(200, {"models": []}), answered(), STARTS),
    ("data: null", "m", Reply(200, {"object": "list", "data": None}), answered(), STARTS),
    ("a web page", "m", Reply(200, "<!doctype html>"), answered(), STARTS),
    ("400 (Fireworks)", "m", error(400), answered(), STARTS),
    ("404", "m", error(404), answered(), STARTS),
    ("405", "m", error(405), answered(), STARTS),
    ("429", "m", error(429), answered(), STARTS),
    ("501", "m", error(501), answered(), STARTS),
    ("401 for the list alone", "m", error(401), answered(), STARTS),
    ("a rate limit at the start", "m", error(404), error(429), STARTS),
    ("a wrong name, 404", "m", of_names("n"), UNKNOWN, STOPS),
    ("a wrong name, 400 (OpenRouter)", "m", of_names("n"), error(400, "", "m is not a valid model ID"), STOPS),
    ("a wrong name, no list", "m", error(404), UNKNOWN, STOPS),
    ("a wrong key", "m", error(401), error(401, "invalid_api_key"), STOPS),
    ("a wrong key, public list", "m", of_names("n"), error(401, "invalid_api_key"), STOPS),
]  # fmt: skip


@case("01", "model list is a hint")
def model_lists(place: Path) -> Iterable[Row]:
    for file in sorted(folder("01").glob("*.json")):
        told = json.loads(file.read_text())
        asked = told["asked"].partition(" (")[0]
        with server(Reply(told["status"], told["body"]), {"*": answered()}) as there:
            does, _ = seen_before_a_run(job_of(f"{there.url}/v1", asked, place))
            yield file.stem, (STARTS, 1), (does, len(there.posts))
    for name, asked, models, chat, expected in LISTS:
        with server(models, {"*": chat}) as there:
            does, said = seen_before_a_run(job_of(f"{there.url}/v1", asked, place))
            known = models.status == 200 and chat.status in (400, 404)
            yield name, (expected, True), (does, not known or "it offers n" in said)


@case("06", "base URL that answers 200 to everything")
def base_urls(place: Path) -> Iterable[Row]:
    html = json.loads((folder("06") / "html.json").read_text())["any_path"]
    studio = json.loads((folder("06") / "lmstudio.json").read_text())["any_path"]
    pages = {"html": Reply(200, html["body"]), "lmstudio": Reply(200, studio["body"])}
    for name, page in pages.items():
        with server(of_names("m"), {"*": answered()}, elsewhere=page) as there:
            does, said = seen_before_a_run(job_of(there.url, "m", place))
            yield f"{name}, without /v1", (STOPS, True), (does, f"{there.url}/v1" in said)
        with Dialect(lambda _, page=page: page) as there:  # type: ignore[misc]
            does, said = seen_before_a_run(job_of(f"{there.url}/api", "m", place))
            yield f"{name}, whatever the path", (STOPS, True), (does, f"base_url {there.url}/api" in said)
    with server(of_names("m"), {"*": answered()}, elsewhere=pages["html"]) as there:
        does, said = seen_before_a_run(job_of(f"{there.url}/v1/v1", "m", place))
        yield "/v1/v1", (STOPS, True), (does, f"{there.url}/v1 answers" in said)
        does, said = seen_before_a_run(job_of(f"{there.url.replace('http', 'https')}/v1", "m", place))
        yield "https for http", (STOPS, True), (does, f"{there.url}/v1 answers" in said)
    for status, expected in ((301, STOPS), (302, STOPS), (307, STARTS), (308, STARTS)):
        with server(of_names("m"), {"*": answered()}) as there:

            def moved(ask: Ask, to: str = there.url, status: int = status) -> Reply:
                return Reply(status, "", {"Location": f"{to}{ask.path}"})

            with Dialect(moved) as old:
                does, said = seen_before_a_run(job_of(f"{old.url}/v1", "m", place))
                yield f"redirect {status}", (expected, True), (does, f"{there.url}/v1" in said)


def refuses_parameters(ask: Ask) -> Reply:
    """Endpoint of an OpenAI reasoning model, which refuses some parameters."""
    if ask.method == "GET":
        return of_names("o4-mini")
    if "max_tokens" in ask.body:
        told = json.loads((folder("07") / "reply.json").read_text())
        return Reply(told["status"], told["body"])
    if ask.body.get("temperature", 1) != 1:
        message = "Unsupported value: 'temperature' does not support 0.5 with this model."
        return Reply(400, {"error": {"message": message, "param": "temperature", "code": "unsupported_value"}})
    return answered(model="o4-mini")


@case("07", "lvqa check sends what a run sends")
def check_of_reasoning_models(place: Path) -> Iterable[Row]:
    film = media.make_video(place / "film.mp4", seconds=1)
    rows: list[tuple[str, dict[str, Any], set[bool | None], dict[str, Any]]] = [
        ("no parameters", {}, {True}, {}),
        ("max_tokens", {"endpoint": {"max_tokens": 900}}, {True}, {"max_completion_tokens": 900}),
        ("max_tokens of a stage", {"caption": {"max_tokens": 700}}, {True}, {"max_completion_tokens": 700}),
        ("max_completion_tokens", {"endpoint": {"extra_body": {"max_completion_tokens": 800}}}, {True},
         {"max_completion_tokens": 800}),
        ("extra_body", {"endpoint": {"extra_body": {"reasoning_effort": "low"}}}, {True}, {"reasoning_effort": "low"}),
        ("temperature", {"endpoint": {"temperature": 0.5}}, {True}, {"temperature": 0.5}),
        ("temperature of a stage", {"reformat": {"temperature": 0.5}}, {True}, {"temperature": 0.5}),
    ]  # fmt: skip
    for name, settings, expected, sent in rows:
        with Dialect(refuses_parameters) as there:
            job = job_of(f"{there.url}/v1", "o4-mini", place, film, sample={"short_side": 64}, **settings)
            found = {finding.ok for finding in check(job, paid=True)}
            same = any(sent.items() <= ask.body.items() for ask in there.posts)
            yield name, (expected, True), (found, same)


@case("08", "variables of proxies and certificates")
def variables(place: Path) -> Iterable[Row]:
    url = "http://models.example.invalid/v1"
    login = "user:hunter2"
    with (
        server(of_names("m"), {"*": answered()}) as there,
        Proxy(there.url) as proxy,
        Proxy(there.url, login) as closed,
    ):
        with_login = closed.url.replace("://", f"://{login}@")
        tried: list[tuple[str, str, dict[str, str], tuple[str, str]]] = [
            ("HTTP_PROXY", url, {"HTTP_PROXY": proxy.url}, ("starts", "")),
            ("http_proxy without a scheme", url, {"http_proxy": proxy.url.removeprefix("http://")}, ("starts", "")),
            ("a proxy with a login", url, {"ALL_PROXY": with_login}, ("starts", "")),
            ("a proxy that wants a login", url, {"ALL_PROXY": closed.url}, (STOPS, "ALL_PROXY")),
            ("the same, https", url.replace("http", "https"), {"all_proxy": closed.url}, (STOPS, "all_proxy")),
            ("a proxy that is off", url, {"HTTP_PROXY": "http://user:hunter2@127.0.0.1:9"}, (STOPS, "HTTP_PROXY")),
            ("socks://", url, {"ALL_PROXY": "socks://127.0.0.1:7890/"}, (STOPS, "ALL_PROXY")),
            ("socks5:// with a login", url, {"all_proxy": "socks5://user:hunter2@h:1"}, (STOPS, "all_proxy")),
            ("no port", url, {"HTTP_PROXY": "http://proxy"}, (STOPS, "HTTP_PROXY")),
            ("a password with a slash", url, {"HTTP_PROXY": "http://user:hunter2/x@h:1"}, (STOPS, "HTTP_PROXY")),
            ("socks://, and the host in NO_PROXY", f"http://{ANY_ADDRESS}:{there.port}/v1",
             {"ALL_PROXY": "socks://127.0.0.1:7890/", "NO_PROXY": "0.0.0.0/8"}, ("starts", "")),
            ("SSL_CERT_FILE", url, {"HTTP_PROXY": proxy.url, "SSL_CERT_FILE": "/no.pem"}, (STOPS, "SSL_CERT_FILE")),
            ("SSL_CERT_DIR", url, {"HTTP_PROXY": proxy.url, "SSL_CERT_DIR": "/no"}, (STOPS, "SSL_CERT_DIR")),
            ("SSL_CERT_FILE that is no certificate", url, {"SSL_CERT_FILE": __file__}, (STOPS, "SSL_CERT_FILE")),
        ]  # fmt: skip
        for name, base_url, given, (expected, variable) in tried:
            with environment(**given):
                does, said = seen_before_a_run(job_of(base_url, "m", place))
            yield name, (expected, True, False), (does, variable in said, "hunter2" in said)
    with FileServer() as files, Proxy(files.url) as proxy:
        files.files["/film.mp4"] = b"x" * 1000
        film = "http://videos.example.invalid/film.mp4"
        with environment(HTTP_PROXY=proxy.url):
            yield "a video by HTTP_PROXY", 1000, file_status(film, StorageOptions()).size
        with environment(ALL_PROXY="socks://h:1"):
            try:
                kind, said = "found", str(file_status(film, StorageOptions()))
            except FetchError as refusal:
                kind, said = refusal.kind, str(refusal)
            yield "a video, socks://", ("forbidden", True), (kind, "ALL_PROXY" in said)
