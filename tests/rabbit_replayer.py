"""One operator in a process of its own, so that it can be killed: replays every second dead letter.

python -m tests.rabbit_replayer URL JOURNAL ORDER RATE     ORDER: oldest | newest
"""

import sys
import time

import dlqanalysis as dlq
from dlqanalysis.errors import DLQError
from dlqanalysis.sources.rabbitmq import open_hand, open_source


def main(url: str, journal_url: str, order: str, rate: str) -> None:
    journal = dlq.Journal(journal_url)
    until = time.monotonic() + 100
    while True:
        try:
            with open_hand(url) as hand:
                common = {"to": hand, "journal": journal, "gate": None, "rate": rate}
                runs = list(journal.runs()["run_id"])
                if runs:
                    plan_id = journal.run(runs[0])["plan_id"]
                    run = dlq.resume(runs[0], confirm=plan_id, **common)
                else:
                    failures = dlq.load(open_source(url), since="1h")
                    number = failures["args"].str.strip("[]").astype(int)
                    chosen = failures[number % 2 == 0]
                    if order == "newest":
                        chosen = chosen.iloc[::-1]
                    made = dlq.plan(
                        chosen, journal, reason="campaign", classes=("unknown",), ungraded=None
                    )
                    run = dlq.replay(made, confirm=made.id, **common)
            break
        except DLQError as error:  # somebody else has the lock
            sys.stderr.write(f"{error}\n")
            if time.monotonic() > until or (
                "holds its messages" not in str(error) and "just now" not in str(error)
            ):
                raise
            time.sleep(0.3)
    sys.stdout.write(f"{run.summary.to_json(orient='records')}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
