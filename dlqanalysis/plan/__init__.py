"""Who goes back, who stays, and why: a frozen list whose id is a hash of all of it."""

import hashlib

import pandas as pd

from dlqanalysis.classify import classify
from dlqanalysis.duplicates import duplicates as find_duplicates
from dlqanalysis.duplicates import works
from dlqanalysis.duplicates.keys import business_keys
from dlqanalysis.errors import PlanError, did_you_mean
from dlqanalysis.fingerprint import fingerprint
from dlqanalysis.frame import check, content_hash
from dlqanalysis.journal import Journal
from dlqanalysis.model import FailureClass, State, worldwide
from dlqanalysis.patterns.fits import misfits
from dlqanalysis.plan.cautions import cautions
from dlqanalysis.plan.frozen import ACTIONS, CHOSEN, FLEETING, Plan
from dlqanalysis.plan.reasons import (
    Held,
    hold_acted_on,
    hold_copies,
    hold_ungraded,
    hold_unsafe,
    was_undone,
)
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile

__all__ = ["ACTIONS", "FLEETING", "Plan", "plan", "undo"]

_STAYS = ["failure_id", "task_name", "queue", "failure_class"]


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
    workers: pd.DataFrame | None = None,
    per_key: str | None = None,
    per_key_limit: int | None = None,
    ungraded: int | None = 10,
    max_generations: int = 2,
    profile: Profile | None = None,
) -> Plan:
    """Choose what may go back and say of every other failure why it stays. Sends nothing.

    `failures` is a failures frame of one source; it is classified and fingerprinted when it is not yet. With
    a column `repaired` (see `dlq.repair`) those payloads go instead of the originals, whatever their class.
    `action` is replay, quarantine, archive or purge; for frames of a monitor revoke, pause or unpause.
    `classes` names the failure classes that may go; left out, a replay takes transient ones and the other
    actions take all. To replay anything but transient is your word against the rules, and stands in the plan.

    `effects` comes from `dlq.side_effects`, `duplicates` from `dlq.duplicates` (made here with the profile's
    key templates when left out), `workers` from `dlq.workers`: what none of them knows stays. `per_key` is a
    payload field or template (tenant_id): failures of one key go one after the other, each after the last
    one's outcome, at most `per_key_limit` of them. Of a task without a safety grade in the profile at most
    `ungraded` go; None lifts that. Without a journal, what was replayed before is unknown, which the plan says.

    Raises PlanError for an empty frame, several sources, a missing reason, or a load without any filter
    and no limit.
    """
    profile = profile or current_profile()
    if classes is None:
        classes = (FailureClass.TRANSIENT,) if action == "replay" else tuple(FailureClass)
    _refuse(failures, reason, action, limit, classes)
    failures = failures.reset_index(drop=True)  # parts laid one under the other share row labels
    if "failure_class" not in failures:
        failures = classify(failures)
    if "fingerprint" not in failures:
        failures = fingerprint(failures)
    payloads = _repaired(failures, action)
    repaired = failures["failure_id"].isin(payloads)
    if payloads:  # what was wrong with them is mended: they are whole
        whole = failures["payload_state"].astype("str").mask(repaired, "complete")
        failures = failures.assign(payload_state=whole.astype("category"))
    source = str(failures["source"].iloc[0])
    consulted = journal if action not in FLEETING else None
    everywhere = consulted.items() if consulted is not None else pd.DataFrame()
    generation = _generations(failures, everywhere, source)
    held = Held(failures)
    if action not in FLEETING:
        hold_acted_on(held, failures, everywhere, source, action)
    if action == "replay":
        copies = duplicates
        if copies is None:
            copies = find_duplicates(failures, dict(profile.keys) or None, profile=profile)
        hold_unsafe(held, failures, generation, copies, effects, workers, max_generations, profile)
        if duplicates is None:
            hold_copies(held, failures, everywhere, source, profile)
    failure_class = failures["failure_class"].astype("str")
    wrong = ~failure_class.isin([str(name) for name in classes]) & ~repaired
    held.hold(wrong, "class is " + failure_class)
    keys = _keys(failures, per_key, profile)
    if per_key_limit is not None:
        told = f"over the limit of {per_key_limit:,} of its {per_key}"
        held.hold_beyond(keys != "", per_key_limit, keys, told)
    if action == "replay":
        unfit = misfits(failures[~repaired], profile).set_index("failure_id")["because"]
        unfit = failures["failure_id"].map("its payload does not fit the task: " + unfit)
        held.hold(unfit.notna(), unfit)
        hold_ungraded(held, failures, ungraded, profile)
    because = held.texts
    goes = because == ""
    order = failures.index[goes]  # a failures frame is sorted by time: the oldest goes first
    if limit is not None and len(order) > limit:
        because.loc[order[limit:]] = f"over the limit of {limit:,}"
        order = order[:limit]
    chosen = failures.loc[order].assign(generation=generation.loc[order], key=keys.loc[order])
    chosen = chosen.assign(
        content_hash=_hashes(chosen),
        target=_targets(chosen, action, profile),
        work=works(chosen, profile.keys, profile) if action == "replay" else "",
    )
    chosen = chosen[CHOSEN].reset_index(drop=True)
    held_back = failures.loc[because != "", _STAYS].assign(because=because[because != ""])
    made = Plan(
        action=action,
        source=source,
        reason=reason.strip(),
        selection=str(failures.attrs.get("selection", "a frame made by hand")),
        options={
            "limit": limit,
            "classes": sorted(str(name) for name in classes),
            "max_generations": max_generations,
            "ungraded": ungraded,
            "per_key": per_key,
            "per_key_limit": per_key_limit,
            "effects": effects is not None and len(effects) > 0,
        },
        chosen=chosen,
        held_back=held_back.reset_index(drop=True),
        payloads={one: payloads[one] for one in chosen["failure_id"] if one in payloads},
        warnings=tuple(cautions(failures, chosen, journal, action, classes, effects, profile)),
    )
    return made


