"""One operator in a process of its own, so that it can be killed: replays the messages of one kind in a list.

python -m tests.list_operator URL JOURNAL ORDER RATE [MEETING]     ORDER: oldest | newest

With MEETING, a folder, it waits there for a second operator before it sends.
"""

import sys

import dlqanalysis as dlq
from dlqanalysis.sources import connect, connect_hand
from tests.meeting import meet

EVERY = ("transient", "permanent", "data", "unknown")


def main(url: str, journal_url: str, order: str, rate: str, meeting: str = "") -> None:
    journal = dlq.Journal(journal_url)
    runs = list(journal.runs()["run_id"])
    with connect_hand(url) as hand:
        common = {"to": hand, "journal": journal, "rate": rate, "gate": None}
        if runs:
            run = dlq.resume(runs[0], confirm=journal.run(runs[0])["plan_id"], **common)
        else:
            failures = dlq.load(connect(url), since=None, task="webhook")
            if order == "newest":
                failures = failures.iloc[::-1]
            none = dlq.duplicates(failures.head(0))  # identical messages go, too
            options = {"classes": EVERY, "duplicates": none, "ungraded": None}
            made = dlq.plan(failures, journal, reason="campaign", **options)
            meet(meeting)
            run = dlq.replay(made, confirm=made.id, **common)
    sys.stdout.write(f"{run.summary.to_json(orient='records')}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
