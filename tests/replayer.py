"""One operator in a process of its own, so that it can be killed: plans all transient failures and replays them.

python -m tests.replayer DATABASE BROKER JOURNAL ORDER RATE     ORDER: oldest | newest
"""

import sys

import dlqanalysis as dlq
from dlqanalysis.sources.celery.hand import CeleryHand


def main(database: str, broker: str, journal_url: str, order: str, rate: str) -> None:
    failures = dlq.load(dlq.connect(database), since=None, limit=100_000)
    if order == "newest":
        failures = failures.iloc[::-1]
    journal = dlq.Journal(journal_url)
    made = dlq.plan(failures, journal, reason="campaign")
    with CeleryHand.connect(database, broker) as hand:
        runs = journal.runs_of(made.digest) or list(journal.runs()["run_id"])
        common = {"to": hand, "journal": journal, "rate": rate, "gate": None}
        if runs:
            run = dlq.resume(runs[0], confirm=journal.run(runs[0])["plan_id"], **common)
        else:
            run = dlq.replay(made, confirm=made.id, **common)
    sys.stdout.write(f"{run.summary.to_json(orient='records')}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
