"""The suite for hands is strict: what a careless hand does, it sees."""

import json
import threading
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import ConnectError, RunError
from dlqanalysis.frame import content_hash
from dlqanalysis.model import Outcome, Receipt, State, Verdict
from dlqanalysis.plan import ACTIONS as EVERY
from tests.hand_suite import NEEDED, Ground, check_hand
from tests.test_source_suite import Rows

ACTIONS = ("replay", "quarantine", "restore")


class Store(Ground):
    """A system in memory; `open_hand` is what writes to it."""

    url, nowhere = "rows://u:s3cret@here", "rows://u:s3cret@nowhere"
    without = frozenset({"archive", "purge", "undo"})
    patience = 0

    def __init__(self, open_hand):
        self.open_hand, self.lock = open_hand, threading.Lock()
        self.rows = {f"t{n}": {"order": n} for n in range(NEEDED)}
        self.sent, self.aside, self.done = Counter(), {}, {}
        self.looked = threading.Barrier(2)

    def source(self):
        return Rows(
            *(
                {
                    "failure_id": one, "source": "rows", "task_id": one, "task_name": "charge",
                    "queue": "a", "status": "failed", "args": "[]", "kwargs": json.dumps(said),
                }
                for one, said in self.rows.items()
            )
        )  # fmt: skip

    def hand(self):
        return self.open_hand(self)

    def lost(self):
        return self.open_hand(None)

    def can(self):
        names = sorted(Careful.capabilities)
        return pd.DataFrame({"capability": names, "can": [True] * len(names)})

    def dead(self):
        return {one: json.dumps(said) for one, said in self.rows.items()}

    def went(self):
        return Counter(self.sent)

    def change(self, task_id):
        self.rows[task_id] = {"order": -1}

    def remove(self, task_id):
        del self.rows[task_id]

    def kept(self, row, dead):
        return row["raw"] == dead


class Careful:
    """A hand that does as it should."""

    name = "rows"
    capabilities = frozenset({*ACTIONS, "outcome", "settle"})

    def __init__(self, store):
        self.store = store

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return "Careful(rows)"

    def close(self):
        pass

    def preflight(self, items):
        return []

    def snapshot(self, failure_ids):
        if self.store is None:
            raise ConnectError("rows does not answer. Check its address.")
        raws = [json.dumps(self.store.rows[i]) if i in self.store.rows else "" for i in failure_ids]
        return pd.DataFrame({"failure_id": list(failure_ids), "raw": raws}, dtype="str")

    def send(self, action, items, run_id):
        if action not in ACTIONS:
            raise RunError(f"rows can {', '.join(ACTIONS)}, not {action}.")
        for item in items:
            if self.store is None:
                yield said(item, State.NOT_REACHED, "rows does not answer")
                continue
            with self.store.lock:
                why = self.objection(action, item)
                if not why:
                    self.act(action, item, run_id)
            yield said(item, State.SKIPPED if why else State.SENT, why)

    def objection(self, action, item):
        """Why an item is not touched; empty when it may be."""
        if action == "restore":
            run, _ = self.store.aside.get(item.failure_id, ("", ""))
            return "" if run == item.undoes else "that run did not set it aside"
        row = self.store.rows.get(item.failure_id)
        if row is None:
            return "it is gone"
        now = content_hash(item.task_id, item.task_name, item.queue, "[]", json.dumps(row))
        return "" if now == item.content_hash else "its content changed"

    def act(self, action, item, run_id):
        one, store = item.failure_id, self.store
        if action == "restore":
            _, store.rows[one] = store.aside.pop(one)
        else:
            row = store.rows.pop(one)
            if action == "replay":
                store.sent[one] += 1
            else:
                store.aside[one] = run_id, row
        store.done[one, action] = run_id

    def settle(self, items, run_id):
        for item in items:
            action = "restore" if item.undoes else item.action
            mine = self.store.done.get((item.failure_id, action)) == run_id
            yield said(item, State.SENT if mine else State.NOT_REACHED, "by its notes")

    def outcomes(self, items, since):
        return [Verdict(failure_id=one, outcome=Outcome.PENDING) for one in items]


def said(item, state, detail=""):
    return Receipt(failure_id=item.failure_id, state=state, detail=detail)


