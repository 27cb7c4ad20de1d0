"""Why a failure stays. The first reason that holds wins, so the order in which they are asked is meaning."""

from collections.abc import Mapping

import pandas as pd

from dlqanalysis.duplicates import works
from dlqanalysis.model import SETTLED, Outcome, State, worldwide
from dlqanalysis.plan.frozen import ACTIONS
from dlqanalysis.profile import Profile


class Held:
    """Why each failure stays; empty for those that may go."""

    def __init__(self, failures: pd.DataFrame) -> None:
        self.texts = pd.Series("", index=failures.index, dtype="str")

    def hold(self, where: pd.Series, text: "str | pd.Series") -> None:
        """Give those of `where` that have no reason yet this one."""
        mask = where.to_numpy(dtype=bool, na_value=False) & (self.texts == "").to_numpy()
        self.texts.loc[mask] = text.loc[mask].astype("str") if isinstance(text, pd.Series) else text

    def hold_beyond(
        self, where: pd.Series, most: int, by: pd.Series, text: "str | pd.Series"
    ) -> None:
        """Of those of `where` that may still go, keep the first `most` of each value of `by`."""
        free = where.to_numpy(dtype=bool, na_value=False) & (self.texts == "").to_numpy()
        number = by[free].groupby(by[free], observed=True).cumcount()
        beyond = pd.Series(False, index=self.texts.index)
        beyond.loc[number.index[number >= most]] = True
        self.hold(beyond, text)


def hold_acted_on(
    held: Held, failures: pd.DataFrame, everywhere: pd.DataFrame, source: str, action: str
) -> None:
    """What cannot be sent, and what somebody has acted on before, by the journal's items of all sources."""
    if action == "replay":
        state = failures["payload_state"].astype("str").fillna("missing")
        held.hold(state != "complete", "payload is " + state)
    status = failures["status"].astype("str")
    done = set(SETTLED) - ({"replayed"} if action == "archive" else set())
    held.hold(status.isin(done), "status is already " + status)
    if action != "archive":
        held.hold(failures["replayed_at"].notna(), "was already replayed")
    if not len(everywhere):
        return
    _hold_by_journal(held, failures, everywhere[everywhere["source"] == source], action)
    if action == "replay":
        _hold_twins(held, failures, everywhere)


def _hold_by_journal(
    held: Held, failures: pd.DataFrame, history: pd.DataFrame, action: str
) -> None:
    sent = history[history["state"] == State.SENT].sort_values("at", kind="stable")
    if action == "archive":
        sent = sent[sent["action"] != "replay"]
    if action != "replay":
        sent = sent[sent["action"] != "by_hand"]
    for rows, words in (
        (sent, "was already {0} in run {1}"),
        (history[history["state"] == State.UNCERTAIN], "is uncertain since run {1}: dlq.settle it"),
    ):
        last = rows.drop_duplicates("failure_id", keep="last").set_index("failure_id")
        last = last[~((last["state"] == State.SENT) & last["action"].isin(["undo", "restore"]))]
        done = last["action"].map({**ACTIONS, "by_hand": "done by hand"})
        pairs = zip(done, last["run_id"], strict=True)
        told = [words.format(*pair) for pair in pairs]
        found = failures["failure_id"].map(pd.Series(told, index=last.index, dtype="str"))
        held.hold(found.notna(), found)


def _hold_twins(held: Held, failures: pd.DataFrame, everywhere: pd.DataFrame) -> None:
    """A task that was replayed after it failed here, from another system or another entry, is this failure's
    other copy. Where the replay kept the task's id and failed again, what is there now may go."""
    asked = everywhere["state"].isin([State.SENT, State.UNCERTAIN])
    named = everywhere["task_id"].map(worldwide).astype(bool)
    replays = everywhere[asked & (everywhere["action"] == "replay") & named]
    replays = replays[~was_undone(replays, everywhere)]
    came_back = replays["outcome"].eq(Outcome.FAILED_AGAIN) & replays["sent_id"].eq(
        replays["task_id"]
    )
    last = replays[~came_back].sort_values("at", kind="stable")
    last = last.drop_duplicates("task_id", keep="last").set_index("task_id")
    if not len(last):
        return
    when = failures["task_id"].map(last["at"])
    told = "was replayed from " + last["source"] + " in run " + last["run_id"]
    asks = "is uncertain since run " + last["run_id"] + " of " + last["source"] + ": dlq.settle it"
    told = told.where(last["state"] == State.SENT, asks)
    held.hold(when.notna() & ~(failures["failed_at"] > when), failures["task_id"].map(told))


