"""After an incident: what happened in order, how far it reached, what became of it, whether it is over, and the
page for the incident's record, with what only a person knows left open.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from textwrap import shorten
from typing import Any

import pandas as pd

from dlqanalysis.errors import need
from dlqanalysis.frame import error_of
from dlqanalysis.journal import Journal
from dlqanalysis.model import Finding, duration, moment
from dlqanalysis.patterns.lives import affected
from dlqanalysis.patterns.onsets import onsets
from dlqanalysis.profile import Profile
from dlqanalysis.report.fates import GONE, fates, sources_of, succeeded
from dlqanalysis.report.record import page, stamp, words_of

__all__ = [
    "CONFIRM", "GONE", "OPEN", "aftermath", "checklist", "chronicle", "episodes", "facts", "page", "radius", "remains",
    "resolution",
]  # fmt: skip

OPEN = "(to be filled in by a person)"
CONFIRM = "computed; a person confirms"
_ERROR = 90  #: letters of an error in a line of the chronicle
_LEFT = ("untouched", "failed_again", "pending", "uncertain")
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
    and every run of the journal on these sources, with what was noted to be done by hand, from the first failure on.
    """
    need(failures, "fingerprint")
    rows: list[tuple[Any, str, str]] = []
    named = failures.drop_duplicates("fingerprint").set_index("fingerprint")
    for one in episodes(failures).to_dict("records"):
        first = named.loc[one["fingerprint"]]
        what = f"{shorten(error_of(first), _ERROR, placeholder=' ...') or 'unnamed'} in {_text(first['task_name'])}"
        rows.append(
            (
                one["onset"],
                "begins",
                f"{what}; {one['count']:,} failures, {one['confidence']} confidence",
            )
        )
        if not pd.isna(one["until"]):
            rows.append((one["until"], "ends", what + _later(failures, one)))
    for one in [] if changed is None else changed.to_dict("records"):
        rows.append(
            (one["at"], one["kind"], f"{one['service']} {one['version']} {one['text']}".strip())
        )
    sources = set(sources_of(failures))
    for run in [] if journal is None else journal.runs().to_dict("records"):
        if run["action"] == "by_hand" and run["source"] in {*sources, "by hand"}:
            rows.append((run["started_at"], "by hand", f"{run['operator']}: {run['reason']}"))
        elif run["source"] in sources:
            rows += _of_run(run, journal)
    table = pd.DataFrame(rows, columns=["at", "what", "text"])
    table["at"] = pd.to_datetime(table["at"], utc=True).astype("datetime64[us, UTC]")
    table = table.astype({"what": "str", "text": "str"})
    begin = failures["failed_at"].min()
    if begin == begin:
        table = table[table["at"] >= begin - pd.Timedelta("1D")]
    return table.sort_values("at", kind="stable", ignore_index=True)


def _later(failures: pd.DataFrame, one: Mapping[str, Any]) -> str:
    """That failures of an episode's group came after its end, as rarely as before it; empty where none did."""
    mine = failures["fingerprint"].astype("str") == str(one["fingerprint"])
    later = failures.loc[mine & (failures["failed_at"] > one["until"]), "failed_at"]
    if not len(later):
        return ""
    return f"; {len(later):,} more came after it, the last {stamp(later.max())}"


