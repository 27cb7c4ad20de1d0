"""How fast the work goes, whether its workers have room for more, and which failures never came here."""

import json
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from dlqanalysis.errors import SchemaError, need

_COUNTED = ("completed", "failed", "waiting")
_DEAD = ("failed", "dead_lettered")  #: what systems call it


def rates(*looks: pd.DataFrame) -> pd.DataFrame:
    """What `dlq.watch` saw, or two or more `dlq.depths`, say of the time between the first and the last look.

    One row a queue: source, queue, seconds; completed, failed, waiting (how many more; waiting may be fewer);
    per_minute (completed and failed), success_rate (0 to 1); dead (how many more dead letters lie there; fewer is
    a drain). A count that fell was cleaned, replayed or began anew, and of jobs that leave no trace when they
    complete nothing is known: then completed, per_minute and success_rate are missing.
    """
    every = pd.concat([frame for frame in looks if len(frame)] or list(looks[:1]))
    need(every, "source", "queue", "state", "depth", "at", hint="dlq.watch gives one.")
    rows, notes = [], []
    named = every.astype({"source": "str", "queue": "str", "state": "str"})
    for (source, queue), mine in named.groupby(["source", "queue"], sort=True):
        first, last = mine["at"].min(), mine["at"].max()
        if first == last:
            continue
        row = {"source": source, "queue": queue, "seconds": (last - first).total_seconds()}
        then, now = (
            mine[mine["at"] == at].groupby("state")["depth"].first() for at in (first, last)
        )
        new = {name: now.get(name, pd.NA) - then.get(name, pd.NA) for name in _COUNTED}
        row["waiting"] = new.pop("waiting")
        row["dead"] = _more(then, now, _DEAD)
        counted = {name: value for name, value in new.items() if name in now.index}
        if len(counted) < len(new):
            pass  # a system that does not count what it completed
        elif any(pd.isna(value) or value < 0 for value in new.values()):
            notes.append(f"{queue}: its counts fell or are missing between these looks.")
        elif now["completed"] == 0:  # removeOnComplete, or none ever: no number says which
            row["failed"] = new["failed"]
            notes.append(f"{queue}: no completed job is kept, so nobody knows how many were done.")
        else:
            row |= new
            done = int(new["completed"] + new["failed"])
            row["per_minute"] = 60 * done / row["seconds"]
            if done:
                row["success_rate"] = int(new["completed"]) / done
        rows.append(row)
    types = {"source": "str", "queue": "str", "seconds": "float64"}
    types |= dict.fromkeys(("completed", "failed", "waiting"), "Int64")
    types |= {"per_minute": "float64", "success_rate": "float64", "dead": "Int64"}
    found = pd.DataFrame(rows, columns=list(types)).astype(types)
    found.attrs["notes"] = notes
    return found


def _more(then: "pd.Series[int]", now: "pd.Series[int]", states: tuple[str, ...]) -> Any:
    """How many more of the states that both looks tell; missing where neither tells one."""
    both = [name for name in states if name in now.index and name in then.index]
    return sum(now[name] - then[name] for name in both) if both else pd.NA


def capacity(depths: pd.DataFrame, workers: pd.DataFrame) -> pd.DataFrame:
    """Whether the workers can take more, before a replay or when work piles up. One row a queue of `dlq.depths`:
    source, queue, waiting, workers, slots (tasks at once), busy, because, which says whether more workers would
    help. A worker's slots count for each of its queues. Unknown numbers are missing.
    """
    need(depths, "source", "queue", "state", "depth", "consumers", hint="dlq.depths gives one.")
    need(workers, "worker", "queues", "concurrency", "active", hint="dlq.workers gives one.")
    waits = depths["state"].isin(["waiting", "prioritized"])
    queues = depths[waits].astype({"source": "str", "queue": "str"})
    queues = queues.groupby(["source", "queue"], sort=True).agg(
        waiting=("depth", "sum"), consumers=("consumers", "max")
    )
    each = workers.assign(queue=workers["queues"].str.split(",")).explode("queue")
    each["queue"] = each["queue"].str.strip()
    total = {"min_count": 1}  # where nobody said, it is not known
    told = each.groupby("queue").agg(
        workers=("worker", "size"),
        slots=("concurrency", lambda s: s.sum(**total)),
        busy=("active", lambda s: s.sum(**total)),
    )
    table = queues.reset_index().join(told, on="queue")
    types = dict.fromkeys(("waiting", "workers", "slots", "busy"), "Int64")
    table = table.astype({**types, "consumers": "Int64"})
    table["workers"] = table["workers"].fillna(table["consumers"])
    table["because"] = pd.Series([_room(row) for row in table.to_dict("records")], dtype="str")
    found = table[["source", "queue", *types, "because"]]
    found.attrs = {"notes": [*depths.attrs.get("notes", []), *workers.attrs.get("notes", [])]}
    return found


