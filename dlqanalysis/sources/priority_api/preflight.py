"""Is the API ready for these items: health, lists, counts, and what its retry is known to lose."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from dlqanalysis.errors import ConnectError, DLQError
from dlqanalysis.model import Finding, Item
from dlqanalysis.redact import redact
from dlqanalysis.sources._http import Client
from dlqanalysis.sources._priority import PRIORITIES, Entry, Options, when
from dlqanalysis.sources.priority_api.client import REDIS_ROAD
from dlqanalysis.sources.priority_api.listing import listed, stats
from dlqanalysis.text import many, written


def findings(client: Client, options: Options, items: Sequence[Item]) -> list[Finding]:
    """What somebody should see before anything is sent; what blocks comes with the next step."""
    found = [*health(client)]
    asked = {item.queue for item in items}
    entries: dict[str, Entry] = {}
    try:
        for priority in PRIORITIES:
            if priority in asked:
                entries |= dict(listed(client, priority).named())
    except DLQError as error:
        return [*found, Finding(name="lists", severity="critical", text=str(error), blocks=True)]
    chosen = [entries[item.failure_id] for item in items if item.failure_id in entries]
    return [*found, *_retry(client, items), *_chosen(client, options, items, chosen)]


def health(client: Client) -> Iterator[Finding]:
    """The server's own word on its health; 503 is such a word."""
    try:
        answer = client.get("/health", also=(500, 503))
        if answer.status == 404:
            return
        told = answer.json()
    except ConnectError as error:
        yield Finding(name="health", severity="critical", text=str(error), blocks=True)
        return
    except ValueError:
        told = None
    if not isinstance(told, dict):
        said = f"{client.place}/health answers {answer.status} with no JSON object."
        yield Finding(name="health", severity="warning", text=said)
        return
    status = redact(written(told.get("status") or "nothing"))[:60]
    well = answer.status < 300 and status in ("healthy", "ok", "up")
    said = f"{client.place} calls itself {status}: {redact(written(told.get('message') or 'no reason'))[:120]}."
    yield Finding(name="health", severity="ok" if well else "warning", text=said)


def _retry(client: Client, items: Sequence[Item]) -> Iterator[Finding]:
    yield Finding(
        name="retry",
        severity="warning",
        text=f"What {client.place} says of a retry proves nothing: the first item is looked at before and after,"
        " and the run stops if nothing moved.",
    )
    others = sum(item.queue in ("high", "low") for item in items)
    if others:
        yield Finding(
            name="priority",
            severity="warning",
            text=f"{many(others, 'items are')} of priority high or low. The published version of this API puts what it"
            f" retries into normal and forgets max_retries and idempotency_key: to keep them, {REDIS_ROAD}.",
        )


def _chosen(
    client: Client, options: Options, items: Sequence[Item], chosen: Sequence[Entry]
) -> Iterator[Finding]:
    if gone := len(items) - len(chosen):
        said = f"{gone:,} of the plan's entries are not in the server's lists any more; they are skipped."
        yield Finding(name="gone", severity="warning", text=said)
    try:
        zone = options.zone or stats(client).zone or UTC
    except DLQError as error:
        yield Finding(name="stats", severity="warning", text=f"No statistics: {error}")
        return
    bound = datetime.now(UTC) - options.ttl
    times = (when(entry.value("failed_at"), zone) for entry in chosen)
    old = sum(moment is not None and moment < bound for moment in times)
    if old:
        said = (
            f"{many(old, 'items')} failed more than {options.ttl.days} days ago: the server's copies have expired, so"
            f" that its retry does not find them. To replay those, {REDIS_ROAD}."
        )
        yield Finding(name="expired", severity="warning", text=said)