def episodes(
    failures: pd.DataFrame,
    quiet: str = "15m",
    now: datetime | str | None = None,
    began: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What `dlq.onsets` finds, and of what lasts to the newest failure whether it ended there: until is missing only
    where an episode goes on, so that neither `quiet` nor four times its usual gap passed without a failure of it."""
    found = onsets(failures) if began is None else began
    if not len(found):
        return found
    when = pd.Timestamp(moment(now) or datetime.now(UTC))
    last = found["fingerprint"].map(
        failures.groupby(failures["fingerprint"].astype("str"))["failed_at"].max()
    )
    last = pd.to_datetime(last, utc=True)
    # of what comes by chance, one gap in fifty is four times the usual one
    gap = pd.to_timedelta(4 / found["per_hour"], unit="h").clip(lower=pd.Timedelta(duration(quiet)))
    silent = (when - last >= gap).to_numpy()
    until = found["until"].where(found["until"].notna() | ~silent, last)
    return found.assign(until=until.astype("datetime64[us, UTC]"))


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
        if name in failures.columns and (failures[name].notna().any() or failures.empty):
            measures.append((word, int(failures[name].nunique())))
    for field, rows in affected(failures, profile).groupby("field", sort=False):
        measures.append((f"distinct {field}", len(rows)))
    return pd.DataFrame(measures, columns=["measure", "count"]).astype({"measure": "str"})


def aftermath(failures: pd.DataFrame, journal: Journal | None = None) -> pd.DataFrame:
    """What became of them, one row a class: failure_class, failures, replayed, succeeded, failed_again,
    pending, uncertain, other (quarantined, archived, purged, done by hand), untouched. The rows add up.

    What the journal's runs took out of these sources, so that it is not among `failures`, is the row `no longer there`.
    """
    need(failures, "failure_class")
    states, gone = fates(failures, journal)
    there = pd.DataFrame(
        {"failure_class": failures["failure_class"].astype("str"), "state": states}
    )
    taken = pd.DataFrame({"failure_class": GONE, "state": gone["became"]})
    kept = pd.concat([there, taken], ignore_index=True)
    columns = ["succeeded", "failed_again", "pending", "uncertain", "other", "untouched"]
    counts = kept.groupby(["failure_class", "state"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=columns, fill_value=0).astype("int64")
    counts.insert(0, "failures", counts.sum(axis=1))
    counts.insert(1, "replayed", counts[["succeeded", "failed_again", "pending"]].sum(axis=1))
    table = counts.reset_index(names="failure_class").sort_values(
        ["failures", "failure_class"], ascending=[False, True], ignore_index=True
    )
    table.columns.name = None
    return table.astype({"failure_class": "str"})


def remains(failures: pd.DataFrame, journal: Journal | None = None) -> pd.DataFrame:
    """What nobody is done with, one row a group, the largest first: fingerprint, failure_class, task_name,
    exception_type, template (text), left (failures), of (failures), oldest (UTC). Done with is what succeeded
    after a replay or was put aside; what runs took out of the source counts in both."""
    need(failures, "fingerprint")
    states, gone = fates(failures, journal)
    words = ["failure_class", "task_name", "exception_type", "template"]
    there = failures[["fingerprint", *words, "failed_at"]].astype(
        dict.fromkeys(["fingerprint", *words], "str")
    )
    taken = gone[["fingerprint", "task_name"]].assign(
        failure_class=GONE, exception_type="", template="", failed_at=pd.NaT
    )
    taken["failed_at"] = pd.to_datetime(taken["failed_at"], utc=True).astype(
        there["failed_at"].dtype
    )
    every = pd.concat([there, taken], ignore_index=True).astype(dict.fromkeys(words, "str"))
    left = pd.concat([states, gone["became"]], ignore_index=True).isin(_LEFT)
    whole = every.groupby("fingerprint", sort=False).size()
    named = every.groupby("fingerprint", sort=False)[
        words
    ].first()  # in words of those that are there
    groups = every[left].groupby("fingerprint", sort=False)
    table = named.reindex(groups.size().index)
    table = table.assign(left=groups.size(), of=whole, oldest=groups["failed_at"].min())
    table = table.reset_index().sort_values(
        ["left", "fingerprint"], ascending=[False, True], ignore_index=True
    )
    return table.astype({"fingerprint": "str", "left": "int64", "of": "int64"})


def resolution(
    failures: pd.DataFrame,
    journal: Journal | None = None,
    quiet: str = "15m",
    now: datetime | str | None = None,
    began: pd.DataFrame | None = None,
    checks: Sequence[Finding] = (),
) -> pd.DataFrame:
    """When it was over, as far as failures and journal tell: what, at (UTC, missing where it has not come), because.

    The incident's groups are those that began (`began`, else `dlq.onsets(failures)`); all, where none did. Rows:
    `began`; `last failure` of these groups; `calm since`, the same when `quiet` passed after it and no episode goes
    on; `last successful replay`; `resolved`, the later of the last failure with `quiet` after it and the last
    successful replay, unless one of `checks` (what `checklist` gives) is critical. No human's word is in it: somebody
    confirms it.
    """
    need(failures, "fingerprint")
    when = pd.Timestamp(moment(now) or datetime.now(UTC))
    span = pd.Timedelta(duration(quiet))
    begun = episodes(failures, quiet, when, began)
    mine = failures["fingerprint"].isin(set(begun["fingerprint"])) if len(begun) else None
    whole = failures if mine is None else failures[mine]
    times = whole["failed_at"].dropna()
    many = whole["fingerprint"].nunique()
    which = (
        f"the {many:,} group{'' if many == 1 else 's'} that began" if len(begun) else "all groups"
    )
    first = begun["onset"].min() if len(begun) else times.min()
    said = (
        f"the first of {len(begun):,} onset{'' if len(begun) == 1 else 's'}"
        if len(begun)
        else "the first failure: no group has an onset"
    )
    last = times.max()
    fresh = (
        f"not yet {words_of(span)} without a new failure of {which}"
        if len(times)
        else "no failure has a time"
    )
    going = _going(failures, begun)
    calm = bool(len(times)) and when - last >= span and not going
    good, healed = succeeded(failures, journal)
    critical = ", ".join(one.name for one in checks if one.severity == "critical")
    why_not = going or (f"not yet: see the checklist ({critical})" if calm else fresh)
    ends = [end for end in (last + span, healed) if end == end] if calm and not critical else []
    rows = [
        ("began", first, said if len(times) else "no failure has a time"),
        ("last failure", last, f"of {which}"),
        ("calm since", last if calm else pd.NaT,
         f"no new failure of {which} came after it" if calm else going or fresh),
        ("last successful replay", healed, f"{good:,} succeeded" if good else "no replay is known to have succeeded"),
        (
            "resolved",
            max(ends, default=pd.NaT),
            f"{CONFIRM}: the later of {quiet} after the last failure and the last successful replay"
            if ends
            else why_not,
        ),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["what", "at", "because"]).astype(
        {"what": "str", "because": "str"}
    )
    table["at"] = pd.to_datetime(table["at"], utc=True).astype("datetime64[us, UTC]")
    return table


def _going(failures: pd.DataFrame, begun: pd.DataFrame) -> str:
    """A sentence on the episode that goes on, the busiest; empty where none does."""
    on = begun[begun["until"].isna()].sort_values("per_hour", ascending=False)
    if not len(on):
        return ""
    one = on.iloc[0]
    row = failures[failures["fingerprint"].astype("str") == one["fingerprint"]].iloc[0]
    gap = words_of(pd.Timedelta(hours=1 / one["per_hour"]))
    more = (
        f"; {len(on) - 1:,} more go on"
        if len(on) > 2
        else "; one more goes on"
        if len(on) > 1
        else ""
    )
    return f"not yet: {error_of(row)} goes on, on average one every {gap.removeprefix('1 ')}{more}"


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
    span = words_of(duration(quiet))
    said = f"no new failure for {span}" if calm else f"not yet {span} without a new failure"
    found = [_finding("no new failures", calm, f"{said}: {since}")]
    table = aftermath(failures, journal)
    good, bad = int(table["succeeded"].sum()), int(table["failed_again"].sum())
    if good + bad:
        share = good / (good + bad)
        text = f"{good:,} of {good + bad:,} replays with an outcome succeeded ({share:.0%})"
        found.append(_finding("replays succeed", share > success, text))
    else:
        found.append(_unseen("replays succeed", "nothing was replayed, or no outcome is known yet"))
    left = int(table[list(_LEFT)].sum().sum())
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
    ended: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The head of the incident's record: field, value; what only a person knows says so. `table` is what `aftermath`
    gives, `ended` what `resolution` does: with it the time of the end is computed, for a person to confirm."""
    times = failures["failed_at"].dropna()
    first, last = (times.min(), times.max()) if len(times) else (pd.NaT, pd.NaT)
    length = last - first if len(times) else pd.NaT
    rows = [
        ("title", OPEN),
        ("severity", OPEN),
        ("first failure", stamp(first)),
        ("last failure", stamp(last)),
        ("failing for", "" if pd.isna(length) else words_of(length)),
        ("detected by, at", OPEN),
        *_resolved(found, ended),
        ("failures", _counted(len(failures), table)),
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


def _resolved(found: list[Finding], ended: pd.DataFrame | None) -> list[tuple[str, str]]:
    """When it was over and how long it took: nothing is said to be over while a check is critical."""
    rows = None if ended is None else ended.set_index("what")
    if rows is not None and pd.isna(rows.loc["resolved", "at"]):
        return [("resolved at", str(rows.loc["resolved", "because"]))]
    if any(one.severity == "critical" for one in found):
        return [("resolved at", "not over: see the checklist")]
    if rows is None:
        return [("resolved at", OPEN)]
    at, began = rows.loc["resolved", "at"], rows.loc["began", "at"]
    return [
        ("resolved at", f"{stamp(at)} ({CONFIRM})"),
        ("time to resolve", f"{words_of(at - began)} from {stamp(began)} ({CONFIRM})"),
    ]


def _counted(there: int, table: pd.DataFrame) -> str:
    """How many failures there were; where runs took some out of the source, how many are still there."""
    gone = table[table["failure_class"] == GONE]
    if not len(gone):
        return f"{there:,}"
    aside = int(gone["other"].sum())
    replayed = int(gone["failures"].sum()) - aside
    parts = [(there, "still there"), (replayed, "replayed"), (aside, "put aside")]
    told = ", ".join(f"{count:,} {word}" for count, word in parts if count or word == "still there")
    return f"{there + replayed + aside:,} ({told})"


def _of_run(run: Mapping[str, Any], journal: Journal) -> list[tuple[Any, str, str]]:
    """The moments of one run; where it stops or ends, what had become of its items by then."""
    rows = []
    items = journal.items(run["run_id"])
    done = None  #: when it came to its end
    for event in journal.events(run["run_id"]).itertuples():
        at = pd.Timestamp(event.at)
        if event.event not in _RUN_EVENTS:
            continue
        if done is not None and not (items["at"] > done).any():
            continue  # a resume that found nothing left to send
        why = event.detail.get("because", "") if isinstance(event.detail, dict) else ""
        if event.event == "started":
            why = f"{run['action']} by {run['operator']}: {run['reason']}"
        elif event.event in ("stopped", "finished"):
            known = items.loc[items["outcome_at"] <= at, "outcome"].value_counts().sort_index()
            became = ", ".join(f"{n:,} {str(name).replace('_', ' ')}" for name, n in known.items())
            why = f"{why}; {became}".strip("; ")
            done = at if event.event == "finished" else None
        what = _RUN_EVENTS[event.event].replace("replay", run["action"])
        rows.append((event.at, what, f"{run['run_id']} {why}".strip()))
    return rows


def _text(value: Any) -> str:
    return "unnamed" if value is None or value != value else str(value)


def _finding(name: str, good: Any, text: str) -> Finding:
    severity = "ok" if good else "critical"
    return Finding(name=name, severity=severity, text=text[0].upper() + text[1:] + ".")


def _unseen(name: str, text: str) -> Finding:
    return Finding(name=name, severity="warning", text=f"Not known: {text}.")
