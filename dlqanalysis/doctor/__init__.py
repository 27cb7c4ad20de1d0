"""What could go wrong at 3 a.m., asked by daylight: can each system be reached, what may our users do there, are
journal, profile, rules and folders in order. Reads only; every finding that is not ok says the next step.
"""

import contextlib
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dlqanalysis import health
from dlqanalysis.classify import rules
from dlqanalysis.doctor import access
from dlqanalysis.doctor import names as names_in
from dlqanalysis.errors import DLQError, SettingsError, did_you_mean
from dlqanalysis.fingerprint import hand as groups
from dlqanalysis.journal import Journal
from dlqanalysis.model import Finding
from dlqanalysis.operations import depths
from dlqanalysis.profile import (
    Profile,
    connected,
    groups_file,
    home,
    notify_urls,
    rulebook_path,
    setting,
    url_of,
    variable_of,
)
from dlqanalysis.redact import redact
from dlqanalysis.replay.checks import kinds
from dlqanalysis.sources import SYSTEMS, capabilities, connect, connect_monitor
from dlqanalysis.text import many

SKEW = 5.0  #: seconds that a server's clock may differ from ours: times of failures are compared with ours
_TLS = ("rediss", "amqps", "https")
_COUNTED = ("bullmq+", "list+", "priority+redis", "amqp")  #: where depths are asked without a look
_HERE = ("", "localhost", "127.0.0.1", "::1")


def examine(names: Sequence[str] = ()) -> list[Finding]:
    """One finding a question, about the kit's own files first, then about each name (default: all connected)."""
    known = connected()
    for name in names:
        if name.lower() not in known:
            raise SettingsError(
                f"'{name}' is not connected: set {variable_of(name)}."
                f" {did_you_mean(name, known) if known else ''}".rstrip()
            )
    found = list(_own())
    chosen = [name.lower() for name in names] or [name for name in known if name not in _channels()]
    if not chosen:
        found.append(_warning("systems", "No system is connected. Set DLQ_<NAME>_URL to its URL."))
    tasks: set[str] = set()
    for name in chosen:
        mine = list(_system(name))
        found += mine
        if any(one.name == f"{name}: reach" and one.severity == "ok" for one in mine):
            with contextlib.suppress(DLQError):  # what keeps it from being read is told above
                tasks |= names_in.tasks_of(name)
    with contextlib.suppress(DLQError):
        profile = Profile.load()
        found += [_warning("profile", text) for text in names_in.misspelt_tasks(profile, tasks)]
    return found


def _channels() -> set[str]:
    """The names whose variables hold where alerts go: no systems."""
    try:
        return {variable[4:-4].lower() for variable in Profile.load().notify}
    except DLQError:
        return set()


def _own() -> Iterator[Finding]:
    """The folder, the journal, and the files that a user writes."""
    yield from _tried("DLQ_HOME", lambda: _private(home(), "DLQ_HOME"))
    yield from _tried("journal", _journal)
    yield from _tried("profile", _profile)
    yield from _tried("rulebook", lambda: [_ok("rulebook", f"{len(_rules()):,} rules are valid")])
    yield from _tried("groups file", _groups)


def _profile() -> list[Finding]:
    profile = Profile.load()
    kinds(profile)  # what a replay would ask first; better refused by daylight
    health.limits_of(profile)
    health.severity([], profile)  # so too what every check asks last
    health.escalation([], profile)
    wrong = [_warning("profile", text) for text in names_in.unknown_queries(profile)]
    try:
        notify_urls(profile)
    except SettingsError as error:  # a check that is to tell would end with it
        wrong.append(_warning("profile", str(error)))
    if (file := profile.changes.get("file")) and not Path(file).is_file():
        wrong.append(
            _warning(
                "profile", f"[changes] names {file}, and no file is there: no report could be made"
            )
        )
    return wrong or [_ok("profile", f"profile '{profile.name}' is valid")]