def undo(run_id: str, journal: Journal, *, reason: str) -> Plan:
    """A plan that takes back what a run did, where that can still be done: of a replay the messages that
    nobody has taken yet, of a quarantine or an archive everything. It goes through `dlq.replay` like any
    other. Raises PlanError for a purge, for a run of this kind, and for one that sent nothing.
    """
    head = journal.run(run_id)
    if head["action"] == "purge":
        raise PlanError(
            f"Run {run_id} was a purge: its rows are gone. The run's snapshot in DLQ_HOME has them whole."
        )
    if head["action"] == "by_hand":
        raise PlanError(
            f"{run_id} is a note of what was done by hand. dlq.forget({run_id!r}, journal) lets its failures be"
            " planned again."
        )
    if head["action"] in FLEETING:
        raise PlanError(f"Run {run_id} was {head['action']}: plan the opposite instead.")
    if not reason or not reason.strip():
        raise PlanError('A plan needs a reason, for the journal: reason="sent too early".')
    action = "undo" if head["action"] == "replay" else "restore"
    every = journal.items(run_id)
    sent = every[every["state"] == State.SENT].reset_index(drop=True)
    if not len(sent):
        raise PlanError(f"Run {run_id} sent nothing, so there is nothing to take back.")
    held = Held(sent)
    later = journal.items(source=head["source"])
    later = later[(later["action"] == action) & (later["state"] == State.SENT)]
    if len(later):
        since = sent["failure_id"].map(later.groupby("failure_id")["at"].max())
        held.hold(since > sent["at"], f"was {ACTIONS[action]} already")
    outcome = sent["outcome"].astype("str")
    held.hold(sent["outcome"].notna(), "has run already: " + outcome)
    goes = held.texts == ""
    rows = sent.assign(failed_at=pd.NaT, failure_class="", rule="", because=held.texts)
    return Plan(
        action=action,
        source=head["source"],
        reason=reason.strip(),
        selection=f"what run {run_id} sent",
        options={"undoes": run_id},
        chosen=rows.loc[goes, [*CHOSEN, "sent_id"]].reset_index(drop=True),
        held_back=rows.loc[~goes, [*_STAYS, "because"]].reset_index(drop=True),
    )


