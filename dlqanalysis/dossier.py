"""After an incident: what happened in order, how far it reached, what became of it, whether it is over, and the
page for the incident's record, with what only a person knows left open.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.journal import Journal
from dlqanalysis.lives import affected
from dlqanalysis.model import Finding, Outcome, State, duration, moment
from dlqanalysis.onsets import onsets
from dlqanalysis.profile import Profile
from dlqanalysis.redact import redact

OPEN = "(to be filled in by a person)"
_RUN_EVENTS = {
    "started": "replay begins",
    "resumed": "replay goes on",
    "paused": "replay rests",
    "stopped": "replay stops",
    "finished": "replay is done",
    "cancel": "replay is cancelled",
}


def chronicle(
    failures: pd.DataFrame,
    changed: pd.DataFrame | None = None,
    journal: Journal | None = None,
) -> pd.DataFrame:
    """What happened, in order: at (UTC), what, text. Onsets and ends of episodes, deploys and config changes,
    and every run of the journal on these sources, from the first failure on.
    """
    _need(failures, "fingerprint")
    rows: list[tuple[Any, str, str]] = []
    named = failures.drop_duplicates("fingerprint").set_index("fingerprint")
    for one in onsets(failures).to_dict("records"):
        first = named.loc[one["fingerprint"]]
        what = f"{_text(first['exception_type'])} in {_text(first['task_name'])}"
        rows.append(
            (
                one["onset"],
                "begins",
                f"{what}: {one['count']:,} failures, {one['confidence']} confidence",
            )
        )
        if not pd.isna(one["until"]):
            rows.append((one["until"], "ends", what))
    for one in [] if changed is None else changed.to_dict("records"):
        rows.append(
            (one["at"], one["kind"], f"{one['service']} {one['version']} {one['text']}".strip())
        )
    sources = set(failures["source"].astype("str"))
    for run in [] if journal is None else journal.runs().to_dict("records"):
        if run["source"] in sources:
            rows += _of_run(run, journal)
    table = pd.DataFrame(rows, columns=["at", "what", "text"])
    table["at"] = pd.to_datetime(table["at"], utc=True).astype("datetime64[us, UTC]")
    table = table.astype({"what": "str", "text": "str"})
    begin = failures["failed_at"].min()
    if begin == begin:
        table = table[table["at"] >= begin - pd.Timedelta("1D")]
    return table.sort_values("at", kind="stable", ignore_index=True)


def radius(failures: pd.DataFrame, profile: Profile | None = None) -> pd.DataFrame:
    """How far it reached: measure, count. Failures, tasks, queues, workers, groups, and distinct values of each
    payload field that the profile calls affected."""
    measures = [("failures", len(failures))]
    for name, word in (
        ("task_id", "distinct tasks (by id)"),
        ("task_name", "kinds of task"),
        ("queue", "queues"),
        ("worker", "workers"),
        ("fingerprint", "groups"),
    ):
        if name in failures.columns:
            measures.append((word, int(failures[name].nunique())))
    for field, rows in affected(failures, profile).groupby("field", sort=False):
        measures.append((f"distinct {field}", len(rows)))
    return pd.DataFrame(measures, columns=["measure", "count"]).astype({"measure": "str"})


def aftermath(failures: pd.DataFrame, journal: Journal | None = None) -> pd.DataFrame:
    """What became of them, one row a class: failure_class, failures, replayed, succeeded, failed_again,
    pending, uncertain, other (quarantined, archived, purged), untouched. The rows add up."""
    _need(failures, "failure_class")
    kept = failures[["failure_id", "failure_class"]].assign(state="untouched")
    if journal is not None and len(failures):
        parts = [journal.items(source=one) for one in failures["source"].astype("str").unique()]
        items = pd.concat(parts, ignore_index=True)
        items = items[items["state"].isin([State.SENT, State.UNCERTAIN])].sort_values("at")
        # one name may stand in two sources
        last = items.drop_duplicates(["source", "failure_id"], keep="last")
        last = last.set_index(["source", "failure_id"])
        undone = last["action"].isin(["undo", "restore"])
        became = last["outcome"].fillna("pending").where(last["action"] == "replay", "other")
        became = became.mask(became == Outcome.UNKNOWN, "pending")
        became = became.mask(last["state"] == State.UNCERTAIN, "uncertain").mask(
            undone, "untouched"
        )
        mine = pd.MultiIndex.from_frame(failures[["source", "failure_id"]].astype("str"))
        kept["state"] = pd.Series(became.reindex(mine).array, kept.index).fillna("untouched")
    columns = ["succeeded", "failed_again", "pending", "uncertain", "other", "untouched"]
    counts = (
        kept.groupby([kept["failure_class"].astype("str"), "state"]).size().unstack(fill_value=0)
    )
    counts = counts.reindex(columns=columns, fill_value=0).astype("int64")
    counts.insert(0, "failures", counts.sum(axis=1))
    counts.insert(1, "replayed", counts[["succeeded", "failed_again", "pending"]].sum(axis=1))
    table = counts.reset_index(names="failure_class").sort_values(
        ["failures", "failure_class"], ascending=[False, True], ignore_index=True
    )
    table.columns.name = None
    return table.astype({"failure_class": "str"})


def checklist(
    failures: pd.DataFrame,
    journal: Journal | None = None,
    readings: pd.DataFrame | None = None,
    health: list[Finding] | None = None,
    now: datetime | str | None = None,
    quiet: str = "15m",
    success: float = 0.95,
    depth: int = 10,
) -> list[Finding]:
    """Whether it is over, as the runbooks ask: no new failure for `quiet`, more than `success` of the replays
    succeeded, fewer than `depth` failures still wait, the systems are well. What nobody looked at is a
    warning, never passed in silence.
    """
    when = pd.Timestamp(moment(now) or datetime.now(UTC))
    newest = failures["failed_at"].max()
    calm = pd.isna(newest) or when - newest > pd.Timedelta(duration(quiet))
    since = "none has a time" if pd.isna(newest) else f"the newest is from {newest:%Y-%m-%d %H:%M}Z"
    found = [_finding("no new failures", calm, f"no new failure for {quiet}: {since}")]
    table = aftermath(failures, journal)
    good, bad = int(table["succeeded"].sum()), int(table["failed_again"].sum())
    if good + bad:
        share = good / (good + bad)
        text = f"{good:,} of {good + bad:,} replays with an outcome succeeded ({share:.0%})"
        found.append(_finding("replays succeed", share > success, text))
    else:
        found.append(_unseen("replays succeed", "nothing was replayed, or no outcome is known yet"))
    left = int(table[["untouched", "failed_again", "uncertain", "pending"]].sum().sum())
    waits = pd.Series(dtype="Int64")
    if readings is not None:
        waits = readings.loc[readings["state"].isin(["failed", "dead_lettered"]), "depth"]
    if waits.isna().any():
        found.append(_unseen("depth", "a system did not say how many failures still wait"))
    else:  # without a reading of failures, these are counted
        left = int(waits.sum()) if len(waits) else left
        told = f"{left:,} failures still wait; fewer than {depth:,} are expected"
        found.append(_finding("depth", left < depth, told))
    if health is None:
        found.append(
            _unseen("health", "nobody asked the systems (dlq.connect_monitor(...).health())")
        )
    for finding in health or []:
        found.append(finding)
    return found


def facts(
    failures: pd.DataFrame,
    found: list[Finding],
    table: pd.DataFrame,
    profile: Profile | None = None,
) -> pd.DataFrame:
    """The head of the incident's record: field, value; what only a person knows says so."""
    times = failures["failed_at"].dropna()
    first, last = (times.min(), times.max()) if len(times) else (pd.NaT, pd.NaT)
    over = all(one.severity == "ok" for one in found)
    length = last - first if len(times) else pd.NaT
    rows = [
        ("title", OPEN),
        ("severity", OPEN),
        ("first failure", _stamp(first)),
        ("last failure", _stamp(last)),
        ("failing for", "" if pd.isna(length) else str(length.round("1s"))),
        ("detected by, at", OPEN),
        ("resolved at", OPEN if over else "not over: see the checklist"),
        ("failures", f"{len(failures):,}"),
        ("replayed", f"{int(table['replayed'].sum()):,}"),
        ("succeeded after replay", f"{int(table['succeeded'].sum()):,}"),
        ("root cause", OPEN),
        ("what customers noticed", OPEN),
        ("lessons, actions, owners", OPEN),
    ]
    owners = sorted({who for queue, who in (profile.owners.items() if profile else ())
                     if queue in set(failures["queue"].astype("str"))})  # fmt: skip
    if owners:
        rows.insert(2, ("owners", ", ".join(owners)))
    return pd.DataFrame(rows, columns=["field", "value"], dtype="str")