def _rules() -> Sequence[Any]:
    own = rulebook_path()
    return [*(rules.read(own) if own else ()), *rules.builtin()]


def _groups() -> list[Finding]:
    groups.by_hand()
    return [_ok("groups file", "valid" if groups_file()[0] else "none is set")]


def _journal() -> list[Finding]:
    journal = Journal.if_any()
    if journal is None:
        return [_ok("journal", "none yet; it is made with the first plan")]
    broken = journal.verify()
    if broken:
        return [_critical("journal", f"{broken[0]} Keep a copy and find out who wrote to it.")]
    file = urlsplit(journal.place).path.removeprefix("/")
    told = [
        _ok(
            "journal",
            f"{journal.place}: {many(len(journal.runs()), 'runs')}, every entry as it was written",
        )
    ]
    if journal.place.startswith("sqlite") and file and Path(file).exists():
        told += _private(Path(file), "journal file")
    return told


def _private(path: Path, name: str) -> list[Finding]:
    """Whether only its owner may read a file or folder."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        right = "700" if path.is_dir() else "600"
        return [_warning(name, f"others may read {path} (mode {mode:o}). Run chmod {right} on it.")]
    return [_ok(name, f"{path} is its owner's only (mode {mode:o})")]


def _system(name: str) -> Iterator[Finding]:
    """What can be told of one connected name."""
    try:
        url, _ = url_of(name), setting(name, "HAND_URL")
    except SettingsError as error:
        yield _critical(f"{name}: reach", str(error))
        return
    scheme = url.partition("://")[0].lower()
    if "://" not in url:
        yield from _tried(f"{name}: reach", lambda: _file(name, Path(url)))
        return
    if scheme not in SYSTEMS:
        yield _critical(
            f"{name}: reach",
            f"'{scheme}://' is no system that can be read. See docs/operations.md.",
        )
        return
    yield _tls(name, url)
    if _reads(name):
        yield from _hand(name, url)
    for finding in _tried(f"{name}: reach", lambda: [_reached(name, url)]):
        if finding.severity != "ok":
            yield finding
            return
        yield finding
        told = finding.facts
    yield from _tried(f"{name}: place", lambda: list(_place(name, scheme)))
    yield from _rights(name, told)
    yield from _clock(name, told)


def _file(name: str, path: Path) -> list[Finding]:
    connect(str(path))
    if not path.exists():
        return [
            _critical(f"{name}: reach", f"There is no file at {path}. Check {variable_of(name)}.")
        ]
    return [_ok(f"{name}: reach", "an export is there"), *_private(path, f"{name}: file")]


def _reached(name: str, url: str) -> Finding:
    told = access.ask(url, setting(name, "MANAGEMENT_URL"))
    if not told:  # a system of which nothing but its health is asked: opening it reads its settings
        if _reads(name):
            connect(name)
        else:
            connect_monitor(name).close()
        return _ok(f"{name}: reach", "its URL is understood; `dlq check` asks the system itself")
    return _ok(f"{name}: reach", f"{told['version']} answers as {told['user']}", told)


def _reads(name: str) -> bool:
    """Whether failures are read there; a Prometheus, or a queue's own API, is asked for numbers only."""
    return bool(capabilities(name).set_index("capability")["can"]["read"])


def _place(name: str, scheme: str) -> Iterator[Finding]:
    """Whether what the URL names is there and understood: its table, its queues, its lists. Touches no message."""
    if scheme.startswith("postgres"):
        table = connect(name).table
        where, notes = f"{table.schema}.{table.name}", table.notes
    elif scheme.startswith(_COUNTED):
        counts = depths(name)
        where = ", ".join(dict.fromkeys(counts["queue"].astype("str"))) or "nothing yet"
        notes = counts.attrs["notes"]
    else:
        return
    if notes:
        yield _warning(f"{name}: place", f"{where}. {' '.join(notes)}")
    else:
        yield _ok(f"{name}: place", f"{where} can be read")


