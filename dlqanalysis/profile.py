"""What a user sets: environment variables, read here only, and the profile of one system, a TOML file.

| variable | means |
|---|---|
| DLQ_<NAME>_URL | where `dlq.connect("<name>")` reads, such as DLQ_CELERY_URL |
| DLQ_<NAME>_HAND_URL | where `dlq.connect_hand("<name>")` writes; other credentials than the reader's |
| DLQ_<NAME>_BROKER_URL | the broker that replays are published to |
| DLQ_<NAME>_MONITOR_URL | where `dlq.connect_monitor("<name>")` looks at queues and workers; default: the broker, else DLQ_<NAME>_URL |
| DLQ_<NAME>_RESULTS_URL | the result backend where outcomes are read; optional |
| DLQ_<NAME>_TOKEN | the bearer token or API key of an HTTP API; user:password for a Prometheus |
| DLQ_<NAME>_HAND_TOKEN | the token that may write, for the hand; default: DLQ_<NAME>_TOKEN |
| DLQ_<NAME>_MANAGEMENT_URL | the management API of a RabbitMQ, with user and password; optional |
| DLQ_JOURNAL_URL | the journal's database; default: the file dlq-journal.sqlite in DLQ_HOME |
| DLQ_HOME | where journal and snapshots are kept; default: ~/.local/share/dlqanalysis |
| DLQ_PROFILE | the profile: a path, or the name of one of the kit's own (celery, celery_ops, bullmq, redis_list, priority) |
| DLQ_RULEBOOK | the path of rules that go before the built-in ones |
| DLQ_GROUPS | the path of groups merged and split by hand, and of your own placeholders |
| DLQ_QUERIES | a folder of *.sql whose named queries are added to ours |
| DLQ_ARM | a plan id, to let an unattended run of 40_replay send that very plan |
| DLQ_OPERATOR | who acts, for the journal; default: the login name |
| DLQ_DASK | the address of the Dask scheduler that `dlq.scan` uses, one that you trust; default: processes of its own |
| DLQ_REDACT_SALT | shared by a team, so that redacted values match between reports; default: a file in DLQ_HOME |
"""

import contextlib
import getpass
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dlqanalysis.errors import SettingsError, did_you_mean

SAFETY_GRADES = ("idempotent", "needs_key", "reconcile", "never")


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Thresholds, contacts, safety grades and templates of one system."""

    name: str = "default"
    safety: Mapping[str, str] = field(
        default_factory=dict
    )  #: task -> idempotent | needs_key | reconcile | never
    keys: Mapping[str, str] = field(
        default_factory=dict
    )  #: task -> business key, such as memo_{property_id}
    effects: Mapping[str, str] = field(
        default_factory=dict
    )  #: task -> query that finds its side effect
    routes: Mapping[str, str] = field(
        default_factory=dict
    )  #: task -> queue, where the source's own is not to be trusted
    signatures: Mapping[str, str] = field(
        default_factory=dict
    )  #: task -> its parameters, as its def has them; see payload/signatures.py
    links: Mapping[str, str] = field(
        default_factory=dict
    )  #: trace, or a rule, task or class -> a page; see known.linked
    owners: Mapping[str, str] = field(default_factory=dict)  #: queue -> who to ask
    affected: tuple[str, ...] = ()  #: payload fields that name a customer, such as tenant_id
    thresholds: Mapping[str, Any] = field(default_factory=dict)  #: see health.THRESHOLDS
    contacts: Mapping[str, str] = field(default_factory=dict)  #: level (L1, L2, L3) -> who
    severity: Mapping[str, Any] = field(default_factory=dict)  #: critical ... low -> when, respond
    escalation: Mapping[str, Any] = field(
        default_factory=dict
    )  #: L1 ... L3 -> when, respond, contact
    preflight: Mapping[str, Any] = field(default_factory=dict)  #: name -> check, see preflight.py
    changes: Mapping[str, Any] = field(
        default_factory=dict
    )  #: where deploys are listed, see changes.py
    review_by: date | None = None  #: when people look at this profile again; later, a check warns
    notify: tuple[str, ...] = ()  #: names of environment variables that hold apprise URLs

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Profile":
        """The profile at `path`, else at DLQ_PROFILE, else an empty one. A bare name is one of the kit's own."""
        where = path or os.environ.get("DLQ_PROFILE")
        if not where:
            return cls()
        known = {f.name for f in fields(cls)}
        data = _with_base(where, known)
        for name in _LISTS:
            if name in data:
                data[name] = tuple(data[name])
        profile = cls(**data)
        for task, grade in profile.safety.items():
            if grade not in SAFETY_GRADES:
                raise SettingsError(
                    f"Profile {where}: safety of {task} is '{grade}'. {did_you_mean(grade, SAFETY_GRADES)}"
                )
        return profile

    def of(self, table: Mapping[str, str], task: str) -> str | None:
        """A task's entry, by its whole name or by its last part."""
        return table.get(task) or table.get(task.rpartition(".")[2])


_LISTS = ("affected", "notify")


_OWN = Path(__file__).parent / "profiles"
_DEEPEST = 5


def _with_base(
    where: str | Path, known: Collection[str], beside: Path | None = None, depth: int = 0
) -> dict[str, Any]:
    """A profile's entries, over those of the profile that it extends: tables are joined, entry by entry."""
    path = _profile_path(where, beside)
    data = tables_of(read_text(path, "profile"), f"Profile {path}")
    base = data.pop("extends", None)
    for name in data:
        if name not in known:
            raise SettingsError(
                f"Profile {path}: '{name}' is unknown. {did_you_mean(name, [*known, 'extends'])}"
            )
        _check_type(name, data[name], path)
    if base is None:
        return data
    if not isinstance(base, str) or depth >= _DEEPEST:
        raise SettingsError(
            f"Profile {path}: extends must name one profile that does not extend this one, such as"
            ' extends = "bullmq".'
        )
    below = _with_base(base, known, path.parent, depth + 1)
    joined = {
        name: {**below[name], **value} if isinstance(value, dict) and name in below else value
        for name, value in data.items()
    }
    return {**below, **joined}


def _profile_path(where: str | Path, beside: Path | None) -> Path:
    """A path (from the profile that names it), or one of the kit's own by its bare name."""
    text = str(where)
    if re.fullmatch(r"[A-Za-z0-9_ -]+", text) and not Path(text).exists():
        if (own := _OWN / f"{text}.toml").is_file():
            return own
        names = sorted(path.stem for path in _OWN.glob("*.toml"))
        raise SettingsError(
            f"There is no profile at {text}, and none of ours has that name. {did_you_mean(text, names)}"
        )
    return beside / where if beside else Path(where)


def _check_type(name: str, value: Any, where: str | Path) -> None:
    """Refuses an entry of another form than the profile has: text for a list, numbers for names."""
    if name == "name":
        good, form = isinstance(value, str), 'text: name = "shop"'
    elif name == "review_by":
        good, form = type(value) is date, "a date without quotes: review_by = 2027-02-01"
    elif name in _LISTS:
        good = isinstance(value, list) and all(isinstance(item, str) for item in value)
        form = f'a list of texts: {name} = ["..."]'
    else:
        good = isinstance(value, dict)
        free = name in ("thresholds", "preflight", "changes", "severity", "escalation")
        if not free:
            good = good and all(isinstance(item, str) for item in value.values())
        form = f"a table, [{name}], with a line an entry" + (
            "" if free else " and text as its value"
        )
    if not good:
        raise SettingsError(f"Profile {where}: '{name}' must be {form}.")


@lru_cache(maxsize=8)
def _profile(path: str | None) -> Profile:
    return Profile.load(path)


def profile() -> Profile:
    """The profile that DLQ_PROFILE names, read once for a path."""
    return _profile(os.environ.get("DLQ_PROFILE"))


