"""Stops what a den started, and removes its folder, when its parent says so or is gone: however it died.

Run as a script with nothing but the standard library, in a session of its own. It makes the folder and
prints its path; then it reads lines from standard input: `start PID SIGNAL` from each process as it begins,
`gone PID` when the parent has stopped one itself, `stop` or the end of the pipe when all is over. A pipe
closes with its writer, kill -9 included, on Linux and macOS alike.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time

PATIENCE = 10.0  # seconds for a process to go after its polite signal, before SIGKILL to its group


def alive(pid: int) -> bool:
    """Whether a process of this number is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's: alive
        return True
    return True


def end(pid: int, polite: int) -> None:
    """Ask one process to go, wait, then kill what is left of its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, polite)
    patient_until = time.monotonic() + PATIENCE
    while alive(pid) and time.monotonic() < patient_until:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Make the folder, watch the pipe, and clean up when it ends."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the parent gets them too; this one sees it through
    try:
        folder = tempfile.mkdtemp(prefix="dlq-", dir=sys.argv[1])
    except OSError:
        sys.exit(1)  # no path is answer enough
    print(folder, flush=True)
    os.close(1)
    processes: dict[int, int] = {}
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "start":
            processes[int(numbers[0])] = int(numbers[1])
        elif word == "gone":
            processes.pop(int(numbers[0]), None)
        else:
            break
    for pid, polite in reversed(processes.items()):
        end(pid, polite)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
