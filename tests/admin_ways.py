"""Ways for tests to ask the admin API's server: a client, a hand with a clock of its own, items, a replay."""

from dlqanalysis.frame import content_hash, from_arrow
from dlqanalysis.model import Item, Selection
from dlqanalysis.sources.admin_api import AdminHand, AdminSource
from dlqanalysis.sources.admin_api.client import open_client
from tests.admin_server import TOKEN

DIALECTS = ("published", "runbook")
ALL = Selection(status=())


class Clock:
    """Time that only sleeping moves."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def client(server, **options):
    options = {"timeout": 5.0, "sleep": lambda _: None, **options}
    return open_client(server.url, options.pop("token", TOKEN), **options)


def read(server, selection=ALL, columns=(), **options):
    source = AdminSource(client(server, **options))
    got = source.read(selection, columns)
    source.close()
    table = got.table
    if "traceback_bytes" in table.column_names:
        table = table.drop_columns("traceback_bytes")
    return from_arrow(table), got


def items(server):
    frame, _ = read(server)
    return {
        row["failure_id"]: Item(
            **{name: row[name] for name in ("failure_id", "task_id", "task_name", "queue")},
            content_hash=content_hash(
                *(row[name] for name in ("task_id", "task_name", "queue", "args", "kwargs"))
            ),
            generation=1,
        )
        for row in frame.to_dict("records")
    }


def hand(server, clock=None, **options):
    clock = clock or Clock()
    names = ("timeout", "token", "longest_wait")
    own = {name: options.pop(name) for name in names if name in options}
    return AdminHand(
        client(server, sleep=clock.sleep, **own), sleep=clock.sleep, clock=clock, **options
    )


def replay(server, *ids, **options):
    chosen = items(server)
    acting = hand(server, **options)
    receipts = list(acting.send("replay", [chosen[i] for i in ids or chosen], "run-1"))
    return receipts, acting
