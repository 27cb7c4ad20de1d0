"""A mail provider for the demo shop, as a real HTTP server: it takes mails, or has an outage.

python -m dlqanalysis.demo.provider PORT WORLD-FILE
"""

import itertools
import json
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dlqanalysis.demo import world

#: What callers meet during an outage, in turn. A timeout costs its caller time, so there are few.
OUTAGE = ("429", "429", "dropped", "429", "503", "429", "429", "timeout", "429", "503")
_requests = itertools.count()


class Mail(BaseHTTPRequestHandler):
    """POST /v3/mail/send"""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if world.read(sys.argv[2])["mail"] == "up":
            return self._answer(HTTPStatus.ACCEPTED, {"accepted": True})
        match OUTAGE[next(_requests) % len(OUTAGE)]:
            case "timeout":
                time.sleep(1.5)  # the shop waits for 0.5 s
                self.close_connection = True
            case "dropped":
                self.close_connection = True
            case "429":
                self._answer(HTTPStatus.TOO_MANY_REQUESTS, {"message": "quota exceeded"})
            case "503":
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"message": "maintenance"})

    def _answer(self, status: HTTPStatus, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.send_header("retry-after", "30")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing: the shop's log tells."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Mail).serve_forever()
