"""A small real HTTP server for somebody else's service: a function answers (verb, path, query, headers, body)."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

#: status and content (bytes as they are, anything else as JSON), and how it is packed; None closes the connection
#: without an answer
Reply = tuple[int, Any] | tuple[int, Any, str] | None


class SmallServer:
    """Runs while it is a context, on a free port; `requests` holds what it was asked."""

    def __init__(self, reply: Callable[[str, str, dict[str, str], Any], Reply]) -> None:
        self.reply = reply
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._http.server_port}"

    def asked(self, verb: str) -> list[str]:
        return [path for used, path, _ in self.requests if used == verb]

    def __enter__(self) -> "SmallServer":
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: SmallServer

    def answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.server_of.requests.append((self.command, parts.path, query))
        self.server_of.headers.append({k.lower(): v for k, v in self.headers.items()})
        reply = self.server_of.reply(
            self.command, parts.path, query, json.loads(body) if body else None
        )
        if reply is None:
            self.close_connection = True
            return
        status, content, *packing = reply
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "text/html" if data.startswith(b"<") else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name in packing:
            self.send_header("Content-Encoding", name)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass
