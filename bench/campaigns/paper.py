"""docs/reliability.md, from what was counted."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bench.campaigns.account import Count
from bench.campaigns.hostile import HOSTILE, Bytes
from bench.campaigns.results import Result, Results
from bench.campaigns.stops import Stop

_HEAD = """# What a replay survived

Written by `make bench ONLY=reliability`; every number was counted in a run, none by hand, and each row says when and
how large its campaign was: *planned* and *faults*. A tenth as many failures (over HTTP as many) had to stay. Executions
are counted by something that is not ours: real BullMQ workers, consumers in processes of their own that keep a record
which no kill can take, and HTTP servers that note what they perform. Processes were killed, not machines: journals
were in memory where the machine has /dev/shm.

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
verified, and the failures that were not planned were all still there. *seconds* measure no speed: they hold the
waits between faults, and whatever else the machine did.
"""
_FIELDS = (
    "planned", "executed", "twice", "unplanned", "lost", "uncertain", "left", "settled", "wrong", "faults",
)  # fmt: skip


def machine() -> str:
    """The machine and the versions, as one line."""
    packages = ("dlqanalysis", "redis", "pika", "psycopg", "pandas", "polars")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    return f"{cores}, Python {platform.python_version()}, {versions}"


def write(path: Path, results: Results, names: Sequence[str]) -> None:
    """Write the page anew; `names` are all campaigns there are."""
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(page(results.read(), names), encoding="utf-8")
    part.rename(path)


def page(results: Mapping[str, Result], names: Sequence[str]) -> str:
    """The whole document."""
    counted = [(one, row) for one in results.values() for row in one.rows]
    counts = sorted(
        ((one, row) for one, row in counted if isinstance(row, Count)),
        key=lambda found: (found[1].world, found[1].campaign),
    )
    kept = sum(row.kept and row.ended for _, row in counts)
    short = sum(row.kept and not row.ended for _, row in counts)
    missing = [name for name in names if name not in results or not results[name].rows]
    lines = [
        _HEAD,
        *(f"Machine: {where}." for where in sorted({one.where for one in results.values()} - {""})),
        "",
        f"**{kept} of {len(counts)} campaigns kept the promise to the end.**"
        + (f" {short} kept it as far as their time went, see *left*." if short else "")
        + (f" Not run yet: {', '.join(missing)}." if missing else ""),
        "",
        _row("system", "campaign", *_FIELDS, "seconds", "counted (UTC)"),
        _row(*["---"] * (len(_FIELDS) + 4)),
    ]
    for one, row in counts:
        cells = (f"{getattr(row, name):,}" for name in _FIELDS)
        lines.append(_row(row.world, row.campaign, *cells, f"{row.seconds:,.0f}", one.when))
    lines.append(_WORDS)
    notes = [(row, _note(row)) for _, row in counts]
    lines += [f"- {row.world}, {row.campaign}: {note}." for row, note in notes if note]
    quiet = sorted({one.size["quiet"] for one, row in counts if row.world.endswith("API")})
    lines += [
        f'- Over HTTP "it never happened" was believed after {seconds:.0f} s of silence.'
        for seconds in quiet
    ]
    if failed := [row for _, row in counts if not row.kept]:
        lines += ["", "## Not kept", ""]
        lines += [f"- {c.world}, {c.campaign}: {'; '.join(c.troubles) or 'see its row'}" for c in failed]  # fmt: skip
    if broken := {name: one.broken for name, one in sorted(results.items()) if one.broken}:
        lines += ["", "## Broken off when they ran last", ""]
        lines += [f"- {name}: {why}" for name, why in broken.items()]
    lines += ["", "## What must stop, or send nothing", ""]
    lines += [_row("system", "what", "planned", "sent", "kept", "says"), _row(*["---"] * 6)]
    lines += [
        _row(s.world, s.way, s.planned, s.sent, "yes" if s.kept else "NO", s.told)
        for _, s in counted
        if isinstance(s, Stop)
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
        for _, b in counted
        if isinstance(b, Bytes)
    ]
    lines += ["", "## How fast the journal is", ""]
    lines += [row for _, row in counted if isinstance(row, str)]
    return "\n".join([*lines, ""])


def _note(row: Count) -> str:
    notes = [row.note] if row.note else []
    if not row.ended:
        notes.append(f"its time ran out, with {row.left:,} left and {row.uncertain:,} uncertain")
    return "; ".join(notes)


def _row(*cells: object) -> str:
    return (
        "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"
    )
