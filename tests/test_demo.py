"""`dlq demo` and `dlq lab`, run as a person runs them: what they leave, and what they must not leave."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from dlqanalysis import demo
from dlqanalysis.demo import play
from dlqanalysis.errors import DLQError, SettingsError

pytestmark = pytest.mark.demo
_DLQ = [sys.executable, "-m", "dlqanalysis.cli"]


@pytest.fixture
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for temporary files alone, so that everything left there is the demo's."""
    folder = tmp_path_factory.mktemp("tmp")
    folder.chmod(0o755)
    return folder


def started(here: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """dlq with these arguments, in a session of its own; what it says goes to one pipe."""
    strange = {"DLQ_TEST_POSTGRES_URL", "DLQ_TEST_REDIS_URL", "DLQ_TEST_AMQP_URL"}
    env = {name: value for name, value in os.environ.items() if name not in strange}
    return subprocess.Popen(
        [*_DLQ, *map(str, arguments)],
        env=env | {"TMPDIR": str(here), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def said(process: subprocess.Popen[str], words: str) -> str:
    """The first line with these words; fails when the process ends before it."""
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return line
    pytest.fail(f"{words!r} was never said:\n{''.join(lines)}")


def left(here: Path) -> list[str]:
    """Files in the folder, and processes that know of it, once they had time to go."""
    patient = time.monotonic() + 60
    while True:
        found = [str(path) for path in here.iterdir()] + _processes(str(here))
        if not found or time.monotonic() > patient:
            return found
        time.sleep(0.05)


def _processes(word: str) -> list[str]:
    """Command lines of living processes with this word in their arguments or their environment."""
    if not Path("/proc/self/environ").exists():
        shown = subprocess.run(["ps", "axEww", "-o", "command"], capture_output=True, text=True)
        return [line for line in shown.stdout.splitlines() if word in line]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
            if word.encode() in arguments + (process / "environ").read_bytes():
                found.append(arguments.replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:  # it has just ended
            continue
    return found


def test_the_demo_reports_replays_and_leaves_nothing_else(here, tmp_path):
    out = tmp_path / "reports"
    process = started(here, "demo", "--out", out)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    steps = [line for line in text.splitlines() if re.match(r" *[0-9.]+ s  ", line)]
    told = [line for line in text.splitlines() if line not in steps]
    assert len(steps) > 8
    assert 5 < len(told) < 20

    [first] = re.findall(r"Open (\S+)", text)
    assert Path(first) == out / "00_start_here.html"
    names = {path.name for path in out.iterdir()}
    assert names == {f"{name}{end}" for name in play.NOTEBOOKS for end in (".html", ".ipynb")}
    for name in play.NOTEBOOKS:
        page = (out / f"{name}.html").read_text(encoding="utf-8")
        assert "Plotly.newPlot" in page or "plotly" in page.lower(), name
        assert "Traceback (most recent call last)" not in page.split("<body", 1)[0]
    assert re.search(r"60 planned = 60 sent\. Of the sent: 60 succeeded", text)
    assert "8 class is permanent" in text
    weekly = (out / "weekly_report.html").read_text(encoding="utf-8")
    assert re.search(
        r"render_memo_pdf fails since [^,]+, \d+ seconds after api 2026\.11\.3", weekly
    )

    for path in out.iterdir():
        content = path.read_text(encoding="utf-8")
        assert not re.search(r"://\w*:[^@\s/\"]+@127\.0\.0\.1", content), path
        assert str(here) not in content, path
    assert left(here) == []


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("starting PostgreSQL", signal.SIGINT),
        ("the worker fails for real", signal.SIGTERM),
        ("Running six notebooks", signal.SIGINT),
    ],
)
def test_an_interrupted_demo_leaves_no_process_and_no_file(here, tmp_path, moment, number):
    process = started(here, "demo", "--out", tmp_path / "reports")
    said(process, moment)
    time.sleep(1.2)  # into the middle of the step
    os.killpg(process.pid, number)  # as a terminal does
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert left(here) == []
    assert {path.suffix for path in (tmp_path / "reports").iterdir()} <= {".html", ".ipynb"}


def test_a_killed_demo_leaves_no_process_and_no_file(here, tmp_path):
    process = started(here, "demo", "--out", tmp_path / "reports")
    said(process, "Running six notebooks")
    time.sleep(1.2)
    process.kill()
    process.communicate(timeout=300)
    assert left(here) == []


def test_a_password_in_a_report_is_found(tmp_path):
    (tmp_path / "page.html").write_text("<p>s3cret-of-the-shop</p>")
    with pytest.raises(DLQError, match=r"page\.html holds a password"):
        play.refuse_secrets(tmp_path, ("another", "s3cret-of-the-shop"))
    play.refuse_secrets(tmp_path, ("another",))


@pytest.mark.parametrize("run", [demo.run_demo, demo.run_lab])
def test_without_the_demo_extra_a_sentence_says_what_to_install(monkeypatch, run):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'dlqanalysis\[demo\]'"):
        run()


def test_the_lab_serves_notebooks_that_reach_the_shop_and_leaves_nothing(here):
    websocket = pytest.importorskip("websocket")
    process = started(here, "lab", "--no-browser")
    address = said(process, "token=").split()[-1]
    place, token = re.fullmatch(
        r"(http://127\.0\.0\.1:\d+)/lab/tree/\S+\?token=(\S+)", address
    ).groups()
    with httpx.Client(base_url=place, trust_env=False, timeout=60) as client:
        assert client.get("/api/contents").status_code == 403
        client.headers["Authorization"] = f"token {token}"
        names = {item["name"] for item in client.get("/api/contents").json()["content"]}
        assert {"00_start_here.ipynb", "40_replay.ipynb"} <= names
        kernel = client.post("/api/kernels", json={}).json()["id"]
        code = (
            "import dlqanalysis as dlq; f = dlq.load('celery', since='1h', queue='memos');"
            "print('shop:', (f.worker == 'demo@shop').sum(), dlq.connect_hand('celery').name)"
        )
        url = f"{place.replace('http', 'ws')}/api/kernels/{kernel}/channels?token={token}"
        assert "shop: 8 celery:failed_tasks" in _executed(websocket, url, code)
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert left(here) == []


def _executed(websocket, url: str, code: str) -> str:  # type: ignore[no-untyped-def]
    """What a kernel prints when it runs some code."""
    socket = websocket.create_connection(url, timeout=60)
    message = {
        "header": {"msg_id": "m", "msg_type": "execute_request", "session": "s", "username": "t",
                   "version": "5.3", "date": "2026-01-01T00:00:00Z"},
        "parent_header": {}, "metadata": {}, "channel": "shell",
        "content": {"code": code, "silent": False, "store_history": False, "user_expressions": {},
                    "allow_stdin": False, "stop_on_error": True},
    }  # fmt: skip
    socket.send(json.dumps(message))
    printed = ""
    while True:
        answer = json.loads(socket.recv())
        if answer.get("parent_header", {}).get("msg_id") != "m":
            continue
        content = answer["content"]
        printed += content.get("text", "") + "\n".join(content.get("traceback", []))
        if answer["msg_type"] == "status" and content["execution_state"] == "idle":
            socket.close()
            return printed