def _tls(name: str, url: str) -> Finding:
    parts = urlsplit(url)
    scheme = parts.scheme.rpartition("+")[2]
    mode = parse_qs(parts.query).get("sslmode", [""])[0]
    if (parts.hostname or "") in _HERE:
        return _ok(f"{name}: TLS", "on this machine")
    if scheme in _TLS or mode in ("verify-full", "verify-ca"):
        return _ok(f"{name}: TLS", "encrypted, the server's certificate is checked")
    step = (
        "Add sslmode=verify-full to the URL"
        if "postgres" in scheme or mode
        else "Use its TLS scheme"
    )
    said = (
        "encrypted, but the certificate is not checked"
        if mode == "require"
        else "not surely encrypted"
    )
    return _warning(f"{name}: TLS", f"{said}: others on the network may read dead letters. {step}.")


def _hand(name: str, url: str) -> Iterator[Finding]:
    """Whether what writes has credentials of its own: a token, or a user that both URLs name."""
    other = setting(name, "HAND_URL")
    of_http = urlsplit(other or url).scheme.endswith(("http", "https"))
    token = setting(name, "HAND_TOKEN") if of_http else None
    variable = variable_of(name, "HAND_TOKEN" if token else "HAND_URL")
    mine, theirs = urlsplit(url), urlsplit(other or "")
    if token:
        same = token == setting(name, "TOKEN")
    elif other is None:
        yield _ok(
            f"{name}: hand",
            f"{variable} is not set: a hand would have the reader's rights, and no more",
        )
        return
    elif mine.username and theirs.username:
        same = mine.username == theirs.username and mine.hostname == theirs.hostname
    else:  # libpq, a certificate or a token says who it is
        yield _ok(
            f"{name}: hand",
            "whether reader and hand are two users cannot be told: not both URLs name one",
        )
        return
    if same:
        yield _warning(
            f"{name}: hand",
            f"reader and hand are the same user. Give {variable} a user of its own, and the reader one that"
            " cannot write.",
        )
    else:
        yield _ok(f"{name}: hand", "has credentials of its own")


def _rights(name: str, told: Any) -> Iterator[Finding]:
    writes = told.get("writes")
    if writes is None:
        why = told.get("unknown", "the system does not tell")
        yield _warning(f"{name}: rights", f"Whether the reader may write is unknown: {why}.")
    elif writes:
        yield _warning(
            f"{name}: rights",
            f"{told['user']} may write ({', '.join(writes)}), though the kit only reads with it."
            " docs/howto/connect.md has the commands for a user that cannot.",
        )
    else:
        yield _ok(f"{name}: rights", f"{told['user']} cannot write")


def _clock(name: str, told: Any) -> Iterator[Finding]:
    now = told.get("now")
    if now is None:
        return
    skew = (now - datetime.now(UTC)).total_seconds()
    if abs(skew) > SKEW:
        yield _warning(
            f"{name}: clock",
            f"its clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} ours. Mend the one that is"
            " wrong: outcomes are matched by time.",
        )
    else:
        yield _ok(f"{name}: clock", f"within {SKEW:.0f} s of ours")


def _tried(name: str, ask: Callable[[], Sequence[Finding]]) -> Iterator[Finding]:
    """The findings, or what kept them from being made as a critical one."""
    try:
        yield from ask()
    except DLQError as error:
        yield _critical(name, str(error))
    except OSError as error:
        yield _critical(
            name, f"{error.strerror or type(error).__name__}. Check its path and its permissions."
        )


def _ok(name: str, text: str, facts: Any = None) -> Finding:
    return Finding(name=name, severity="ok", text=redact(text), facts=facts or {})


def _warning(name: str, text: str) -> Finding:
    return Finding(name=name, severity="warning", text=redact(text))


def _critical(name: str, text: str) -> Finding:
    return Finding(name=name, severity="critical", text=redact(text))
