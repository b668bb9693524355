"""Cases of playlists and manifests that refer to a private file (SSRF, file disclosure), in a run and the service."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2

from lvqa_ray.config import Job
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.engine.preflight.corpus_probe import probed
from lvqa_ray.records import Failure
from tests.cases import Row, case, folder
from tests.fakes.endpoint import FakeEndpoint
from tests.opened import watched
from tests.playlists import lists, private_film
from tests.serve.service import Service


def _job(endpoint: str, output: Path, videos: str, **serve: object) -> Job:
    at = {"base_url": endpoint, "model": "qwen-vl-max", "api_key_env": None}
    return Job.of(
        {
            "videos": [videos],
            "output": str(output),
            "endpoints": {"vlm": at, "llm": at},
            "engine": {"num_cpus": 2, "scratch_dir": str(output / "scratch")},
            "serve": serve,
        }
    )


@case("23", "playlists and manifests open no other file")
def run_of_playlists(work: Path) -> Iterator[Row]:
    """Each playlist as a video of a run: the steps of a run, in a decode process."""
    private = private_film(work)
    films = work / "films"
    films.mkdir()
    listed = [(name, data) for name, data in lists(private) if name != "both.ts"]
    listed += [(path.name, path.read_bytes()) for path in folder("23").glob("film.*")]
    for name, data in listed:
        (films / name).write_bytes(data)
        (films / f"{name}.mp4").write_bytes(data)
    (films / private.name).write_bytes(private.read_bytes())
    job = _job("http://127.0.0.1:9/v1", work / "out", str(films / "*.*"))
    videos = [video for video in read_manifest(job.videos) if Path(video.uri).name != private.name]
    with watched(private, films / private.name) as opened:
        rows = probed(job, videos)
    for video, row in zip(videos, rows, strict=True):
        yield f"run: {Path(video.uri).name}", "not_a_video", row.kind if isinstance(row, Failure) else "a video"
    yield "run: the private film is opened", False, bool(opened)


@case("23b", "playlists through the service with an empty serve.allow")
def service_of_playlists(work: Path) -> Iterator[Row]:
    """A client of `lvqa serve` requests playlist URLs that refer to a local file or to another URL."""
    private = private_film(work)
    films = work / "films"
    films.mkdir()
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(films)))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{site.server_address[1]}"
    (films / "secret.ts").write_bytes(private.read_bytes())
    names = {"absolute_concat.mp4", "url_hls.ts"}
    texts = {name: data for name, data in lists(private) if name in names}
    texts["network.mp4"] = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{url}/secret.ts\n#EXT-X-ENDLIST\n".encode()
    with FakeEndpoint() as endpoint:
        job = _job(endpoint.base_url, work / "out", "x", networks=["127.0.0.0/8"], allow=[])
        with Service(job) as service, watched(private, films / "secret.ts") as opened:
            for name, data in texts.items():
                (films / name).write_bytes(data)
                wanted = {"video": f"{url}/{name}", "tasks": ["titles"]}
                at = f"{service.url}/v1/analyses"
                at = f"{at}/{httpx2.post(at, json=wanted).json()['session']}"
                while (document := httpx2.get(at).json())["state"] == "running":
                    time.sleep(0.05)
                failure = document["failure"] or {}
                kind = failure.get("kind")
                yield f"serve: {name}", "not_a_video", kind if kind == "not_a_video" else failure.get("message")
        yield "serve: the private films are opened", False, bool(opened)
        yield "serve: requests to the model", 0, endpoint.asked
    site.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
