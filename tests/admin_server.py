"""A small real HTTP server that speaks the admin API in both dialects, with every nasty habit met so far.

It stands in for a third-party service. `published` is what the code does (failed_task_id, queue_name, limit;
unknown fields are ignored; no dry run), `runbook` what the runbook says (task_id, queue, max_tasks, dry_run).
"""

import json
import re
import threading
import time
import uuid
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

BASE = "/api/v1/admin/dlq"
TOKEN = "adm-7f3e-secret"

_FIELDS = {
    "published": {
        "id": "failed_task_id",
        "queue": "queue_name",
        "bulk": ("queue_name", "task_name", "failed_after", "limit"),
    },
    "runbook": {
        "id": "task_id",
        "queue": "queue",
        "bulk": ("queue", "task_name", "failed_after", "exception_type", "max_tasks", "dry_run"),
    },
}


def task(number: int, **changes: Any) -> dict[str, Any]:
    """A failed task as the published API shows it: naive time, number and Celery id apart."""
    row = {
        "id": number,
        "task_id": f"celery-{number}",
        "task_name": ("api.tasks.email_tasks.send_email", "api.tasks.memo_tasks.generate_memo")[
            number % 2
        ],
        "queue_name": ("emails", "memos")[number % 2],
        "args": [number],
        "kwargs": {"property_id": number},
        "exception_type": "ConnectionError",
        "exception_message": f"boom {number}",
        "traceback": f"Traceback (most recent call last):\n  boom {number}",
        "retries_attempted": 3,
        "failed_at": f"2026-01-{10 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00",
        "replayed_at": None,
        "status": "failed",
        "replay_count": 0,
    }
    return {**row, **changes}


