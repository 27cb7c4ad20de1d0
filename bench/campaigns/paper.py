"""docs/reliability.md, from what was counted."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from bench.campaigns.account import Count
from bench.campaigns.hostile import HOSTILE, Bytes
from bench.campaigns.stops import Stop

_HEAD = """# What a replay survived

Written by `make bench ONLY=reliability`; every number was counted in that run, none by hand. Executions are counted
by something that is not ours: real BullMQ workers, consumers in processes of their own that keep a record which no
kill can take, and HTTP servers that note what they perform.

The promise: what was planned is executed exactly once. Where a system cannot move and note in one step (HTTP, and a
table beside RabbitMQ), it is executed at most once, and what nobody can know is called uncertain and is never sent
again.
"""
_WORDS = """
*executed*: planned failures that ran. *twice*: that ran more than once. *unplanned*: executions of anything else.
*lost*: neither ran, nor uncertain, nor where it was. *uncertain*: nobody can tell, and the journal says so.
*left*: did not run and is where it was, to be planned again. *settled*: doubts that a resume cleared by asking the
system. *wrong*: what the journal says of an item is not what the record of executions says. *faults*: kills that
met a running operator, lost answers, or kills of a server. After each campaign the chains of the journal were
verified, and the failures that were not planned were all still there.
"""
_FIELDS = (
    "planned", "executed", "twice", "unplanned", "lost", "uncertain", "left", "settled", "wrong", "faults",
)  # fmt: skip


def page(
    size: Any,
    seed: int,
    counts: Sequence[Count],
    ends: Sequence[Stop],
    odd: Sequence[Bytes],
    speed: str,
    seconds: float,
    missing: int = 0,
) -> str:
    """The whole document."""
    packages = ("dlqanalysis", "redis", "pika", "psycopg", "pandas", "polars")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    kept = sum(one.kept for one in counts)
    lines = [
        _HEAD,
        f"Run on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), load"
        f" {os.getloadavg()[0]:.0f}, Python {platform.python_version()}, {versions}; {seconds:,.0f} s in all, seed"
        f" {seed}. {size.failures:,} failures to replay in each campaign and a tenth as many that had to stay (as"
        f" many over HTTP); {size.kills:,} kills of an operator, at most {size.faults} lost answers or kills of a"
        ' server. An HTTP peer\'s "it never happened" was believed after'
        f" {60 if size.quiet is None else size.quiet:.0f} s of silence. Journals were in memory where the machine has /dev/shm: processes were killed, not machines.",
        "",
        f"**{kept} of {len(counts)} campaigns kept the promise.**"
        + (f" {missing} more were broken off or not run." if missing else ""),
        "",
        _row("system", "campaign", *_FIELDS, "seconds"),
        _row(*["---"] * (len(_FIELDS) + 3)),
    ]
    for one in sorted(counts, key=lambda count: (count.world, count.campaign)):
        cells = (f"{getattr(one, name):,}" for name in _FIELDS)
        lines.append(_row(one.world, one.campaign, *cells, f"{one.seconds:,.0f}"))
    lines.append(_WORDS)
    lines += [f"- {c.world}, {c.campaign}: {c.note}." for c in counts if c.note]
    if failed := [one for one in counts if not one.kept]:
        lines += ["", "## Not kept", ""]
        lines += [f"- {c.world}, {c.campaign}: {'; '.join(c.troubles) or 'see its row'}" for c in failed]  # fmt: skip
    lines += ["", "## What must stop, or send nothing", ""]
    lines += [_row("system", "what", "planned", "sent", "kept", "says"), _row(*["---"] * 6)]
    lines += [
        _row(s.world, s.way, s.planned, s.sent, "yes" if s.kept else "NO", s.told) for s in ends
    ]
    lines += [
        "",
        "A stage has 10, 50, then the rest; the breaker looks from 5 outcomes on and stops above half. The count"
        " sent is in repr(run).",
        "",
        "## Payloads that nobody should write",
        "",
        f"{', '.join(HOSTILE)}: the same bytes went back, or stayed where they were, held back as unreadable.",
        "",
        _row("system", "given", "same bytes", "stayed", "changed or lost"),
        _row(*["---"] * 5),
    ]
    lines += [
        _row(b.world, b.given, b.same, ", ".join(b.held) or "-", ", ".join(b.changed) or "none")
        for b in odd
    ]
    lines += ["", "## How fast the journal is", "", speed, ""]
    return "\n".join(lines)


def _row(*cells: object) -> str:
    return (
        "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"
    )
