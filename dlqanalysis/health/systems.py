"""Judges of systems: queues that back up or stand still, workers that are away, rates and latencies of a Prometheus.

What lasts is judged by earlier checks; without any, a finding says what it could not see.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pandas as pd

from dlqanalysis.health.failures import before, shared
from dlqanalysis.health.findings import finding, span
from dlqanalysis.model import Finding
from dlqanalysis.text import many

#: What a check leaves for the next: its numbers, missing where nobody told. `kept` says how each is found.
SAMPLE = ("failures", "failed", "waiting", "processed", "workers")
FAILED = ("failed", "dead_lettered")
_BEFORE_A_RESTART = (
    "Before anything is restarted, look at dlq.running: with acks_late what workers hold runs again from its start,"
    " and a broker without persistence forgets its queues."
)
_BY_HAND = (
    " A task that cannot wait may be run in a shell: that is the real thing, past queue, time limits and dead letters."
    " Write it down with dlq.note, and no plan sends it again."
)
WAITING = ("waiting", "prioritized")


def sample(
    failures: int | None, depths: pd.DataFrame | None, workers: pd.DataFrame | None
) -> dict[str, int | None]:
    """The numbers of one look: failures that wait, depths by state, tasks done, workers that answered."""
    return {
        "failures": failures,
        "failed": _sum(depths, FAILED),
        "waiting": _sum(depths, WAITING),
        "processed": _processed(workers),
        "workers": None if workers is None else len(workers),
    }


def no_samples() -> pd.DataFrame:
    """Earlier checks where there were none: at, severity, and the columns of SAMPLE."""
    return samples([])


def samples(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Earlier checks as a frame, the oldest first: at (UTC), severity, and the columns of SAMPLE (Int64)."""
    table = pd.DataFrame(rows, columns=["at", "severity", *SAMPLE])
    table["at"] = pd.to_datetime(table["at"], utc=True).astype("datetime64[us, UTC]")
    table = table.astype({"severity": "str", **dict.fromkeys(SAMPLE, "Int64")})
    return table.sort_values("at", kind="stable", ignore_index=True)


def of_depths(
    now: dict[str, int | None], earlier: pd.DataFrame, when: pd.Timestamp, limits: dict[str, Any]
) -> Iterator[Finding]:
    """failed, waiting and stopped, from what the queues hold now and held before."""
    for name, what in (("failed", "failed tasks"), ("waiting", "tasks")):
        count, limit = now[name], limits[name]
        if limit is None or count is None:
            continue
        over = count > limit
        text = (
            f"{many(count, what)} in the queues"
            if name == "failed"
            else f"{many(count, what)} waiting"
        )
        text += f", more than {limit:,}." if over else "."
        if over and name == "waiting":
            text += " dlq.capacity says whether more workers would help."
        yield finding(name, "warning" if over else "ok", text, count=count)
    if limits["stopped"] is not None and now["waiting"] is not None:
        yield _stopped(now, earlier, when, limits["stopped"])


def of_growth(
    now: dict[str, int | None], earlier: pd.DataFrame, when: pd.Timestamp, limits: dict[str, Any]
) -> Iterator[Finding]:
    """growth_per_minute and growing from two counts, for a system that shows no failures."""
    limit, then = limits["growth_per_minute"], before(earlier, "failed", when, timedelta(minutes=5))
    if now["failed"] is None:
        return
    if then is None:
        yield finding(
            "growing",
            "ok",
            "There is no earlier check, of five minutes ago or more, to compare with.",
            growing=None,
        )
        return
    more = now["failed"] - int(then[1])
    rate = more / ((when - then[0]) / pd.Timedelta("1min"))
    over = limit is not None and rate > limit
    text = f"{rate:,.1f} more failed tasks a minute since the check {span(when - then[0])} ago"
    text += f", more than {limit:,}." if over else "."
    if limit is not None:
        severity = "critical" if over else "ok"
        yield finding("growth_per_minute", severity, text, per_minute=rate)
    text = f"{abs(more):,} {'more' if more > 0 else 'fewer'} than {span(when - then[0])} ago."
    yield finding("growing", "ok", text, growing=more > 0, more=more)


def of_workers(
    now: dict[str, int | None], earlier: pd.DataFrame, when: pd.Timestamp, limits: dict[str, Any]
) -> Iterator[Finding]:
    """workers_down: whether any answered, and for how long none did."""
    limit = limits["workers_down"]
    if limit is None or now["workers"] is None:
        return
    if now["workers"]:
        yield finding(
            "workers_down", "ok", f"{many(now['workers'], 'workers')} answered.", minutes=0
        )
        return
    away = lasting(earlier["at"][earlier["workers"].notna()],
                   earlier["workers"].dropna() == 0, when)  # fmt: skip
    over = away > limit
    text = "No worker answered" + (f" at any look for {span(away)} now" if away else "")
    text += f": longer than {span(limit)}." if over else "; silence is no proof, look again."
    if over:
        text += _BY_HAND
    minutes = away.total_seconds() / 60
    yield finding("workers_down", "critical" if over else "warning", text, minutes=minutes)


