"""What every hand must do: call `check_hand` with a `Ground`, a real system that holds NEEDED failures.

What is asked depends on what the hand can do; a Ground says itself what its hand has no way for (`without`), so that
nothing is left out in silence. For each action that takes a failure away, replay, quarantine, archive and purge:

| check | asks |
|---|---|
| `exactly` | of M failures the N of a plan go, through dlq.replay; the others are as they were; the accounts add up, one receipt each; the run's snapshot has what went; a second run, a resume and a late settle send nothing more |
| `moved_on` | what changed since the plan, or is gone, is skipped with a reason |
| `at_once` | of two hands at the same moment each item is sent by one |
| `taken_back` | undo and restore give the same bytes, once, of their own run alone; and those may go again |

and for all: `named` like its source, `cut_off` (a sender that dies is settled by what is there, and gone on with),
`unasked` (any other action is refused with what it can do), `unreached`, `misspelt` and `discreet` (no secret in names,
sentences, receipts).

Not here, for they are each system's own: repairs, routes, workers that take things meanwhile, what each odd answer
means, kills of a whole process.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import DLQError, RunError
from dlqanalysis.frame import HEAVY
from dlqanalysis.journal import Journal
from dlqanalysis.model import FailureClass, Hand, Item, Outcome, Receipt, State
from dlqanalysis.plan import ACTIONS, Plan
from dlqanalysis.profile import Profile, home
from dlqanalysis.replay.run import Run
from tests.waiting import UNGATED, until

FORWARD = ("replay", "quarantine", "archive", "purge")
BACK = {"replay": "undo", "quarantine": "restore", "archive": "restore"}
NEEDED = 64  #: failures that a Ground holds when the suite begins, each with another payload


class Ground:
    """One system as the suite sees it from outside, by its own client. A failure goes by the task_id of its row."""

    url: str  #: with `secret` in it, where the system takes one
    nowhere: str  #: such a URL at a port where nobody answers
    secret: str = "s3cret"
    without: frozenset[str] = frozenset()  #: actions that its hand has no way for
    keeps: frozenset[str] = frozenset({"quarantine", "archive"})  #: what a restore brings back
    silent: bool = False  #: what was sent shows nowhere, so that its settling may leave it in doubt
    shared: frozenset[str] = (
        frozenset()
    )  #: what two at the same moment may both say they did, to one effect
    patience: float = 20  #: seconds until a system shows what a closed connection held

    def source(self) -> Any:
        """Opens what reads."""
        return dlq.connect(self.url)

    def hand(self) -> Hand:
        """Opens what writes, anew each time, as another process would."""
        return dlq.connect_hand(self.url)

    def can(self) -> pd.DataFrame:
        """What the kit says can be done there."""
        return dlq.capabilities(self.url)

    def lost(self) -> Hand:
        """The hand of a system that does not answer."""
        return dlq.connect_hand(self.nowhere)

    def dead(self) -> dict[str, Any]:
        """task_id -> everything that the system holds of a dead letter."""
        raise NotImplementedError

    def went(self) -> Counter[str]:
        """How often each task was given to workers, and not taken back."""
        raise NotImplementedError

    def change(self, task_id: str) -> None:
        """Somebody gives a dead letter another payload."""
        raise NotImplementedError

    def remove(self, task_id: str) -> None:
        """Somebody takes a dead letter out."""
        raise NotImplementedError

    def kept(self, row: Mapping[str, Any], dead: Any) -> bool:
        """Whether a row of the hand's snapshot has the content of what `dead` gave."""
        raise NotImplementedError


def with_secret(url: str, user: str, secret: str = Ground.secret) -> tuple[str, str]:
    """A URL with a password, and the password: its own, or one that a server which asks for none lets pass."""
    parts = urlsplit(url)
    if parts.password:
        return url, parts.password
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or user}:{secret}@{host}").geturl(), secret


def check_hand(ground: Ground, folder: Path) -> None:
    """Runs all checks; `folder` is for journals."""
    checks = _Checks(ground, folder)
    able = checks.able
    missing = {action for action in (*FORWARD, *BACK.values()) if action not in able}
    assert missing == ground.without, "name what the hand has no way for, and nothing else"
    checks.named()
    checks.unasked()
    checks.unreached()
    checks.misspelt()
    for action in (action for action in FORWARD if action in able):
        done = checks.exactly(action)
        if BACK.get(action) in able and (action == "replay" or action in ground.keeps):
            checks.taken_back(done)
        checks.moved_on(action)
        checks.at_once(action)
    checks.cut_off()
    checks.discreet()


