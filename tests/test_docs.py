"""What the documents say is so: commands run, tables are fresh, files are in step."""

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dlqanalysis as dlq
from dlqanalysis import __version__
from dlqanalysis.profile import Profile
from dlqanalysis.sources import SYSTEMS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()

README = (ROOT / "README.md").read_text()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


def commands(page: Path) -> list[str]:
    """The command lines of a page's sh blocks, without comments, settings and cron times."""
    lines = [
        line.split("  #")[0].strip() for block in blocks(page, "sh") for line in block.splitlines()
    ]
    lines = [re.sub(r"^([\d*/]+\s+){5}", "", line) for line in lines]
    return [line for line in lines if line and not line.startswith(("export ", "#"))]


def short(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def celery(monkeypatch, fresh_export):
    """The name `celery` as the README uses it, standing for the demo's incident."""
    monkeypatch.setenv("DLQ_CELERY_URL", str(fresh_export))
    monkeypatch.chdir(ROOT)


def test_the_readme_is_short_and_begins_with_an_example():
    assert len(README.splitlines()) < 200
    assert README.index("```sh") < README.index("##", README.index("## See it") + 5)


def test_what_the_readme_shows_is_what_the_kit_says():
    export = ROOT / "notebooks" / "data" / "demo_export.parquet"
    failures = dlq.load(export, since=None).pipe(dlq.classify).pipe(dlq.fingerprint)
    [shown] = blocks(ROOT / "README.md", "text")
    assert set(shown.splitlines()) <= set(dlq.story(failures))


def test_every_cell_of_the_readme_runs(celery):
    """Each line is evaluated as a cell would, one cell after the other in one kernel; each shows something."""
    names: dict = {}
    cells = blocks(ROOT / "README.md", "python")
    for node in ast.parse("\n".join(cells)).body:
        if isinstance(node, ast.Expr):
            shown = eval(compile(ast.Expression(node.value), "README.md", "eval"), names)  # noqa: S307
            assert shown is not None and len(repr(shown)) > 10, ast.unparse(node)
        else:
            exec(compile(ast.Module([node], []), "README.md", "exec"), names)


@pytest.mark.parametrize(
    "command", [line for line in commands(ROOT / "README.md") if line.startswith("dlq ")]
)
def test_every_dlq_command_of_the_readme_runs(command, celery, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(command)
    done = subprocess.run(
        [Path(sys.executable).with_name("dlq"), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    loud = {"check": (1, 2), "report": (0, 1)}  # the demo's incident wants somebody to look
    assert done.returncode in loud.get(arguments[1], (0,)), done.stderr
    assert done.stdout and not done.stderr
    for line in done.stdout.splitlines() if arguments[1] != "check" else []:
        assert Path(line).stat().st_size > 1000, line
    if "weekly" in arguments:
        assert done.returncode == 1, "the demo's incident is in the last seven days"


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_make_targets_that_are_named_exist(page):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for line in commands(page):
        if line.startswith("make "):
            assert line.split()[1] in targets, line
    for name in re.findall(r"`make ([a-z]+)", page.read_text()):
        assert name in targets, name


def test_ci_runs_the_make_commands_of_the_readme():
    """`make demo` and `make test` are run by CI itself; `make lab` by tests/test_demo.py."""
    script = (ROOT / ".ci" / "run").read_text()
    named = {line.split()[1] for line in commands(ROOT / "README.md") if line.startswith("make ")}
    assert named == {"demo", "lab", "test"}
    for target in named - {"lab"}:
        assert re.search(rf"^make {target}\b", script, re.M)
    assert "def test_the_lab_serves" in (ROOT / "tests" / "test_demo.py").read_text()


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_every_command_line_is_one_of_ours(page):
    from typer.main import get_command

    from dlqanalysis.cli import app

    known = get_command(app).commands
    for line in commands(page):
        words = shlex.split(line)
        assert words[0] in {"dlq", "make", "conda"}, line
        if words[0] == "dlq":
            assert words[1] in known, line


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert not link.startswith("http"), f"{link}: a link outside cannot be checked here"
        assert (page.parent / link).exists(), link
    for link, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / link if link else page), f"{link}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in a link."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_site_shows_every_page_and_every_verb():
    """`make check` builds it; mkdocs itself refuses broken links and verbs that do not exist."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    told = re.findall(r"[\w/]+\.md", str(site["nav"]))
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if "docs" in page.parts]
    assert sorted(told) == [page for page in sorted(pages) if "decisions/0" not in page]
    shown = re.findall(
        r"^::: (dlqanalysis(?:\.\w+)+)\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.M
    )
    assert sorted(name for _, name in shown) == sorted(dlq._FACE)
    for module, name in shown:
        assert getattr(import_module(module), name) is getattr(dlq, name), name


def test_docstrings_of_verbs_are_text_on_the_site():
    """What looks like a tag outside of backticks would vanish there."""
    for name in dlq._FACE:
        text = re.sub(r"`[^`]*`", "", getattr(dlq, name).__doc__ or "")
        assert not re.search(r"<[A-Za-z/]", text), name


SHOWN = [path for path in (ROOT / "dlqanalysis").rglob("*.py") if ">>> " in path.read_text()]


@pytest.mark.parametrize("path", SHOWN, ids=short)
def test_what_a_docstring_shows_is_so(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    failed, tried = doctest.testmod(import_module(name))
    assert tried and not failed


def test_the_make_target_of_the_site_is_strict():
    """--quiet would hide the warnings from --strict, too."""
    [line] = re.findall(r"mkdocs build.*", (ROOT / "Makefile").read_text())
    assert "--strict" in line and "-q" not in line
    assert re.search(r"^check: .*\bsite\b", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_names_of_ours_in_the_text_exist(page):
    text = page.read_text()
    for name in re.findall(r"`dlq\.(\w+)", text):
        assert hasattr(dlq, name), f"dlq.{name}"
    for name in re.findall(r"`((?:dlqanalysis|docs|tests|notebooks|queries)/[\w./]+\.\w+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=short)
def test_profiles_in_the_documents_hold(page, tmp_path):
    from dlqanalysis import health
    from dlqanalysis.frame import empty

    for block in blocks(page, "toml"):
        if "[[" in block:  # rules and groups are loaded by tests/test_howto.py
            continue
        path = tmp_path / "profile.toml"
        path.write_text(block)
        assert health.check(empty(), Profile.load(path))


def test_variables_that_are_named_are_settings():
    """Every DLQ_ variable in the documents is one that profile.py documents, or a name's."""
    settings = (ROOT / "dlqanalysis" / "profile.py").read_text().split('"""')[1]
    known = set(re.findall(r"\| (DLQ_\w+) \|", settings))
    parts = "|".join(re.findall(r"\| DLQ_<NAME>_(\w+) \|", settings))
    assert {"DLQ_HOME", "DLQ_JOURNAL_URL"} <= known and "URL" in parts
    for page in PAGES:
        for name in re.findall(r"\bDLQ_[A-Z_]+\b", page.read_text()):
            ours = name in known or re.fullmatch(rf"DLQ_(TEST_|BENCH_)?[A-Z]+_({parts})", name)
            assert ours or name == "DLQ_", f"{short(page)} names {name}"


def test_url_schemes_of_the_readme_are_connected():
    for scheme in re.findall(r"`([a-z+]+)://", README[README.index("## Connect your systems") :]):
        assert scheme in {*SYSTEMS, "redis", "amqp"}, scheme


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/howto/connect.md"])
@pytest.mark.parametrize("module", sorted(set(SYSTEMS.values())))
def test_every_system_has_its_row(module, page):
    if "connect.md" in page and "read" not in import_module(f"dlqanalysis.sources.{module}").CAN:
        return  # the page shows a first load
    schemes = "|".join(re.escape(scheme) for scheme in SYSTEMS if SYSTEMS[scheme] == module)
    assert re.search(rf"(?<![\w+])({schemes})://", (ROOT / page).read_text()), (
        f"{page} has no URL of {module}"
    )


def test_every_notebook_has_its_row():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"| [{path.stem}](notebooks/{path.name}) |" in README, path.stem


def test_generated_tables_are_fresh():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "tables.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("DLQ_")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Coverage ---------------------------------------------------------------------------------------------------------

COVERAGE = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (ROOT / "docs" / "coverage.md").read_text().splitlines()
    if re.match(r"\| \d\.\d\d \|", line)
]
ROWS = {"0": 43, "1": 31, "2": 26, "3": 27, "4": 23}


def test_the_coverage_table_has_every_row_once():
    ids = [row[0] for row in COVERAGE]
    assert ids == [f"{book}.{row:02}" for book, last in ROWS.items() for row in range(1, last + 1)]


@pytest.mark.parametrize("row", COVERAGE, ids=lambda row: row[0])
def test_a_row_that_is_done_is_shown_by_a_test(row):
    number, capability, where, shown, state = row
    assert capability and state in {"done", "partly", "planned"}
    if state == "planned":
        assert not where and not shown
        return
    file, _, test = shown.strip("`").partition("::")
    assert where
    assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{number}: {shown} is not there"


# Environments -----------------------------------------------------------------------------------------------------


def test_environment_yml_is_python_pip_and_this_project():
    found = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert set(found) == {"name", "channels", "dependencies"}
    assert found["name"] == PROJECT["name"]
    assert found["channels"] == ["conda-forge", "nodefaults"]
    python, pip, by_pip = found["dependencies"]
    assert python.startswith("python" + PROJECT["requires-python"]) and pip == "pip"
    [project] = by_pip["pip"]
    extras = re.fullmatch(r"-e \.\[(.+)\]", project)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert set(extras) == {"demo", "test", "scale", "docs"}  # the same that the lock holds


def test_the_lock_satisfies_every_requirement():
    pinned = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", LOCK, re.M))
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    optional = PROJECT["optional-dependencies"]
    locked = [optional[name] for name in ("demo", "test", "scale", "docs")]
    wanted = [*PROJECT["dependencies"], *(text for extra in locked for text in extra)]
    for text in wanted:
        requirement = Requirement(text)
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in the lock. Run: make lock"
        assert requirement.specifier.contains(version), f"{text}, but the lock has {version}"


def test_the_lock_has_hashes_and_no_address():
    assert not re.search(r"https?:|--index|--find-links|file:", LOCK)
    pins = re.split(r"^(?=[A-Za-z0-9_.-]+==)", LOCK, flags=re.M)[1:]
    assert len(pins) > 100
    for pin in pins:
        assert "--hash=sha256:" in pin, pin.splitlines()[0]


def test_what_is_installed_is_what_is_locked():
    """This environment is the one that the lock describes."""
    from importlib.metadata import version

    for name in ("pandas", "pyarrow", "sqlalchemy", "plotly", "papermill"):
        assert f"\n{name}=={version(name)}" in f"\n{LOCK}", name


def test_one_version_everywhere():
    assert PROJECT["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_no_page_names_this_machine():
    for page in [*PAGES, ROOT / ".ci" / "run", ROOT / "Makefile", ROOT / "environment.yml"]:
        assert not re.search(r"/(?:home|root)/\w|[\w.]*\.(?:org|com)/simple", page.read_text()), (
            page
        )