def read_text(path: Path, what: str) -> str:
    """A settings file's text, or a sentence about why not."""
    try:
        return path.read_text(encoding="utf-8-sig")  # editors and spreadsheets write its mark
    except FileNotFoundError:
        raise SettingsError(
            f"There is no {what} at {path}. Check the path, or take it out of what names it."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a path with a NUL
        raise SettingsError(
            f"The {what} at {path} cannot be read: {error}. It must be a file of UTF-8 text."
        ) from None


def tables_of(text: str, what: str, kind: type[SettingsError] = SettingsError) -> dict[str, Any]:
    """The entries of a settings file, or a sentence about why it is no TOML."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        why = "brackets stand in each other too deeply"
    except ValueError as error:  # also a number of more digits than Python reads
        why = str(error).partition(";")[0]
    raise kind(f"{what} is no valid TOML: {why}. Mend that line.")


def blocks_of(
    tables: Mapping[str, Any], name: str, what: str, kind: type[SettingsError] = SettingsError
) -> list[dict[str, Any]]:
    """The blocks [[name]] among the entries of a settings file."""
    blocks = tables.get(name, [])
    if not isinstance(blocks, list) or not all(isinstance(one, dict) for one in blocks):
        raise kind(f"{what}: '{name}' is no list of tables. Write each as a block, [[{name}]].")
    return blocks


def variable_of(name: str, part: str = "URL") -> str:
    """The environment variable that holds a part of a connection. Names are letters, digits, - and _.

    >>> variable_of("my-shop", "HAND_URL")
    'DLQ_MY_SHOP_HAND_URL'
    """
    return f"DLQ_{name.upper().replace('-', '_')}_{part}"


def setting(name: str, part: str = "URL") -> str | None:
    """The value of DLQ_<NAME>_<PART>, or None."""
    variable = variable_of(name, part)
    value = os.environ.get(variable) or None
    return _whole(value, variable) if value and part.endswith("URL") else value


def _whole(url: str, what: str) -> str:
    """A URL that can be taken apart; a path is none. Its text is in no sentence: it has a password."""
    try:
        if "://" in url and not (urlsplit(url) and url.strip().isprintable()):
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"{what} cannot be read as a URL: a bracket that does not close (an IPv6 address stands in [ and ]), or a"
            " character that cannot be seen. Write it again by hand."
        ) from None
    return url


def connected() -> list[str]:
    """The names that a DLQ_<NAME>_URL stands for, in order."""
    parts = ("_hand", "_broker", "_results", "_monitor", "_management")
    try:
        channels = profile().notify  # DLQ_ALERT_URL is where alerts go, and no system
    except SettingsError:  # whoever asks for a name is not told of a profile
        channels = ()
    names = {
        key[4:-4].lower()
        for key, url in os.environ.items()
        if url and key.startswith("DLQ_") and key.endswith("_URL") and key not in channels
    }
    return sorted(name for name in names - {"journal"} if not name.endswith(parts))


def url_of(name: str, part: str = "URL") -> str:
    """A place given as a URL, or as a name whose variable holds the URL."""
    if "://" in name:
        return _whole(name, "This text")
    if url := setting(name, part):
        return url
    ready = [one for one in connected() if one != name.lower()]
    hint = did_you_mean(name, ready)
    raise SettingsError(
        f"'{name}' is not connected: set {variable_of(name, part)} to its URL"
        f" (README, 'Connect your systems'). {hint if ready else ''}".rstrip()
    )


def home() -> Path:
    """Where journal and snapshots are kept; made when missing, readable by its owner only."""
    path = Path(os.environ.get("DLQ_HOME") or Path.home() / ".local/share/dlqanalysis")
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"The folder {path} cannot be made: {error.strerror}. Set DLQ_HOME to a folder of your own."
        ) from None
    return path


def queries_folder() -> Path | None:
    """The user's own folder of named queries."""
    where = os.environ.get("DLQ_QUERIES")
    if not where:
        return None
    if not Path(where).is_dir():
        raise SettingsError(
            f"DLQ_QUERIES names {where}, which is no folder. Check the path, or unset it."
        )
    return Path(where)


def journal_url() -> str:
    """The journal's database."""
    return os.environ.get("DLQ_JOURNAL_URL") or f"sqlite:///{home() / 'dlq-journal.sqlite'}"


def notify_urls(profile: Profile) -> dict[str, str]:
    """Variable -> the apprise URL it holds, for the channels that the profile names."""
    urls = {}
    for name in profile.notify:
        if not (url := os.environ.get(name)):
            raise SettingsError(
                f"Profile '{profile.name}' sends to {name}, but that variable is not set."
                " Set it to an apprise URL, or take it out of notify."
            )
        urls[name] = url
    return urls


def redact_salt() -> bytes:
    """What pseudonyms are salted with: DLQ_REDACT_SALT, else a random file in DLQ_HOME, made once.

    Without a salt a short hash of an e-mail address could be found by trying addresses. Where DLQ_HOME
    cannot be written, a random one, good for this process: reading needs no place to write.
    """
    if given := os.environ.get("DLQ_REDACT_SALT"):
        return given.encode("utf-8", "surrogateescape")
    try:
        path = home() / "redact-salt"
        if not path.exists():
            fresh = path.with_name(f"redact-salt.{os.getpid()}.{secrets.token_hex(4)}")
            try:
                fresh.touch(mode=0o600)
                fresh.write_text(secrets.token_hex(16), encoding="ascii")
                with contextlib.suppress(
                    FileExistsError
                ):  # another process was first: its salt holds
                    os.link(fresh, path)
            finally:
                fresh.unlink(missing_ok=True)
        salt = path.read_bytes().strip()
    except (OSError, SettingsError):
        return secrets.token_bytes(16)
    if len(salt) < 16:
        raise SettingsError(
            f"The redaction salt {path} is too short. Remove the file; it is made again."
        )
    return salt


def plain_environment() -> dict[str, str]:
    """What a command of somebody else's is given: everything but the kit's own credentials."""
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith("DLQ_") and name.endswith(("_URL", "_TOKEN", "_SALT")))
    }


