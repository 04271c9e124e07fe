"""A server of Replicate's HTTP API on this machine: accounts, files, models and trainings."""

import io
import json
import re
import threading
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "r8_a-key-that-nobody-may-see"
VERSION = "studio/chorale-cello:5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
_MADE = "2026-01-01T00:00:00Z"


@dataclass
class ReplicateServer:
    """What the server holds, what it was asked, and what it is told to do."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    trainings: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    trouble: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    """Of the next requests whose line matches: which status and headers they get instead."""
    lost: list[str] = field(default_factory=list)
    """Of the next requests whose line matches: done, and then not answered."""
    key: str = KEY
    status: str = "succeeded"
    log: str = ""
    error: str = ""
    detail: str = "The key r8_a-key-that-nobody-may-see is not known."

    def archive(self, training: dict[str, Any]) -> zipfile.ZipFile:
        """The data that a training was given."""
        identity = training["input"]["dataset_path"].rpartition("/")[2]
        return zipfile.ZipFile(io.BytesIO(self.files[identity]))

    def count(self, pattern: str) -> int:
        """How often it was asked so."""
        return sum(bool(re.fullmatch(pattern, line)) for line in self.asked)

    def answer(self, line: str, body: bytes, kind: str) -> tuple[int, Any]:
        """What a request gets."""
        method, _, path = line.partition(" ")
        parts = path.strip("/").split("/")[1:]
        match [method, *parts]:
            case ["GET", "account"]:
                return 200, {
                    "type": "user",
                    "username": "studio",
                    "name": "Studio",
                    "github_url": None,
                }
            case ["POST", "files"]:
                return 201, self._stored(body, kind)
            case ["DELETE", "files", identity]:
                return (204 if self.files.pop(identity, None) else 404), {}
            case ["GET", "models", owner, name]:
                found = self.models.get(f"{owner}/{name}")
                return (200, found) if found else (404, {"detail": "no such model"})
            case ["POST", "models"]:
                return 201, self._model(json.loads(body))
            case ["POST", "models", owner, name, "versions", version, "trainings"]:
                return 201, self._training(f"{owner}/{name}", version, json.loads(body))
            case ["GET", "trainings"]:
                shown = list(self.trainings.values())[::-1]
                return 200, {"previous": None, "next": None, "results": shown}
            case ["GET", "trainings", identity]:
                return 200, self._moved(self.trainings[identity])
            case ["POST", "trainings", identity, "cancel"]:
                self.trainings[identity]["status"] = "canceled"
                return 200, self.trainings[identity]
        return 404, {"detail": f"no such thing: {line}"}

    def _stored(self, body: bytes, kind: str) -> dict[str, Any]:
        message: Any = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        given: dict[Any, Any] = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in message.get_payload()
        }
        identity = uuid.uuid4().hex
        self.files[identity] = given["content"]
        return {
            "id": identity,
            "name": "dataset.zip",
            "content_type": "application/zip",
            "size": len(given["content"]),
            "etag": identity,
            "checksums": {},
            "metadata": json.loads(given["metadata"]),
            "created_at": _MADE,
            "expires_at": None,
            "urls": {"get": f"{self.url}/v1/files/{identity}"},
        }

    def _model(self, given: dict[str, Any]) -> dict[str, Any]:
        name = f"{given['owner']}/{given['name']}"
        empty = ("description", "github_url", "paper_url", "license_url", "cover_image_url")
        self.models[name] = given | dict.fromkeys((*empty, "default_example", "latest_version"))
        self.models[name] |= {"url": f"{self.url}/{name}", "run_count": 0}
        found: dict[str, Any] = self.models[name]
        return found

    def _training(self, model: str, version: str, given: dict[str, Any]) -> dict[str, Any]:
        identity = uuid.uuid4().hex
        empty = ("output", "logs", "error", "started_at", "completed_at")
        self.trainings[identity] = dict.fromkeys(empty) | {
            "id": identity,
            "model": model,
            "version": version,
            "destination": given["destination"],
            "status": "starting",
            "input": given["input"],
            "created_at": _MADE,
            "urls": {},
        }
        return self.trainings[identity]

    def _moved(self, training: dict[str, Any]) -> dict[str, Any]:
        """A training, one step on, as long as it goes."""
        if training["status"] == "starting":
            training["status"] = "processing"
        elif training["status"] == "processing" and self.status != "processing":
            training["status"], training["error"] = self.status, self.error or None
            if self.status == "succeeded":
                training["output"] = {"version": VERSION, "weights": f"{self.url}/weights"}
        training["logs"] = self.log
        return training


@contextmanager
def serving() -> Iterator[ReplicateServer]:
    """Serves one on a free port."""
    held = ReplicateServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            line = f"{self.command} {self.path}"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunks()
            held.asked.append(line)
            status, found = 401, {"detail": held.detail}
            headers: dict[str, str] = {}
            if self.headers["Authorization"] == f"Bearer {held.key}":
                trouble = _taken(held.trouble, line)
                if trouble is None:
                    status, found = held.answer(line, body, self.headers.get("Content-Type", ""))
                else:
                    _, status, headers = trouble
            if any(re.fullmatch(each, line) for each in held.lost):
                held.lost.clear()
                self.close_connection = True
                return
            data = b"" if status == 204 else json.dumps(found).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_DELETE = do_GET  # noqa: N815 - their names there

        def _chunks(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return b""
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        held.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield held
        server.shutdown()
        thread.join()


def _taken(
    trouble: list[tuple[str, int, dict[str, str]]], line: str
) -> tuple[str, int, dict[str, str]] | None:
    for each in trouble:
        if re.fullmatch(each[0], line):
            trouble.remove(each)
            return each
    return None
