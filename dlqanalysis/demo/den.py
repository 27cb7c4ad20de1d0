"""A private folder and the processes that live in it; both are gone when it closes, or when its owner dies."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from dlqanalysis.errors import ConnectError

# The shell notes its own process id with the warden, then becomes the server: no moment in which a
# process runs that nobody would stop.
_REGISTER = 'echo "start $$ $1" >&0; shift; exec "$@" </dev/null'
NOBODY = 65534


class Den:
    """A temporary folder (mode 0700), processes started in it, and the warden that ends both."""

    def __init__(self) -> None:
        if os.name != "posix":
            raise ConnectError(
                "Embedded servers run on Linux and macOS. On Windows use WSL, or set DLQ_CELERY_URL to a"
                " server of your own."
            )
        self._reaped: list[subprocess.Popen[bytes]] = []
        script = Path(__file__).with_name("warden.py")
        self._warden = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), str(_base())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._warden.stdout is not None
        with self._warden.stdout as out:
            line = out.readline().decode().strip()
        if not line:
            self._warden.communicate()
            raise ConnectError(
                f"No temporary folder could be made in {_base()}. Set TMPDIR to a folder you can write."
            )
        self.path = Path(line)

    def start(
        self,
        command: Sequence[str | Path],
        *,
        log: str,
        env: Mapping[str, str] | None = None,
        polite: signal.Signals = signal.SIGTERM,
        as_nobody: bool = False,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """A process that ends with the den; its output goes to the file `log` in it."""
        prefix, user = self.unprivileged if as_nobody else ((), {})
        assert self._warden.stdin is not None
        with (self.path / log).open("ab") as out:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _REGISTER, "sh", str(int(polite)), *prefix, *map(str, command)],
                stdin=self._warden.stdin.fileno(),
                stdout=out,
                stderr=out,
                env=env,
                cwd=cwd or self.path,
                start_new_session=True,
                **user,
            )
        self._reaped.append(process)
        return process

    def stop(
        self, process: subprocess.Popen[bytes], polite: signal.Signals = signal.SIGTERM
    ) -> None:
        """End one process before the den closes."""
        process.send_signal(polite)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.gone(process)

    def gone(self, process: subprocess.Popen[bytes]) -> None:
        """Let the warden forget a process that has ended: its number may soon be another's."""
        self._tell(f"gone {process.pid}")

    def tail(self, log: str, lines: int = 5) -> str:
        """The end of a process's output, for an error message."""
        text = (self.path / log).read_text("utf-8", "replace").strip()
        return " / ".join(text.splitlines()[-lines:])

    @cached_property
    def unprivileged(self) -> tuple[tuple[str, ...], dict[str, object]]:
        """Command prefix and Popen arguments under which root's process is not root; nothing for others.

        A user namespace needs no chown and no chmod, so it is tried first; not every container allows it.
        """
        if os.geteuid() != 0:
            return (), {}
        namespace = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
        if shutil.which("unshare"):
            tried = subprocess.run([*namespace, "true"], capture_output=True, check=False)
            if tried.returncode == 0:
                return namespace, {}
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self.path.chmod(0o711)  # enter, but not list: each file keeps its own mode
        try:
            subprocess.run(["/bin/sh", "-c", ":"], cwd=self.path, check=True, **user)
        except OSError:
            raise ConnectError(
                f"As root, the servers run as uid {NOBODY}, which cannot enter {self.path.parent}."
                " Set TMPDIR=/tmp, or run as an ordinary user."
            ) from None
        return (), user

    def folder(self, name: str) -> Path:
        """A folder in the den that a process started with `as_nobody` may write to."""
        path = self.path / name
        path.mkdir(mode=0o700)
        if self.unprivileged[1]:
            os.chown(path, NOBODY, NOBODY)
        return path

    def secret(self, name: str, text: str) -> Path:
        """A file that only its owner reads (0600), also while it is being written."""
        path = self.path / name
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        if self.unprivileged[1]:
            os.chown(path, NOBODY, NOBODY)
        return path

    def close(self) -> None:
        """Stop every process, last started first, and remove the folder. The warden does it; this waits."""
        if self._warden.stdin is None or self._warden.stdin.closed:
            return
        self._tell("stop")
        self._warden.stdin.close()
        while self._warden.poll() is None:
            for process in self._reaped:
                process.poll()  # the warden sees a process gone only when its parent has reaped it
            time.sleep(0.01)
        for process in self._reaped:
            process.wait()

    def _tell(self, line: str) -> None:
        assert self._warden.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(self._warden.stdin.fileno(), f"{line}\n".encode())


@contextlib.contextmanager
def den(shared: Den | None = None) -> Iterator[Den]:
    """A den for the length of a `with`; the shared one, left open, when one is given."""
    if shared is not None:
        yield shared
        return
    made = Den()
    try:
        yield made
    finally:
        made.close()


def _base() -> Path:
    return Path(tempfile.gettempdir())
