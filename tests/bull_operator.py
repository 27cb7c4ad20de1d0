"""One operator in a process of its own, so that it can be killed: replays BullMQ's failed email.send jobs.

python -m tests.bull_operator: reads lines of JSON [OUT, URL, JOURNAL, ORDER, RATE, MEETING] (ORDER: oldest | newest;
MEETING, which may be left out: a folder where it waits for a second operator before it sends) and forks an operator
for each, whose id it writes; what that says goes to the file OUT. Starting Python anew for each would take longer
than what they do.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

import polars  # noqa: F401  imported before the fork, as all that is slow to import
import redis  # noqa: F401

import dlqanalysis as dlq
from dlqanalysis.sources import connect, connect_hand
from tests.meeting import meet


def operate(url: str, journal_url: str, order: str, rate: str, meeting: str = "") -> str:
    """Replay, or go on with the run that the journal has; gives the run's summary."""
    failures = dlq.load(connect(url), since=None, task="email.send")
    if order == "newest":
        failures = failures.iloc[::-1]
    journal = dlq.Journal(journal_url)
    runs = list(journal.runs()["run_id"])
    with connect_hand(url) as hand:
        common = {"to": hand, "journal": journal, "rate": rate, "gate": None}
        if runs:
            run = dlq.resume(runs[0], confirm=journal.run(runs[0])["plan_id"], **common)
        else:
            made = dlq.plan(failures, journal, reason="campaign", ungraded=None)
            meet(meeting)
            run = dlq.replay(made, confirm=made.id, **common)
    return run.summary.to_json(orient="records")


def serve() -> None:
    """Fork an operator for each line, until the lines end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        out, *args = json.loads(line)
        pid = os.fork()
        if not pid:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # its progress is nobody's answer
            try:
                text = operate(*args)
            except BaseException:
                text = traceback.format_exc()
            Path(out).write_text(text)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
