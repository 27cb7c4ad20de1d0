"""What the API tells of its queues and of itself."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.errors import ConnectError
from dlqanalysis.frame import empty, from_records
from dlqanalysis.model import Finding
from dlqanalysis.redact import redact
from dlqanalysis.sources._http import Client
from dlqanalysis.sources.queue_api import logs, metrics
from dlqanalysis.text import storable

_WELL = ("ok", "up", "healthy", "pass", "connected", "ready")
#: names of ours for states that the API says otherwise
_STATES = {"wait": "waiting"}


class QueueMonitor:
    """Depths and health from the API. Every answer is asked for anew."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def name(self) -> str:
        """`queue:host`; its hand has the same."""
        return self._client.place

    def __repr__(self) -> str:
        return f"QueueMonitor({self.name})"

    def depths(self) -> pd.DataFrame:
        """Jobs by queue and state, as the API counts them; completed and failed are what is kept, not what was."""
        at = datetime.now(UTC)
        found = metrics.queues(self._client).values()
        rows = [
            {"source": self.name, "queue": queue.name, "state": _STATES.get(state, state),
             "depth": count, "at": at}
            for queue in found
            for state, count in queue.counts.items()
        ]  # fmt: skip
        frame = readings.depths(rows)
        frame.attrs["notes"] = list(self._notes(found))
        return frame

    def queues(self) -> pd.DataFrame:
        """The queues as a failures frame, for plans that pause or unpause: status is paused, running or unknown."""
        now = datetime.now(UTC)
        frame = from_records(
            {
                "source": self.name,
                "failure_id": f"{queue.name}@{now.isoformat()}/{queue.status}",
                "queue": queue.name,
                "status": queue.status,
                "failed_at": now,
            }
            for queue in metrics.queues(self._client).values()
        )
        frame.attrs = {"source": self.name, "selection": "all queues", "narrows": True, "notes": []}
        return frame

    def workers(self) -> pd.DataFrame:
        """Nothing: the API does not tell."""
        return readings.noted(
            readings.workers([]), f"{self.name} does not tell its workers: {_ROAD}"
        )

    def running(self) -> pd.DataFrame:
        """Nothing: the API counts active jobs and shows none."""
        return readings.noted(empty(), f"{self.name} counts active jobs and shows none: {_ROAD}")

    def logs(self, search: str = "", level: str = "error", limit: int = 100) -> pd.DataFrame:
        """Lines of the API's log, where it has that route, the newest last: at (UTC), level, text, job_id; redacted.

        What a line does not tell is missing. An API without logs gives an empty frame with a note.
        """
        asked = {"level": level, "limit": limit, **({"search": search} if search else {})}
        answer = self._client.get("/logs", asked, also=(404, 405))
        if answer.status in (404, 405):
            text = f"{self.name} has no /logs: read the workers' own (a path, or a journal)."
            return readings.noted(logs.lines([]), text)
        return logs.lines(logs.entries(answer))

    def health(self) -> list[Finding]:
        """/healthz, and /health with what it depends on; an API that is away is a finding, too."""
        try:
            return [*self._asked("/healthz"), *self._asked("//health", "/health")]
        except ConnectError as error:
            return [Finding(name="queue API", severity="critical", text=str(error))]

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def __enter__(self) -> "QueueMonitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _notes(self, found: Any) -> Iterator[str]:
        told = {state for queue in found for state in queue.counts}
        if found and "prioritized" not in told:
            yield (
                f"{self.name} does not count prioritized jobs: where jobs have a priority, waiting stays 0. Their"
                " number is in Redis (bullmq+redis://)."
            )
        odd = sum(count is None for queue in found for count in queue.counts.values())
        if odd:
            yield f"{odd:,} counts of {self.name} are no numbers: those depths are missing."

    def _asked(self, *paths: str) -> Iterator[Finding]:
        """One health route: the first of these paths that is there."""
        shown = paths[0].removeprefix("/") if paths[0].startswith("//") else paths[0]
        for path in paths:
            answer = self._client.get(path, also=(500, 503))
            if answer.status not in (404, 405):
                break
        else:
            yield Finding(
                name=shown,
                severity="warning",
                text=f"{self.name} has no {shown}: nothing is known by it.",
            )
            return
        try:
            body = answer.json()
        except ValueError:
            body = None
        said = _status(body)
        well = answer.status < 300 and (said in _WELL or not said)
        text = f"{self.name} answers {shown} with {answer.status}"
        yield Finding(
            name=shown,
            severity="ok" if well else "critical",
            text=f"{text}{f', {redact(said)}' if said else ''}.",
            facts={"status": answer.status},
        )
        for part, state in _parts(body):
            if state not in _WELL:
                yield Finding(
                    name=f"{shown} {part}",
                    severity="critical",
                    text=f"{self.name} says that {redact(part)} is {redact(state)}.",
                )


_ROAD = "BullMQ's Redis knows more (bullmq+redis://)."


def _status(body: Any) -> str:
    """What a health answer says of the whole."""
    if isinstance(body, str):
        return body.strip().lower()[:40]
    found = body.get("status") if isinstance(body, Mapping) else None
    return found.lower()[:40] if isinstance(found, str) else ""


def _parts(body: Any) -> Iterator[tuple[str, str]]:
    """What a health answer says of what it depends on: {details: {redis: {status: down}}} and its relatives."""
    if not isinstance(body, Mapping):
        return
    for name in ("details", "checks", "services", "components"):
        parts = body.get(name)
        if isinstance(parts, Mapping):
            for part, told in list(parts.items())[:50]:
                if state := _status(told):
                    yield storable(str(part)[:60]), state
            return