class Stranger(Careful):
    """Has another name than its source."""

    name = "others"


class Willing(Careful):
    """Takes an action that it does not know for one that it does."""

    def send(self, action, items, run_id):
        return super().send(action if action in ACTIONS else "replay", items, run_id)


class Eager(Careful):
    """Sends what changed, too."""

    def objection(self, action, item):
        why = super().objection(action, item)
        return "" if "changed" in why else why


class Twice(Careful):
    """Gives to workers again what is gone."""

    def objection(self, action, item):
        why = super().objection(action, item)
        if action == "replay" and "gone" in why:
            self.store.sent[item.failure_id] += 1
        return why


class Greedy(Careful):
    """Takes one more than it was asked to."""

    def act(self, action, item, run_id):
        super().act(action, item, run_id)
        self.store.rows.pop(next(iter(self.store.rows)))


class Mute(Careful):
    """Skips without a receipt."""

    def send(self, action, items, run_id):
        yield from (r for r in super().send(action, items, run_id) if r.state != State.SKIPPED)


class Sparing(Careful):
    """Keeps the first row only before all of them go."""

    def snapshot(self, failure_ids):
        return super().snapshot(failure_ids).head(1)


class Hopeful(Careful):
    """Says of everything that it was sent."""

    def settle(self, items, run_id):
        return [said(item, State.SENT, "most likely") for item in items]


class Racing(Careful):
    """Looks at all, and then acts without another look."""

    def send(self, action, items, run_id):
        fits = [not self.objection(action, item) for item in items] if self.store else []
        if not run_id.startswith("run-one") and not run_id.startswith("run-two"):
            yield from super().send(action, items, run_id)
            return
        self.store.looked.wait(60)
        for item, fit in zip(items, fits, strict=True):
            self.store.sent[item.failure_id] += fit
            self.store.rows.pop(item.failure_id, None)
            yield said(item, State.SENT if fit else State.SKIPPED, "as it was seen")


class Obliging(Careful):
    """Gives back what another run set aside."""

    def objection(self, action, item):
        undoes = self.store.aside.get(item.failure_id, ("", ""))[0] or "gone"
        return super().objection(action, replace(item, undoes=undoes))


class Chatty(Careful):
    """Says where it was to go, password and all."""

    def snapshot(self, failure_ids):
        if self.store is None:
            raise ConnectError(f"{Store.nowhere} does not answer. Check its address.")
        return super().snapshot(failure_ids)


def test_a_careful_hand_passes(tmp_path):
    check_hand(Store(Careful), tmp_path)


@pytest.mark.parametrize(
    ("hand", "sees"),
    [
        (Stranger, "several names of one system"),
        (Willing, "DID NOT RAISE"),
        (Eager, r"replay of .* alone: too many \[\], too few \['t"),
        (Twice, "workers got .*, not "),
        (Greedy, r"replay of .* alone: too many \[\], too few \['t"),
        (Mute, "not one receipt an item"),
        (Sparing, "the snapshot has not what went"),
        (Hopeful, "most likely"),
        (Racing, "State.SENT.*State.SENT|workers got"),
        (Obliging, "State.SENT"),
        (Chatty, "it tells a secret"),
    ],
)
def test_a_careless_hand_is_seen(hand, sees, tmp_path):
    with pytest.raises((AssertionError, pytest.fail.Exception), match=sees):
        check_hand(Store(hand), tmp_path)


def test_what_is_left_out_must_be_said(tmp_path):
    store = Store(Careful)
    store.without = frozenset({"archive", "purge"})
    with pytest.raises(AssertionError, match="name what the hand has no way for"):
        check_hand(store, tmp_path)


@pytest.mark.parametrize("url", ["celery+redis://127.0.0.1:1/0", "queue+http://127.0.0.1:1/api/v1"])
def test_hands_that_move_no_failures_refuse_what_else_they_are_asked(url):
    """They have no failures for the suite. To revoke a task that was to be replayed would lose it."""
    with dlq.connect_hand(url) as hand:
        able = hand.capabilities & set(EVERY)
        for action in {*EVERY, "dance"} - able:
            with pytest.raises(RunError, match=f"not {action}") as refused:
                list(hand.send(action, [], "run-x"))
            assert all(can in str(refused.value) for can in able)