class _Done(NamedTuple):
    """A run that did something to some failures."""

    rows: pd.DataFrame
    before: dict[str, Any]  #: what the system held of them
    plan: Plan
    run: Run
    journal: Journal


class _Checks:
    """The checks, and the failures that none of them has used yet."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.ground, self.folder, self.numbers = ground, folder, itertools.count()
        self.told = list[str]()  # every sentence that the hand has said
        self.heard = list[str]()  # failure_ids of the last run's receipts
        self.left = self.load().pipe(dlq.classify).pipe(dlq.fingerprint)
        assert len(self.left) >= NEEDED, f"plant {NEEDED} failures"
        self.twins = dlq.duplicates(self.left)
        self.known = {item.failure_id: item for item in self.plan("replay", self.left).items()}
        with self.hand() as hand:
            self.able, self.name = hand.capabilities, hand.name

    # ---- checks ----------------------------------------------------------------------------------

    def named(self) -> None:
        """A plan made from the source can be sent by the hand, and what it says it can do is what the kit says."""
        source = self.ground.source()
        names = {self.name, source.name, *self.left["source"]}
        assert len(names) == 1, f"several names of one system: {names}"
        says = self.ground.can().set_index("capability")["can"]
        assert set(says[says].index) - {"read", "monitor"} == self.able, "the kit says otherwise"
        with self.hand() as hand:
            self.told += [source.name, repr(source), hand.name, repr(hand)]
        hand.close()  # a second time: nothing happens

    def unasked(self) -> None:
        """What it cannot do is refused before anything moves, with what it can."""
        rows = self.left.head(2)
        with self.unchanged(), self.hand() as hand:
            for action in {*ACTIONS, "dance"} - self.able:
                with pytest.raises(RunError) as refused:
                    list(hand.send(action, self.items(rows), "run-x"))
                said = str(refused.value)
                assert action in said and all(can in said for can in self.able & set(ACTIONS)), said
                self.told.append(said)
        for action in set(FORWARD) - self.able:
            with self.unchanged(), pytest.raises(RunError, match=f"cannot {action}. It can: "):
                self.run(self.plan(action, rows), self.journal())

    def exactly(self, action: str) -> _Done:
        """Exactly the selection moves, once, whoever asks again."""
        rows, journal = self.draw(3), self.journal()
        plan, others = self.plan(action, rows, journal), self.left
        tasks, dead, began = list(rows["task_id"]), self.ground.dead(), datetime.now(UTC)
        before = {one: dead[one] for one in tasks}
        with self.moving(action, tasks):
            done = self.run(plan, journal)
        self.adds_up(done, plan, sent=3)
        self.whole(journal, done.run_id, before)
        with self.moving(action, []):
            second = self.run(plan, self.journal())
            self.adds_up(second, plan, skipped=3)
            resumed = self.resume(done, plan, journal)
            assert resumed.finished and set(resumed.items["state"]) == {State.SENT}, resumed
        with self.unchanged(), self.hand() as hand:
            ids = dict(zip(done.items["failure_id"], done.items["sent_id"], strict=True))
            told = list(hand.settle(list(plan.items()), done.run_id))
            self.settled(told, *[State.SENT] * 3)
            if action == "replay":
                assert all(r.sent_id in ("", ids[r.failure_id]) for r in told), (told, ids)
            unsent = self.items(others.head(2), action)
            self.settled(hand.settle(unsent, done.run_id), *[State.NOT_REACHED] * 2)
            if action == "replay" and "outcome" in self.able:
                found = list(hand.outcomes(ids, began))
                assert sorted(v.failure_id for v in found) == sorted(ids), found
                assert {v.outcome for v in found} <= {Outcome.PENDING, Outcome.UNKNOWN}, found
        now, theirs = self.load().set_index("failure_id"), others.set_index("failure_id")
        assert not set(rows["failure_id"]) & set(now.index), "what went is read on"
        plain = now.columns.difference(HEAVY)  # one traceback of a kind comes: of what is left
        pd.testing.assert_frame_equal(now.loc[theirs.index, plain], theirs[plain])
        return _Done(rows, before, plan, done, journal)

    def moved_on(self, action: str) -> None:
        """What is no longer as it was planned stays, with a reason; the rest goes."""
        rows, journal = self.draw(3), self.journal()
        stays, changed, gone = rows["task_id"]
        plan = self.plan(action, rows, journal)
        self.ground.change(changed)
        self.ground.remove(gone)
        with self.moving(action, [stays]):
            done = self.run(plan, journal)
        self.adds_up(done, plan, sent=1, skipped=2)
        state = done.items.set_index("task_id")["state"]
        assert state[stays] == State.SENT, state.to_dict()

    def at_once(self, action: str) -> None:
        """Two hands begin in the same moment, from both ends."""
        rows = self.draw(6)
        items, meeting = self.items(rows, action), threading.Barrier(2)
        found: dict[str, list[Receipt]] = {}

        def act(run_id: str, mine: Sequence[Item]) -> None:
            with self.hand() as hand:
                meeting.wait(60)
                found[run_id] = list(hand.send(action, mine, run_id))

        with self.moving(action, list(rows["task_id"])):
            both = [
                threading.Thread(target=act, args=("run-one", items)),
                threading.Thread(target=act, args=("run-two", items[::-1])),
            ]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join(120)
        assert set(found) == {"run-one", "run-two"}, "a hand raised, or never came back"
        for receipts in found.values():
            self.one_each(receipts, items)
        states = [{r.failure_id: r.state for r in receipts} for receipts in found.values()]
        for item in items:
            pair = [told[item.failure_id] for told in states]
            once = {1, 2} if action in self.ground.shared else {1}
            assert pair.count(State.SENT) in once, pair
            assert set(pair) <= {State.SENT, State.SKIPPED, State.NOT_REACHED}, pair

    def cut_off(self) -> None:
        """A sender dies after its first receipt; who comes after it learns from the system how far it came."""
        rows = self.draw(4)
        items = self.items(rows)
        with self.moving("replay", list(rows["task_id"])):
            with self.hand() as hand:
                sending = iter(hand.send("replay", items, "run-cut"))
                first = next(sending)
                sending.close()
            assert first.state == State.SENT, first
            with self.hand() as hand:
                states = self.settled(hand.settle(items, "run-cut"))
                assert states[first.failure_id] in self.sent
                left = [i for i in items if states[i.failure_id] == State.NOT_REACHED]
                more = self.one_each(hand.send("replay", left, "run-cut"), left)
                assert {r.state for r in more} <= {State.SENT}, more
                again = self.one_each(hand.send("replay", items, "run-cut"), items)
                assert {r.state for r in again} <= {State.SENT, State.SKIPPED}, again

    def taken_back(self, done: _Done) -> None:
        """What a run did is undone whole, by a plan; then it may be done anew."""
        rows, tasks, journal = done.rows, list(done.rows["task_id"]), done.journal
        undo = dlq.undo(done.run.run_id, journal, reason="suite")
        back, items = undo.action, list(undo.items())
        assert (back, len(items)) == (BACK[done.plan.action], 3), undo
        with self.unchanged(), self.hand() as hand:
            self.settled(hand.settle(items, "run-back"), *[State.NOT_REACHED] * 3)
            others = [replace(item, undoes="run-of-others") for item in items]
            theirs = self.one_each(hand.send(back, others, "run-back"), items)
            assert {r.state for r in theirs} == {State.SKIPPED}, theirs
        with self.moving(back, tasks):
            taken = self.run(undo, journal)
        self.adds_up(taken, undo, sent=3)
        now = self.ground.dead()
        assert {one: now[one] for one in tasks} == done.before, "it came back as something else"
        with self.unchanged(), self.hand() as hand:
            self.settled(hand.settle(items, taken.run_id), *[State.SENT] * 3)
            late = self.one_each(hand.send(back, items, "run-late"), items)
            assert {r.state for r in late} == {State.SKIPPED}, late
        assert set(rows["failure_id"]) <= set(self.load()["failure_id"]), "under another name"
        again = self.plan(
            done.plan.action, rows, journal, "once more"
        )  # else it were the same plan
        with self.moving(done.plan.action, tasks):
            self.adds_up(self.run(again, journal), again, sent=3)

    def unreached(self) -> None:
        """A system that does not answer is told as such, and the URL's secret is not told with it."""
        items = self.items(self.left.head(2))
        tries: list[Callable[[Hand], Any]] = [
            lambda hand: hand.snapshot([item.failure_id for item in items]),
            lambda hand: hand.preflight(items),
            lambda hand: list(hand.send("replay", items, "run-x")),
        ]
        for ask in tries:
            try:
                with self.ground.lost() as hand:
                    self.told.append(repr(hand))
                    said = ask(hand)
            except DLQError as error:
                said = error
            self.told.append(str(said))
        self.discreet()

    def misspelt(self) -> None:
        """A URL whose password has a bare sign in it is refused in the kit's words, which do not tell what slid out."""
        place = f":{self.ground.secret}@"
        for begins in (f"17{sign}" for sign in "/?#") if place in self.ground.url else ():
            url = self.ground.url.replace(place, f":{begins}{self.ground.secret}@")
            for door in (dlq.connect, dlq.connect_hand):
                with pytest.raises(DLQError) as refused:
                    door(url)
                self.told.append(str(refused.value))
        self.discreet()

    def discreet(self) -> None:
        """The URL's secret is in nothing that was told so far."""
        secrets = {self.ground.secret, Ground.secret}
        told = [one for one in self.told if any(secret in one for secret in secrets)]
        assert not told, f"it tells a secret: {told}"

    # ---- ways ------------------------------------------------------------------------------------

    def hand(self) -> Any:
        return self.ground.hand()

    def load(self) -> pd.DataFrame:
        return dlq.load(self.ground.source(), since=None)

    def journal(self) -> Journal:
        """One that no other run of the suite has."""
        return Journal(f"sqlite:///{self.folder / f'suite-{next(self.numbers)}.sqlite'}")

    def draw(self, count: int) -> pd.DataFrame:
        """Failures of nobody's, each second one, so that others lie between them."""
        rows = self.left.iloc[1 : 2 * count : 2]
        assert len(rows) == count, f"plant more than {NEEDED} failures"
        self.left = self.left[~self.left["failure_id"].isin(rows["failure_id"])]
        return rows.reset_index(drop=True)

    def plan(
        self, action: str, rows: pd.DataFrame, journal: Journal | None = None, reason: str = "suite"
    ) -> Plan:
        plan = dlq.plan(
            rows, journal, reason=reason, action=action, limit=len(rows),
            classes=tuple(FailureClass), ungraded=None, duplicates=self.twins, profile=Profile(),
        )  # fmt: skip
        assert len(plan.chosen) == len(rows), plan
        return plan

    def items(self, rows: pd.DataFrame, action: str = "replay") -> list[Item]:
        """The rows as a hand takes them, without a run around them."""
        return [replace(self.known[one], action=action) for one in rows["failure_id"]]

    def run(self, plan: Plan, journal: Journal) -> Run:
        with self.hand() as hand:
            listening = _Listening(hand)
            self.heard = listening.heard
            return dlq.replay(
                plan, to=listening, journal=journal, confirm=plan.confirmation, profile=Profile(),
                stages=(1, None), **{**UNGATED, "progress": self.told.append},
            )  # fmt: skip

    def resume(self, run: Run, plan: Plan, journal: Journal) -> Run:
        with self.hand() as hand:
            return dlq.resume(
                run.run_id, to=hand, journal=journal, confirm=plan.confirmation, profile=Profile(),
                progress=self.told.append,
            )  # fmt: skip

    @property
    def sent(self) -> set[State]:
        """What a late settling may say of what was sent."""
        return {State.SENT, State.UNCERTAIN} if self.ground.silent else {State.SENT}

    def moving(self, action: str, tasks: list[str]) -> "_Moving":
        """That of what follows these tasks move, and nothing else."""
        return _Moving(self.ground, action, tasks)

    def unchanged(self) -> "_Moving":
        return _Moving(self.ground, "nothing", [])

    def adds_up(self, run: Run, plan: Plan, **states: int) -> None:
        """planned is the sum of its states; and of each item there is one receipt, with a reason where it stayed."""
        assert sorted(self.heard) == sorted(plan.chosen["failure_id"]), "not one receipt an item"
        row = run.summary.iloc[0]
        assert row["planned"] == sum(row[str(state)] for state in State) == len(plan.chosen), run
        assert run.items["failure_id"].tolist() == plan.chosen["failure_id"].tolist(), run
        told = run.items[["failure_id", "state", "detail"]].to_dict("records")
        assert run.items["state"].value_counts().to_dict() == states, told
        assert run.items.loc[run.items["state"] != State.SENT, "detail"].all(), "it says no reason"
        self.told += [repr(run), *run.items["detail"]]

    def whole(self, journal: Journal, run_id: str, dead: Mapping[str, Any]) -> None:
        """The run's snapshot has every item with its bytes."""
        events = journal.events(run_id)
        [noted] = events.loc[events["event"] == "snapshot", "detail"]
        kept = pd.read_parquet(home() / "snapshots" / noted["file"], dtype_backend="pyarrow")
        tasks = journal.items(run_id).set_index("failure_id")["task_id"]
        rows = {tasks[self.ident(row, tasks)]: row for row in kept.to_dict("records")}
        assert set(rows) == set(dead), "the snapshot has not what went"
        assert all(self.ground.kept(rows[one], dead[one]) for one in dead), "nor its content"

    @staticmethod
    def ident(row: Mapping[str, Any], tasks: pd.Series) -> str:
        """The failure that a row of a snapshot is of: by its failure_id, or by the id of its table."""
        return str(row["failure_id"] if "failure_id" in row else row["id"])

    def one_each(self, receipts: Iterable[Receipt], items: Sequence[Item]) -> list[Receipt]:
        got = list(receipts)
        ids = sorted(item.failure_id for item in items)
        assert sorted(r.failure_id for r in got) == ids, "not one receipt an item"
        assert all(r.detail for r in got if r.state != State.SENT), "it says no reason"
        self.told += [str(r) for r in got]
        return got

    def settled(self, receipts: Iterable[Receipt], *states: State) -> dict[str, State]:
        """failure_id -> state; of them all as many as are named, `sent` where that can be told."""
        got = list(receipts)
        self.told += [str(r) for r in got]
        if states:
            assert len(got) == len(states), got
            for receipt, state in zip(got, states, strict=True):
                assert receipt.state in (self.sent if state == State.SENT else {state}), receipt
        assert {r.state for r in got} <= {State.SENT, State.NOT_REACHED, *self.sent}, got
        return {r.failure_id: r.state for r in got}