def page(head: pd.DataFrame, parts: Mapping[str, pd.DataFrame | str], out: str | Path = "") -> str:
    """The incident page as Markdown: the facts, then each part under its heading; written to `out` when named.

    Tables are cut at 50 rows. Everything is redacted and made harmless: no cell is more than text.
    """
    lines = ["# Incident", "", *_table(head), ""]
    for title, part in parts.items():
        lines += [f"## {_safe(title)}", ""]
        lines += [_safe(part)] if isinstance(part, str) else _table(part)
        lines.append("")
    text = "\n".join(lines)
    if out:
        try:
            Path(out).write_text(text, encoding="utf-8")
        except OSError as error:
            raise SettingsError(
                f"{out} cannot be written: {error.strerror}. Name another file, or leave out empty."
            ) from None
    return text


def _of_run(run: Mapping[str, Any], journal: Journal) -> list[tuple[Any, str, str]]:
    rows = []
    for event in journal.events(run["run_id"]).itertuples():
        if event.event not in _RUN_EVENTS:
            continue
        why = event.detail.get("because", "") if isinstance(event.detail, dict) else ""
        said = (
            f"{run['action']} by {run['operator']}: {run['reason']}"
            if event.event == "started"
            else why
        )
        rows.append(
            (
                event.at,
                _RUN_EVENTS[event.event].replace("replay", run["action"]),
                f"{run['run_id']} {said}".strip(),
            )
        )
    return rows


