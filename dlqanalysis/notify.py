"""Findings to Slack, PagerDuty, e-mail or a webhook, through apprise; off until a profile names variables.

`notify = ["DLQ_ALERT_URL"]` in the profile; the variable holds an apprise URL, which is a secret.
"""

import hashlib
import json
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.files import keep_whole
from dlqanalysis.model import Finding, duration
from dlqanalysis.profile import Profile, home, notify_urls
from dlqanalysis.redact import redact

_ORDER = ("critical", "warning", "ok")
_LEVELS = ("Severity", "Escalation")
_LONGEST = 3500  # Slack cuts a message at 4,000 characters
_PATIENCE = 30.0  #: seconds for one channel, its answer included
_CALL = re.compile(r"(?:@|<[!#])(?=[\w!&])")  #: how chats call people: @here, <!here>, <@!5>, <@&5>
_LOGS = ("apprise", "urllib3.connectionpool")  #: the second tells paths, which are tokens


def preview(findings: Sequence[Finding], place: str = "", levels: Sequence[Any] = ()) -> str:
    """What would be sent: a title line, how grave it is and whom to call, and one line a finding, the gravest
    first; plain text, redacted. What is ok is counted, and told only where nothing else is. `levels` are what
    health.severity and health.escalation give.
    """
    counts = {word: sum(finding.severity == word for finding in findings) for word in _ORDER}
    title = (
        ", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word]) or "nothing checked"
    )
    lines = [
        _line(f"{word}: {level}") for word, level in zip(_LEVELS, levels, strict=False) if level
    ]
    worst = _worst(findings)
    lines += [
        f"{finding.severity.upper()} {_calling_nobody(f'{finding.name}: {finding.text}')}"
        for finding in sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
        if worst == "ok" or finding.severity != "ok"
    ]
    text = "\n".join([f"{_about(place)}: {title}", *lines])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 20].rsplit("\n", 1)[0] + "\n... cut"


def send(
    findings: Sequence[Finding], profile: Profile, place: str = "", levels: Sequence[Any] = ()
) -> int:
    """Sends the preview to every channel that the profile names; gives how many took it.

    Raises SettingsError when the profile names none, ConnectError when a channel did not take it.
    """
    urls = _channels(profile)
    title, _, body = preview(findings, place, levels).partition("\n")
    _all_took(_deliver(title, body, _worst(findings), urls), urls)
    return len(urls)


def send_text(title: str, lines: Sequence[str], profile: Profile) -> int:
    """Sends a few sentences, such as `dlq.story` of a day, to every channel; gives how many took it."""
    urls = _channels(profile)
    body = "\n".join(map(_calling_nobody, lines))[:_LONGEST]
    _all_took(_deliver(_calling_nobody(title), body, "ok", urls), urls)
    return len(urls)


def tell(
    findings: Sequence[Finding],
    profile: Profile,
    place: str,
    levels: Sequence[Any] = (),
    again: str = "4h",
    now: datetime | None = None,
) -> str:
    """Sends what is new: the same findings of a place not again within `again`, and once that they are over.

    Gives what was done: sent, already told, resolved, or nothing to tell. What each channel was told is kept
    in DLQ_HOME, by channel: one that was away is told the next time, and the others are not told twice.
    """
    urls, when = _channels(profile), now or datetime.now(UTC)
    bad = sorted((one.severity, one.name) for one in findings if one.severity != "ok")
    digest = hashlib.sha256(repr(bad).encode("utf-8", "backslashreplace")).hexdigest()[:16]
    state = _told(place)
    due = {
        name: url
        for name, url in urls.items()
        if (_is_due(state.get(name), digest, when, again) if bad else name in state)
    }
    if not due:
        return "already told" if bad else "nothing to tell"
    if bad:
        title, _, body = preview(findings, place, levels).partition("\n")
    else:
        title = f"{_about(place)}: resolved"
        body = (
            f"Nothing is found any more. It was: {', '.join(_names(state[name] for name in due))}."
        )
    refused = _deliver(title, body, _worst(findings), due)
    for name in due:
        if name in refused:
            continue
        if bad:
            names = [_line(one) for _, one in bad[:20]]
            state[name] = {"digest": digest, "at": when.isoformat(), "names": names}
        else:
            state.pop(name, None)
    _keep(place, state)
    _all_took(refused, due)
    return "sent" if bad else "resolved"


def _worst(findings: Sequence[Finding]) -> str:
    return next((word for word in _ORDER if any(f.severity == word for f in findings)), "ok")