def _targets(chosen: pd.DataFrame, action: str, profile: Profile) -> pd.Series:
    """The queue that [routes] names for each; empty for its own: some tables note every queue as `default`."""
    if action != "replay":
        return pd.Series("", index=chosen.index, dtype="str")
    names = chosen["task_name"].astype("str").fillna("")
    named = {name: profile.of(profile.routes, name) or "" for name in names.unique()}
    return names.map(named).astype("str")


def _refuse(
    failures: pd.DataFrame, reason: str, action: str, limit: int | None, classes: tuple[str, ...]
) -> None:
    check(failures)
    if failures.attrs.get("summary_of"):
        raise PlanError(
            "This is a summary: each row stands for many failures. Load those you mean (dlq.load with queue,"
            " task or exception), then plan."
        )
    if not reason or not reason.strip():
        raise PlanError(
            'A plan needs a reason, for the journal: reason="INC-42: provider is back".'
        )
    if action not in ACTIONS:
        raise PlanError(f"There is no action '{action}'. {did_you_mean(action, ACTIONS)}")
    if action in ("undo", "restore"):
        raise PlanError(
            f"To {action} is planned from a run: dlq.undo(run_id, journal, reason=...)."
        )
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
    everything = len(failures) >= failures.attrs.get("loaded", 0)
    if limit is None and everything and not failures.attrs.get("narrows", True):
        raise PlanError(
            "These failures were loaded without any filter. Load them with since, queue, task or"
            " exception, filter the frame, or give the plan a limit: a plan for everything is refused."
        )


def _repaired(failures: pd.DataFrame, action: str) -> dict[str, bytes]:
    """failure_id -> the payload that goes instead, for those that were repaired."""
    if action != "replay" or "repaired" not in failures:
        return {}
    there = failures[failures["repaired"].notna()]
    return dict(zip(there["failure_id"], map(bytes, there["repaired"]), strict=True))


def _generations(failures: pd.DataFrame, history: pd.DataFrame, source: str) -> pd.Series:
    """Which replay this would be: 1 for the first; a task that came back counts its earlier ones, those from
    other systems where its id is the same everywhere."""
    first = pd.Series(1, index=failures.index, dtype="int64")
    if not len(history):
        return first
    sent = history[(history["state"] == State.SENT) & (history["action"] == "replay")]
    sent = sent[~was_undone(sent, history)]
    sent = sent[(sent["source"] == source) | sent["task_id"].map(worldwide).astype(bool)]
    by_id = pd.concat(
        [sent.set_index("sent_id")["generation"], sent.set_index("task_id")["generation"]]
    )
    by_id = by_id[by_id.index != ""].groupby(level=0).max()
    known = failures["task_id"].map(by_id)
    return first.where(known.isna(), known.fillna(0).astype("int64") + 1)


def _keys(failures: pd.DataFrame, per_key: str | None, profile: Profile) -> pd.Series:
    """A short hash of what must go one at a time; empty without `per_key`, and where it cannot be built."""
    if not per_key:
        return pd.Series("", index=failures.index, dtype="str")
    template = per_key if "{" in per_key else f"{{{per_key}}}"
    keys = business_keys(failures, template, profile)
    if not keys.notna().any():
        raise PlanError(
            f"No payload has what per_key='{per_key}' asks for. Name a field of kwargs, such as tenant_id, or one of args by its"
            " number, such as {0}, or by the name that [signatures] of the profile give it."
        )
    hashes = {
        key: hashlib.sha256(str(key).encode("utf-8", "backslashreplace")).hexdigest()[:12]
        for key in keys.dropna().unique()
    }
    return keys.map(hashes).fillna("").astype("str")


def _hashes(chosen: pd.DataFrame) -> pd.Series:
    columns = ["task_id", "task_name", "queue", "args", "kwargs"]
    values = [content_hash(*row) for row in chosen[columns].itertuples(index=False, name=None)]
    return pd.Series(values, index=chosen.index, dtype="str")
