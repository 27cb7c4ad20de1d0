"""What a Prometheus tells: samples of metrics, depths, alerts that fire."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.frame import empty
from dlqanalysis.model import Finding, duration, moment
from dlqanalysis.redact import redact
from dlqanalysis.sources._http import Client
from dlqanalysis.sources.prometheus.client import Result, ask
from dlqanalysis.sources.prometheus.queries import DEFAULT, named
from dlqanalysis.text import storable

_POINTS = 240  #: samples of a series that are asked for when nobody says how often
_MOST_POINTS = 11_000  #: what Prometheus gives of one series
_QUEUES = ("queue", "queue_name", "priority", "name")
_STATES = ("status", "state")
_GRAVE = ("critical", "page", "error")

When = str | date | datetime | None


class PrometheusMonitor:
    """One Prometheus, asked over HTTP. Its named queries are those of a set, or one's own."""

    def __init__(self, client: Client, options: Mapping[str, str] | None = None) -> None:
        own = dict(options or {})
        self._client, self.queries = client, named(own.pop("metrics", DEFAULT), own)

    @property
    def name(self) -> str:
        """`prometheus:host:9090`."""
        return self._client.place

    def __repr__(self) -> str:
        return f"PrometheusMonitor({self.name})"

    def metrics(
        self,
        what: str,
        since: When = None,
        until: When = None,
        every: str | None = None,
        unit: str | None = None,
    ) -> pd.DataFrame:
        """Samples as a frame of readings.METRICS. `what` is a named query (`depth`, `p95_latency`, ...) or PromQL.

        Without `since` its value now (or at `until`); with it a sample each `every` (30s, 5m). `unit` says what
        one's own PromQL answers in; left out, a bare rate() is per_second and anything else has none.
        """
        query = self.queries.get(what)
        promql = query.promql if query else what
        unit = unit or (query.unit if query else _unit(what))
        result = self._asked(promql, moment(since), moment(until), every)
        notes: list[str] = []
        frame = readings.metrics(_rows(result, what, unit, self.name, notes))
        if not len(frame):
            notes.append(
                f"{self.name} has no sample for {what}: is the metric named so there? {_HINT}"
            )
        missing = int(frame["value"].isna().sum())
        if missing:
            notes.append(
                f"{missing:,} samples of {what} are no number, such as 0 / 0: nothing happened then."
            )
        notes += [f"{self.name} warns: {redact(text)[:300]}" for text in result.warnings]
        frame.attrs["notes"] = notes
        return frame

    def depths(self) -> pd.DataFrame:
        """The query `depth`, one row a series: the queue from its labels, the state where they say it."""
        result = self._asked(self.queries["depth"].promql, None, None, None)
        notes: list[str] = []
        rows = [
            {
                "source": self.name,
                "queue": _label(row["labels"], _QUEUES),
                "state": _label(row["labels"], _STATES) or "dead_lettered",
                "depth": round(row["value"]) if math.isfinite(row["value"]) else None,
                "at": row["at"],
            }
            for row in _rows(result, "depth", "1", self.name, notes)
        ]
        frame = readings.depths(rows)
        if not rows:
            notes.append(
                f"{self.name} has no sample for depth: is the metric named so there? {_HINT}"
            )
        frame.attrs["notes"] = [
            *notes,
            *(f"{self.name} warns: {redact(w)[:300]}" for w in result.warnings),
        ]
        return frame

    def workers(self) -> pd.DataFrame:
        """Nothing: metrics are not workers."""
        return readings.noted(
            readings.workers([]), f"{self.name} does not know workers: ask their broker."
        )

    def running(self) -> pd.DataFrame:
        """Nothing: metrics hold no tasks."""
        return readings.noted(empty(), f"{self.name} does not know tasks: ask their broker.")

    def health(self) -> list[Finding]:
        """Whether it is up and ready, and each alert that fires."""
        try:
            return [*self._up(), *self._alerts()]
        except ConnectError as error:
            return [Finding(name="prometheus", severity="critical", text=str(error))]

    def close(self) -> None:
        """Give connections back."""
        self._client.close()

    def __enter__(self) -> "PrometheusMonitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _asked(
        self, promql: str, since: datetime | None, until: datetime | None, every: str | None
    ) -> Result:
        now = datetime.now(UTC)
        if since is None:
            if every is not None:
                raise SettingsError(
                    "every= needs since=: from when on there is to be a sample each time."
                )
            at = {"time": until.timestamp()} if until else {}
            return ask(self._client, "/api/v1/query", {"query": promql, **at})
        end = until or now
        if since >= end:
            raise SettingsError(
                f"since ({since:%Y-%m-%d %H:%M}Z) is not before until ({end:%Y-%m-%d %H:%M}Z)."
            )
        step = duration(every) if every else max(timedelta(seconds=15), (end - since) / _POINTS)
        if step <= timedelta(0) or (end - since) / step > _MOST_POINTS:
            raise SettingsError(
                f"every={every} would be more than {_MOST_POINTS:,} samples of each series, which Prometheus"
                " refuses. Ask less often, or for a shorter time."
            )
        params = {"query": promql, "start": since.timestamp(), "end": end.timestamp()}
        params["step"] = f"{step.total_seconds():.3f}"
        return ask(self._client, "/api/v1/query_range", params)

    def _up(self) -> Iterator[Finding]:
        for path in ("/-/healthy", "/-/ready"):
            answer = self._client.get(path, also=(503,))
            well = answer.status < 300
            severity = "ok" if well else "warning" if answer.status == 404 else "critical"
            text = f"{self.name} answers {path} with {answer.status}."
            yield Finding(name=path, severity=severity, text=text)

    def _alerts(self) -> Iterator[Finding]:
        answer = self._client.get("/api/v1/alerts")
        if answer.status >= 300:  # what only speaks Prometheus's language may have none
            return
        body = self._client.parsed(answer, f"{self.name}/api/v1/alerts")
        data = body.get("data") if isinstance(body, Mapping) else None
        alerts = data.get("alerts") if isinstance(data, Mapping) else None
        for alert in alerts if isinstance(alerts, list) else []:
            if not isinstance(alert, Mapping) or alert.get("state") != "firing":
                continue
            labels, notes = (_texts(alert.get(name)) for name in ("labels", "annotations"))
            name = labels.get("alertname", "alert")
            said = notes.get("summary") or notes.get("description") or "it fires"
            grave = labels.get("severity", "").lower() in _GRAVE
            yield Finding(
                name=name[:80],
                severity="critical" if grave else "warning",
                text=f"{name[:80]}: {redact(said)[:300]}",
                facts={"labels": labels, "since": str(alert.get("activeAt") or "")},
            )


