"""Who goes back, who stays, and why: a frozen list whose id is a hash of all of it."""

import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from dlqanalysis.classify import classify
from dlqanalysis.duplicates import duplicates as find_duplicates
from dlqanalysis.errors import PlanError, did_you_mean
from dlqanalysis.fingerprint import fingerprint
from dlqanalysis.frame import check, content_hash
from dlqanalysis.journal import Journal
from dlqanalysis.model import SETTLED, FailureClass, Item, State
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile

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
_CHOSEN = [
    "failure_id",
    "task_id",
    "task_name",
    "queue",
    "failed_at",
    "failure_class",
    "rule",
    "fingerprint",
    "generation",
    "content_hash",
]


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
    _sealed: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sealed", self._hash())

    @property
    def digest(self) -> str:
        """sha256 of action, source, reason, options, every chosen row and every held-back row."""
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
        texts = ["failure_id", "task_id", "task_name", "queue", "content_hash", "fingerprint"]
        for row in self.chosen[[*texts, "generation"]].to_dict("records"):
            fields = {name: _text(row[name]) for name in texts}
            yield Item(**fields, generation=int(row["generation"]))

    def _hash(self) -> str:
        digest = hashlib.sha256()
        head = ["2", self.action, self.source, self.reason, self.selection]
        digest.update(json.dumps([*head, dict(self.options)], sort_keys=True, default=str).encode())
        for frame, columns in (
            (self.chosen, ["failure_id", "content_hash", "generation"]),
            (self.held_back, ["failure_id", "because"]),
        ):
            for name in columns:
                lines = "\x1f".join(frame[name].astype("str"))
                digest.update(b"\x1e" + lines.encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def __repr__(self) -> str:
        stays = self.held_back["because"].value_counts()
        reasons = ", ".join(f"{count:,} {because}" for because, count in stays.head(4).items())
        more = f", {len(stays) - 4} more reasons" if len(stays) > 4 else ""
        held = f"{len(self.held_back):,} held back" + (f" ({reasons}{more})" if reasons else "")
        return f"Plan {self.id}: {len(self.chosen):,} to {self.action}, {held}"

    def _repr_html_(self) -> str:
        says = [f"Source {self.source}. Reason: {self.reason}. Read: {self.selection}."]
        says += [f"Mind: {warning}" for warning in self.warnings]
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in says)
        title = html.escape(repr(self).partition(" (")[0])
        return f"<h4>{title}</h4>{lines}{self.summary.to_html(index=False, border=0)}"


_SUMMARY = ["failure_id", "task_name", "because", "decision"]


def plan(
    failures: pd.DataFrame,
    journal: Journal | None = None,
    *,
    reason: str,
    action: str = "replay",
    limit: int | None = None,
    classes: tuple[str, ...] | None = None,
    duplicates: pd.DataFrame | None = None,
    effects: pd.DataFrame | None = None,
    max_generations: int = 2,
    profile: Profile | None = None,
) -> Plan:
    """Choose what may go back and say of every other failure why it stays. Sends nothing.

    `failures` is a failures frame of one source; it is classified and fingerprinted when it is not yet.
    `action` is replay, quarantine, archive or purge. `classes` names the failure classes that may go; left
    out, a replay takes transient ones and the other actions take all. To replay anything but transient
    is your word against the rules, and stands in the plan. `effects` comes from `dlq.side_effects`, `duplicates` from
    `dlq.duplicates` (made here with the profile's key templates when left out). Without a journal, what
    was replayed before is unknown, which the plan says.

    Raises PlanError for an empty frame, several sources, a missing reason, or a load without any filter
    and no limit.
    """
    profile = profile or current_profile()
    if classes is None:
        classes = (FailureClass.TRANSIENT,) if action == "replay" else tuple(FailureClass)
    _refuse(failures, reason, action, limit, classes)
    if "failure_class" not in failures:
        failures = classify(failures)
    if "fingerprint" not in failures:
        failures = fingerprint(failures)
    source = str(failures["source"].iloc[0])
    history = journal.items(source=source) if journal is not None else pd.DataFrame()
    generation = _generations(failures, history)
    held = _Held(failures)
    _hold_acted_on(held, failures, history, action)
    if action == "replay":
        if duplicates is None:
            duplicates = find_duplicates(failures, key=dict(profile.keys) or None)
        _hold_unsafe(held, failures, generation, duplicates, effects, max_generations, profile)
    failure_class = failures["failure_class"].astype("str")
    held.hold(~failure_class.isin([str(name) for name in classes]), "class is " + failure_class)
    because = held.texts
    goes = because == ""
    order = failures.index[goes]  # a failures frame is sorted by time: the oldest goes first
    if limit is not None and len(order) > limit:
        because.loc[order[limit:]] = f"over the limit of {limit:,}"
        order = order[:limit]
    chosen = failures.loc[order].assign(generation=generation.loc[order])
    chosen = chosen.assign(content_hash=_hashes(chosen))[_CHOSEN].reset_index(drop=True)
    stays = failures.loc[because != "", ["failure_id", "task_name", "queue", "failure_class"]]
    held_back = stays.assign(because=because[because != ""]).reset_index(drop=True)
    return Plan(
        action=action,
        source=source,
        reason=reason.strip(),
        selection=str(failures.attrs.get("selection", "a frame made by hand")),
        options={
            "limit": limit,
            "classes": sorted(str(name) for name in classes),
            "max_generations": max_generations,
            "effects": effects is not None,
        },
        chosen=chosen,
        held_back=held_back,
        warnings=tuple(_warnings(failures, chosen, journal, action, classes, effects, profile)),
    )


