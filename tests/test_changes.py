"""Deploys read from where teams keep them, and which of them a group may come from."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.profile import Profile
from tests.test_onsets import HOUR, START, frame, office

CSV = "deployed_at,app,release\n2026-11-07T13:00:00Z,api,1.2\n2026-11-05T13:00:00+01:00,billing,3\n"


def test_files_of_three_forms(tmp_path):
    (tmp_path / "d.csv").write_text(CSV)
    (tmp_path / "d.json").write_text(
        '[{"time": "2026-11-07T13:00:00Z", "service": "api", "version": 1.2, "type": "config"}]'
    )
    (tmp_path / "d.jsonl").write_text(
        '{"at": "2026-11-07T13:00:00Z", "message": "rotate key=sk_live_abcdefghijklmnop1234"}\n'
    )
    found = dlq.changes(tmp_path / "d.csv")
    assert found["service"].tolist() == ["billing", "api"] and set(found["kind"]) == {"deploy"}
    assert found["at"].iloc[0] == pd.Timestamp("2026-11-05T12:00:00Z")
    assert dlq.changes(tmp_path / "d.json").iloc[0][["version", "kind"]].tolist() == [
        "1.2",
        "config",
    ]
    assert "sk_live" not in dlq.changes(tmp_path / "d.jsonl")["text"].iloc[0]


def git(folder, *arguments, when="2026-11-07T13:00:00+00:00"):
    env = {
        "GIT_AUTHOR_DATE": when,
        "GIT_COMMITTER_DATE": when,
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
    }
    names = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run(
        ["git", "-C", str(folder), *names, *arguments], env=env, check=True, capture_output=True
    )


def test_a_git_repository(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "First")
    git(
        tmp_path,
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "Second\tpart",
        when="2026-11-08T13:00:00+00:00",
    )
    found = dlq.changes(f"git:{tmp_path}")
    assert (
        found["text"].tolist() == ["First", "Second\tpart"]
        and found["service"].iloc[0] == tmp_path.name
    )
    git(tmp_path, "tag", "v1.0")
    assert dlq.changes(f"git:{tmp_path}")["version"].tolist() == ["v1.0"]
    assert len(dlq.changes(f"git:{tmp_path}@main")) == 2
    with pytest.raises(SettingsError, match="failed"):
        dlq.changes(f"git:{tmp_path}@--output=x")
    with pytest.raises(SettingsError, match="no folder"):
        dlq.changes("git:/no/such/folder")


def test_what_the_profile_names(tmp_path):
    (tmp_path / "d.csv").write_text(CSV)
    assert len(dlq.changes(profile=Profile())) == 0
    assert len(dlq.changes(profile=Profile(changes={"file": str(tmp_path / "d.csv")}))) == 2
    says = f"print({CSV!r})"
    command = Profile(changes={"command": [sys.executable, "-c", says]})
    assert len(dlq.changes(profile=command)) == 2
    broken = Profile(
        changes={"command": [sys.executable, "-c", "import sys; sys.exit('no token=abc')"]}
    )
    with pytest.raises(SettingsError, match="cannot be listed"):
        dlq.changes(profile=broken)
    with pytest.raises(SettingsError, match="list of texts"):
        dlq.changes(profile=Profile(changes={"command": "deployctl list"}))
    with pytest.raises(SettingsError, match="list of texts"):
        dlq.changes(profile=Profile(changes={"command": []}))
    with pytest.raises(SettingsError, match="Did you mean 'command'"):  # else Git's of this folder
        dlq.changes(profile=Profile(changes={"comand": ["deployctl", "list"]}))
    with pytest.raises(SettingsError, match="no folder"):
        dlq.changes("git:")


def test_a_spreadsheets_mark_and_half_a_character_hide_no_change(tmp_path):
    (tmp_path / "d.csv").write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    assert len(dlq.changes(tmp_path / "d.csv")) == 2
    row = '[{"at": "2026-11-07T13:00:00Z", "service": "\\ud800"}]'
    (tmp_path / "d.json").write_bytes(b"\xef\xbb\xbf" + row.encode())
    assert dlq.changes(tmp_path / "d.json")["service"].tolist() == ["\\ud800"]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("service,version\napi,1\n", SchemaError, "Change 0 has no time"),
        ("at\n2026-11-07T13:00:00\n", SettingsError, "no time zone"),
        ("at\nyesterday\n", SettingsError, "is no time"),
        (
            "at\npostgres://me:hunter22@h/x\n",
            SettingsError,
            "Change 0: 'postgres://me:<secret>@h/x'",
        ),
        ("[{]", SettingsError, "cannot be read"),
        ('["api 1.2"]', SettingsError, "not every entry is a record"),
        ("You are not logged in.\n", SettingsError, "one line, which names no time"),
    ],
)
def test_what_cannot_be_read(tmp_path, text, error, words):
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(error, match=words):
        dlq.changes(tmp_path / "d.csv")


def changed(*hours):
    rows = [(START + hour * HOUR, "api", f"v{n}", "deploy", "") for n, hour in enumerate(hours)]
    made = pd.DataFrame(rows, columns=["at", "service", "version", "kind", "text"])
    return made.astype({"at": "datetime64[us, UTC]"})


def story(seed=1, began=200.0, after=200):
    rng = np.random.default_rng(seed)
    new = np.append(began + 41 / 3600, began + 0.1 + rng.random(after) * 100)
    return frame(new=new, old=office(rng, 600))


def test_the_guilty_change_is_named_with_its_statistics():
    found = dlq.suspects(story(), changed(50, 200, 280))
    (row,) = found.to_dict("records")
    assert (row["fingerprint"], row["version"]) == ("shop.new", "v1")
    assert row["after"] == pd.Timedelta("41s") and row["before_per_hour"] == 0
    assert row["says"] == "it never came before this change" and row["at_least"] > 10


def test_a_rise_has_an_interval():
    rng = np.random.default_rng(4)
    risen = np.concatenate([office(rng, 300), 200.1 + rng.random(400) * 100])
    (row,) = dlq.suspects(frame(mail=risen, old=office(rng, 400)), changed(200)).to_dict("records")
    assert row["at_least"] < row["times"] < row["at_most"]
    assert row["says"].startswith("at least ")


def test_innocent_changes_are_not_suspected():
    assert not len(dlq.suspects(story(), changed(50, 150, 210)))  # hours before, and after
    assert not len(dlq.suspects(story(), changed()))
    rng = np.random.default_rng(2)
    assert not len(dlq.suspects(frame(old=office(rng, 800)), changed(20, 90, 200)))


def test_changes_in_any_order_and_groups_that_are_numbers():
    failures = story().assign(code=500)
    for order in (changed(50, 199.9, 200), changed(50, 199.9, 200)[::-1]):
        (row,) = dlq.suspects(failures, order).to_dict("records")
        assert (row["version"], row["also"]) == ("v2", "api v1")
    assert len(
        dlq.suspects(failures.assign(code=failures["task_name"].cat.codes), changed(200), by="code")
    )


def test_several_changes_in_one_stretch_are_all_told():
    (row,) = dlq.suspects(story(), changed(199, 200)).to_dict("records")
    assert (row["version"], row["also"]) == ("v1", "api v0")


def test_small_numbers_say_so():
    rng = np.random.default_rng(9)
    burst = 200.2 + rng.random(30) * 0.5
    few = np.append(burst, [])
    found = dlq.suspects(frame(new=few, old=office(rng, 600)), changed(200, 200.21))
    assert len(found) == 1
    (row,) = found.to_dict("records")
    assert row["says"].startswith(("too few to say", "it never came", "chance may"))


def test_the_demo_s_release_is_found_unaided():
    failures = dlq.load("notebooks/data/demo_export.parquet", since=None)
    failures = failures.pipe(dlq.classify).pipe(dlq.fingerprint)
    changed = dlq.changes(source="notebooks/data/demo_export.parquet")  # they lie beside it
    assert not len(dlq.changes(source="celery")) and not len(
        dlq.changes()
    )  # and are of no other source
    found = dlq.suspects(failures, changed)
    sure = found[found["says"] == "it never came before this change"]
    after = dict(zip(sure["version"], sure["after"], strict=True))
    assert after == {"2026.11.3": pd.Timedelta("41s"), "key-2026-11": pd.Timedelta("15m41s")}
    assert "KeyError: 'margins'" in sure["error"].tolist()