def of_metrics(metrics: pd.DataFrame, limits: dict[str, Any]) -> Iterator[Finding]:
    """failure_rate, p95_latency, processed_per_minute and growth, as a Prometheus tells them.

    A metric with several samples (over ten minutes) is low only if it was so the whole time.
    """
    last = metrics.dropna(subset="value").sort_values("at")
    newest = last.groupby(["metric", "labels"], observed=True).last()["value"]
    known = set(last["metric"].astype("str"))
    if limits["failure_rate"] is not None and "failure_rate" in known:
        share = float(newest["failure_rate"].max())
        yield shared("failure_rate", share, limits["failure_rate"], "failed over five minutes")
    if limits["p95_latency"] is not None and "p95_latency" in known:
        slow, limit = float(newest["p95_latency"].max()), limits["p95_latency"]
        text = f"One task in twenty takes more than {slow:,.1f} seconds"
        text += f"; more than {limit:,} is too slow." if slow > limit else "."
        yield finding("p95_latency", "warning" if slow > limit else "ok", text, seconds=slow)
    if limits["processed_per_minute"] is not None and "processed_per_minute" in known:
        mine = last[last["metric"].astype("str") == "processed_per_minute"]
        fast = float(mine.groupby("at")["value"].sum().max())
        yield _slow(fast, limits["processed_per_minute"], "at best, over the last ten minutes")
    for name, limit, severity in (
        ("growth_per_minute", limits["growth_per_minute"], "critical"),
        ("failures_per_hour", limits["per_hour"], "warning"),
    ):
        if limit is not None and name in known:
            value = float(newest[name].sum())
            unit = "a minute" if name == "growth_per_minute" else "in the last hour"
            text = f"{value:,.1f} new failures {unit}" + (
                f", more than {limit:,}." if value > limit else "."
            )
            of = "per_hour" if name == "failures_per_hour" else name
            facts = {"per_minute": value} if of == name else {"count": value}
            yield finding(of, severity if value > limit else "ok", text, **facts)


def of_throughput(
    now: dict[str, int | None], earlier: pd.DataFrame, when: pd.Timestamp, limits: dict[str, Any]
) -> Iterator[Finding]:
    """processed_per_minute from what workers say they have done, now and at least ten minutes ago."""
    limit, then = (
        limits["processed_per_minute"],
        before(earlier, "processed", when, timedelta(minutes=10)),
    )
    if not limit or now["processed"] is None or then is None or now["processed"] < then[1]:
        return  # fewer than before: a worker began anew
    rate = (now["processed"] - then[1]) / ((when - then[0]) / pd.Timedelta("1min"))
    yield _slow(rate, limit, f"in the last {span(when - then[0])}")


def lasting(at: pd.Series, holds: pd.Series, now: pd.Timestamp) -> timedelta:
    """For how long something held at every check without a break until now; 0 without a check."""
    broken = at[~holds.to_numpy(bool)]
    since = at[at > broken.iloc[-1]] if len(broken) else at
    return (now - since.iloc[0]).to_pytimedelta() if len(since) else timedelta(0)


def _stopped(
    now: dict[str, int | None], earlier: pd.DataFrame, when: pd.Timestamp, limit: timedelta
) -> Finding:
    """Tasks wait, and neither did any worker finish one nor did the queues get shorter."""
    if not now["waiting"]:
        return finding("stopped", "ok", "Nothing waits to be worked on.", minutes=0)
    known = earlier[earlier["waiting"].notna()]
    if now["processed"] is not None and known["processed"].notna().any():
        known = known[known["processed"].notna()]
        still = known["processed"] == now["processed"]
        how = "no worker finished a task"
    else:
        falls = known["waiting"].shift(-1).fillna(now["waiting"]) < known["waiting"]
        still, how = ~falls, "the queues did not get shorter once"
    still &= known["waiting"] > 0
    stood = lasting(known["at"], still, when)
    over = stood > limit
    text = f"{many(now['waiting'], 'tasks')} waiting"
    if over:
        text += f", and for {span(stood)} {how}: longer than {span(limit)}. {_BEFORE_A_RESTART}"
    elif known.empty:
        text += "; there is no earlier check to say whether they are worked on."
    else:
        text += "; work goes on." if not stood else f"; {how} for {span(stood)}."
    return finding(
        "stopped", "critical" if over else "ok", text, minutes=stood.total_seconds() / 60
    )


def _slow(rate: float, limit: float, when: str) -> Finding:
    low = rate < limit
    text = f"{rate:,.1f} tasks done a minute {when}" + (f", fewer than {limit:,}." if low else ".")
    return finding("processed_per_minute", "critical" if low else "ok", text, per_minute=rate)


def _sum(depths: pd.DataFrame | None, states: tuple[str, ...]) -> int | None:
    if depths is None:
        return None
    of = depths["depth"][depths["state"].astype("str").isin(states)].dropna()
    return int(of.sum()) if len(of) else None


def _processed(workers: pd.DataFrame | None) -> int | None:
    if workers is None or not workers["processed"].notna().any():
        return None
    return int(workers["processed"].sum())