def _refuse(
    failures: pd.DataFrame, reason: str, action: str, limit: int | None, classes: tuple[str, ...]
) -> None:
    check(failures)
    if not reason or not reason.strip():
        raise PlanError(
            'A plan needs a reason, for the journal: reason="INC-42: provider is back".'
        )
    if action not in ACTIONS:
        raise PlanError(f"There is no action '{action}'. {did_you_mean(action, ACTIONS)}")
    if not len(failures):
        raise PlanError("There are no failures to plan for. Load some: widen since, queue or task.")
    if limit is not None and limit < 1:
        raise PlanError(f"limit is {limit}. Give a number of at least 1, or leave it out.")
    for name in classes:
        if name not in list(FailureClass):
            raise PlanError(
                f"'{name}' is no failure class. {did_you_mean(name, list(FailureClass))}"
            )
    sources = failures["source"].dropna().unique()
    if len(sources) != 1:
        raise PlanError(
            f"These failures are of {len(sources)} sources ({', '.join(map(str, sources))}). A plan goes"
            " to one: failures[failures.source == ...]."
        )
    if limit is None and not failures.attrs.get("narrows", True):
        raise PlanError(
            "These failures were loaded without any filter. Load them with since, queue, task or"
            " exception, or give the plan a limit: a plan for everything is refused."
        )


def _generations(failures: pd.DataFrame, history: pd.DataFrame) -> pd.Series:
    """Which replay this would be: 1 for the first; a task that came back counts its earlier ones."""
    first = pd.Series(1, index=failures.index, dtype="int64")
    if not len(history):
        return first
    sent = history[(history["state"] == State.SENT) & (history["action"] == "replay")]
    by_id = pd.concat(
        [sent.set_index("sent_id")["generation"], sent.set_index("task_id")["generation"]]
    )
    by_id = by_id[by_id.index != ""].groupby(level=0).max()
    known = failures["task_id"].map(by_id)
    return first.where(known.isna(), known.fillna(0).astype("int64") + 1)


class _Held:
    """Why each failure stays; empty for those that may go. The first reason wins, so order is meaning."""

    def __init__(self, failures: pd.DataFrame) -> None:
        self.texts = pd.Series("", index=failures.index, dtype="str")

    def hold(self, where: pd.Series, text: "str | pd.Series") -> None:
        """Give those of `where` that have no reason yet this one."""
        mask = where.to_numpy(dtype=bool, na_value=False) & (self.texts == "").to_numpy()
        self.texts.loc[mask] = text.loc[mask].astype("str") if isinstance(text, pd.Series) else text


def _hold_acted_on(
    because: _Held, failures: pd.DataFrame, history: pd.DataFrame, action: str
) -> None:
    """What cannot be sent, and what somebody has acted on before."""
    if action == "replay":
        state = failures["payload_state"].astype("str").fillna("missing")
        because.hold(state != "complete", "payload is " + state)
    status = failures["status"].astype("str")
    done = set(SETTLED) - ({"replayed"} if action == "archive" else set())
    because.hold(status.isin(done), "status is already " + status)
    if action != "archive":
        because.hold(failures["replayed_at"].notna(), "was already replayed")
    if not len(history):
        return
    ids = failures["failure_id"]
    sent = history[history["state"] == State.SENT]
    if action == "archive":
        sent = sent[sent["action"] != "replay"]
    for rows, text in (
        (sent, "was already {0} in run {1}"),
        (history[history["state"] == State.UNCERTAIN], "is uncertain since run {1}: dlq.settle it"),
    ):
        last = rows.drop_duplicates("failure_id", keep="last").set_index("failure_id")
        words = last["action"].map(ACTIONS)
        told = [text.format(*pair) for pair in zip(words, last["run_id"], strict=True)]
        found = ids.map(pd.Series(told, index=last.index, dtype="str"))
        because.hold(found.notna(), found)


