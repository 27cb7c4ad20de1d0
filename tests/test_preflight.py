"""What a profile wants looked at before a replay: pages, commands, queries; each can be good, bad, and silent."""

import sys

import pytest

from dlqanalysis.errors import SettingsError
from dlqanalysis.profile import Profile
from dlqanalysis.replay import checks
from dlqanalysis.replay.checks import preflight
from tests.test_replay_care import page


def one(**check):
    (found,) = preflight(Profile(preflight={"shop": check}))
    return found


@pytest.mark.parametrize(
    ("code", "ok"), [(200, True), (204, True), (302, False), (404, False), (503, False)]
)
def test_a_page(code, ok):
    with page([code]) as url:
        found = one(url=url)
    assert (found.severity, found.blocks) == (("ok", False) if ok else ("critical", True))
    assert found.text == f"shop: its page answers {code}"


def test_a_page_that_does_not_answer_is_named_without_its_url():
    found = one(url="http://user:hunter2@127.0.0.1:9/health", blocks=False)
    assert (found.severity, found.blocks) == ("warning", False)
    assert found.text == "shop: its page does not answer (ConnectError)"
    assert one(url="http://[broken").blocks


@pytest.mark.parametrize(
    ("code", "blocks", "text"),
    [
        ("print('no deploy')", False, "exits with 0: no deploy"),
        ("import sys; print('deploying 4.2'); sys.exit(3)", True, "exits with 3: deploying 4.2"),
        ("import sys; sys.exit('password=hunter2-s3cr3t')", True, "exits with 1: password="),
    ],
)
def test_a_command(code, blocks, text):
    found = one(command=[sys.executable, "-c", code])
    assert found.blocks == blocks and text in found.text and "hunter2" not in found.text


def test_a_command_gets_no_shell_and_may_be_missing(tmp_path):
    assert "cannot be run" in one(command=["no-such-command-anywhere"]).text
    found = one(command=["echo", f"$(touch {tmp_path / 'x'})"])
    assert not found.blocks and not (tmp_path / "x").exists()


def test_a_command_may_write_much_hang_and_leave_others_running(monkeypatch):
    monkeypatch.setattr(checks, "_WAIT", 2)
    assert "did not end within 2 seconds" in one(command=["sleep", "30"]).text
    assert "did not end" in one(command=["yes", "x" * 1000]).text
    monkeypatch.setattr(checks, "_WAIT", 90)  # who waits for the sleep waits too long
    found = one(command=["sh", "-c", "sleep 100 & echo fine"])
    assert not found.blocks and found.text.endswith("exits with 0: fine")
    much = one(command=[sys.executable, "-c", "print('first'); print('x' * 10**7)"])
    assert not much.blocks and much.text.endswith("exits with 0: first")
    hostile = one(command=[sys.executable, "-c", "print('a\\x1b[2Jb\\u202e' + 'x' * 9999)"])
    assert len(hostile.text) <= 300 and hostile.text.isprintable()


def test_a_query(shop_url, monkeypatch):
    monkeypatch.setenv("DLQ_CELERY_URL", shop_url)
    found = one(query="active_connections", at_most=10_000)
    assert not found.blocks and " is " in found.text
    assert one(query="active_connections", at_most=-1).blocks
    assert one(query="active_connections", at_least=10_000).blocks
    missing = one(query="active_connections", source="nowhere", at_most=1)
    assert missing.blocks and "DLQ_NOWHERE_URL" in missing.text


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({}, "exactly one of url, command and query"),
        ({"url": "http://x", "command": ["x"]}, "exactly one"),
        ({"urll": "http://x"}, "no option 'urll'"),
        ({"command": "rm -rf /"}, "as a list of texts"),
        ({"command": []}, "as a list of texts"),
        ({"command": ["echo", "a\0b"]}, "as a list of texts"),
        ({"query": "active_connections"}, "a number to compare with"),
        ({"query": "active_connections", "at_most": "80"}, "a number to compare with"),
        ({"url": "http://x", "at_most": 3}, "Leave them out"),
        ({"url": "http://x", "blocks": "no"}, "blocks = true or blocks = false"),
    ],
)
def test_what_a_check_must_be(check, words):
    with pytest.raises(SettingsError, match=words):
        one(**check)


def test_a_check_is_a_table():
    with pytest.raises(SettingsError, match="must be a table"):
        preflight(Profile(preflight={"shop": "http://x"}))


def test_it_is_read_from_a_profile(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[preflight.deploys]\ncommand = ["true"]\nblocks = false\n')
    (found,) = preflight(Profile.load(path))
    assert (found.name, found.severity) == ("deploys", "ok")