class AdminServer:
    """Runs while it is a context. `replays` and `gets` are queues of habits for the next requests:

    drop_before, drop_after (performs, then closes), slow_after, html, no_json, success_false, bare (200 {}),
    lie (says success, does nothing), 500_after, or a status such as 422, 429:2 (Retry-After), 401.
    """

    def __init__(self, dialect: str = "published", tasks: int = 4, **habits: Any) -> None:
        self.dialect = dialect
        self.names = _FIELDS[dialect]
        self.tasks: dict[str, dict[str, Any]] = {str(n): task(n) for n in range(1, tasks + 1)}
        self.executed: list[str] = []  # ids of rows, once for each real replay
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.replays: deque[str] = deque()
        self.gets: dict[str, deque[str]] = {}  # path below BASE -> habits
        self.openapi: Any = habits.pop("openapi", True)
        self.wrap: str = habits.pop("wrap", "")
        self.most = habits.pop("most", 1000)  # a greater limit is a 422
        self.cap = habits.pop("cap", None)  # a greater limit is silently cut
        self.ignores_offset = habits.pop("ignores_offset", False)
        self.oldest_first = habits.pop("oldest_first", False)
        self.ignores_filters = habits.pop("ignores_filters", False)
        self.order: Any = habits.pop("order", None)  # (rows newest first, how often asked) -> rows
        self.listed = 0
        self.between_pages: Any = habits.pop("between_pages", None)
        self.shows_count = habits.pop("shows_count", True)
        self.shows_new_id = habits.pop("shows_new_id", False)
        self.health: Any = habits.pop("health", None)
        self.slow = habits.pop("slow", 1.5)
        self.archives = habits.pop("archives", True)
        self.total: int | None = None
        assert not habits, habits
        self._lock = threading.RLock()

    def __enter__(self) -> "AdminServer":
        handler = type("Handler", (_Handler,), {"admin": self})
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
        return f"admin+http://127.0.0.1:{self._http.server_port}{BASE}"

    def posts(self, path: str = "/replay") -> list[Any]:
        return [body for verb, asked, _, body in self.requests if (verb, asked) == ("POST", path)]

    def fails_again(self, task_id: str, number: int) -> None:
        """A worker ran the replay and failed: a new row with the new id, as the published code writes it."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        self.tasks[str(number)] = task(number, task_id=task_id, failed_at=now)

    # ---- answers

    def answer(self, verb: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path.endswith("/openapi.json"):
            return self._openapi(path)
        if path == "/health" and self.health is not None:
            return self.health
        below = path.removeprefix(BASE)
        if verb == "GET" and below == "/tasks":
            return self._listed(query)
        if verb == "GET" and below == "/stats":
            return 200, self._stats()
        if verb == "GET" and below == "/alerts":
            return 200, {"alert": bool(self._live()), "message": "DLQ has failed tasks"}
        if verb == "GET" and (found := re.fullmatch(r"/tasks/([^/]+)", below)):
            row = self.tasks.get(unquote(found[1]))
            if not row:
                return 404, {"detail": f"Failed task {found[1]} not found"}
            return 200, self._shown(row)
        if verb == "POST" and below == "/replay":
            return self._replay(body)
        if verb == "POST" and below == "/replay-bulk":
            return self._bulk(body)
        if verb == "POST" and self.archives and (found := re.fullmatch("/archive/([^/]+)", below)):
            return self._archive(unquote(found[1]))
        return 404, {"detail": "Not Found"}

    def _live(self) -> list[dict[str, Any]]:
        return [row for row in self.tasks.values() if row["status"] in ("failed", "replaying")]

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        hidden = set() if self.shows_count else {"replay_count"}
        if not self.shows_new_id:
            hidden.add("replayed_task_id")
        return {name: value for name, value in row.items() if name not in hidden}

    def _listed(self, query: dict[str, str]) -> tuple[int, Any]:
        limit, offset = int(query.get("limit", 100)), int(query.get("offset", 0))
        if not 1 <= limit <= self.most:
            message = f"Input should be less than or equal to {self.most}"
            return 422, {"detail": [{"loc": ["query", "limit"], "msg": message}]}
        chosen = list(self.tasks.values())
        for name, column in ((self.names["queue"], "queue_name"), ("status", "status")):
            if query.get(name) and not self.ignores_filters:
                chosen = [row for row in chosen if row[column] == query[name]]
        chosen.sort(key=lambda row: row["failed_at"] or "", reverse=not self.oldest_first)
        self.listed += 1
        if self.order:
            chosen = self.order(chosen, self.listed)
        offset = 0 if self.ignores_offset else offset
        page = [self._shown(r) for r in chosen[offset : offset + min(limit, self.cap or limit)]]
        if self.between_pages:
            self.between_pages(self, offset)
        if not self.wrap:
            return 200, page
        return 200, {self.wrap: page, "total": self.total or len(page)}

    def _stats(self) -> dict[str, Any]:
        live = self._live()
        queues = dict(Counter(row["queue_name"] for row in live))
        oldest = min((row["failed_at"] for row in live), default=None)
        if self.dialect == "published":
            return {
                "total_failed": len(live),
                "by_queue": queues,
                "by_status": dict(Counter(row["status"] for row in self.tasks.values())),
                "oldest_failure": oldest,
                "time_since_oldest_minutes": 15.5,
                "alert_threshold_exceeded": bool(live),
                "alert_message": f"DLQ has {len(live)} failed tasks",
            }
        return {
            "total_failed": len(live),
            "failed_by_queue": queues,
            "failed_by_task": dict(Counter(row["task_name"] for row in live)),
            "oldest_failure": oldest and oldest + "Z",
            "alert_status": {"should_alert": bool(live), "reason": "DLQ depth > 0"},
        }

    def _perform(self, row: dict[str, Any]) -> str:
        new_id = str(uuid.uuid4())
        with self._lock:
            self.executed.append(str(row["id"]))
            row["status"], row["replay_count"] = "replayed", row["replay_count"] + 1
            row["replayed_at"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
            row["replayed_task_id"] = new_id
        return new_id

    def _replay(self, body: Any) -> tuple[int, Any]:
        name = self.names["id"]
        if name not in body:
            return 422, {
                "detail": [
                    {
                        "type": "missing",
                        "loc": ["body", name],
                        "msg": "Field required",
                        "input": body,
                    }
                ]
            }
        if not isinstance(body[name], int):
            return 422, {"detail": [{"loc": ["body", name], "msg": "Input should be an integer"}]}
        row = self.tasks.get(str(body[name]))
        if not row:
            return 400, {"detail": f"Failed task {body[name]} not found"}
        habit = self.replays.popleft() if self.replays else ""
        if habit == "somebody_first":
            self._perform(row)
        said = f"Task {row['id']} already replayed. Use force=True to replay again."
        if row["status"] == "replayed" and not body.get("force"):
            return 400, {"detail": said}
        if habit in ("registry", "broken_commit"):
            row["replay_count"] += 1  # counted first, put back to failed on any error
            said = f"Task {row['task_name']} not found in Celery registry"
            if habit == "broken_commit":
                self.executed.append(str(row["id"]))
                said = "(psycopg2.OperationalError) server closed the connection unexpectedly"
            return 200, {"success": False, "error": said, "message": f"Replay failed: {said}"}
        if habit == "lie":
            return 200, {"success": True, "new_task_id": str(uuid.uuid4()), "message": "ok"}
        if habit in ("html", "no_json", "bare") or habit[:1] == "4" or habit == "503":
            return self._odd(habit)
        if habit == "drop_before":
            raise ConnectionAbortedError
        with self._lock:  # of two at the same moment the second is told so
            if row["status"] == "replayed" and not body.get("force"):
                return 400, {"detail": said}
            new_id = self._perform(row)
        if habit == "drop_after":
            raise ConnectionAbortedError
        if habit == "slow_after":
            time.sleep(self.slow)
        if habit == "500_after":
            return 500, {"detail": "Failed to replay task: token=" + TOKEN}
        if self.dialect == "runbook":
            return 200, {
                "success": True,
                "replayed_task_id": new_id,
                "message": "Task queued for replay",
            }
        return 200, {
            "success": True,
            "failed_task_id": row["id"],
            "original_task_id": row["task_id"],
            "new_task_id": new_id,
            "task_name": row["task_name"],
            "replay_count": row["replay_count"],
            "message": f"Task replayed successfully with ID {new_id}",
        }

    def _archive(self, name: str) -> tuple[int, Any]:
        row = self.tasks.get(name)
        if not row:
            return 404, {"detail": f"Failed task {name} not found"}
        habit = self.replays.popleft() if self.replays else ""
        if habit == "lie":
            return 200, {"success": True}
        if habit in ("html", "no_json") or habit[:1] == "4" or habit == "503":
            return self._odd(habit)
        if habit == "drop_before":
            raise ConnectionAbortedError
        row["status"] = "archived"
        if habit == "drop_after":
            raise ConnectionAbortedError
        return 200, {"success": True, "message": f"Task {name} archived"}

    def _bulk(self, body: Any) -> tuple[int, Any]:
        """Ignores what it does not know, as pydantic does: a dry run it does not know is a real one."""
        known = {name: value for name, value in body.items() if name in self.names["bulk"]}
        chosen = [row for row in self.tasks.values() if row["status"] == "failed"]
        for name, column in ((self.names["queue"], "queue_name"), ("task_name", "task_name")):
            if known.get(name):
                chosen = [row for row in chosen if row[column] == known[name]]
        chosen = chosen[: known.get("limit", known.get("max_tasks", 100))]
        if known.get("dry_run") and "dry_run_lies" not in self.replays:
            ids = [row["id"] for row in chosen]
            return 200, {"dry_run": True, "would_replay": len(ids), "tasks": ids}
        results = [{"success": True, "new_task_id": self._perform(row)} for row in chosen]
        return 200, {"total_attempted": len(results), "results": results}

    def _openapi(self, path: str) -> tuple[int, Any]:
        if isinstance(self.openapi, str):  # served only at this path, or a web page for everything
            if self.openapi == "html":
                return self._odd("html")
            if path != self.openapi:
                return 404, {"detail": "Not Found"}
        if not self.openapi:
            return 404, {"detail": "Not Found"}
        if isinstance(self.openapi, dict):
            return 200, self.openapi
        return 200, document(self.dialect, self.archives)

    def _odd(self, habit: str) -> tuple[int, Any]:
        if habit == "html":
            return 200, "<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
        if habit == "no_json":
            return 200, "queued"
        if habit == "bare":
            return 200, {}
        status, _, wait = habit.partition(":")
        return int(status), {"detail": f"habit {status}", "retry-after": wait}


def document(dialect: str, archives: bool = True) -> dict[str, Any]:
    """The OpenAPI document as FastAPI writes it, with references."""
    names = _FIELDS[dialect]

    def body(schema: str) -> dict[str, Any]:
        reference = {"$ref": f"#/components/schemas/{schema}"}
        return {"post": {"requestBody": {"content": {"application/json": {"schema": reference}}}}}

    text = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    bulk: dict[str, Any] = {name: text for name in names["bulk"]}
    bulk["limit" if dialect == "published" else "max_tasks"] = {"type": "integer", "maximum": 1000}
    query = [names["queue"], "status", "limit", "offset"]
    parameters = [
        {
            "name": n,
            "in": "query",
            "schema": {"type": "integer", "maximum": 1000} if n == "limit" else text,
        }
        for n in query
    ]
    return {
        "openapi": "3.1.0",
        "paths": {
            f"{BASE}/replay": body("ReplayTaskRequest"),
            f"{BASE}/replay-bulk": body("ReplayBulkRequest"),
            f"{BASE}/tasks": {"get": {"parameters": parameters}},
            **({f"{BASE}/archive/{{failed_task_id}}": {"post": {}}} if archives else {}),
        },
        "components": {
            "schemas": {
                "ReplayTaskRequest": {
                    "properties": {names["id"]: {"type": "integer"}, "force": {"type": "boolean"}},
                    "required": [names["id"]],
                },
                "ReplayBulkRequest": {"properties": bulk},
            }
        },
    }


class _Handler(BaseHTTPRequestHandler):
    admin: AdminServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body go out apart: 40 ms a request otherwise

    def do_GET(self) -> None:
        self._go()

    def do_POST(self) -> None:
        self._go()

    def _go(self) -> None:
        admin, parsed = self.admin, urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(parsed.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        if len(raw) < length:  # whoever asked was killed before its request was whole
            self.close_connection = True
            return
        body = json.loads(raw) if raw else None
        below = parsed.path.removeprefix(BASE)
        admin.requests.append((self.command, below, query, body))
        admin.headers.append(dict(self.headers))
        status, answer, headers = 401, {"detail": "Not authenticated"}, {}
        habits = admin.gets.get(below) if self.command == "GET" else None
        habit = habits.popleft() if habits else ""
        try:
            if habit == "drop_before":
                raise ConnectionAbortedError
            if habit == "drip":
                return self._drip()
            if habit == "slow":
                time.sleep(admin.slow)
            if habit.startswith("3"):
                status, answer, headers = int(habit[:3]), {}, {"Location": habit[4:]}
            elif habit and habit not in ("slow",):
                status, answer = admin._odd(habit)
            elif parsed.path.endswith("openapi.json") or (
                self.headers.get("Authorization") == f"Bearer {TOKEN}"
            ):
                status, answer = admin.answer(self.command, parsed.path, query, body)
        except ConnectionAbortedError:
            self.close_connection = True
            return
        page = isinstance(answer, str)
        if isinstance(answer, dict) and answer.get("retry-after"):
            headers["Retry-After"] = answer.pop("retry-after")
        content = answer.encode() if page else json.dumps(answer).encode()
        kind = "text/html" if page and content[:1] == b"<" else "application/json"
        try:
            self.send_response(status)
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client has given up waiting
            self.close_connection = True

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.close_connection = True
        try:
            for _ in range(200):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass
