"""Telling others: a plain, redacted preview; sent only where a profile says, over a real socket."""

import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dlqanalysis import notify
from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.health import Level
from dlqanalysis.model import Finding
from dlqanalysis.notify import preview, send, send_text, tell
from dlqanalysis.profile import Profile, home

FINDINGS = [
    Finding(name="oldest", severity="ok", text="The oldest failure has been waiting for 2 hours."),
    Finding(name="depth", severity="critical", text="1,200 failures waiting."),
    Finding(
        name="per_hour", severity="warning", text="60 new, the last for jo@example.com\x1b[2J\n."
    ),
]
TO = Profile(name="shop", notify=("DLQ_ALERT_URL",))


def reply(status=200, *headers: str, then=None):
    """An answer to a POST: its status, its headers, and what goes on after them."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for header in headers:
            handler.send_header(*header.split(": ", 1))
        handler.end_headers()
        if then:
            then(handler.wfile)

    return answer


class Channel(ThreadingHTTPServer):
    """A webhook's host that keeps what it is sent and answers with a status of our choice."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.status = 200
        self.answer = None  #: instead of a status: what is done with the handler
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"json://user:s3cretpass@127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        (self.server.answer or reply(self.server.status))(self)

    def do_GET(self) -> None:
        reply(200)(self)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def channels(monkeypatch) -> Iterator[Channel]:
    """A channel that runs, and DLQ_ALERT_URL that names it."""
    server = Channel()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("DLQ_ALERT_URL", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def channel(monkeypatch) -> Iterator[Channel]:
    with channels(monkeypatch) as server:
        yield server


def test_preview_is_plain_redacted_and_the_gravest_come_first():
    lines = preview(FINDINGS).splitlines()
    assert lines[0] == "Dead letters: 1 critical, 1 warning, 1 ok"
    assert [line.split()[0] for line in lines[1:]] == ["CRITICAL", "WARNING"]
    assert preview(CALM).splitlines()[1].startswith("OK ")
    assert "jo@example.com" not in preview(FINDINGS) and "<email:" in lines[2]
    assert "\x1b" not in preview(FINDINGS)
    assert preview([]) == "Dead letters: nothing checked"


def test_a_long_preview_is_cut_at_a_line():
    many = [Finding(name=f"n{i}", severity="warning", text="x " * 200) for i in range(100)]
    text = preview(many)
    assert len(text) < 4000 and text.endswith("\n... cut")


def test_send_reaches_the_channel(channel):
    assert send(FINDINGS, TO) == 1
    [message] = channel.got
    assert message["title"] == "Dead letters: 1 critical, 1 warning, 1 ok"
    assert "CRITICAL depth: 1,200 failures waiting." in message["message"]
    assert message["type"] == "failure"
    assert "jo@example.com" not in json.dumps(message)


def test_nothing_is_sent_unless_the_profile_says_where(channel):
    with pytest.raises(SettingsError, match="names no channel, so nothing was sent"):
        send(FINDINGS, Profile())
    assert channel.got == []


def test_a_variable_that_is_not_set(channel, monkeypatch):
    monkeypatch.delenv("DLQ_ALERT_URL")
    with pytest.raises(SettingsError, match="DLQ_ALERT_URL, but that variable is not set"):
        send(FINDINGS, TO)


def test_a_url_that_apprise_does_not_know_is_not_shown(channel, monkeypatch):
    monkeypatch.setenv("DLQ_ALERT_URL", "carrier-pigeon://user:s3cretpass@coop")
    with pytest.raises(SettingsError, match="DLQ_ALERT_URL holds no URL") as caught:
        send(FINDINGS, TO)
    assert "s3cretpass" not in str(caught.value)


@pytest.mark.parametrize("how", ["refuses", "is gone"])
def test_a_channel_that_does_not_take_it_is_named_without_its_url(
    channel, how, caplog, monkeypatch
):
    monkeypatch.setenv("DLQ_OTHER_URL", channel.url)
    if how == "refuses":
        channel.status = 500
    else:
        monkeypatch.setenv("DLQ_OTHER_URL", "json://user:s3cretpass@127.0.0.1:9/hook?cto=1&rto=1")
    with pytest.raises(ConnectError) as caught:
        send(FINDINGS, Profile(notify=("DLQ_ALERT_URL", "DLQ_OTHER_URL")))
    assert "DLQ_OTHER_URL" in str(caught.value)
    assert ("0 of 2" if how == "refuses" else "1 of 2") in str(caught.value)
    assert "s3cretpass" not in str(caught.value) + caplog.text


def test_a_channel_that_has_moved_has_not_taken_it(channel):
    """Else the POST becomes a GET, which is answered, and nobody is told."""
    channel.answer = reply(302, "Location: /elsewhere")
    with pytest.raises(ConnectError, match="sent us elsewhere"):
        send(FINDINGS, TO)


def test_an_answer_that_does_not_end_is_left(channel, monkeypatch):
    def drip(out) -> None:
        with contextlib.suppress(OSError):
            for _ in range(100):
                out.write(b"x")
                time.sleep(0.1)

    monkeypatch.setattr(notify, "_PATIENCE", 0.5)
    channel.answer = reply(200, "Content-Length: 1000", then=drip)
    begun = time.monotonic()
    with pytest.raises(ConnectError, match="0 of 1 channels"):
        send(FINDINGS, TO)
    assert time.monotonic() - begun < 8


def test_no_log_tells_where_it_goes(channel, caplog):
    with caplog.at_level(logging.DEBUG):
        send(FINDINGS, TO)
    assert "/hook" not in caplog.text


def test_a_dead_letter_calls_nobody_and_forges_no_line():
    calls = "@everyone <!channel> <@!5> <@&5> <#C1>"
    loud = Finding(name="queue x\nCRITICAL y token=s3cr3t-s3cr3t-s3cr3t", severity="ok", text=calls)
    lines = preview([loud], "jobs @here", (Level(name="high", because="growing", contact="@jo"),))
    assert "s3cr3t" not in lines and len(lines.splitlines()) == 3
    assert not re.search(r"@everyone|@here|<!channel|<@!|<@&|<#C", lines)
    assert "(@jo)" in lines  # whom a profile names is meant to be called
    assert lines.replace("\u2060", "").endswith(calls)


# What is told, and what was told already -------------------------------------------------------------------------

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CALM = [replace(finding, severity="ok") for finding in FINDINGS]


def after(minutes):
    return NOW + timedelta(minutes=minutes)


def test_the_same_is_not_told_again_until_it_is_time(channel):
    assert tell(FINDINGS, TO, "shop", now=NOW) == "sent"
    assert tell(FINDINGS, TO, "shop", now=after(239)) == "already told"
    counted_anew = [replace(FINDINGS[1], text="1,300 failures waiting."), *FINDINGS[2:]]
    assert tell(counted_anew, TO, "shop", now=after(239)) == "already told"
    assert tell(FINDINGS, TO, "shop", now=after(240)) == "sent"
    assert tell(FINDINGS, TO, "another", now=after(240)) == "sent"
    assert len(channel.got) == 3 and channel.got[2]["title"].startswith("Dead letters of another: ")


def test_what_gets_worse_is_told_at_once(channel):
    mild = [replace(FINDINGS[1], severity="warning")]
    assert tell(mild, TO, "shop", now=NOW) == "sent"
    assert tell(FINDINGS[1:2], TO, "shop", now=after(1)) == "sent"
    assert [message["type"] for message in channel.got] == ["warning", "failure"]


def test_that_it_is_over_is_told_once(channel):
    assert tell(CALM, TO, "shop", now=NOW) == "nothing to tell"
    tell(FINDINGS, TO, "shop", now=NOW)
    assert tell(CALM, TO, "shop", now=after(5)) == "resolved"
    assert tell(CALM, TO, "shop", now=after(10)) == "nothing to tell"
    assert channel.got[1]["title"] == "Dead letters of shop: resolved"
    assert "It was: depth, per_hour." in channel.got[1]["message"]
    assert channel.got[1]["type"] == "success" and len(channel.got) == 2
    assert tell(FINDINGS, TO, "shop", now=after(15)) == "sent"


def test_a_channel_that_was_away_is_told_later_and_the_other_not_twice(channel, monkeypatch):
    both = Profile(name="shop", notify=("DLQ_ALERT_URL", "DLQ_OTHER_URL"))
    monkeypatch.setenv("DLQ_OTHER_URL", "json://127.0.0.1:9/hook?cto=1&rto=1")
    with pytest.raises(ConnectError, match="1 of 2 channels"):
        tell(FINDINGS, both, "shop", now=NOW)
    monkeypatch.setenv("DLQ_OTHER_URL", channel.url.replace("/hook", "/other"))
    assert tell(FINDINGS, both, "shop", now=after(5)) == "sent"
    assert tell(FINDINGS, both, "shop", now=after(6)) == "already told"
    assert len(channel.got) == 2


def test_a_spoilt_memory_tells_again(channel):
    tell(FINDINGS, TO, "shop", now=NOW)
    [path] = (home() / "notified").iterdir()
    assert path.stat().st_mode & 0o077 == 0 and "s3cretpass" not in path.read_text()
    for text in (
        "{",
        "[]",
        '{"DLQ_ALERT_URL": 5}',
        '{"DLQ_ALERT_URL": {"digest": "x", "names": [], "at": "x"}}',
        '{"DLQ_ALERT_URL": {"digest": "x", "names": [5], "at": "2026-11-22T12:00:00Z"}}',
        "[" * 9999,
    ):
        path.write_text(text)
        assert tell(FINDINGS, TO, "shop", now=NOW) == "sent"
    with pytest.raises(SettingsError, match="names no channel"):
        tell(FINDINGS, Profile(), "shop")


def test_where_nothing_can_be_kept_it_is_told_all_the_same(channel, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DLQ_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(SettingsError, match="message was sent, but that it was cannot be kept"):
        tell(FINDINGS, TO, "shop", now=NOW)
    assert len(channel.got) == 1


def test_a_full_disk_leaves_no_file_at_every_check(channel, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SettingsError, match=r"No space left on device\. Set DLQ_HOME") as caught:
        tell(FINDINGS, TO, "shop", now=NOW)
    assert str(caught.value).count("Set DLQ_HOME") == 1
    assert not list((home() / "notified").iterdir())


def test_a_clock_that_was_ahead_silences_nobody(channel):
    assert tell(FINDINGS, TO, "shop", now=NOW + timedelta(days=9_000)) == "sent"
    assert tell(FINDINGS, TO, "shop", now=NOW) == "sent"
    assert tell(FINDINGS, TO, "shop", now=after(5)) == "already told"


def test_what_is_kept_of_a_url_has_no_password(channel):
    finding = Finding(name="postgresql://me:hunter22@h/db: depth", severity="critical", text="5.")
    tell([finding], TO, "shop", now=NOW)
    [path] = (home() / "notified").iterdir()
    assert "hunter22" not in path.read_text() + json.dumps(channel.got)


def test_how_grave_and_whom_to_call_stand_on_top():
    levels = (
        Level(name="high", because="depth > 1000", respond="30m"),
        Level(name="L2", because="growing", contact="jo@example.com"),
    )
    lines = preview(FINDINGS, "jobs\x1b[2J", levels).splitlines()
    assert lines[0].startswith("Dead letters of jobs [2J: 1 critical")
    assert lines[1] == "Severity: high, respond within 30m: depth > 1000"
    assert lines[2].startswith("Escalation: L2 (<email:") and lines[3].startswith("CRITICAL")
    assert preview(FINDINGS, levels=(None, None)) == preview(FINDINGS)


def test_a_days_story_is_sent_redacted(channel):
    assert send_text("Daily report", ["Quiet: nothing failed.", "For jo@example.com."], TO) == 1
    [message] = channel.got
    assert message["title"] == "Daily report" and message["message"].startswith(
        "Quiet: nothing failed."
    )
    assert "jo@example.com" not in message["message"]
