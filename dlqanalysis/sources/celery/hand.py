"""The hand of a Celery system with a failed_tasks table: claim the row, publish, mark the row.

| variable | means |
|---|---|
| DLQ_<NAME>_HAND_URL | the database, with a user that may update the table |
| DLQ_<NAME>_BROKER_URL | the broker, as the workers know it: redis(s):// or amqp(s):// |
| DLQ_<NAME>_RESULTS_URL | the result backend (redis), where outcomes are read; optional |

A crash between claim and mark leaves a claim whose new id is known beforehand. On Redis a ledger that is
written in the same step as the message decides; on RabbitMQ the traces of that id do, if there are any.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import pandas as pd

from dlqanalysis.errors import ConnectError, RunError, SettingsError
from dlqanalysis.model import Finding, Item, Outcome, Receipt, State, Verdict
from dlqanalysis.profile import setting, variable_of
from dlqanalysis.sources._results import Results
from dlqanalysis.sources._results import connect as connect_results
from dlqanalysis.sources.celery.address import Address
from dlqanalysis.sources.celery.broker import AlreadySent, Broker, Doubt, Refused, Unreached
from dlqanalysis.sources.celery.broker import connect as connect_broker
from dlqanalysis.sources.celery.claims import Claim, Claims
from dlqanalysis.sources.celery.message import NotReplayable, build, new_id
from dlqanalysis.sources.celery.shelf import Shelf

_FINAL = {"success": Outcome.SUCCEEDED, "failed": Outcome.FAILED_AGAIN, "started": Outcome.PENDING}
_RESULTS = {
    "SUCCESS": Outcome.SUCCEEDED,
    "FAILURE": Outcome.FAILED_AGAIN,
    "REVOKED": Outcome.FAILED_AGAIN,
}


class CeleryHand:
    """Replays rows of one failed_tasks table through one broker; archives them, and takes them back."""

    capabilities = frozenset(
        {"replay", "repair", "reroute", "archive", "restore", "outcome", "settle"}
    )

    def __init__(self, claims: Claims, broker: Broker, results: Results | None = None) -> None:
        self._claims, self._broker, self._results = claims, broker, results
        self._shelf = Shelf(claims)

    @classmethod
    def connect(cls, url: str, broker_url: str | None = None, name: str = "celery") -> "CeleryHand":
        """The hand for a database URL and a broker URL, which a name's variable may hold."""
        variable = variable_of(name, "BROKER_URL")
        broker_url = broker_url or setting(name, "BROKER_URL")
        if not broker_url:
            raise SettingsError(
                f"No broker is known to publish replays to: set {variable} to the workers' broker URL."
            )
        claims = Claims(Address.parse(url))
        return cls(claims, connect_broker(broker_url), connect_results(name))

    @property
    def name(self) -> str:
        """The same as the source's: `celery:<table>`."""
        return self._claims.name

    def __repr__(self) -> str:
        return f"CeleryHand({self.name})"

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """The queues on the broker, and what a message made from a row cannot carry."""
        queues = {item.target or item.queue for item in items} - {""}
        findings = self._broker.findings(queues, {item.target for item in items})
        if lacking := self._claims.lacking():  # before anything is in doubt
            findings.append(Finding(name="rights", severity="critical", text=lacking, blocks=True))
        if "body" not in self._claims.table.everything:
            text = "The table keeps arguments only: chains, callbacks and custom headers are not replayed."
            findings.append(Finding(name="payload", severity="warning", text=text))
        return findings

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """The rows as they are now: every column of the table, as text."""
        names = list(self._claims.table.everything)
        return pd.DataFrame(self._claims.rows(failure_ids), columns=names, dtype="str")

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Replay: claim all, then publish and mark one by one; what was claimed and not tried is given
        back. Archive and restore: one change of status, in one transaction."""
        if action in ("archive", "restore"):
            yield from self._shelf.move(action, items, run_id)
            return
        if action != "replay":
            raise RunError(f"{self.name} can replay, archive and restore, not {action}.")
        ids = {item.failure_id: self._new_id(item) for item in items}
        claimed, skipped = self._claims.take(items, run_id, ids)
        yield from skipped
        untried = [claim.item.failure_id for claim in claimed]
        try:
            for claim in claimed:
                untried.remove(claim.item.failure_id)
                receipt = self._send(claim, run_id)
                yield receipt
                if receipt.state == State.NOT_REACHED:  # nor would the others come through
                    yield from (replace(receipt, failure_id=one) for one in untried)
                    return
        finally:
            if untried:
                self._claims.release(untried, run_id)

    def _send(self, claim: Claim, run_id: str) -> Receipt:
        failure_id, content = claim.item.failure_id, claim.content
        try:
            message = build(
                sent_id=claim.sent_id,
                task_id=content["task_id"] or "",
                task_name=content["task_name"] or "",
                queue=claim.item.target or content["queue"] or "",
                args=content["args"],
                kwargs=content["kwargs"],
                run_id=run_id,
                generation=claim.item.generation,
                extra=claim.extra,
                payload=claim.item.payload,
            )
            # a broker that forgets: so that a crash leaves one row in doubt, and not all that were claimed
            if not (self._broker.remembers or self._claims.publishing(failure_id, run_id)):
                why = "its claim was taken back before it was published"
                return Receipt(failure_id=failure_id, state=State.SKIPPED, detail=why)
            self._broker.publish(message, run_id)
        except (NotReplayable, Refused) as error:
            self._claims.release([failure_id], run_id)
            return Receipt(failure_id=failure_id, state=State.REFUSED, detail=str(error))
        except Unreached as error:
            self._claims.release([failure_id], run_id)
            return Receipt(failure_id=failure_id, state=State.NOT_REACHED, detail=str(error))
        except Doubt as error:
            return Receipt(
                failure_id=failure_id,
                state=State.UNCERTAIN,
                sent_id=claim.sent_id,
                detail=str(error),
            )
        except AlreadySent as error:
            self._claims.sent(failure_id, claim.sent_id)
            return Receipt(failure_id=failure_id, state=State.SKIPPED, detail=str(error))
        detail = ""
        try:
            self._claims.sent(failure_id, claim.sent_id)
        except ConnectError as error:  # the broker has it: that decides
            detail = f"the row could not be marked: {error}"
        return Receipt(
            failure_id=failure_id, state=State.SENT, sent_id=claim.sent_id, detail=detail
        )

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """What became of items whose answer never came: the claim, the ledger and traces of the id tell."""
        settled = self._shelf.settle(items, run_id)
        yield from settled.values()
        items = [item for item in items if item.failure_id not in settled]
        claims = self._claims.state([item.failure_id for item in items])
        traces = self._traces([sent_id for _, sent_id, _ in claims.values()])
        for item in items:
            failure_id = item.failure_id
            run, sent_id, state = claims.get(failure_id, ("", "", ""))
            if not run:
                detail = "nothing was claimed, published or changed"
                yield Receipt(failure_id=failure_id, state=State.NOT_REACHED, detail=detail)
            elif run != run_id:
                detail = f"run {run} has it"
                yield Receipt(failure_id=failure_id, state=State.SKIPPED, detail=detail)
            elif state == "sent":
                yield Receipt(
                    failure_id=failure_id,
                    state=State.SENT,
                    sent_id=sent_id,
                    detail="its row is marked",
                )
            elif state == "claimed" and not self._broker.remembers and sent_id not in traces:
                self._claims.release([failure_id], run_id)
                detail = "it was claimed and not published"
                yield Receipt(failure_id=failure_id, state=State.NOT_REACHED, detail=detail)
            else:
                yield self._settle(item, run_id, sent_id, sent_id in traces)

    def _settle(self, item: Item, run_id: str, sent_id: str, traced: bool) -> Receipt:
        failure_id = item.failure_id
        queue = item.target or item.queue
        there = True if traced else self._broker.was_sent(queue, sent_id)
        if there:
            self._claims.sent(failure_id, sent_id)
            detail = "it has run already" if traced else "the broker's ledger has it"
            return Receipt(failure_id=failure_id, state=State.SENT, sent_id=sent_id, detail=detail)
        if there is False:
            self._claims.release([failure_id], run_id)
            detail = "the broker's ledger does not have it"
            return Receipt(failure_id=failure_id, state=State.NOT_REACHED, detail=detail)
        detail = f"no trace of {sent_id} yet; it may still wait in queue {queue}"
        return Receipt(failure_id=failure_id, state=State.UNCERTAIN, sent_id=sent_id, detail=detail)

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """From the result backend, task_executions, and new rows of the table under the new id."""
        traces = self._traces(list(items.values()))
        again = [one for one, outcome in traces.items() if outcome == Outcome.FAILED_AGAIN]
        errors = self._claims.errors(again)
        for failure_id, sent_id in items.items():
            kind, message = errors.get(sent_id, ("", ""))
            yield Verdict(
                failure_id=failure_id,
                outcome=traces.get(sent_id, Outcome.PENDING),
                detail=kind,
                exception_type=kind,
                exception_message=message,
            )

    def _traces(self, sent_ids: Sequence[str]) -> dict[str, Outcome]:
        if not sent_ids:
            return {}
        found = {sent_id: _FINAL[word] for sent_id, word in self._claims.seen(sent_ids).items()}
        open_ = [sent_id for sent_id in sent_ids if found.get(sent_id) in (None, Outcome.PENDING)]
        for sent_id, state in (self._results(open_) if self._results else {}).items():
            if outcome := _RESULTS.get(state):
                found[sent_id] = outcome
        return found

    def close(self) -> None:
        """Give connections back."""
        self._claims.close()
        self._broker.close()
        if self._results is not None:
            self._results.close()

    def __enter__(self) -> "CeleryHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_id(self, item: Item) -> str:
        return new_id(self._claims.table.name, item.failure_id, item.task_id)