def _hold_unsafe(
    because: _Held,
    failures: pd.DataFrame,
    generation: pd.Series,
    duplicates: pd.DataFrame,
    effects: pd.DataFrame | None,
    max_generations: int,
    profile: Profile,
) -> None:
    """What would do harm, or nothing, if it ran again."""
    ids, task = failures["failure_id"], failures["task_name"]
    known = pd.Series(dtype="str")
    if effects is not None and len(effects):
        known = (
            effects.drop_duplicates("failure_id").set_index("failure_id")["effect"].astype("str")
        )
    effect = ids.map(known).astype("str")
    because.hold(effect == "done", "its side effect was already done")
    later = duplicates[duplicates["first"].eq(False).fillna(False).astype(bool)]
    for kind, rows in later.groupby("kind", observed=True, sort=False):
        word = "business key" if kind == "business_key" else str(kind)
        because.hold(
            ids.isin(rows["failure_id"]), f"duplicate by {word}: an older one stands for it"
        )
    because.hold(
        generation > max_generations, f"came back after {max_generations} replays: quarantine it"
    )
    graded: dict[str | None, list[str]] = {}
    for name in task.cat.categories:
        graded.setdefault(_grade(profile, str(name)), []).append(name)
    because.hold(task.isin(graded.get("never", [])), "task is graded never in the profile")
    because.hold(
        task.isin(graded.get("reconcile", [])) & (effect != "not_done"),
        "task is graded reconcile: nobody has checked its side effect (effects=dlq.side_effects(...))",
    )
    templates = [n for n in task.cat.categories if profile.of(profile.keys, str(n)) is not None]
    keyed = failures["idempotency_key"].notna() | task.isin(templates)
    because.hold(
        task.isin(graded.get("needs_key", [])) & ~keyed,
        "task is graded needs_key and has no idempotency key",
    )


def _grade(profile: Profile, task: str) -> str | None:
    return profile.of(profile.safety, task) or profile.safety.get("*")


def _hashes(chosen: pd.DataFrame) -> pd.Series:
    columns = ["task_id", "task_name", "queue", "args", "kwargs"]
    values = [content_hash(*row) for row in chosen[columns].itertuples(index=False, name=None)]
    return pd.Series(values, index=chosen.index, dtype="str")


def _warnings(
    failures: pd.DataFrame,
    chosen: pd.DataFrame,
    journal: Journal | None,
    action: str,
    classes: tuple[str, ...],
    effects: pd.DataFrame | None,
    profile: Profile,
) -> Iterator[str]:
    if journal is None:
        yield "no journal was given, so what was replayed before is unknown."
    if failures.attrs.get("truncated"):
        yield "the load was cut off by its limit: there are more failures than this plan has seen."
    if action == "purge":
        yield "purged rows are gone for good; only the snapshot that the run takes first remains."
    if action != "replay":
        return
    forced = sorted(str(name) for name in classes if name != FailureClass.TRANSIENT)
    if forced:
        yield f"failures that the rules call {', '.join(forced)} go too, because you named the class."
    if len(chosen):
        tasks = chosen["task_name"].astype("str").dropna()
        ungraded = sorted({name for name in tasks.unique() if _grade(profile, name) is None})
        if ungraded:
            count = int(tasks.isin(ungraded).sum())
            yield (
                f"{count:,} chosen failures are of tasks without a safety grade in the profile"
                f" ({', '.join(ungraded[:3])}{', ...' if len(ungraded) > 3 else ''}): make sure that"
                " running them twice does no harm."
            )
        if effects is None:
            yield "side effects were not checked: a task may have done its work before it failed."


def _top(names: pd.Series) -> list[str]:
    counted = names.astype("str").value_counts()
    return [f"{name} ({count:,})" for name, count in counted.head(3).items()]


def _text(value: Any) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value)