_HINT = "Another set: ?metrics=lists or tasks; another name: ?depth=my_metric (docs/operations.md)."


def _rows(
    result: Result, what: str, unit: str | None, source: str, notes: list[str]
) -> list[dict[str, Any]]:
    """One mapping a sample, as readings.metrics takes it; what is no number is NaN."""
    series: list[tuple[dict[str, str], list[Any]]] = []
    if result.kind in ("scalar", "string"):
        series.append(({}, [result.entries]))
    else:
        odd = 0
        for entry in result.entries:
            values = (
                entry.get("values", [entry.get("value")]) if isinstance(entry, Mapping) else [None]
            )
            if isinstance(values, list) and values != [None]:
                series.append((_texts(entry.get("metric")), values))
            else:
                odd += 1
        if odd:
            notes.append(f"{odd:,} series are left out: they hold histograms, not numbers.")
    rows, lost = [], 0
    for labels, values in series:
        told = labels.pop("__name__", None)
        text = json.dumps(labels, sort_keys=True, ensure_ascii=False)
        for value in values:
            sample = _sample(value)
            if sample is None:
                lost += 1
                continue
            about = {"source": source, "metric": what if what != told else told, "labels": text}
            rows.append({**about, "at": sample[0], "value": sample[1], "unit": unit})
    if lost:
        notes.append(f"{lost:,} samples are left out: they are no pair of a time and a number.")
    return rows


def _sample(value: Any) -> tuple[datetime, float] | None:
    try:
        at, number = value
        return datetime.fromtimestamp(float(at), UTC), float(number)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _texts(labels: Any) -> dict[str, str]:
    """Labels as texts that any table can hold."""
    if not isinstance(labels, Mapping):
        return {}
    return {storable(str(name)): storable(str(value)) for name, value in labels.items()}


def _label(labels: str, names: tuple[str, ...]) -> str | None:
    found = json.loads(labels)
    return next((found[name] for name in names if found.get(name)), None)


def _unit(promql: str) -> str | None:
    bare = promql.replace(" ", "")
    return "per_second" if bare.startswith(("rate(", "irate(")) else None