class _Listening:
    """A hand whose receipts somebody hears, too."""

    def __init__(self, hand: Hand) -> None:
        self.hand, self.heard = hand, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hand, name)

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        for receipt in self.hand.send(action, items, run_id):
            self.heard.append(receipt.failure_id)
            yield receipt


class _Moving:
    """Looks at a system before and after: that exactly some tasks have moved as an action moves them."""

    def __init__(self, ground: Ground, action: str, tasks: list[str]) -> None:
        self.ground, self.action, self.tasks = ground, action, tasks

    def __enter__(self) -> None:
        self.dead, self.went = self.ground.dead(), self.ground.went()

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            return
        back = self.action in BACK.values()
        there = {one: what for one, what in self.dead.items() if back or one not in self.tasks}
        went = Counter(self.went)
        if self.action == "replay":
            went.update(self.tasks)
        elif self.action == "undo":
            went.subtract(self.tasks)
        # what a hand held goes back when it closes, a moment later
        try:
            until(lambda: self.alike(there, back), "it", self.ground.patience)
        except AssertionError:
            now = self.ground.dead()
            raise AssertionError(
                f"{self.action} of {self.tasks} alone: too many {sorted(now.keys() - there)}, too few"
                f" {sorted(there.keys() - now)}, others {[one for one in there if now.get(one) != there[one]]}"
            ) from None
        now = +self.ground.went()
        assert now == +went, f"workers got {now}, not {+went}"

    def alike(self, there: Mapping[str, Any], back: bool) -> bool:
        now = self.ground.dead()
        if back:
            return {*there, *self.tasks} == set(now) and there.items() <= now.items()
        return now == there