def rulebook_path() -> str:
    """Where the user's own rules are, or nothing."""
    return os.environ.get("DLQ_RULEBOOK") or ""


def groups_file() -> tuple[str, str]:
    """Path and text of the groups changed by hand, or nothing twice."""
    path = os.environ.get("DLQ_GROUPS") or ""
    return path, read_text(Path(path), "groups file") if path else ""


def dask_address() -> str | None:
    """The Dask scheduler to use instead of processes on this machine."""
    return os.environ.get("DLQ_DASK") or None


def operator() -> str:
    """Who acts, for the journal."""
    try:
        return os.environ.get("DLQ_OPERATOR") or getpass.getuser()
    except (OSError, KeyError):  # a container's uid without a name
        return f"uid {os.getuid()}"


def armed() -> str | None:
    """The plan id that an unattended run may send."""
    return os.environ.get("DLQ_ARM") or None


def parse_rate(text: str | None) -> float:
    """Sends a second; 0 for no limit.

    >>> parse_rate("5/s"), parse_rate("30/m")
    (5.0, 0.5)
    """
    if not text:
        return 0.0
    number, _, unit = text.partition("/")
    try:
        rate = float(number) / {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit.strip()]
    except (ValueError, KeyError):
        rate = 0.0
    if not 0 < rate < float("inf"):  # also refuses nan
        raise SettingsError(
            f"'{text}' is no rate. Write it as 5/s, 30/m or 500/h; leave it out for no limit."
        )
    return rate


@contextlib.contextmanager
def jupyter_folders() -> Iterator[None]:
    """Lets a kernel start where HOME cannot be written: Jupyter's folders are temporary ones meanwhile."""
    names = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    unset = [name for name in names if name not in os.environ]
    if not unset or os.access(Path.home(), os.W_OK):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="dlq-jupyter-") as folder:
        os.environ.update({name: str(Path(folder) / name.lower()) for name in unset})
        try:
            yield
        finally:
            for name in unset:
                os.environ.pop(name, None)
