"""The hand of dead-letter queues: publish and acknowledge in one channel transaction.

The dead-letter queue decides: a message that is still there was not replayed, one that is gone was. Messages
are held from the first look of a stage to a few seconds after its last item, under a lock that other runs and
loads of ours respect, and then given back.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

import pandas as pd
from pika import exceptions

from dlqanalysis.errors import ConnectError, DLQError, RunError
from dlqanalysis.model import Finding, Item, Outcome, Receipt, State, Verdict
from dlqanalysis.sources._results import Results
from dlqanalysis.sources.rabbitmq import message as messages
from dlqanalysis.sources.rabbitmq.held import (
    ASIDE_RUN,
    Hold,
    Lost,
    Message,
    Refused,
    first_copy,
    own_id_of,
    queue_of,
)
from dlqanalysis.sources.rabbitmq.link import LOST
from dlqanalysis.sources.rabbitmq.preflight import findings
from dlqanalysis.sources.rabbitmq.queues import QueueFacts, Queues
from dlqanalysis.sources.rabbitmq.rows import hash_of

_ASIDE = ".quarantine"  #: after the name of a dead-letter queue: where its messages are set aside
_IDLE = 5.0  #: seconds after which held messages go back
_GRACE = 1.5  #: seconds in which a broker gives back what a dead connection held
_LOOK = 5.0  #: seconds between looks for what came back
_RESULTS = {
    "SUCCESS": Outcome.SUCCEEDED,
    "FAILURE": Outcome.FAILED_AGAIN,
    "REVOKED": Outcome.FAILED_AGAIN,
}


class RabbitHand:
    """Replays, repairs, sets aside, brings back and purges messages of the dead-letter queues of one vhost."""

    capabilities = frozenset(
        {"replay", "repair", "reroute", "quarantine", "restore", "purge", "outcome", "settle"}
    )

    def __init__(self, queues: Queues, results: Results | None = None) -> None:
        self._queues, self._results = queues, results
        self._mutex = threading.RLock()
        self._timer: threading.Timer | None = None
        self._held: dict[str, Hold] = {}
        self._known: dict[str, QueueFacts] = {}
        self._came_back: dict[str, str] = {}  # sent id -> where
        self._looked = 0.0
        self._worn: set[str] = set()  # queues near their delivery limit
        self._left: dict[str, int] = {}  # depth of each queue after the last look

    @property
    def name(self) -> str:
        """The same as the source's."""
        return self._queues.address.name

    def __repr__(self) -> str:
        return f"RabbitHand({self.name} at {self._queues.address})"

    # ---- the port --------------------------------------------------------------------------------

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """The lock, the dead-letter queues, the target queues and their consumers, alarms."""
        with self._busy():
            targets = {item.target or item.queue for item in items}
            return findings(self._queues, {queue_of(i.failure_id) for i in items}, targets)

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """One row a message that is there: failure_id, queue, exchange, routing_key, shown (JSON of properties
        and headers), properties (their bytes on the wire), body (bytes). What is not in its dead-letter queue is
        looked for in the quarantine."""
        found = self._find(failure_ids)
        if missing := [i for i in failure_ids if i not in found]:
            found |= self._find(missing, aside=True)
        rows = [
            {
                "failure_id": i,
                "queue": m.dlq,
                "exchange": m.exchange,
                "routing_key": m.routing_key,
                "shown": messages.told(m),
                "properties": b"".join(m.properties.encode()),
                "body": m.body,
            }
            for i, m in found.items()
        ]
        names = ["failure_id", "queue", "exchange", "routing_key", "shown", "properties", "body"]
        frame = pd.DataFrame(rows, columns=names)
        return frame.astype({name: "str" for name in names[:5]})

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Act on each item in a transaction of its own; one receipt an item as soon as it is known."""
        if action not in ("replay", "quarantine", "restore", "purge"):
            raise RunError(f"{self.name} can replay, quarantine, restore and purge, not {action}.")
        return self._send(action, items, run_id)

    def _send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        ids, lost = [item.failure_id for item in items], ""
        for place, item in enumerate(items):
            try:
                if not lost:
                    found = self._find(ids[place:], action == "restore").get(item.failure_id)
            except (ConnectError, *LOST) as error:
                lost = f"nothing was sent: {_said(error)}"
            if lost:
                yield Receipt(failure_id=item.failure_id, state=State.NOT_REACHED, detail=lost)
                continue
            if found is None:
                text = self._absence(item, action)
                yield Receipt(failure_id=item.failure_id, state=State.SKIPPED, detail=text)
                continue
            with self._busy():
                yield self._act(action, item, found, run_id)

    def _absence(self, item: Item, action: str) -> str:
        """Why a message was not found."""
        if action == "restore":
            return "it is not in the quarantine queue"
        if self._cut(item):
            return "it is not among the oldest messages that are read at most: raise ?most="
        if self._facts(queue_of(item.failure_id)).others:
            return "it is gone, or held by somebody else who looks at the queue: plan again later"
        return "it is no longer in the dead-letter queue"

    def _act(self, action: str, item: Item, message: Message, run_id: str) -> Receipt:
        def receipt(state: State, detail: str = "", sent: str = "") -> Receipt:
            return Receipt(failure_id=item.failure_id, state=state, sent_id=sent, detail=detail)

        if hash_of(message) != item.content_hash:
            return receipt(State.SKIPPED, "its content changed since the plan was made")
        if message.properties.headers is None and action != "purge":
            return receipt(
                State.REFUSED, "its headers cannot be read, so they cannot be kept whole"
            )
        target, new_id, properties, body = None, "", None, None
        held = self._holding(message.dlq)
        try:
            if action == "replay":
                target = item.target or item.queue
                if not target:
                    return receipt(
                        State.REFUSED, "no queue is known: name one under [routes] in the profile"
                    )
                if target in self._queues.address.queues:
                    return receipt(
                        State.REFUSED, f"'{target}' is itself a dead-letter queue of this source"
                    )
                new_id = messages.sent_id(message, self._queues.address.same_ids)
                properties = messages.replayed(message, new_id, item, run_id)
                if item.payload is not None:
                    body, properties = messages.repaired(message, item.payload, properties)
                messages.fit(message, body)
            elif action == "quarantine":
                target = self._quarantine(message.dlq)
                properties = messages.set_aside(message, run_id)
            elif action == "restore":
                by = message.properties.header(ASIDE_RUN)
                if item.undoes and by != item.undoes:
                    return receipt(State.SKIPPED, f"run {by} set it aside, not {item.undoes}")
                target = queue_of(item.failure_id)
                properties = messages.brought_back(message)
            if target is not None:
                depth = self._queues.link.depth(target)
                if depth is None:
                    return receipt(State.REFUSED, f"there is no queue '{target}'")
                if why := self._queues.full(target, depth[0], len(body or message.body)):
                    return receipt(State.REFUSED, why)
        except messages.Unfit as error:
            return receipt(State.REFUSED, str(error))
        except (ConnectError, *LOST) as error:
            return receipt(State.NOT_REACHED, f"nothing was sent: {_said(error)}")
        try:
            if held.move(message, target, properties, body):
                self._left[message.dlq] = self._left.get(message.dlq, 0) - 1
                return receipt(State.SENT, "", new_id)
            return receipt(
                State.REFUSED, f"no queue '{target}' took it; it is in '{message.dlq}' again"
            )
        except Refused as error:
            return receipt(State.REFUSED, f"the broker refused it: {error}")
        except Lost as error:
            return receipt(State.UNCERTAIN, f"no queue took it, and {error}")
        except LOST as error:
            return receipt(State.UNCERTAIN, f"the commit was not answered: {_said(error)}", new_id)

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Still in the dead-letter queue: not reached. Gone: sent, unless the queue forgets by itself. For what
        was set aside and is to come back, the quarantine queue decides the same way."""
        back = [item for item in items if item.undoes]
        yield from self._settle_back(back)
        items = [item for item in items if not item.undoes]
        ids = [item.failure_id for item in items]
        watched = self._watched({queue_of(i) for i in ids})
        found = self._find(ids)
        if len(found) < len(ids):
            time.sleep(_GRACE)  # a killed run's messages may be on their way back
            found = self._find(ids)
        gone = {i: self._sent_as(i) for i in ids if i not in found}
        states = self._states(list(gone.values()))
        for item in items:
            if item.failure_id in found:
                yield Receipt(
                    failure_id=item.failure_id,
                    state=State.NOT_REACHED,
                    detail="it is still in the dead-letter queue",
                )
                continue
            doubt = self._doubt(item, watched)
            known = states.get(gone[item.failure_id]) == Outcome.SUCCEEDED
            state = State.UNCERTAIN if doubt and not known else State.SENT
            yield Receipt(
                failure_id=item.failure_id,
                state=state,
                sent_id=self._sent_as(item.failure_id),
                detail=doubt or f"it is gone from the dead-letter queue{self._unknown(item)}",
            )

    def _settle_back(self, items: Sequence[Item]) -> Iterator[Receipt]:
        ids = [item.failure_id for item in items]
        aside = self._find(ids, aside=True)
        self._find([i for i in ids if i not in aside])
        looked = [held for name, held in self._held.items() if not name.endswith(_ASIDE)]
        there = {first_copy(i) for held in looked for i in held.messages}  # twins are alike
        for i in ids:
            if i in aside:
                state, detail = State.NOT_REACHED, "it is still in the quarantine queue"
            elif first_copy(i) in there:
                state, detail = State.SENT, "it is in the dead-letter queue again"
            else:
                state, detail = State.UNCERTAIN, "it is neither in the quarantine nor back"
            yield Receipt(failure_id=i, state=state, detail=detail)

    def _watched(self, queues: set[str]) -> set[str]:
        """The queues that somebody else consumes; asked before we hold anything ourselves."""
        link, mine = self._queues.link, set(self._held)
        return {q for q in queues - mine if (link.depth(q) or (0, 0))[1]}

    def _doubt(self, item: Item, watched: set[str]) -> str:
        """Why the absence of a message does not say that it was sent."""
        if self._cut(item):
            return "the queue holds more than is read at most: raise ?most= and settle again"
        facts = self._facts(queue_of(item.failure_id))
        if facts.forgets:
            return "it is gone, but this queue forgets messages by itself (time-to-live or length)"
        if facts.others:
            return "it is gone, but somebody else holds messages of this queue: settle again"
        if queue_of(item.failure_id) in watched:
            return (
                "it is gone, but somebody consumes this queue and may hold it: settle again without"
            )
        return ""

    def _unknown(self, item: Item) -> str:
        """What was not known when a message that is gone was taken for sent."""
        if self._facts(queue_of(item.failure_id)).forgets is not None:
            return ""
        return f" (whether that forgets by itself only the management API tells: {self._queues.variable})"

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """From the result backend, and from messages that came back to the dead-letter queue."""
        states = self._states(list(items.values()))
        final = {}
        for failure_id, sent in items.items():
            outcome = states.get(sent)
            if sent == own_id_of(failure_id) and outcome != Outcome.SUCCEEDED:
                outcome = None  # under its old id it has its old failure as result
            if outcome:
                final[failure_id] = outcome, ""
        open_ = {sent for i, sent in items.items() if i not in final}
        back = self._back(open_) if open_ else {}
        for failure_id, sent in items.items():
            if sent in back:
                final[failure_id] = Outcome.FAILED_AGAIN, f"it came back to {back[sent]}"
            outcome, detail = final.get(failure_id, (Outcome.PENDING, ""))
            yield Verdict(failure_id=failure_id, outcome=outcome, detail=detail)

    def close(self) -> None:
        """Give messages, locks and connections back."""
        self._let_go()
        self._queues.close()
        if self._results is not None:
            self._results.close()

    def __enter__(self) -> "RabbitHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- pieces ----------------------------------------------------------------------------------

    def _sent_as(self, failure_id: str) -> str:
        """The id that a message which is gone was sent under; of group members its hand knew another."""
        same = self._queues.address.same_ids
        return own_id_of(failure_id) if same else messages.id_of(failure_id)

    def _facts(self, queue: str) -> QueueFacts:
        self._known[queue] = self._queues.facts(queue)
        return self._known[queue]

    def _cut(self, item: Item) -> bool:
        held = self._held.get(queue_of(item.failure_id))
        return bool(held and held.cut)

    def _holding(self, queue: str) -> Hold:
        if queue.removesuffix(_ASIDE) not in self._queues.address.queues:
            raise ConnectError(
                f"'{queue}' is not among the queues of {self.name}. Load and plan again."
            )
        if not self._queues.link.lock(queue, 2 * _IDLE):
            raise ConnectError(f"another run, or a load, is at '{queue}' just now. Try again.")
        if queue not in self._held:
            facts = self._known.get(queue) or self._facts(queue)
            self._held[queue] = self._queues.held(queue, facts.limit)
        return self._held[queue]

    def _find(self, failure_ids: Sequence[str], aside: bool = False) -> dict[str, Message]:
        """Those that are in their queues (or set aside), held from now on; each queue is asked once for all."""
        by_queue: dict[str, list[str]] = {}
        for failure_id in failure_ids:
            queue = queue_of(failure_id) + (_ASIDE if aside else "")
            by_queue.setdefault(queue, []).append(failure_id)
        found: dict[str, Message] = {}
        with self._busy():
            for again in (True, False):
                try:
                    for queue, ids in by_queue.items():
                        if aside and self._queues.link.depth(queue) is None:
                            continue  # nothing was ever set aside
                        found |= self._holding(queue).find(ids)
                    break
                except LOST:
                    self._queues.link.drop()
                    if not again:
                        raise
        return {i: found[i] for i in failure_ids if i in found}

    def _states(self, sent_ids: Sequence[str]) -> dict[str, Outcome]:
        found = self._results([i for i in sent_ids if i]) if self._results else {}
        return {i: _RESULTS[state] for i, state in found.items() if state in _RESULTS}

    def _back(self, sent_ids: set[str]) -> dict[str, str]:
        """Sent id -> queue, of what came back. Looks only when something arrived, and not all the time."""
        if time.monotonic() - self._looked >= _LOOK and not sent_ids <= self._came_back.keys():
            with suppress(DLQError, *LOST), self._busy():
                self._look()
        return {i: queue for i, queue in self._came_back.items() if i in sent_ids}

    def _look(self) -> None:
        self._looked = time.monotonic()
        for queue in self._queues.address.queues:
            ready = (self._queues.link.depth(queue) or (0, 0))[0]
            there = ready + len(self._held[queue].messages if queue in self._held else ())
            if there <= self._left.get(queue, 0):
                continue
            if queue in self._worn:  # looking counts: what came back shows in the next load
                continue
            held = self._holding(queue)
            held.pull()
            for message in held.messages.values():
                sent = message.properties.header(messages.SENT)
                if isinstance(sent, str):
                    self._came_back[sent] = queue
            if held.worn is not None:
                self._worn.add(queue)
            self._left[queue] = len(held.messages)

    def _quarantine(self, queue: str) -> str:
        """The durable queue beside a dead-letter queue, made at first use."""
        name = f"{queue}{_ASIDE}"
        if self._queues.link.depth(name) is None:
            kind = (self._known.get(queue) or self._facts(queue)).kind
            arguments = {"x-queue-type": "quorum"} if kind == "quorum" else None
            with self._queues.link.aside() as channel:
                try:
                    channel.queue_declare(name, durable=True, arguments=arguments)
                except exceptions.ChannelClosedByBroker as error:
                    raise ConnectError(
                        f"The queue '{name}' cannot be made ({error.reply_text}). Make it, durable, or ask for"
                        " configure permission."
                    ) from None
        return name

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """One thread at a time; what is held goes back a few seconds after the last use."""
        with self._mutex:
            if self._timer is not None:
                self._timer.cancel()
            try:
                yield
            finally:
                self._timer = threading.Timer(_IDLE, self._let_go)
                self._timer.daemon = True
                self._timer.start()

    def _let_go(self) -> None:
        with self._mutex:
            if self._timer is not None:
                self._timer.cancel()
            held, self._held = self._held, {}
            try:
                for one in held.values():
                    one.release()
            finally:
                self._queues.link.drop()


def _said(error: Exception) -> str:
    """An error in words; pika's own have none."""
    return str(error) if isinstance(error, DLQError) else type(error).__name__