def hold_copies(
    held: Held, failures: pd.DataFrame, everywhere: pd.DataFrame, source: str, profile: Profile
) -> None:
    """A copy of a failure that was replayed: the one that stood for it is gone from the source, its work is done or
    under way. What failed after that replay is new work, and where it failed again nothing was done."""
    if not len(everywhere):
        return
    asked = everywhere["state"].isin([State.SENT, State.UNCERTAIN]) & (everywhere["work"] != "")
    replays = everywhere[
        asked & (everywhere["action"] == "replay") & (everywhere["source"] == source)
    ]
    replays = replays[~was_undone(replays, everywhere)]
    replays = replays[replays["outcome"].ne(Outcome.FAILED_AGAIN)]
    last = replays.sort_values("at", kind="stable").drop_duplicates("work", keep="last")
    if not len(last):
        return
    last = last.set_index("work")
    # of a million failures those that are not held yet and may be older than a replay: to hash payloads takes time
    asked = (held.texts == "") & ~(failures["failed_at"] > last["at"].max())
    work = works(failures[asked], profile.keys, profile).reindex(failures.index)
    when = work.map(last["at"])
    told = "duplicate: the one that stands for it was replayed in run " + last["run_id"]
    asks = (
        "duplicate: the one that stands for it is uncertain since run "
        + last["run_id"]
        + ": dlq.settle it"
    )
    told = told.where(last["state"] == State.SENT, asks)
    held.hold(when.notna() & ~(failures["failed_at"] > when), work.map(told))


def was_undone(sent: pd.DataFrame, history: pd.DataFrame) -> pd.Series:
    """Whether each of these items of the journal was taken back later, so that it never ran."""
    undone = history[(history["state"] == State.SENT) & (history["action"] == "undo")]
    if not len(undone):
        return pd.Series(False, index=sent.index)
    last = undone.groupby(["source", "failure_id"])["at"].max()
    keys = pd.MultiIndex.from_frame(sent[["source", "failure_id"]])
    return pd.Series(last.reindex(keys).array, index=sent.index) > sent["at"]


def hold_unsafe(
    held: Held,
    failures: pd.DataFrame,
    generation: pd.Series,
    duplicates: pd.DataFrame,
    effects: pd.DataFrame | None,
    workers: pd.DataFrame | None,
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
    held.hold(effect == "done", "its side effect was already done")
    later = duplicates[duplicates["first"].eq(False).fillna(False).astype(bool)]
    for kind, rows in later.groupby("kind", observed=True, sort=False):
        word = "business key" if kind == "business_key" else str(kind)
        held.hold(ids.isin(rows["failure_id"]), f"duplicate by {word}: an older one stands for it")
    held.hold(
        generation > max_generations, f"came back after {max_generations} replays: quarantine it"
    )
    registered = _registered(workers)
    if registered:
        held.hold(task.notna() & ~task.isin(registered), "no worker that answered knows its task")
    graded = by_grade(failures, profile)
    held.hold(task.isin(graded.get("never", [])), "task is graded never in the profile")
    held.hold(
        task.isin(graded.get("reconcile", [])) & (effect != "not_done"),
        "task is graded reconcile: nobody has checked its side effect (effects=dlq.side_effects(...))",
    )
    templates = [n for n in task.cat.categories if profile.of(profile.keys, str(n)) is not None]
    keyed = failures["idempotency_key"].notna() | task.isin(templates)
    held.hold(
        task.isin(graded.get("needs_key", [])) & ~keyed,
        "task is graded needs_key and has no idempotency key",
    )


def hold_ungraded(held: Held, failures: pd.DataFrame, most: int | None, profile: Profile) -> None:
    """Of a task whose safety nobody has judged, only a few may go."""
    if most is None:
        return
    names = by_grade(failures, profile).get(None, [])
    task = failures["task_name"].astype("str").fillna("")
    held.hold_beyond(
        task.isin([*names, ""]),
        most,
        task,
        f"task has no safety grade: {most} of it at a time, until the profile's [safety] names it",
    )


def by_grade(failures: pd.DataFrame, profile: Profile) -> Mapping[str | None, list[str]]:
    """Safety grade -> the names of the tasks that have it; None for those without one."""
    graded: dict[str | None, list[str]] = {}
    for name in failures["task_name"].cat.categories:
        grade = profile.of(profile.safety, str(name)) or profile.safety.get("*")
        graded.setdefault(grade, []).append(name)
    return graded


def _registered(workers: pd.DataFrame | None) -> set[str]:
    """The tasks that the workers which answered know; empty when none said."""
    if workers is None:
        return set()
    return {name for names in workers["tasks"].dropna() for name in names}
