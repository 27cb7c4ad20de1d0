"""Is the admin API ready for these items: token, health, endpoint, field names, and its own dry run."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlqanalysis.errors import ConnectError
from dlqanalysis.model import Finding, Item
from dlqanalysis.sources._http import Client, NoAnswer
from dlqanalysis.sources.admin_api.dialect import Dialect
from dlqanalysis.sources.admin_api.rows import failure_id
from dlqanalysis.sources.admin_api.source import stats_of
from dlqanalysis.text import many

_MOST_DRY_RUNS = 10
_SICK = re.compile(r"\b(unhealthy|error|down|degraded|critical|failed|failing)\b", re.IGNORECASE)


def findings(client: Client, dialect: Dialect, items: Sequence[Item]) -> list[Finding]:
    """What somebody should see before anything is sent; what blocks comes with the next step."""
    return [
        _stats(client, items),
        *_names(client, dialect, items),
        *_transport(client),
        *health(client, dialect),
        *dry_run(client, dialect, items),
    ]


def _stats(client: Client, items: Sequence[Item]) -> Finding:
    try:
        raw = client.get_json("/stats")
    except ConnectError as error:
        return Finding(name="admin_api", severity="critical", text=str(error), blocks=True)
    stats = stats_of(raw if isinstance(raw, Mapping) else {})
    total = stats["total_failed"]
    facts = {"total_failed": total}
    if total is not None and total < len(items):
        said = f"{client.place} counts {total:,} failed tasks, the plan has {len(items):,}. Load again."
        return Finding(name="admin_api", severity="warning", text=said, facts=facts)
    counted = "" if total is None else f" and counts {total:,} failed tasks"
    return Finding(
        name="admin_api",
        severity="ok",
        text=f"{client.place} accepts the token{counted}.",
        facts=facts,
    )


def _names(client: Client, dialect: Dialect, items: Sequence[Item]) -> Iterator[Finding]:
    if not dialect.documented:
        yield Finding(
            name="replay_endpoint",
            severity="warning",
            text=f"{client.place} shows no OpenAPI document. The id's name is learnt from its first"
            " refusal (422), which replays nothing.",
        )
    elif not dialect.replays:
        yield Finding(
            name="replay_endpoint",
            severity="critical",
            blocks=True,
            text=f"{client.place} has no POST /replay in its OpenAPI document. Replay through the"
            " database and the broker instead.",
        )
    elif not dialect.id_field:
        yield Finding(
            name="replay_endpoint",
            severity="critical",
            blocks=True,
            text=f"The body of POST /replay at {client.place} has neither failed_task_id nor task_id, so"
            " it is not known how to name a task. Replay through the database and the broker instead.",
        )
    else:
        yield Finding(
            name="replay_endpoint", severity="ok", text=f"POST /replay takes {dialect.id_field}."
        )
    if dialect.id_type == "integer" and (
        odd := [item.failure_id for item in items if not item.failure_id.isdecimal()]
    ):
        yield Finding(
            name="ids",
            severity="critical",
            blocks=True,
            text=f"{many(len(odd), 'items have ids')} that are no numbers (such as {odd[0][:40]!r}), and this API"
            " replays by number. Load from this API, so that rows keep their numbers.",
        )


def _transport(client: Client) -> Iterator[Finding]:
    if client.in_clear:
        yield Finding(
            name="transport",
            severity="warning",
            text=f"The token goes to {client.place} unencrypted. Use admin+https where you can.",
        )


def health(client: Client, dialect: Dialect) -> Iterator[Finding]:
    """The host's own word on its health; a host without such a page says nothing."""
    path = dialect.health or "/health"
    try:
        answer = client.get("/" + path)
        if answer.status >= 400:
            if dialect.health:
                said = f"{path} says {answer.status}: {client.words(answer)}."
                yield Finding(name="health", severity="warning", text=said)
            return
        told = answer.json()
    except ConnectError as error:
        yield Finding(name="health", severity="critical", text=str(error))
        return
    except ValueError:
        return
    sick = sorted(_sick(told)) if isinstance(told, Mapping) else []
    text = f"{path} says {'; '.join(sick)[:200]}." if sick else f"{path} answers, nothing is ill."
    yield Finding(name="health", severity="warning" if sick else "ok", text=text)


