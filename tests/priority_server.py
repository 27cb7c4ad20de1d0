"""A small real HTTP server that speaks the priority queue's API, with every nasty habit met so far, and the entries.

It stands in for a third-party service. `good` moves a task, as its guide says; `published` says success and does
nothing, and cannot list; `minimal` always shows nothing. Lists hold the newest first, as LPUSH leaves them.
"""

import json
import threading
import time
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

BASE = "/api/dlq"
PRIORITIES = ("high", "normal", "low")


def entry(number: int, **changes: Any) -> dict[str, Any]:
    """A dead letter as the system writes it: naive local time, no status of its own."""
    row = {
        "task_id": f"task-{number}",
        "task_type": ("send_email", "charge_customer")[number % 2],
        "payload": {"user_id": number, "amount": 99.99, "big": 9007199254740998},
        "failed_at": f"2026-11-{10 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00.25",
        "attempts": 3,
        "last_error": f"connection timeout {number}",
        "trace_id": f"trace-{number}",
        "original_created_at": "2026-11-09T08:00:00",
    }
    return {**row, **changes}


class PriorityServer:
    """Runs while it is a context. `retries` and `gets` are queues of habits for the next requests:

    drop_before, drop_after (performs, then closes), lose (takes the entry out, then 500), lie (says success, does
    nothing), slow_after, html, no_json, huge, or a status such as 500, 404, 429:2 (Retry-After), 401.
    """

    def __init__(
        self,
        dialect: str = "good",
        entries: int = 4,
        *,
        wrap: str = "items",
        cap: int | None = None,
        offset_first: bool = False,
        hours: float = 0,
        shows_task: bool = True,
        slow: float = 1.5,
    ) -> None:
        self.dialect, self.wrap, self.cap, self.offset_first = dialect, wrap, cap, offset_first
        self.hours, self.shows_task, self.slow = hours, shows_task, slow
        self.lists: dict[str, list[dict[str, Any]]] = {p: [] for p in PRIORITIES}
        for number in range(1, entries + 1):
            self.lists[PRIORITIES[number % 3]].insert(0, entry(number))
        self.executed: list[str] = []  # ids of tasks, once for each real replay
        self.tasks: dict[str, str] = {}  # id -> status, where the server shows it
        self.counts: dict[str, int] | None = None  # what /stats says instead of the truth
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.retries: deque[str] = deque()
        self.gets: dict[str, deque[str]] = {}
        self.before_retry: Any = None
        self.token = ""
        self._lock = threading.Lock()

    def __enter__(self) -> "PriorityServer":
        handler = type("Handler", (_Handler,), {"api": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"priority+http://127.0.0.1:{self._http.server_port}"

    def posts(self) -> list[Any]:
        return [body for verb, path, _, body in self.requests if (verb, path) == ("POST", "/retry")]

    def state(self) -> Any:
        return json.dumps([self.lists, self.executed, self.tasks])

    def find(self, task_id: str) -> tuple[str, dict[str, Any]] | None:
        return next(
            ((p, e) for p in PRIORITIES for e in self.lists[p] if e.get("task_id") == task_id), None
        )

    # ---- answers

    def answer(self, verb: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if self.token and self.headers[-1].get("Authorization") != f"Bearer {self.token}":
            return 401, {"error": "unauthorized"}
        if verb == "GET" and self.gets.get(path):
            habit = self.gets[path].popleft()
            if habit:
                return _odd(habit)
        if verb == "GET" and path == "/stats":
            return 200, self._stats()
        if verb == "GET" and path == "/health":
            sick = self._stats()["total_items"] > 50
            return 503 if sick else 200, {
                "status": "warning" if sick else "healthy",
                "message": "DLQ items accumulating" if sick else "DLQ is healthy",
            }
        if verb == "POST" and path == "/retry":
            return self._retry(body)
        if verb == "GET" and path.startswith("/task/"):
            return self._task(unquote(path[6:]))
        if verb == "GET" and path.strip("/") in PRIORITIES:
            return self._listed(path.strip("/"), query)
        return 404, {"error": "not found"}

    def _now(self) -> str:
        return (datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=self.hours)).isoformat()

    def _stats(self) -> dict[str, Any]:
        counts = {p: 0 if self.dialect == "minimal" else len(self.lists[p]) for p in PRIORITIES}
        total = sum(counts.values())
        return {"queues": self.counts or counts, "total_items": total, "timestamp": self._now()}

    def _listed(self, priority: str, query: dict[str, str]) -> tuple[int, Any]:
        if self.dialect == "published":
            return 500, {"error": "'coroutine' object is not iterable"}
        rows = [] if self.dialect == "minimal" else self.lists[priority]
        limit, offset = int(query.get("limit", 100)), int(query.get("offset", 0))
        most = min(limit, self.cap or limit)
        rows = rows[offset : offset + most] if self.offset_first else rows[:most][offset:]
        rows = [self._shown(row) for row in rows]
        if self.wrap == "bare":
            return 200, rows
        total = self._stats()["queues"][priority]
        return 200, {"priority": priority, self.wrap: rows, "count": len(rows), "total": total}

    def _shown(self, row: Any) -> Any:
        status = self.tasks.get(str(row.get("task_id"))) if isinstance(row, dict) else None
        return {**row, "current_status": status} if status else row

    def _task(self, task_id: str) -> tuple[int, Any]:
        found = self.find(task_id) if self.shows_task and self.dialect == "good" else None
        if not found:
            return 404, {"found": False, "message": f"Task {task_id} not found in DLQ"}
        status = {"status": self.tasks[task_id]} if task_id in self.tasks else {}
        priority, row = found
        return 200, {
            "dlq_entry": self._shown(row),
            "task_metadata": status,
            "priority": priority,
            "found": True,
        }

    def _retry(self, body: Any) -> tuple[int, Any]:
        if not body.get("task_id"):
            return 400, {"error": "task_id required"}
        if self.before_retry:
            self.before_retry(self)
        habit = self.retries.popleft() if self.retries else ""
        if habit == "drop_before":
            raise ConnectionAbortedError
        success = {
            "status": "success",
            "message": f"Task {body['task_id']} re-queued for processing",
        }
        if habit == "lie" or self.dialect == "published":
            return 200, success
        if habit in ("html", "no_json", "huge") or habit[:1].isdigit():
            return _odd(habit)
        with self._lock:
            found = self.find(body["task_id"])
            if not found:
                return 404, {
                    "status": "error",
                    "message": f"Task {body['task_id']} not found in DLQ",
                }
            self.lists[found[0]].remove(found[1])
            if habit == "lose":
                return 500, {"error": "this event loop is already running"}
            self.executed.append(body["task_id"])
        if habit == "drop_after":
            raise ConnectionAbortedError
        if habit == "slow_after":
            time.sleep(self.slow)
        if habit == "fails_again_then_500":
            self.lists["normal"].insert(0, {**found[1], "failed_at": "2026-11-20T10:00:00"})
            return 500, {"error": "too late"}
        return 200, success

    def runs(self) -> Counter[str]:
        return Counter(self.executed)


def _odd(habit: str) -> tuple[int, Any]:
    if habit == "html":
        return 200, "<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
    if habit == "no_json":
        return 200, "queued"
    if habit == "huge":
        return 200, "[" + "1," * 2**20 + "1]"
    status, _, wait = habit.partition(":")
    return int(status), {"error": f"habit {status}", "retry-after": wait}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body go out apart: 40 ms a request otherwise
    api: PriorityServer

    def _go(self) -> None:
        parsed = urlparse(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        if len(raw) < length:  # whoever asked was killed before its request was whole
            self.close_connection = True
            return
        body = json.loads(raw) if raw else {}
        query = {name: values[0] for name, values in parse_qs(parsed.query).items()}
        path = parsed.path.removeprefix(BASE)
        self.api.requests.append((self.command, path, query, body))
        self.api.headers.append(dict(self.headers))
        try:
            status, told = self.api.answer(self.command, path, query, body)
        except ConnectionAbortedError:
            self.close_connection = True
            return
        page = isinstance(told, str)
        wait = told.pop("retry-after", "") if isinstance(told, dict) else ""
        content = told.encode() if page else json.dumps(told).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if page else "application/json")
            self.send_header("Content-Length", str(len(content)))
            if wait:
                self.send_header("Retry-After", wait)
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client has given up waiting
            self.close_connection = True

    do_GET = do_POST = do_DELETE = _go

    def log_message(self, *_: Any) -> None:
        pass