def _about(place: str) -> str:
    return f"Dead letters of {_calling_nobody(place)}" if place else "Dead letters"


def _channels(profile: Profile) -> dict[str, str]:
    urls = notify_urls(profile)
    if not urls:
        raise SettingsError(
            f"Profile '{profile.name}' names no channel, so nothing was sent. Write"
            ' notify = ["DLQ_ALERT_URL"] into it and set that variable to an apprise URL.'
        )
    return urls


def _deliver(title: str, body: str, severity: str, urls: Mapping[str, str]) -> list[str]:
    """Sends to each channel; gives the variables of those that did not take it."""
    import apprise

    kind = {
        "critical": apprise.NotifyType.FAILURE,
        "warning": apprise.NotifyType.WARNING,
        "ok": apprise.NotifyType.SUCCESS,
    }[severity]
    refused = []
    with _quiet():
        channels = {}
        for variable, url in urls.items():  # all are known before one is sent to
            # a redirect may make a GET of it, which is answered, and nobody is told
            channels[variable] = apprise.Apprise(asset=apprise.AppriseAsset(http_redirects=False))
            if not channels[variable].add(url):
                raise SettingsError(
                    f"{variable} holds no URL that apprise knows, so nothing was sent."
                    " A webhook is json://host/path, Slack is slack://TokenA/TokenB/TokenC."
                )
        for variable, channel in channels.items():
            message = {"title": title, "body": body or title, "notify_type": kind}
            if not _took(partial(channel.notify, **message, body_format=apprise.NotifyFormat.TEXT)):
                refused.append(variable)
    return refused


def _took(notify: Callable[[], Any]) -> bool:
    """Whether a channel took it in time: apprise itself reads an answer that does not end for ever."""
    took: list[Any] = []
    sending = threading.Thread(target=lambda: took.append(notify()), daemon=True)
    sending.start()
    sending.join(_PATIENCE)
    return any(took)


def _all_took(refused: Sequence[str], urls: Mapping[str, str]) -> None:
    if refused:
        raise ConnectError(
            f"{len(urls) - len(refused)} of {len(urls)} channels took the message."
            f" Check what {', '.join(refused)} names: the host did not answer, refused it, or sent us elsewhere."
        )


def _is_due(state: Mapping[str, Any] | None, digest: str, now: datetime, again: str) -> bool:
    """Whether a channel has not been told these findings, or so long ago that they are told again."""
    if state is None or state["digest"] != digest:
        return True
    since = now - datetime.fromisoformat(state["at"])
    return not timedelta(0) <= since < duration(again)  # below 0: the clock was wrong then


def _names(states: Iterator[Mapping[str, Any]]) -> list[str]:
    return sorted({_calling_nobody(name) for state in states for name in state["names"]})


def _told(place: str) -> dict[str, dict[str, Any]]:
    """What each channel was told of a place; nothing where that cannot be read: then it is told again."""
    try:
        kept = json.loads(_file(place).read_text(encoding="utf-8"))
        for state in kept.values():
            if not (isinstance(state["digest"], str) and isinstance(state["names"], list)):
                return {}
            if not all(isinstance(name, str) for name in state["names"]):
                return {}
            if datetime.fromisoformat(state["at"]).tzinfo is None:
                return {}
    except (OSError, SettingsError, RecursionError):
        return {}
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}
    return dict(kept)


def _keep(place: str, state: Mapping[str, Any]) -> None:
    try:
        path = _file(place)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        keep_whole(path, json.dumps(state), mode=0o600)
    except (OSError, SettingsError) as error:
        advice = (
            "" if isinstance(error, SettingsError) else ". Set DLQ_HOME to a folder of your own."
        )
        raise SettingsError(
            "The message was sent, but that it was cannot be kept, so it will be sent again at the next check:"
            f" {error}{advice}"
        ) from None


def _file(place: str) -> Path:
    name = hashlib.sha256(place.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return home() / "notified" / f"{name}.json"


def _line(text: str) -> str:
    """One line without control characters, redacted."""
    plain = "".join(character if character.isprintable() else " " for character in redact(text))
    return " ".join(plain.split())[:500]


def _calling_nobody(text: str) -> str:
    """The same, of what dead letters may say: a word joiner keeps @everyone and <!channel> from calling everybody."""
    return _CALL.sub("\\g<0>\u2060", _line(text))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps logs that may show where apprise sends, and its plugins' deprecations, out of notebooks."""
    loggers = [logging.getLogger(name) for name in _LOGS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was
