"""Findings to Slack, PagerDuty, e-mail or a webhook, through apprise; off until a profile names variables.

`notify = ["DLQ_ALERT_URL"]` in the profile; the variable holds an apprise URL, which is a secret.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.model import Finding
from dlqanalysis.profile import Profile, notify_urls
from dlqanalysis.redact import redact

_ORDER = ("critical", "warning", "ok")
_LONGEST = 3500  # Slack cuts a message at 4,000 characters


def preview(findings: Sequence[Finding]) -> str:
    """What would be sent: a title line and one line a finding, the gravest first; plain text, redacted."""
    counts = {word: sum(finding.severity == word for finding in findings) for word in _ORDER}
    title = (
        ", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word]) or "nothing checked"
    )
    lines = [
        f"{finding.severity.upper()} {finding.name}: {_line(finding.text)}"
        for finding in sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
    ]
    text = "\n".join([f"Dead letters: {title}", *lines])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 20].rsplit("\n", 1)[0] + "\n... cut"


def send(findings: Sequence[Finding], profile: Profile) -> int:
    """Sends the preview to every channel that the profile names; gives how many took it.

    Raises SettingsError when the profile names none, ConnectError when a channel did not take it.
    """
    import apprise

    urls = notify_urls(profile)
    if not urls:
        raise SettingsError(
            f"Profile '{profile.name}' names no channel, so nothing was sent. Write"
            ' notify = ["DLQ_ALERT_URL"] into it and set that variable to an apprise URL.'
        )
    kind = {
        "critical": apprise.NotifyType.FAILURE,
        "warning": apprise.NotifyType.WARNING,
        "ok": apprise.NotifyType.SUCCESS,
    }[next((word for word in _ORDER if any(f.severity == word for f in findings)), "ok")]
    title, _, body = preview(findings).partition("\n")
    refused = []
    with _quiet():
        for variable, url in urls.items():
            channel = apprise.Apprise()
            if not channel.add(url):
                raise SettingsError(
                    f"{variable} holds no URL that apprise knows, so nothing was sent there."
                    " A webhook is json://host/path, Slack is slack://TokenA/TokenB/TokenC."
                )
            sent = channel.notify(
                title=title,
                body=body or title,
                notify_type=kind,
                body_format=apprise.NotifyFormat.TEXT,
            )
            if not sent:
                refused.append(variable)
    if refused:
        raise ConnectError(
            f"{len(urls) - len(refused)} of {len(urls)} channels took the message."
            f" Check what {', '.join(refused)} names: the host did not answer, or refused it."
        )
    return len(urls)


def _line(text: str) -> str:
    """One line without control characters, redacted."""
    plain = "".join(character if character.isprintable() else " " for character in redact(text))
    return " ".join(plain.split())[:500]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps apprise's log, which may show where it sends, and its plugins' deprecations out of notebooks."""
    logger = logging.getLogger("apprise")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.disabled = before
