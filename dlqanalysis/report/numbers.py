"""The numbers of a report, small enough to keep as JSON, and what changed since the last one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dlqanalysis.errors import SettingsError
from dlqanalysis.files import keep_whole
from dlqanalysis.model import moment
from dlqanalysis.redact import redact, redacted

VERSION = 1
_MOST = 500  #: groups kept; the tail of a long week is counted only
_TOLD = ("failures", "exhausted", "groups")
_FIRST = "a first report: there is no earlier one to compare with"
_PARTS = ("classes", "queues", "tasks")


def headline(failures: pd.DataFrame) -> dict[str, Any]:
    """The numbers of one report: how many, of which class, queue and task, and its groups. No payloads."""
    from dlqanalysis import patterns  # not needed by who only compares what a kernel has counted

    groups = patterns.groups(failures)
    dated = failures["failed_at"].dropna()
    classes = patterns.counts(failures, "failure_class")
    words = ["fingerprint", "failure_class", "task_name", "exception_type", "template"]
    kept = groups[words].fillna("").assign(seen=groups["count"]).head(_MOST)
    return {
        "version": VERSION,
        "source": redact(", ".join(failures["source"].dropna().astype("str").unique())),
        "selection": redact(str(failures.attrs.get("selection", ""))),
        "truncated": bool(failures.attrs.get("truncated", False)),
        "first_failed": f"{dated.min():%Y-%m-%dT%H:%M:%SZ}" if len(dated) else "",
        "last_failed": f"{dated.max():%Y-%m-%dT%H:%M:%SZ}" if len(dated) else "",
        "failures": int(patterns.tally.stands_for(failures).sum()),
        "exhausted": int(patterns.tally.stands_for(patterns.exhausted(failures)).sum()),
        "groups": len(groups),
        "classes": _numbers(classes, "failure_class"),
        "queues": _numbers(patterns.counts(failures, "queue"), "queue"),
        "tasks": _numbers(patterns.counts(failures, "task_name"), "task_name"),
        "fingerprints": {
            str(row.fingerprint): {
                "count": int(row.seen),
                "failure_class": row.failure_class,
                "task_name": redacted(row.task_name),
                "exception_type": redacted(row.exception_type),
                "template": redact(row.template)[:200],
            }
            for row in kept.itertuples()
        },
    }


def compare(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> pd.DataFrame:
    """One row a number: measure, before, now, change; measure and now alone without an earlier report."""
    rows = [(name, now[name], None if before is None else before[name]) for name in _TOLD]
    for part in _PARTS:
        earlier = {} if before is None else before[part]
        for name in dict.fromkeys([*now[part], *earlier]):
            was = None if before is None else earlier.get(name, 0)
            rows.append((f"{part}: {name}", now[part].get(name, 0), was))
    table = pd.DataFrame(rows, columns=["measure", "now", "before"])
    table = table.astype({"measure": "str", "now": "Int64", "before": "Int64"})
    if before is None:
        table.attrs["notes"] = [_FIRST]
        return table[["measure", "now"]]
    return table.assign(change=table["now"] - table["before"])[
        ["measure", "before", "now", "change"]
    ]


def since_last(table: pd.DataFrame, before: Mapping[str, Any] | None) -> pd.DataFrame:
    """Lives of groups without the columns that a first report cannot fill: before, and state and because where they
    say of every group that there is nothing to compare with."""
    if before is not None or not len(table):
        return table
    table.attrs["notes"] = [*table.attrs.get("notes", []), _FIRST]
    told = table["state"].ne("first report").any() or (
        "because" in table.columns and table["because"].nunique() > 1
    )
    return table.drop(columns=["before", *([] if told else ["state", "because"])], errors="ignore")


def lives(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> pd.DataFrame:
    """The lives of groups by the numbers of two reports alone: state (new, recurring, gone; first report), counts, what it is."""
    mine = now["fingerprints"]
    theirs = {} if before is None else before["fingerprints"]
    rows = []
    for name in dict.fromkeys([*mine, *theirs]):
        state = (
            "recurring" if name in mine and name in theirs else "new" if name in mine else "gone"
        )
        what = mine.get(name) or theirs[name]
        rows.append(
            {
                "state": state if before is not None else "first report",
                "fingerprint": name,
                "before": theirs.get(name, {}).get("count", 0),
                "now": mine.get(name, {}).get("count", 0),
                **{
                    key: what[key]
                    for key in ("failure_class", "task_name", "exception_type", "template")
                },
            }
        )
    columns = [
        "state",
        "fingerprint",
        "before",
        "now",
        "failure_class",
        "task_name",
        "exception_type",
        "template",
    ]
    table = pd.DataFrame(rows, columns=columns)
    numbers = ("before", "now")
    table = table.astype({name: "int64" if name in numbers else "str" for name in columns})
    rank = table["state"].map({"new": 0, "gone": 2}).fillna(1)
    order = table.assign(rank=rank, size=-table["now"] - table["before"])
    return table.loc[order.sort_values(["rank", "size"], kind="stable").index].reset_index(
        drop=True
    )


def archivable(failures: pd.DataFrame, older_than: str = "30d") -> pd.DataFrame:
    """Per queue and status: how many of these failures, or of a summary of them, are older than that now."""
    from dlqanalysis import patterns

    old = failures[failures["failed_at"] < pd.Timestamp(moment(older_than))]
    table = patterns.counts(old, ["queue", "status"])[
        ["queue", "status", "count", "first_failed", "last_failed"]
    ]
    for name in ("first_failed", "last_failed"):  # a summary's times are no better than an hour
        table[name] = table[name].dt.strftime("%Y-%m-%d").astype("str")
    table.attrs["notes"] = []  # on the trend, which is not among these
    table.attrs["empty"] = f"No failure is older than {older_than}."
    return table


def keep(numbers: Mapping[str, Any], path: str | Path) -> Path | None:
    """Write a report's numbers as JSON; with an empty path nothing is written."""
    if not path:
        return None
    where = Path(path)
    keep_whole(where, json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
    return where


def read(path: str | Path) -> dict[str, Any] | None:
    """The numbers of an earlier report; None for an empty path."""
    if not path:
        return None
    try:
        numbers = json.loads(Path(path).read_text(encoding="utf-8"))
        if numbers["version"] != VERSION:
            raise KeyError("version")
        return dict(numbers)
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(
            f"{path} holds no numbers of an earlier report. Name the JSON file that dlq report weekly"
            " left, or leave previous empty."
        ) from None


def _numbers(table: pd.DataFrame, column: str) -> dict[str, int]:
    names = table[column].astype("str").fillna("(none)")
    return {redact(name): int(size) for name, size in zip(names, table["count"], strict=True)}
