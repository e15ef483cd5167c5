"""A hub on this machine: what `huggingface_hub` asks of one to upload and download, and no more."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_of_the_stub"
SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class StubHub:
    """A running hub.

    Attributes:
        address: for HF_ENDPOINT.
        repos: "models/owner/name" or "datasets/owner/name" -> file -> bytes.
        created: what was asked of new repositories.
        asked: method and path of every request.
    """

    address: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    created: list[Mapping[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StubHub

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        self._noted()
        if self.path == "/api/validate-yaml":
            return self._json({"warnings": [], "errors": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if self.path.endswith(".git/info/lfs/objects/batch"):
            objects = list(map(self._lfs, json.loads(body)["objects"]))
            return self._json({"transfer": "basic", "objects": objects})
        repo, _, action = self._parted()
        if action == "preupload":
            return self._json({"files": [self._mode(file) for file in json.loads(body)["files"]]})
        if action == "commit":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.hub.repos[repo][value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.hub.repos[repo][value["path"]] = self.hub.blobs[value["oid"]]
            named = repo.removeprefix("models/")
            return self._json({"commitUrl": f"{self.hub.address}/{named}/commit/{SHA}", "commitOid": SHA})
        if action == "branch":
            return self._json({})
        return self._json({"error": f"no {self.path}"}, 404)

    def do_PUT(self) -> None:
        self._noted()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.blobs[self.path.removeprefix("/blob/")] = data
        self._json({})

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            return self._file(body=True)
        self._noted()
        repo, files, action = self._parted()
        if files is None:
            return self._json({"error": "Repository Not Found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if action == "tree":
            listed = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
            return self._json(listed)
        siblings = [{"rfilename": path} for path in files]
        return self._json({"id": repo.partition("/")[2], "sha": SHA, "siblings": siblings, "private": False})

    def _noted(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")

    def _parted(self) -> tuple[str, dict[str, bytes] | None, str]:
        """Repository, its files, and what is asked of it."""
        match = re.match(r"/api/((?:models|datasets)/[^/]+/[^/?]+)/?(\w*)", self.path)
        assert match is not None, self.path
        return match[1], self.hub.repos.get(match[1]), match[2]

    def _create(self, wanted: dict[str, Any]) -> None:
        kind = "datasets/" if wanted.get("type") == "dataset" else ""
        named = f"{wanted['organization']}/{wanted['name']}"
        self.hub.created.append(wanted)
        self.hub.repos.setdefault(f"{kind or 'models/'}{named}", {})
        self._json({"url": f"{self.hub.address}/{kind}{named}"})

    def _mode(self, file: Mapping[str, Any]) -> dict[str, Any]:
        large = file["path"].endswith((".safetensors", ".arrow"))
        return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def _lfs(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.hub.address}/blob/{wanted['oid']}"}
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": upload}}

    def _file(self, body: bool) -> None:
        self._noted()
        match = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path)
        assert match is not None, self.path
        data = self.hub.repos.get(f"{match[1] or 'models/'}{match[2]}", {}).get(match[3])
        if data is None:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        etag = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA}
        self._answer(data if body else b"", 200, {**etag, "Content-Length": str(len(data))})

    def _json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        about = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        self._answer(data, status, {**about, **(headers or {})})

    def _answer(self, data: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)


@contextmanager
def running_hub() -> Iterator[StubHub]:
    """A hub that runs until the block ends."""
    hub = StubHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def environment_of(hub: StubHub, home: object) -> dict[str, str]:
    """What a process needs to take `hub` for the hub, and nothing of the user's own."""
    return {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
