"""Settings and the profile: what is read, from where, and one sentence for each mistake."""

import os
import re
import stat
from pathlib import Path

import pytest

from dlqanalysis import profile as read_profile
from dlqanalysis.errors import SettingsError
from dlqanalysis.profile import (
    Profile,
    home,
    journal_url,
    operator,
    parse_rate,
    redact_salt,
    setting,
    url_of,
)

GOOD = """
name = "shop"
affected = ["tenant_id"]
notify = ["DLQ_SLACK_URL"]
[safety]
send_email = "never"
"api.tasks.sync" = "idempotent"
[keys]
generate_memo = "memo_{property_id}"
[thresholds]
depth = 100
[contacts]
L1 = "on call"
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("DLQ_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DLQ_HOME", str(tmp_path / "home"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "profile.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_profile_is_read(tmp_path):
    found = Profile.load(write(tmp_path, GOOD))
    assert found.name == "shop"
    assert found.affected == ("tenant_id",) and found.notify == ("DLQ_SLACK_URL",)
    assert found.of(found.safety, "api.tasks.send_email") == "never"
    assert found.of(found.safety, "api.tasks.sync") == "idempotent"
    assert found.of(found.keys, "other") is None
    assert found.thresholds == {"depth": 100}


def test_without_a_profile_there_is_an_empty_one():
    assert Profile.load() == Profile() == read_profile()


def test_the_variable_names_the_profile(tmp_path, monkeypatch):
    monkeypatch.setenv("DLQ_PROFILE", str(write(tmp_path, GOOD)))
    assert Profile.load().name == "shop"
    assert read_profile().name == "shop"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("saftey = {}", "Did you mean 'safety'?"),
        ('[safety]\na = "nevr"', "Did you mean 'never'?"),
        ("a =", "no valid TOML"),
        (f"a = {'[' * 9999}", "brackets stand in each other too deeply"),
        (f"[thresholds]\ndepth = {'9' * 5000}", "no valid TOML: Exceeds the limit (4300 digits)"),
        ('safety = "x"', "must be a table"),
        ("[safety]\na = 1", "text as its value"),
        ('affected = "tenant_id"', "a list of texts"),
        ("notify = [1]", "a list of texts"),
        ("name = 5", "must be text"),
        ("thresholds = 3", "must be a table"),
        ("keys = [1]", "must be a table"),
    ],
)
def test_a_mistake_in_a_profile_is_one_sentence(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(SettingsError, match=re.escape(says)) as caught:
        Profile.load(path)
    assert str(path) in str(caught.value)


def test_the_mark_that_some_editors_write_is_no_part_of_a_profile(tmp_path):
    (tmp_path / "p.toml").write_bytes(b'\xef\xbb\xbfname = "shop"\n')
    assert Profile.load(tmp_path / "p.toml").name == "shop"


def test_a_profile_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(SettingsError, match="There is no profile at"):
        Profile.load(tmp_path / "missing.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        Profile.load(tmp_path)
    (tmp_path / "latin").write_bytes(b'name = "\xff"')
    with pytest.raises(SettingsError, match="cannot be read"):
        Profile.load(tmp_path / "latin")


def test_a_name_becomes_a_variable(monkeypatch):
    monkeypatch.setenv("DLQ_CELERY_URL", "postgresql://reader@db/app")
    monkeypatch.setenv("DLQ_MY_SHOP_TOKEN", "t")
    assert url_of("celery") == "postgresql://reader@db/app"
    assert url_of("redis://127.0.0.1/3") == "redis://127.0.0.1/3"
    assert setting("my-shop", "TOKEN") == "t"
    assert setting("celery", "HAND_URL") is None


def test_an_unset_name_says_which_variable_and_shows_no_secret(monkeypatch):
    monkeypatch.setenv("DLQ_CELERY_URL", "postgresql://reader:hunter2@db/app")
    monkeypatch.setenv("DLQ_CELERY_HAND_URL", "postgresql://writer:hunter2@db/app")
    monkeypatch.setenv("DLQ_JOURNAL_URL", "sqlite://")
    with pytest.raises(SettingsError) as caught:
        url_of("celry")
    assert "DLQ_CELRY_URL" in str(caught.value)
    assert "Did you mean 'celery'?" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError, match="DLQ_OTHER_BROKER_URL"):
        url_of("other", "BROKER_URL")


def test_home_is_its_owners_only(tmp_path, monkeypatch):
    assert home() == tmp_path / "home"
    assert stat.S_IMODE(home().stat().st_mode) & 0o077 == 0
    assert journal_url() == f"sqlite:///{tmp_path}/home/dlq-journal.sqlite"
    monkeypatch.setenv("DLQ_JOURNAL_URL", "postgresql://db/journal")
    assert journal_url() == "postgresql://db/journal"


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLQ_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(SettingsError, match="Set DLQ_HOME to a folder of your own"):
        home()


def test_the_salt_is_made_once_and_kept_private(tmp_path, monkeypatch):
    first = redact_salt()
    assert len(first) >= 16 and redact_salt() == first
    path = tmp_path / "home" / "redact-salt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]  # no draft is left
    monkeypatch.setenv("DLQ_HOME", str(tmp_path / "other"))
    assert redact_salt() != first
    monkeypatch.setenv("DLQ_REDACT_SALT", "the team's")
    assert redact_salt() == b"the team's"


def test_where_nothing_can_be_written_a_salt_is_made_for_this_process(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLQ_HOME", str(tmp_path / "file" / "home"))
    assert len(redact_salt()) >= 16


def test_a_spoilt_salt_is_a_sentence(tmp_path):
    redact_salt()
    (tmp_path / "home" / "redact-salt").write_text("")
    with pytest.raises(SettingsError, match="too short"):
        redact_salt()


def test_operator(monkeypatch):
    monkeypatch.setenv("DLQ_OPERATOR", "ada")
    assert operator() == "ada"
    monkeypatch.delenv("DLQ_OPERATOR")
    assert operator()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)  # a container's uid without a name
    assert operator() == "uid 4000000"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        (None, 0.0),
        ("", 0.0),
        ("5/s", 5.0),
        ("30/m", 0.5),
        ("500 / h", 500 / 3600),
        ("0.5/s", 0.5),
        ("86400/d", 1.0),
    ],
)
def test_rate(text, rate):
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text", ["0/s", "-5/s", "nan/s", "inf/s", "5", "/s", "5/0s", "5/2m", "x/s", "5/"]
)
def test_what_is_no_rate_is_a_sentence(text):
    """0/s above all: it must not mean "no limit"."""
    with pytest.raises(SettingsError, match="no rate"):
        parse_rate(text)