def _sick(told: Mapping[str, Any]) -> Iterator[str]:
    for name, value in told.items():
        state = value.get("status") if isinstance(value, Mapping) else value
        if isinstance(state, str) and _SICK.search(state):
            yield f"{name} {state[:60]}"


def dry_run(client: Client, dialect: Dialect, items: Sequence[Item]) -> list[Finding]:
    """The server's own selection by queue and task beside ours.

    Such servers ignore what they do not know, and then replay for real. So nothing is asked unless the
    schema has dry_run, both filters and a limit.
    """
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in items:
        groups[item.queue, item.task_name].append(item.failure_id)
    bulk = dialect.bulk
    if not bulk.dry_runs or not all(queue and task for queue, task in groups):
        return []
    asked = list(groups.items())[:_MOST_DRY_RUNS]
    ours, theirs, unknown = 0, 0, []
    for (queue, task), wanted in asked:
        body = {bulk.queue: queue, "task_name": task, bulk.limit: bulk.most, "dry_run": True}
        try:
            answer = client.post("/replay-bulk", body)
        except NoAnswer as error:
            return [Finding(name="dry_run", severity="warning", text=f"No dry run: {error}")]
        if answer.status >= 300:
            said = f"No dry run ({answer.status}): {client.words(answer)}."
            return [Finding(name="dry_run", severity="warning", text=said)]
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, Mapping) or _acted(told):
            return [_broken(client, queue, task)]
        ids, count = _selected(told)
        ours, theirs = ours + len(wanted), theirs + count
        if ids is not None and count < bulk.most:
            unknown += [name for name in wanted if name not in ids]
    facts = {"ours": ours, "server": theirs, "asked": len(asked), "of": len(groups)}
    rest = (
        ""
        if len(asked) == len(groups)
        else f" ({len(asked)} of {len(groups)} queues and tasks asked)"
    )
    said = f"The server's dry run selects {theirs:,} where the plan has {ours:,}{rest}."
    if unknown:
        said += f" {len(unknown):,} of the plan's are not among them, such as {unknown[0]}: they are looked at again before they go."
    severity = "warning" if unknown or theirs < ours else "ok"
    return [Finding(name="dry_run", severity=severity, text=said, facts=facts)]


def _acted(told: Mapping[str, Any]) -> bool:
    """Whether an answer looks as if the server had replayed for real."""
    results = told.get("results")
    entries = results if isinstance(results, list) else []
    return told.get("dry_run") is not True or any(
        isinstance(entry, Mapping) and (entry.get("new_task_id") or entry.get("replayed_task_id"))
        for entry in entries
    )


def _broken(client: Client, queue: str, task: str) -> Finding:
    return Finding(
        name="dry_run",
        severity="critical",
        blocks=True,
        text=f"{client.place} was asked for a dry run of {task} in {queue}, and its answer does not say that"
        " it was one. It may have replayed: look at the statuses, load and plan again.",
    )


def _selected(told: Mapping[str, Any]) -> tuple[set[str] | None, int]:
    """The ids that a dry run names (None where it names none) and their count."""
    for name in ("tasks", "task_ids", "ids", "results", "items", "would_replay"):
        if isinstance(listed := told.get(name), list):
            ids = {failure_id(e) if isinstance(e, Mapping) else str(e) for e in listed}
            return ids, len(ids)
    for name in ("would_replay", "total", "count", "total_attempted", "matched"):
        if isinstance(count := told.get(name), int):
            return None, count
    return None, 0
