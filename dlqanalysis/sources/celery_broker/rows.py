"""What workers answer, as rows of readings.WORKERS and of a failures frame. Hostile text stays text."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from dlqanalysis.sources.celery_broker.asking import Answers

#: in the order in which a task moves, so that one that moves while we ask is seen at least once
HELD = ("scheduled", "reserved", "active")


def routes(active_queues: Mapping[str, Any]) -> dict[str, dict[tuple[str, str], str]]:
    """worker -> (exchange, routing key) -> queue, from what workers take from."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    for worker, queues in active_queues.items():
        mine = found[worker] = {}
        for queue in queues if isinstance(queues, list) else []:
            name = str(queue.get("name"))
            exchange = str((queue.get("exchange") or {}).get("name") or "")
            mine[exchange, str(queue.get("routing_key") or name)] = name
            mine["", name] = name
    return found


def consumers(active_queues: Mapping[str, Any]) -> dict[str, int] | None:
    """queue -> how many of the workers that answered take from it; None when none answered."""
    if not active_queues:
        return None
    counts: dict[str, int] = {}
    for mine in routes(active_queues).values():
        for queue in set(mine.values()):
            counts[queue] = counts.get(queue, 0) + 1
    return counts


def workers(answers: Answers, source: str, at: datetime) -> Iterator[dict[str, Any]]:
    """One row a worker that answered `stats`."""
    where = routes(answers["active_queues"])
    for worker, stats in sorted(answers["stats"].items()):
        pool, total = stats.get("pool") or {}, stats.get("total") or {}
        held = {name: answers[name].get(worker) for name in HELD}
        waiting = [held[name] for name in ("reserved", "scheduled")]
        known = answers["registered"].get(worker)
        uptime = stats.get("uptime")
        yield {
            "source": source,
            "worker": worker,
            "queues": ", ".join(sorted(set(where[worker].values()))) if worker in where else None,
            "concurrency": pool.get("max-concurrency"),
            "active": _count(held["active"]),
            "reserved": None if None in waiting else sum(map(len, waiting)),  # type: ignore[arg-type]
            "processed": sum(n for n in total.values() if isinstance(n, int)),
            "tasks": tuple(str(name).partition(" [")[0] for name in known)
            if isinstance(known, list)
            else None,
            "started_at": at - timedelta(seconds=uptime) if isinstance(uptime, int) else None,
            "at": at,
        }


def running(answers: Answers, source: str) -> tuple[list[dict[str, Any]], list[str]]:
    """A record a task that a worker holds, for frame.from_records, and the ids that two workers hold.

    A task that moved while we asked is told once, as the furthest that it came.
    """
    where = routes(answers["active_queues"])
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for status in HELD:
        for worker, tasks in answers[status].items():
            for told in tasks if isinstance(tasks, list) else []:
                row = _record(told, status, worker, where.get(worker, {}), source)
                found[str(row["task_id"]), worker] = row
    holders: dict[str, int] = {}
    for task_id, _ in found:
        holders[task_id] = holders.get(task_id, 0) + 1
    twice = sorted(task_id for task_id, count in holders.items() if count > 1)
    for (task_id, worker), row in found.items():
        row["failure_id"] = f"{task_id}@{worker}" if task_id in twice else task_id
    return list(found.values()), twice


def delivered_again(answers: Answers) -> list[str]:
    """Ids of held tasks that the broker has given out before: each time their work may have been done."""
    found = set()
    for status in HELD:
        for tasks in answers[status].values():
            for told in tasks if isinstance(tasks, list) else []:
                request = told.get("request") or {} if status == "scheduled" else told
                if (request.get("delivery_info") or {}).get("redelivered"):
                    found.add(str(request.get("id")))
    return sorted(found)


def _record(
    told: Mapping[str, Any],
    status: str,
    worker: str,
    where: Mapping[tuple[str, str], str],
    source: str,
) -> dict[str, Any]:
    request = told.get("request") or {} if status == "scheduled" else told
    delivery = request.get("delivery_info") or {}
    exchange, route = str(delivery.get("exchange") or ""), str(delivery.get("routing_key") or "")
    payload = {name: _json(request.get(name)) for name in ("args", "kwargs")}
    return {
        "source": source,
        "task_id": str(request.get("id")),
        "task_name": request.get("name") or request.get("type"),
        "queue": where.get((exchange, route), route) or None,
        "status": status,
        "priority": delivery.get("priority"),
        "payload_state": _payload_state(request),
        "failed_at": _began(request.get("time_start")) or _eta(told.get("eta")),
        "worker": worker,
        **payload,
    }


def _json(value: Any) -> str | None:
    """A value that came as JSON, as JSON text; a repr stays as it came."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _payload_state(request: Mapping[str, Any]) -> str:
    """Workers answer with what they decoded; some versions with a repr, which may be cut."""
    args, kwargs = request.get("args"), request.get("kwargs")
    if isinstance(args, list) and isinstance(kwargs, dict):
        return "complete"
    if args is None and kwargs is None:
        return "missing"
    texts = [value for value in (args, kwargs) if isinstance(value, str)]
    return "truncated" if any("..." in text[-8:] for text in texts) else "unreadable"


def _began(told: Any) -> datetime | None:
    """Workers say when a task began in seconds since 1970."""
    if not isinstance(told, int | float) or isinstance(told, bool) or not 0 < told < 1e11:
        return None
    return datetime.fromtimestamp(told, UTC)


def _eta(told: Any) -> datetime | None:
    try:
        eta = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return eta if eta.tzinfo else eta.replace(tzinfo=UTC)


def _count(held: Any) -> int | None:
    return len(held) if isinstance(held, list) else None
