"""One operator in a process of its own, so that it can be killed: plans all transient failures and replays them.

python -m tests.replayer DATABASE BROKER JOURNAL ORDER RATE [RUN [MEETING]]     ORDER: oldest | newest

With RUN it resumes that run; with MEETING, a folder, it waits there for a second operator before it sends.
"""

import sys

import dlqanalysis as dlq
from dlqanalysis.sources.celery.hand import CeleryHand
from tests.meeting import meet


def main(
    database: str, broker: str, journal_url: str, order: str, rate: str,
    run_id: str = "", meeting: str = "",
) -> None:  # fmt: skip
    failures = dlq.load(dlq.connect(database), since=None, limit=100_000)
    if order == "newest":
        failures = failures.iloc[::-1]
    journal = dlq.Journal(journal_url)
    with CeleryHand.connect(database, broker) as hand:
        common = {"to": hand, "journal": journal, "rate": rate, "gate": None}
        if run_id:
            run = dlq.resume(run_id, confirm=journal.run(run_id)["plan_id"], **common)
        else:
            made = dlq.plan(failures, journal, reason="campaign", ungraded=None)
            meet(meeting)
            run = dlq.replay(made, confirm=made.id, **common)
    sys.stdout.write(f"{run.summary.to_json(orient='records')}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
