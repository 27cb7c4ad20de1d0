"""The frozen plan: what goes, what stays and why, and an id that is a hash of all of it."""

import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from dlqanalysis.display.progress import plain_table
from dlqanalysis.model import PLANNED, Item
from dlqanalysis.redact import redact, redact_frame
from dlqanalysis.text import many

#: what a plan can be for -> the word for what it did
ACTIONS = {
    "replay": "replayed",  # back to where it came from, to run again
    "quarantine": "quarantined",  # set aside, out of everybody's way, bytes kept
    "archive": "archived",  # done with; kept for the record
    "purge": "purged",  # gone; only the run's snapshot of the rows remains
    "undo": "taken back",  # a replay whose messages nobody has taken yet
    "restore": "restored",  # from quarantine or archive to where it was
    "pause": "paused",  # a queue: workers take nothing more from it
    "unpause": "unpaused",
    "revoke": "revoked",  # a task that a worker holds or will get: it is not to run
}
CHOSEN = [
    "failure_id",
    "task_name",
    "queue",
    "failure_class",
    "rule",
    "failed_at",
    "target",
    "generation",
    "key",
    "fingerprint",
    "task_id",
    "content_hash",
    "work",
]
#: actions that are over when they are done: nothing is claimed for good, nothing is held back for them
FLEETING = ("undo", "restore", "pause", "unpause", "revoke")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A frozen list of failures chosen for one action. It sends nothing; `dlq.replay` does, given its id."""

    action: str
    source: str
    reason: str
    selection: str  #: how the failures were loaded, as a sentence
    options: Mapping[str, Any]
    chosen: pd.DataFrame  #: what goes, in order: oldest first
    held_back: pd.DataFrame  #: what stays: failure_id, task_name, queue, failure_class, because
    warnings: tuple[str, ...] = ()
    #: failure_id -> what goes instead of the original, for repaired failures; shown nowhere
    payloads: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    _sealed: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sealed", self._hash())

    @property
    def digest(self) -> str:
        """sha256 of action, source, reason, options, every chosen row, every repaired payload and every
        held-back row."""
        return self._sealed

    @property
    def id(self) -> str:
        """What a person types to confirm: the first eight digits of the digest."""
        return self._sealed[:8]

    @property
    def confirmation(self) -> str:
        """What must be typed: the id; for a purge also how many go, such as `05c28463 187`."""
        return f"{self.id} {len(self.chosen)}" if self.action == "purge" else self.id

    @property
    def intact(self) -> bool:
        """Whether nothing in its frames was changed since it was made."""
        return self._hash() == self._sealed

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a reason: what happens, to how many, of which tasks."""
        goes = self.chosen.assign(because="", decision="goes")
        stays = self.held_back.assign(decision="stays")
        both = pd.concat([goes[_SUMMARY], stays[_SUMMARY]], ignore_index=True)
        table = (
            both.groupby(["decision", "because"], sort=False, observed=True)
            .agg(failures=("failure_id", "size"), tasks=("task_name", lambda t: ", ".join(_top(t))))
            .reset_index()
        )
        return table.sort_values(
            ["decision", "failures"], ascending=[True, False], ignore_index=True
        )

    def items(self) -> Iterator[Item]:
        """The chosen failures as the hand takes them, in order."""
        undoes = str(self.options.get("undoes", ""))
        ids = self.chosen["sent_id"] if undoes else [""] * len(self.chosen)
        columns = [map(text, self.chosen[name].tolist()) for name in PLANNED]
        generations = self.chosen["generation"].tolist()
        for *values, generation, sent_id in zip(*columns, generations, ids, strict=True):
            fields = dict(zip(PLANNED, values, strict=True))
            yield Item(
                **fields,
                generation=int(generation),
                action=self.action,
                undoes=undoes,
                sent_id=text(sent_id),
                payload=self.payloads.get(fields["failure_id"]),
            )

    def _hash(self) -> str:
        digest = hashlib.sha256()
        head = ["4", self.action, self.source, self.reason, self.selection]
        digest.update(json.dumps([*head, dict(self.options)], sort_keys=True, default=str).encode())
        for frame, columns in (
            (self.chosen, ["failure_id", "content_hash", "generation", "key", "target"]),
            (self.held_back, ["failure_id", "because"]),
        ):
            for name in columns:
                lines = "\x1f".join(frame[name].astype("str"))
                digest.update(b"\x1e" + lines.encode("utf-8", "backslashreplace"))
        for name, payload in self.payloads.items():
            digest.update(b"\x1e" + name.encode("utf-8", "backslashreplace") + b"\x1f" + payload)
        return digest.hexdigest()

    def __repr__(self) -> str:
        stays = self.held_back["because"].value_counts()
        reasons = ", ".join(
            f"{count:,} {redact(because)}" for because, count in stays.head(4).items()
        )
        more = f", {many(len(stays) - 4, 'more reasons')}" if len(stays) > 4 else ""
        held = f"{len(self.held_back):,} held back" + (f" ({reasons}{more})" if reasons else "")
        return f"Plan {self.id}: {len(self.chosen):,} to {self.action}, {held}"

    def _repr_html_(self) -> str:
        says = [f"Source {self.source}. Reason: {self.reason}. Read: {self.selection}."]
        says += [f"Mind: {warning}" for warning in self.warnings]
        lines = "".join(f"<p>{html.escape(redact(line))}</p>" for line in says)
        title = html.escape(repr(self).partition(" (")[0])
        return f"<h4>{title}</h4>{lines}{plain_table(redact_frame(self.summary))}"


_SUMMARY = ["failure_id", "task_name", "because", "decision"]


def _top(names: pd.Series) -> list[str]:
    counted = names.astype("str").value_counts()
    return [f"{name} ({count:,})" for name, count in counted.head(3).items()]


def text(value: Any) -> str:
    """A cell as text; empty where there is nothing."""
    return "" if value is None or value is pd.NA or value != value else str(value)
