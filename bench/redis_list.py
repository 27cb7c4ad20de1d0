"""Reading 200,000 messages of a Redis list: ours beside LRANGE alone, and LRANGE with json.loads to pandas."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from bench import data
from bench.beside import beside, table
from bench.goals import Section, at_least, at_most
from bench.others import Others

ROWS, REPEAT = 200_000, 3
OURS, RAW = "dlq.load", "LRANGE, pages of 1000, thrown away"
PAGES = "the pages of dlq.load, thrown away"
LOADS = "LRANGE, json.loads, pandas"


def run(rows: int = ROWS, repeat: int = REPEAT) -> Section:
    """The section, P8."""
    ways = {
        OURS: ours,
        PAGES: pages,
        RAW: raw,
        LOADS: loads,
        "the whole list in one LRANGE": whole,
    }
    with data.redis(rows) as url:
        found = beside(ways, repeat, url=url, rows=rows)
    wrong = {name: one.answer for name, one in found.items() if one.answer["rows"] != rows}
    pings = ", ".join(f"{name} {one.answer['ping']:.1f}" for name, one in found.items())
    mine, wire, plain = (found[name].seconds for name in (OURS, RAW, LOADS))
    figures = [
        at_most(
            "P8",
            "load's pages, thrown away / LRANGE, thrown away",
            found[PAGES].seconds / wire,
            1.1,
        ),
        at_most("P8", "longest PING while load reads, ms", found[OURS].answer["ping"], 2),
        at_least(
            "P8",
            "json.loads to pandas / load, both less LRANGE",
            (plain - wire) / (mine - wire),
            2.4,
        ),
    ]
    lines = [
        f"{rows:,} messages with tracebacks; read: {wrong or 'the same in every way'}",
        "",
        *table(found, OURS),
        "",
        f"Longest PING of somebody else, in ms: {pings}.",
    ]
    return Section(lines, figures, found)


def ours(url: str, rows: int) -> Iterator[Any]:
    """dlq.load as it comes."""
    import dlqanalysis as dlq

    place = f"list+{url}{'&' if '?' in url else '?'}keys={data.prefix(rows)}:list&oldest=head"
    with closing(dlq.connect(place)) as source, Others(url) as others:
        yield
        read = len(dlq.load(source, since=None))
        yield {"rows": read, "ping": others.longest()}


def pages(url: str, rows: int) -> Iterator[Any]:
    """What load reads, nothing made of it: pages of bounded bytes, each checked against the one before."""
    import redis

    from dlqanalysis.sources.redis_list.walk import Walk

    with redis.Redis.from_url(url, socket_read_size=2**18) as client, Others(url) as others:
        yield
        walk = Walk(client, f"{data.prefix(rows)}:list".encode(), head_is_oldest=True)
        read = sum(len(page) for _, page in walk)
        yield {"rows": read, "ping": others.longest()}


def _pages(url: str, rows: int, page: int) -> Iterator[list[bytes]]:
    import redis

    with redis.Redis.from_url(url) as client:
        for start in range(0, rows, page):
            yield client.lrange(f"{data.prefix(rows)}:list", start, start + page - 1)


def raw(url: str, rows: int) -> Iterator[Any]:
    """What Redis and the wire need."""
    with Others(url) as others:
        yield
        read = sum(len(page) for page in _pages(url, rows, 1000))
        yield {"rows": read, "ping": others.longest()}


def loads(url: str, rows: int) -> Iterator[Any]:
    """What a notebook does."""
    import json

    import pandas as pd

    with Others(url) as others:
        yield
        found = [json.loads(one) for page in _pages(url, rows, 1000) for one in page]
        frame = pd.DataFrame(found)
        yield {"rows": len(frame), "ping": others.longest()}


def whole(url: str, rows: int) -> Iterator[Any]:
    """What many scripts do."""
    with Others(url) as others:
        yield
        read = sum(len(page) for page in _pages(url, rows, rows))
        yield {"rows": read, "ping": others.longest()}
