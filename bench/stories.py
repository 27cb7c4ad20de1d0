"""How often the headline cries wolf in random quiet weeks, and misses or is late in weeks with a planted story."""

import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from bench import weeks
from bench.goals import Section

WEEKS = 40  #: with each story; five times as many have none, of each kind
_SAID = re.compile(r"(?:since|from) (\d\d \w{3} \d\d:\d\d)")
LATE = 60  #: minutes


def run(repeat: int = WEEKS) -> Section:
    """The section; no goal of speed is in it."""
    asked: list[tuple[int, str, bool]] = [
        (seed, "", clumps) for clumps in (False, True) for seed in range(5 * repeat)
    ]
    asked += [(seed, story, True) for story in weeks.STORIES for seed in range(repeat)]
    # a fork of a process whose polars has threads waits for ever
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        answers = list(pool.map(judge, asked, chunksize=4))
    lines = [
        "A week (or two) is random: 2 to 15 groups of 1 to 800 failures in five rhythms, busy and slow days, up to 11"
        " deploys that break nothing (`bench/weeks.py`). Loud is a week whose story does not begin with Quiet.",
        "",
        "| quiet weeks | looked at | loud | a deploy is blamed |",
        "|---|---|---|---|",
    ]
    for clumps in (False, True):
        mine = [
            one
            for (_, story, how), one in zip(asked, answers, strict=True)
            if not story and how is clumps
        ]
        name = "failures come one by one, or in clumps" if clumps else "failures come one by one"
        lines.append(
            f"| {name} | {len(mine):,} | {sum(one['loud'] for one in mine)} | {sum(one['blamed'] for one in mine)} |"
        )
    lines += [
        "",
        "In the same weeks, clumps and all, one story is planted. Found: a sentence names its task, and with it the"
        f" deploy, the tenant, or how far it reached. Late: the time in it is more than {LATE} minutes after the first failure.",
        "",
        "| story | planted | found | only seen | missed | late | early | median minutes off | other alarms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in weeks.STORIES:
        mine = [one for (_, story, _), one in zip(asked, answers, strict=True) if story == name]
        lines.append(_row(name, mine))
    return Section(lines, [])


def judge(asked: tuple[int, str, bool]) -> dict[str, Any]:
    """What is told of one week, against what is in it."""
    import dlqanalysis as dlq

    seed, story, clumps = asked
    week = weeks.planted(seed, story, clumps) if story else weeks.quiet(seed, clumps)
    records = [{**row, "failure_id": str(number)} for number, row in enumerate(week.records)]
    failures = dlq.from_records(records).pipe(dlq.classify).pipe(dlq.fingerprint)
    told = dlq.story(failures, week.deploys)
    mine = [text for text in told if all(name in text for name in week.names)] if story else []
    seen = [text for text in told if week.names and week.names[0] in text] if story else []
    off = None
    if week.onset is not None and (mine or seen):
        text = (mine or seen)[0]
        place = text.find(week.names[0])
        if said := _SAID.search(text, place):
            at = weeks.pd.to_datetime(f"2026 {said[1]}", format="%Y %d %b %H:%M", utc=True)
            off = (at - week.onset.floor("min")).total_seconds() / 60
    others = [
        text
        for text in told
        if text not in seen and " fail" in text.partition(",")[0] and "copies" not in text
    ]
    return {
        "loud": not told[0].startswith("Quiet"),
        "blamed": any(", " in text and " after app " in text for text in told),
        "found": bool(mine),
        "seen": bool(seen),
        "off": off,
        "others": len(others),
        "told": told,
    }


def _row(name: str, answers: list[dict[str, Any]]) -> str:
    off = sorted(one["off"] for one in answers if one["off"] is not None)
    found, seen = (sum(one[what] for one in answers) for what in ("found", "seen"))
    late, early = sum(one > LATE for one in off), sum(one < -LATE for one in off)
    middle = f"{off[len(off) // 2]:,.0f}" if off else "it has no moment"
    others = sum(one["others"] > 0 for one in answers)
    return (
        f"| {name} | {len(answers)} | {found} | {seen - found} | {len(answers) - seen} | {late} | {early} | {middle}"
        f" | {others} |"
    )
