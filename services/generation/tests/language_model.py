"""A server of OpenAI's chat completions on this machine, which says what it is told to say."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LanguageModel:
    """What the server answers, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answer: str | None = None
        self.status, self.delay_seconds, self.raw = 200, 0.0, b""
        self.requests: list[tuple[dict[str, str], Any]] = []


@contextmanager
def serving() -> Iterator[LanguageModel]:
    """Serves one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/chat/completions"
            model.requests.append((dict(self.headers), body))
            time.sleep(model.delay_seconds)
            message = {"choices": [{"message": {"role": "assistant", "content": model.answer}}]}
            with suppress(BrokenPipeError):  # one who waited no longer
                self.send_response(model.status)
                self.send_header("Location", f"{model.url}/chat/completions")
                self.end_headers()
                self.wfile.write(model.raw or json.dumps(message).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model = LanguageModel(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield model
        server.shutdown()
        thread.join()
