"""What a campaign came to: what ran, compared with what was planned."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

import dlqanalysis as dlq
from bench.campaigns.worlds import World


@dataclass
class Count:
    """One row of the report. What was planned ran once, or is where it was, or nobody can tell and it is said."""

    world: str
    campaign: str
    planned: int
    executed: int  #: planned failures that ran at least once
    twice: int  #: failures that ran more than once
    unplanned: int  #: executions of what nobody planned
    lost: int  #: neither ran, nor uncertain, nor where it was
    uncertain: int  #: nobody can tell, and the journal says so
    left: int  #: did not run, and is where it was
    settled: int  #: doubts that were settled by asking the system
    wrong: int  #: items whose end in the journal is not what the record says
    faults: int  #: kills, cuts, restarts that met a running operator
    seconds: float = 0.0
    note: str = ""
    troubles: list[str] = field(default_factory=list)
    ended: bool = True  #: whether the run came to its end in the time it had

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return not (self.twice or self.unplanned or self.lost or self.wrong or self.troubles)


def account(
    world: World,
    campaign: str,
    before: pd.DataFrame,
    journals: Sequence[dlq.Journal],
    faults: int,
    seconds: float,
    note: str = "",
) -> Count:
    """Count what became of `before`, the failures of the plan as they were, after every run of the journals."""
    ran = world.ran()
    ids = dict(zip(before["failure_id"], world.number(before), strict=True))
    items = pd.concat([journal.items() for journal in journals], ignore_index=True)
    states: dict[str, set[str]] = {}
    for failure_id, state in zip(items["failure_id"], items["state"], strict=True):
        states.setdefault(failure_id, set()).add(state)
    there = set(world.load()["failure_id"])
    counts: Counter[str] = Counter()
    for failure_id, number in ids.items():
        told, times = states.get(failure_id, set()), ran.get(number, 0)
        counts["executed"] += times > 0
        counts["twice"] += times > 1
        doubt = "uncertain" in told and "sent" not in told
        counts["uncertain"] += doubt
        if times == 0 and not doubt:
            counts["left" if failure_id in there else "lost"] += 1
        counts["wrong"] += (times > 0) != ("sent" in told) and not doubt
    troubles = [trouble for journal in journals for trouble in journal.verify()]
    if len(world.load(world.others)) != world.facts["others"]:
        troubles.append("what was not planned has moved")
    settled = sum(_settled(journal) for journal in journals)
    strangers = set(ran) - set(ids.values())
    return Count(
        world=world.title, campaign=campaign, planned=len(ids), executed=counts["executed"],
        twice=counts["twice"], unplanned=sum(ran[one] for one in strangers), lost=counts["lost"],
        uncertain=counts["uncertain"], left=counts["left"], settled=settled, wrong=counts["wrong"],
        faults=faults, seconds=round(seconds, 1), note=note, troubles=troubles, ended=world.ended,
    )  # fmt: skip


def _settled(journal: dlq.Journal) -> int:
    """How many doubts were settled by asking the system, by the entries that say so."""
    with contextlib.closing(sqlite3.connect(journal.place.removeprefix("sqlite:///"))) as db:
        return int(
            db.execute(
                "SELECT count(*) FROM dlq_entries WHERE detail LIKE '%settled: %' AND event IN"
                " ('sent', 'unsent')"
            ).fetchone()[0]
        )
