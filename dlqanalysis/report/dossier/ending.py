"""Whether it is over: what of it goes on, when it ended as far as failures and journal tell, and what was checked."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from dlqanalysis.errors import need
from dlqanalysis.frame import error_of
from dlqanalysis.journal import Journal
from dlqanalysis.model import Finding, duration, moment
from dlqanalysis.patterns.onsets import onsets
from dlqanalysis.report.dossier.fates import LEFT, aftermath, fates, succeeded
from dlqanalysis.report.dossier.words import words_of
from dlqanalysis.text import many

CONFIRM = "computed; a person confirms"


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
    there = (
        " still there" if len(fates(failures, journal)[1]) else ""
    )  # of the others no time is known
    which += there
    first = begun["onset"].min() if len(begun) else times.min()
    said = (
        f"the first of {len(begun):,} onset{'' if len(begun) == 1 else 's'}"
        if len(begun)
        else f"the first failure{there}: no group has an onset"
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
    left = int(table[list(LEFT)].sum().sum())
    waits = pd.Series(dtype="Int64")
    if readings is not None:
        waits = readings.loc[readings["state"].isin(["failed", "dead_lettered"]), "depth"]
    if waits.isna().any():
        found.append(_unseen("depth", "a system did not say how many failures still wait"))
    else:  # without a reading of failures, these are counted
        left = int(waits.sum()) if len(waits) else left
        told = f"{many(left, 'failures')} still waiting; fewer than {depth:,} are expected"
        found.append(_finding("depth", left < depth, told))
    if health is None:
        found.append(
            _unseen("health", "nobody asked the systems (dlq.connect_monitor(...).health())")
        )
    for finding in health or []:
        found.append(finding)
    return found


def _finding(name: str, good: Any, text: str) -> Finding:
    severity = "ok" if good else "critical"
    return Finding(name=name, severity=severity, text=text[0].upper() + text[1:] + ".")


def _unseen(name: str, text: str) -> Finding:
    return Finding(name=name, severity="warning", text=f"Not known: {text}.")
