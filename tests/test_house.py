"""Who imports whom, and what no room may do: read from the files themselves, imports inside functions too."""

import ast
import inspect
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import dlqanalysis

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dlqanalysis"

#: From the ground up. A room imports only from floors below its own. A new room gets its place here.
FLOORS = (
    {"errors", "interrupt"},
    {"model"},
    {"profile", "progress"},
    {"fingerprint", "payload", "redact", "signals"},
    {"cleanup", "contrast", "frame", "known", "readings", "queries", "journal", "rules"},
    {"archive"},
    {
        "sources",
        "joined",
        "classify",
        "patterns",
        "onsets",
        "lives",
        "duplicates",
        "workload",
        "notify",
        "repair",
    },
    {
        "plan",
        "run",
        "evidence",
        "changes",
        "retries",
        "dossier",
        "probe",
        "health",
        "charts",
        "headline",
        "operations",
        "preflight",
        "summary",
    },
    {"replay", "alert_rules", "samples", "story", "scan"},
    {"report", "checkup"},
    {"demo", "doctor", "extension"},
    {"cli"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

#: Rooms that think about frames. What they need from outside is handed to them.
THINKING = {
    "classify",
    "evidence",
    "joined",
    "lives",
    "onsets",
    "retries",
    "story",
    "signals",
    "payload",
    "contrast",
    "patterns",
    "duplicates",
    "workload",
    "plan",
    "fingerprint",
    "health",
    "repair",
}

#: library -> rooms that may import it. A library that is not named here is free.
KEEPERS = {
    "redis": {"sources", "demo"},
    "valkey": {"demo"},
    "httpx": {"sources", "demo", "preflight"},
    "pika": {"sources", "demo"},
    "psycopg": {"sources", "demo"},
    "adbc_driver_postgresql": {"sources", "demo"},
    "celery": {"sources", "demo"},
    "kombu": {"sources", "demo"},
    "plotly": {"charts", "report", "extension"},
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
    "subprocess": {"demo", "cli", "preflight", "changes"},
    "smtplib": set(),
    "pickle": set(),
    "dill": set(),
    "cloudpickle": set(),
    "joblib": set(),
    "marshal": set(),
    "shelve": set(),
    "yaml": set(),
}

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


@each_file
def test_libraries_stay_with_their_keepers(path):
    for line, name in imports(path):
        for library, keepers in KEEPERS.items():
            if name == library or name.startswith(library + "."):
                assert room(path) in keepers, (
                    f"{shown(path)}:{line} imports {library}; only {sorted(keepers) or 'nobody'} may"
                )


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
        assert parts[:1] not in (["classify"], ["rules"], ["signals"], ["patterns"], ["plan"]), (
            f"{shown(path)}:{line}: a source holds no opinions"
        )


@each_file
def test_thinking_rooms_do_no_io(path):
    if room(path) not in THINKING:
        return
    for line, name in imports(path):
        assert name.split(".")[0] not in OUTSIDE, f"{shown(path)}:{line} imports {name}"
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


def test_verbs_stay_verbs_when_their_modules_are_imported():
    for name in FACE:
        if (PACKAGE / f"{name}.py").exists():
            __import__(f"dlqanalysis.{name}")
            assert not isinstance(getattr(dlqanalysis, name), types.ModuleType)


def test_the_face_names_no_module_that_is_missing():
    for module in dlqanalysis._MODULES:
        assert module in FLOOR


BROKEN = (
    ("from dlqanalysis.cli import main", test_every_room_has_a_floor_and_imports_from_below),
    ("import dlqanalysis as dlq", test_every_room_has_a_floor_and_imports_from_below),
    ("def f():\n    import redis", test_libraries_stay_with_their_keepers),
    ("def f():\n    from plotly import graph_objects", test_libraries_stay_with_their_keepers),
    ("import pickle", test_libraries_stay_with_their_keepers),
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