def _table(frame: pd.DataFrame) -> list[str]:
    if not len(frame):
        return ["Nothing."]
    shown = frame.head(50)
    lines = ["| " + " | ".join(_safe(name) for name in shown.columns) + " |"]
    lines.append("|" + " --- |" * len(shown.columns))
    for row in shown.astype("object").itertuples(index=False, name=None):
        lines.append("| " + " | ".join(_safe(_stamp(cell)) for cell in row) + " |")
    if len(frame) > len(shown):
        lines.append(f"\n{len(frame) - len(shown):,} more rows.")
    return lines


def _safe(text: Any) -> str:
    """One redacted line in which Markdown and HTML mean nothing."""
    line = "".join(c if c.isprintable() else " " for c in redact(str(text))).strip()[:300]
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_{}[]()#!|~$^":
        line = line.replace(sign, f"&#{ord(sign)};")
    return line.replace("://", "&#58;//").replace("@", "&#64;").replace("www.", "www&#46;")


def _stamp(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    return "" if value is None or value is pd.NA or value != value else str(value)


def _text(value: Any) -> str:
    return "unnamed" if value is None or value != value else str(value)


def _finding(name: str, good: Any, text: str) -> Finding:
    severity = "ok" if good else "critical"
    return Finding(name=name, severity=severity, text=text[0].upper() + text[1:] + ".")


def _unseen(name: str, text: str) -> Finding:
    return Finding(name=name, severity="warning", text=f"Not known: {text}.")


def _need(failures: pd.DataFrame, column: str) -> None:
    if column not in failures.columns:
        raise SchemaError(
            f"The frame has no column '{column}'. Load it with .pipe(dlq.classify).pipe(dlq.fingerprint)."
        )
