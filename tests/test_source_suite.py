"""The suite for sources is strict: what a careless source does, it sees."""

from dataclasses import replace

import pyarrow as pa
import pytest

from dlqanalysis.frame import SCHEMA, arrow_type, from_records
from dlqanalysis.model import Read
from dlqanalysis.sources._narrow import narrowed
from tests.source_suite import check_source

ROWS = [
    {"failure_id": str(n), "source": "rows", "queue": "a", "status": "failed", "kwargs": {"n": n}}
    for n in range(4)
]
BAD = {"failure_id": "bad", "source": "rows", "status": "failed", "payload_state": "unreadable"}


class Rows:
    """Some records as a source that does as it should."""

    name = "rows"

    def __init__(self, *records):
        frame = from_records(records)
        self.table = pa.table({name: pa.array(frame[name], arrow_type(name)) for name in SCHEMA})

    def read(self, selection, columns):
        table, cut, notes = narrowed(self.table, selection)
        return Read(self.without(table, columns), cut, tuple(notes))

    def without(self, table, columns):
        return table.drop_columns([name for name in ("traceback", "raw") if name not in columns])

    def details(self, failure_ids, columns):
        mine = self.table.filter(
            pa.compute.is_in(self.table["failure_id"], pa.array(failure_ids, pa.string()))
        )
        return mine.select(["failure_id", *(name for name in columns if name != "failure_id")])


class Heavy(Rows):
    """Brings everything unasked."""

    def without(self, table, columns):
        return table


class Silent(Rows):
    """Cuts, and says nothing of it."""

    def read(self, selection, columns):
        return replace(super().read(selection, columns), truncated=False, notes=())


def test_what_tells_no_time_passes():
    assert len(check_source(Rows(*ROWS, BAD))) == 5


@pytest.mark.parametrize(
    ("source", "sees"),
    [
        (Rows(*ROWS), "cannot be read"),
        (Rows(BAD), "some failures"),
        (Heavy(*ROWS, {**BAD, "raw": b"x"}), "raw came unasked"),
        (Silent(*ROWS, BAD), None),
    ],
)
def test_a_careless_source_is_seen(source, sees):
    with pytest.raises(AssertionError, match=sees):
        check_source(source)
