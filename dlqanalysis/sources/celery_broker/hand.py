"""The hand that tells workers to drop tasks they have not begun. It never terminates one that runs.

A revoke lives in the memory of workers: a restart forgets it (but with --statedb), and a worker that does not
answer may not have heard it. A task under the same id that comes later is dropped as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import pandas as pd

from dlqanalysis.errors import ConnectError, RunError
from dlqanalysis.frame import from_records
from dlqanalysis.model import Finding, Item, Outcome, Receipt, State, Verdict
from dlqanalysis.sources.celery_broker import rows
from dlqanalysis.sources.celery_broker.address import Address
from dlqanalysis.sources.celery_broker.asking import Workers


class RevokeHand:
    """Revokes by task id, through one broker."""

    capabilities = frozenset({"revoke", "settle"})

    def __init__(self, address: Address) -> None:
        self.address, self._workers = address, Workers(address)

    @property
    def name(self) -> str:
        """The same as the monitor's: `celery:redis:host:6379/0`."""
        return self.address.name

    def __repr__(self) -> str:
        return f"RevokeHand({self.name})"

    def preflight(self, items: Sequence[Item]) -> list[Finding]:
        """Without a worker that answers nobody would hear it: that blocks. Tasks that have begun run on."""
        answers = self._workers.ask(*rows.HELD)
        if not any(answers.values()):
            text = (
                f"No worker answered within {self.address.timeout:g} s, so nobody would hear a revoke. Ask with"
                " a longer ?timeout=, or stop the workers themselves."
            )
            return [Finding(name="workers", severity="critical", text=text, blocks=True)]
        there = len(set().union(*answers.values()))
        found = [
            Finding(
                name="workers",
                severity="ok",
                text=f"{there:,} worker{'s' if there > 1 else ''} answered.",
            )
        ]
        begun = self._begun(items, answers)
        if begun:
            text = f"{len(begun):,} of these tasks {'has' if len(begun) == 1 else 'have'} begun: a revoke does not stop what has."
            found.append(Finding(name="begun", severity="warning", text=text))
        return found

    def snapshot(self, failure_ids: Sequence[str]) -> pd.DataFrame:
        """These tasks as workers hold them now."""
        records, _ = rows.running(self._workers.ask("active_queues", *rows.HELD), self.name)
        frame = from_records(records)
        return frame[frame["failure_id"].isin(list(failure_ids))].reset_index(drop=True)

    def send(self, action: str, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Revoke those that no worker has begun, in one broadcast, then look who has them on the list."""
        if action != "revoke":
            raise RunError(f"{self.name} can revoke, not {action}.")
        try:
            answers = self._workers.ask("active")
            why = "" if answers["active"] else "no worker answered: nobody would hear it"
        except ConnectError as error:
            why = str(error)
        if why:
            for item in items:
                yield Receipt(failure_id=item.failure_id, state=State.REFUSED, detail=why)
            return
        begun = self._begun(items, answers)
        for item in items:
            if item.task_id in begun:
                yield Receipt(
                    failure_id=item.failure_id,
                    state=State.SKIPPED,
                    detail=f"{begun[item.task_id]} has begun it: a revoke would not stop it",
                )
        left = [item for item in items if item.task_id not in begun]
        if not left:
            return
        try:
            self._workers.revoke([item.task_id for item in left])
            yield from self._look(left, never="")
        except ConnectError as error:
            for item in left:
                yield Receipt(failure_id=item.failure_id, state=State.UNCERTAIN, detail=str(error))

    def settle(self, items: Sequence[Item], run_id: str) -> Iterator[Receipt]:
        """Sent where every worker that answers has it on its list, not reached where none has."""
        yield from self._look(items, never="no worker that answered has it on its list")

    def outcomes(self, items: Mapping[str, str], since: datetime) -> Iterator[Verdict]:
        """A revoked task has no outcome: it does not run."""
        for failure_id in items:
            yield Verdict(
                failure_id=failure_id,
                outcome=Outcome.UNKNOWN,
                detail="a revoked task does not run; dlq.running shows whether one has begun all the same",
            )

    def close(self) -> None:
        """Nothing is kept open between two questions."""

    def __enter__(self) -> "RevokeHand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, items: Sequence[Item], never: str) -> Iterator[Receipt]:
        """What the workers' lists say of each item. `never`: how to say that it did not happen, where that
        is known from no list having it."""
        answers = self._workers.ask("revoked", "active")
        lists = {
            name: {str(one) for one in told or ()} for name, told in answers["revoked"].items()
        }
        begun = self._begun(items, answers)
        for item in items:
            have = sorted(name for name, ids in lists.items() if item.task_id in ids)
            lack = sorted(set(lists) - set(have))
            if not lists:
                state, detail = State.UNCERTAIN, "no worker answered"
            elif not have and never:
                state, detail = State.NOT_REACHED, never
            elif item.task_id in begun:
                state = State.REFUSED
                detail = (
                    f"{begun[item.task_id]} had begun it: it runs on, only a retry of it is dropped"
                )
            elif not lack:
                state = State.SENT
                more = f" and {len(have) - 2:,} more" if len(have) > 2 else ""
                detail = f"on the list of every worker that answered ({', '.join(have[:2])}{more}), until it restarts"
            else:
                state, detail = State.UNCERTAIN, f"not on the list of {', '.join(lack[:3])}"
            yield Receipt(
                failure_id=item.failure_id, state=state, sent_id=item.task_id, detail=detail
            )

    @staticmethod
    def _begun(
        items: Sequence[Item], answers: Mapping[str, Mapping[str, object]]
    ) -> dict[str, str]:
        """task id -> the worker that runs it now."""
        wanted = {item.task_id for item in items}
        return {
            str(told.get("id")): worker
            for worker, tasks in answers["active"].items()
            for told in (tasks if isinstance(tasks, list) else [])
            if str(told.get("id")) in wanted
        }
