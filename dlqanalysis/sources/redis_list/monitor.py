"""How the lists are now: their lengths, and what the server says of itself."""

from datetime import UTC, datetime
from typing import Any

import pandas as pd

from dlqanalysis import readings
from dlqanalysis.frame import empty
from dlqanalysis.model import Finding
from dlqanalysis.sources._redis_health import keeps
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.redis_list import walk
from dlqanalysis.sources.redis_list.address import Address
from dlqanalysis.sources.redis_list.keys import shown
from dlqanalysis.sources.redis_list.rows import Reader

_NOBODY = "Redis lists know no workers: who takes from one leaves no trace. Ask the deployment (kubectl, ps)."


class ListMonitor:
    """The dead-letter lists of one Redis database, their main lists and their quarantine."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.link = Link(address)

    def __repr__(self) -> str:
        return f"ListMonitor({self.name})"

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self.address.name

    def depths(self) -> pd.DataFrame:
        """Each dead-letter list (dead_lettered), its main list (waiting), each quarantine list (quarantined);
        oldest_at is when the message at a dead-letter list's oldest end failed, where it says so."""
        notes: list[str] = []
        now = datetime.now(UTC)
        reader = Reader(self.address.zone, self.address.paths)
        rows: list[dict[str, Any]] = []
        with self.link.clear():
            keys = self.address.find(self.link.client, notes)
            lists = [(key, "dead_lettered") for key in keys]
            lists += [(main, "waiting") for key in keys if (main := self.address.main_of(key))]
            lists += [(self.address.quarantine_of(key), "quarantined") for key in keys]
            for key, state in dict.fromkeys(lists):
                kind = self.link.client.type(key)
                if kind not in (b"list", b"none"):
                    notes.append(f"{shown(key)} is a {kind.decode()}, not a list: not counted.")
                    continue
                row = {"source": self.name, "queue": shown(key), "state": state, "at": now}
                row["depth"] = self.link.client.llen(key)
                if state == "dead_lettered":
                    row["oldest_at"] = self._oldest(key, reader)
                rows.append(row)
        found = readings.depths(rows)
        found.attrs["notes"] = notes
        return found

    def workers(self) -> pd.DataFrame:
        """Nothing, with a note: lists know no workers."""
        return readings.noted(readings.workers([]), _NOBODY)

    def running(self) -> pd.DataFrame:
        """Nothing, with a note: what a consumer took is in no list."""
        return readings.noted(empty(), _NOBODY)

    def health(self) -> list[Finding]:
        """Whether the server answers and keeps what it holds."""
        with self.link.clear():
            self.link.client.ping()
            text = f"Redis at {self.address.server} answers."
            return [
                Finding(name="redis", severity="ok", text=text),
                *keeps(self.link.client, self.address.server),
            ]

    def close(self) -> None:
        """Give connections back."""
        self.link.close()

    def _oldest(self, key: bytes, reader: Reader) -> datetime | None:
        [raw] = walk.at(self.link.client, key, self.address.head_is_oldest, [0])
        when = reader.row(raw).get("failed_at") if raw is not None else None
        return when if isinstance(when, datetime) else None
