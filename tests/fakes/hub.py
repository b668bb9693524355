"""Hugging Face Hub: the routes that an upload of a data set needs, with a commit history and fault injection."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.files import LocalServer

TOKEN = "hf_secret_of_the_test"  # noqa: S105 - of a server on loopback


class Hub(LocalServer):
    """A hub with one user, who owns ``me``.

    Attributes:
        repos: Whether each data set is private.
        files: Content by repository and path, after the last commit.
        blobs: Uploaded large files by their SHA-256.
        puts: Number of large files that were sent.
        commits: Messages of the commits.
        fail_puts: Number of the next uploads to refuse with status 500.
    """

    def __init__(self) -> None:
        self.repos: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.commits: list[str] = []
        self.puts = 0
        self.fail_puts = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                hub._get(self)

            def do_POST(self) -> None:
                hub._post(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def do_PUT(self) -> None:
                hub._put(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        super().__init__(Handler)

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        if found := re.fullmatch(r"/api/datasets/(\w+/[\w.-]+)(?:/revision/main)?", path):
            repo = found[1]
            if repo not in self.repos:
                _answer(request, 404, {"error": "Repository not found"})
                return
            named = [{"rfilename": name} for name in self.files.get(repo, {})]
            _answer(request, 200, {"id": repo, "sha": "0" * 40, "private": self.repos[repo], "siblings": named})
        elif found := re.fullmatch(r"/api/datasets/(\w+/[\w.-]+)/tree/main.*", path):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                for name, data in self.files.get(found[1], {}).items()
            ]
            _answer(request, 200, tree)
        else:
            _answer(request, 404, {"error": f"no route {path}"})

    def _post(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = request.path.partition("?")[0]
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            _answer(request, 401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self._create(request, json.loads(body))
        elif path == "/api/validate-yaml":
            _answer(request, 200, {"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/datasets/(\w+/[\w.-]+)/preupload/main", path):
            asked = json.loads(body)["files"]
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in asked
            ]
            _answer(request, 200, {"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [self._large(one) for one in json.loads(body)["objects"]]
            _answer(request, 200, {"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/datasets/(\w+/[\w.-]+)/commit/main", path):
            self._commit(request, found[1], [json.loads(line) for line in body.splitlines()])
        else:
            _answer(request, 404, {"error": f"no route {path}"})

    def _create(self, request: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        owner, name = asked.get("organization") or "me", asked["name"]
        if owner != "me":
            _answer(request, 403, {"error": f"You don't have the rights to create a dataset under {owner}"})
            return
        repo = f"{owner}/{name}"
        there = repo in self.repos
        self.repos.setdefault(repo, asked.get("private", False) or asked.get("visibility") == "private")
        _answer(request, 409 if there else 200, {"url": f"{self.url}/datasets/{repo}", "name": repo, "id": repo})

    def _large(self, one: dict[str, Any]) -> dict[str, Any]:
        actions = {"upload": {"href": f"{self.url}/blob/{one['oid']}", "header": {}}}
        return {"oid": one["oid"], "size": one["size"]} | ({} if one["oid"] in self.blobs else {"actions": actions})

    def _put(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.fail_puts:
            self.fail_puts -= 1
            _answer(request, 400, {"error": "try later"})
            return
        assert request.path == f"/blob/{hashlib.sha256(body).hexdigest()}"
        self.blobs[request.path.removeprefix("/blob/")] = body
        self.puts += 1
        _answer(request, 200, {})

    def _commit(self, request: BaseHTTPRequestHandler, repo: str, lines: list[dict[str, Any]]) -> None:
        files = self.files.setdefault(repo, {})
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.commits.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        _answer(
            request,
            200,
            {"success": True, "commitOid": "1" * 40, "commitUrl": f"{self.url}/datasets/{repo}/commit/{'1' * 40}"},
        )


def _answer(request: BaseHTTPRequestHandler, status: int, value: object) -> None:
    body = json.dumps(value).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
