"""`dlq init`: a folder to begin with, whose files hold, and in which nothing of anybody is ever overwritten."""

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import dlqanalysis as dlq
from dlqanalysis import health, report, starter
from dlqanalysis.classify import rules
from dlqanalysis.errors import SettingsError
from dlqanalysis.frame import empty
from dlqanalysis.profile import Profile
from dlqanalysis.queries import known
from tests.books import FOLDER, NAMES

ROOT = Path(__file__).parents[1]


def sourced(folder: Path) -> dict[str, str]:
    """The variables that a shell has after reading the folder's settings."""
    said = subprocess.run(
        ["sh", "-c", f". {shlex.quote(str(folder / 'dlq.env'))}; env"],
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    lines = [line.partition("=") for line in said.stdout.splitlines()]
    return {name: value for name, _, value in lines if name.startswith(("DLQ_", "PATH"))}


def test_everything_that_a_team_needs_is_there(tmp_path):
    done = starter.lay_out(tmp_path / "a team's folder")
    assert (done.same, done.kept) == ((), ())
    assert {Path(name).stem for name in done.new if name.endswith(".ipynb")} == set(NAMES)
    assert {path.name for path in (done.folder / "queries/kit").iterdir()} == {
        path.name for path in (ROOT / "queries").glob("*.sql")
    }
    for name in (
        "notebooks/data/demo_export.parquet",
        "profile.toml",
        "rulebook.toml",
        ".gitignore",
    ):
        assert name in done.new and (done.folder / name).stat().st_size
    assert stat.S_IMODE((done.folder / "dlq.env").stat().st_mode) == 0o600
    assert "dlq.env" in (done.folder / ".gitignore").read_text().splitlines()


def test_its_settings_are_in_force_once_a_shell_has_read_them(tmp_path, monkeypatch):
    done = starter.lay_out(tmp_path / "a team's folder")
    settings = sourced(done.folder)
    assert shutil.which("dlq", path=settings.pop("PATH").split(":")[0])
    assert set(settings) == {"DLQ_PROFILE", "DLQ_RULEBOOK", "DLQ_QUERIES"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert Profile.load().name == "our system"
    assert health.check(empty(), Profile.load())
    assert {"oldest_open_failures", "failure_summary"} <= set(known())
    assert len(rules.rulebook().rules) > 50


def test_what_its_files_only_suggest_holds_as_well(tmp_path):
    """A reader takes away the # of every line of the profile and of the rulebook."""
    for name in ("profile.toml", "rulebook.toml"):
        text = (Path(starter.__file__).parent / name).read_text()
        lines = [line.removeprefix("# ") for line in text.splitlines()]
        entries = [line for line in lines if re.match(r"\[|[a-z_]+ = |extends", line)]
        (tmp_path / name).write_text("\n".join(entries))
    profile = Profile.load(tmp_path / "profile.toml")
    assert profile.safety["refund"] == "never" and health.check(empty(), profile)
    [rule] = rules.parse((tmp_path / "rulebook.toml").read_text(), "rulebook.toml")
    assert rule.name == "report-build-ended"


def test_nothing_is_overwritten_and_what_differs_is_named(tmp_path):
    starter.lay_out(tmp_path)
    (tmp_path / "profile.toml").write_text('name = "ours"\n')
    (tmp_path / "notebooks/10_triage.ipynb").unlink()
    again = starter.lay_out(tmp_path)
    assert again.new == ("notebooks/10_triage.ipynb",) and again.kept == ("profile.toml",)
    assert (tmp_path / "profile.toml").read_text() == 'name = "ours"\n'


def test_a_link_that_leads_elsewhere_is_not_written_through(tmp_path):
    (tmp_path / "team").mkdir()
    (tmp_path / "team/profile.toml").symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(SettingsError, match="could not be written"):
        starter.lay_out(tmp_path / "team")
    assert not (tmp_path / "elsewhere.toml").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"could not be written: .* Give a folder of your own"):
        starter.lay_out(tmp_path / "file")


def test_a_notebook_of_the_folder_runs_where_it_lies(tmp_path):
    done = starter.lay_out(tmp_path / "team")
    kept = report.run(done.folder / "notebooks/00_start_here.ipynb", {}, tmp_path / "out.ipynb")
    assert '"output_type": "error"' not in kept.read_text()


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """Wheel and sdist of this tree, with the rubbish in it that a day's work leaves."""
    pytest.importorskip("hatchling")  # a skip fails CI
    folder = tmp_path_factory.mktemp("built")
    tree = folder / "tree"
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, os.fsdecode(listed).split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(ROOT / name, tree / name)
    for rubbish in (
        "notebooks/.ipynb_checkpoints/40_replay-checkpoint.ipynb", "notebooks/reports/weekly_report.ipynb",
        "notebooks/data/mine.parquet", "queries/.ipynb_checkpoints/x.sql",
    ):  # fmt: skip
        (tree / rubbish).parent.mkdir(parents=True, exist_ok=True)
        (tree / rubbish).write_text("{}")
    return _build("wheel", tree, folder), _build("sdist", tree, folder)


def _build(kind: str, tree: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", out / kind]
    subprocess.run(command, capture_output=True, cwd=tree, check=True)
    [made] = (out / kind).iterdir()
    return made


def test_the_wheel_carries_what_init_lays_out_and_no_rubbish(built, tmp_path):
    with zipfile.ZipFile(built[0]) as wheel:
        names = wheel.namelist()
        wheel.extractall(tmp_path / "site")
    for path in [*FOLDER.glob("*.ipynb"), *FOLDER.glob("data/demo_*")]:
        assert f"dlqanalysis/_share/notebooks/{path.relative_to(FOLDER)}" in names
    for name in ("package.json", "static/remoteEntry.js", "static/table.js"):
        assert any(
            one.endswith(f".data/data/share/jupyter/labextensions/dlqanalysis/{name}")
            for one in names
        )
    rubbish = [
        name for name in names if "checkpoint" in name or "mine" in name or "reports/" in name
    ]
    assert rubbish == []
    told = subprocess.run(
        [sys.executable, "-P", "-m", "dlqanalysis.cli", "init", tmp_path / "team"],
        capture_output=True, text=True, check=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")},
    ).stdout  # fmt: skip
    assert f"{len(NAMES)} of them notebooks" in told and "Next:" in told
    laid = {path.relative_to(tmp_path / "team") for path in (tmp_path / "team").rglob("*")}
    other = starter.lay_out(tmp_path / "from the checkout").folder
    assert laid == {path.relative_to(other) for path in other.rglob("*")}


def test_the_sdist_makes_the_same_wheel(built, tmp_path):
    with tarfile.open(built[1]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    [tree] = tmp_path.iterdir()
    again = _build("wheel", tree, tmp_path / "again")
    assert again.read_bytes() == built[0].read_bytes()


def test_every_public_name_helps(capsys):
    """What `dlq.<tab>` offers, `dlq.<name>?` explains, in a sentence."""
    for name in dir(dlq):
        if name != "__version__":
            said = (getattr(dlq, name).__doc__ or "").strip()
            assert len(said.split("\n")[0]) > 15, name


def test_the_profile_says_truly_what_becomes_of_a_task_without_a_grade(tmp_path):
    """Ten of each go by themselves, in a plan that asks for nothing; `never` keeps them."""
    done = starter.lay_out(tmp_path / "team")
    text = (done.folder / "profile.toml").read_text()
    [said] = re.findall(r"A task that is not named here .*", text)
    assert (
        said == 'A task that is not named here goes ten at a time: write "never" for what must not.'
    )
    rows = [{"failure_id": str(n), "task_id": str(n), "task_name": "t", "exception_type": "TimeoutError",
             "failed_at": "2026-11-01T00:00:00Z", "kwargs": {"n": n}} for n in range(12)]  # fmt: skip
    failures = dlq.from_records(rows)
    for grade, goes in (("", 10), ('t = "never"\n', 0)):
        (tmp_path / "profile.toml").write_text(text.replace("[safety]\n", f"[safety]\n{grade}"))
        profile = Profile.load(str(tmp_path / "profile.toml"))
        assert len(dlq.plan(failures, reason="x", limit=50, profile=profile).chosen) == goes


def test_each_system_of_the_settings_has_its_hand_beside_it(tmp_path):
    text = (starter.lay_out(tmp_path / "team").folder / "dlq.env").read_text()
    readers = set(re.findall(r"^# export DLQ_(CELERY|BULL|RABBIT)_URL=", text, re.M))
    hands = set(re.findall(r"^# export DLQ_(\w+)_HAND_URL=", text, re.M))
    assert readers == hands == {"CELERY", "BULL", "RABBIT"}
