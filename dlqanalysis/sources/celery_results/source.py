"""The failures of a Celery result backend, whichever it is."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from dlqanalysis.frame import COLUMNS, light, to_arrow
from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._narrow import narrowed

_PAGE = 5_000


class Backend(Protocol):
    """Where results are kept."""

    name: str

    def records(self, selection: Selection) -> Iterator[dict[str, Any]]:
        """The failures, more than asked for where it cannot filter."""
        ...

    def some(self, task_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The results of these tasks, where they are there and failed."""
        ...

    def notes(self) -> list[str]:
        """What should be known of it."""
        ...

    def close(self) -> None: ...


class ResultSource:
    """Reads results; never writes, never unpickles."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __repr__(self) -> str:
        return f"ResultSource({self.name})"

    @property
    def name(self) -> str:
        """`results:redis/1`, `results:celery_taskmeta`."""
        return self._backend.name

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """Results whose state is FAILURE (status failed), or REVOKED, REJECTED and RETRY where asked for.

        A result is kept under its task's id: one that ran again shows its last failure only.
        """
        wanted = light(columns)
        pages, page = [self._framed([], wanted)], []
        asked = _ours(selection)
        for record in self._backend.records(asked):
            page.append(record)
            if len(page) >= _PAGE:
                pages.append(self._framed(page, wanted))
                page = []
        pages.append(self._framed(page, wanted))
        table = pa.concat_tables(pages).unify_dictionaries()
        table, truncated, cut = narrowed(table, asked)
        notes = [*self._backend.notes(), *cut]
        lossy = sum(s != "complete" for s in table["payload_state"].to_pylist())
        if lossy:
            notes.append(
                f"{lossy:,} of {table.num_rows:,} results do not hold their arguments whole (result_extended is"
                " off, or they are only a repr): join them by task_id with another source."
            )
        return Read(table.select([n for n in table.column_names if n in {*wanted, "traceback"}]),
                    truncated, tuple(notes))  # fmt: skip

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for, of results that are still as they were."""
        wanted = set(failure_ids)
        found = self._backend.some([failure_id.rpartition("/")[0] for failure_id in failure_ids])
        records = [record for record in found if record["failure_id"] in wanted]
        names = [name for name in COLUMNS if name == "failure_id" or name in columns]
        return to_arrow(records, names, source=self.name)

    def _framed(self, records: Sequence[dict[str, Any]], wanted: Sequence[str]) -> pa.Table:
        return to_arrow(records, [*wanted, "traceback"], source=self.name)

    def close(self) -> None:
        """Give connections back."""
        self._backend.close()


def _ours(selection: Selection) -> Selection:
    """The selection in our words for states, so that FAILURE finds what failed."""
    from dataclasses import replace

    from dlqanalysis.sources.celery_results.rows import status_of

    return replace(selection, status=tuple(status_of(word) for word in selection.status))