def _room(row: Mapping[Hashable, Any]) -> str:
    waiting, slots, busy = row["waiting"], row["slots"], row["busy"]
    if pd.isna(row["workers"]):
        return "nobody can tell who takes from it: look at its workers before you replay"
    if row["workers"] == 0:
        return "nobody who answered takes from it: start its workers before you replay"
    if pd.isna(slots) or pd.isna(busy):
        return (
            "its workers do not say how many tasks they take at once: watch whether it gets shorter"
        )
    if waiting and busy >= slots:
        return (
            "all slots are busy: more workers or a higher concurrency help, as far as what the tasks call can bear"
            " it; note what you change (dlq.note)"
        )
    if waiting:
        return "slots are free while tasks wait: more workers do not help; look at dlq.stuck, prefetch and rate limits"
    return "there is room: nothing waits"


def unseen(failures: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Tasks that failed more often, by another count, than their dead letters show: the query success_rate, or
    samples of failures by task from `dlq.metrics`. Load `failures` with status="" over the same time.

    One row a task: task_name, expected, seen, missing, because; the most missing first.
    """
    need(failures, "task_name", hint="dlq.load gives one.")
    if "labels" in expected.columns and "value" in expected.columns:
        counts = _by_label(expected)
    else:
        need(expected, "task_name", "failures", hint="The query success_rate gives one.")
        counts = expected.groupby(expected["task_name"].astype("str"))["failures"].sum()
    seen = failures["task_name"].astype("str").value_counts()
    last = seen.groupby(seen.index.str.rpartition(".").get_level_values(2)).sum()
    table = pd.DataFrame({"expected": counts.round().astype("int64")})
    table["seen"] = [int(seen.get(name, last.get(name, 0))) for name in table.index]
    table["missing"] = (table["expected"] - table["seen"]).clip(lower=0)
    table = table[table["missing"] > 0].rename_axis("task_name").reset_index()
    none = table["seen"] == 0
    because = pd.Series("", index=table.index, dtype="str")
    because[none] = (
        "none of its failures came here: a task that ends a permanent error without raising it is never dead-lettered"
    )
    because[~none] = (
        "some did not come: attempts that were retried count as failures elsewhere, and what was replayed, purged"
        " or forgotten is gone"
    )
    found = table.assign(because=because).astype({"task_name": "str"})
    return found.sort_values(["missing", "task_name"], ascending=[False, True], ignore_index=True)


def _by_label(samples: pd.DataFrame) -> pd.Series:
    """The newest value of each task, from samples whose labels name it."""
    last = samples.dropna(subset="value").sort_values("at").groupby("labels").last()
    told = [json.loads(text) for text in last.index]
    names = [next((one[n] for n in _TASK_LABELS if one.get(n)), None) for one in told]
    if not all(names):
        raise SchemaError(
            f"These samples do not name their tasks (labels {', '.join(_TASK_LABELS)}). Ask by task:"
            " sum by (task) (increase(task_failures_total[1h]))."
        )
    return last["value"].groupby(pd.Index(names, dtype="str")).sum()


_TASK_LABELS = ("task", "task_name", "task_type", "job", "job_name", "type", "name")
