"""What a profile wants looked at before anything is replayed, and again while it is: health pages, commands, queries.

```toml
[preflight.shop]                       # a page that answers 2xx when all is well
url = "https://shop.example/health"

[preflight.deploys]                    # a command that exits with 0 when nothing is being deployed
command = ["deployctl", "status", "--quiet"]

[preflight.connections]                # a named query; its first number (of many rows, their sum) is compared
query = "active_connections"
source = "celery"
at_most = 80
blocks = false                         # a warning instead of a stop; the default is true
```
A command runs as it stands, without a shell: a profile is as trusted as a crontab.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pandas as pd

from dlqanalysis.errors import DLQError, SettingsError, did_you_mean
from dlqanalysis.model import Finding
from dlqanalysis.profile import Profile, plain_environment
from dlqanalysis.redact import redact

_WAIT = 10  #: seconds that a page or a command has
_KINDS = ("url", "command", "query")
_OPTIONS = (*_KINDS, "blocks", "source", "at_most", "at_least")


def kinds(profile: Profile) -> dict[str, str]:
    """Check -> url, command or query; a SettingsError where one cannot be read. Asks and runs nothing."""
    return {name: _kind(profile, name, check) for name, check in profile.preflight.items()}


def preflight(profile: Profile) -> list[Finding]:
    """One finding a check of the profile: ok, or critical (which blocks), or a warning where it may not block."""
    found = []
    for name, kind in kinds(profile).items():
        check = profile.preflight[name]
        try:
            problem, said = _ASK[kind](check)
        except DLQError as error:
            problem, said = True, str(error)
        blocks = bool(check.get("blocks", True))
        severity = "ok" if not problem else "critical" if blocks else "warning"
        text = "".join(c if c.isprintable() else " " for c in redact(f"{name}: {said}"))[:300]
        found.append(Finding(name=name, severity=severity, text=text, blocks=problem and blocks))
    return found


def _kind(profile: Profile, name: str, check: Any) -> str:
    if not isinstance(check, dict):
        raise SettingsError(
            f"Profile '{profile.name}': preflight.{name} must be a table with url, command or query."
        )
    for option in check:
        if option not in _OPTIONS:
            raise SettingsError(
                f"Profile '{profile.name}': preflight.{name} has no option '{option}'."
                f" {did_you_mean(option, _OPTIONS)}"
            )
    kinds = [kind for kind in _KINDS if kind in check]
    if len(kinds) != 1:
        raise SettingsError(
            f"Profile '{profile.name}': preflight.{name} needs exactly one of url, command and query."
        )
    command = check.get("command", ["x"])
    if not (
        isinstance(command, list)
        and command
        and all(isinstance(x, str) and "\0" not in x for x in command)
    ):
        raise SettingsError(
            f"Profile '{profile.name}': preflight.{name} needs its command as a list of texts:"
            ' command = ["deployctl", "status"].'
        )
    bounds = [check[name] for name in ("at_most", "at_least") if name in check]
    if kinds[0] == "query" and not (
        bounds and all(isinstance(x, int | float) and not isinstance(x, bool) for x in bounds)
    ):
        raise SettingsError(
            f"Profile '{profile.name}': preflight.{name} needs a number to compare with: at_most = 80, or"
            " at_least."
        )
    if kinds[0] != "query" and (bounds or "source" in check):
        raise SettingsError(
            f"Profile '{profile.name}': preflight.{name} has no query that source, at_most or at_least could"
            " concern. Leave them out."
        )
    if not isinstance(check.get("blocks", True), bool):
        raise SettingsError(
            f"Profile '{profile.name}': preflight.{name} needs blocks = true or blocks = false."
        )
    return kinds[0]


def _page(check: Mapping[str, Any]) -> tuple[bool, str]:
    import httpx

    try:
        with httpx.stream("GET", str(check["url"]), timeout=_WAIT) as answer:
            code = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return True, f"its page does not answer ({type(error).__name__})"
    return not 200 <= code < 300, f"its page answers {code}"


def _command(check: Mapping[str, Any]) -> tuple[bool, str]:
    argv = check["command"]
    try:
        # a session of its own: a Ctrl-C is for the run, and a whole family can be ended
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=plain_environment(),
        )
    except OSError as error:
        return True, f"{argv[0]} cannot be run ({error.strerror})"
    try:
        line = _first_line(process, time.monotonic() + _WAIT)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.stdout.close() if process.stdout else None
    if line is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True, f"{argv[0]} did not end within {_WAIT} seconds"
    code = process.returncode
    return code != 0, f"{argv[0]} exits with {code}" + (f": {line}" if line else "")


def _first_line(process: "subprocess.Popen[bytes]", until: float) -> str | None:
    """The first line that a command writes; None when it does not end in time. What more it writes is read and
    forgotten, and what it leaves running does not keep us waiting."""
    out, head = process.stdout, b""
    assert out is not None
    while True:
        ended = process.poll() is not None
        while select.select([out], [], [], 0 if ended else 0.05)[0] and time.monotonic() < until:
            part = os.read(out.fileno(), 1 << 16)
            head += part[: 4096 - len(head)]
            if not part:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, until - time.monotonic()))
                break
        if ended or process.poll() is not None:
            return head.decode("utf-8", "replace").strip().partition("\n")[0]
        if time.monotonic() >= until:
            return None


def _query(check: Mapping[str, Any]) -> tuple[bool, str]:
    from dlqanalysis.queries import queries
    from dlqanalysis.sources import connect

    name = str(check["query"])
    source: Any = connect(str(check.get("source", "celery")))
    answer: pd.DataFrame = getattr(queries(source), name)()
    numbers = answer.select_dtypes("number")
    if not len(numbers) or not len(numbers.columns):
        return True, f"the query {name} gave no number"
    column = numbers.columns[0]
    amount = numbers[column].sum(min_count=1)
    if pd.isna(amount):
        return True, f"the query {name} gave no number"
    value = float(amount)
    said = f"{column} is {value:g}"
    if (most := check.get("at_most")) is not None and value > most:
        return True, f"{said}, more than {most:g}"
    if (least := check.get("at_least")) is not None and value < least:
        return True, f"{said}, less than {least:g}"
    return False, said


_ASK: dict[str, Callable[[Mapping[str, Any]], tuple[bool, str]]] = {
    "url": _page,
    "command": _command,
    "query": _query,
}
