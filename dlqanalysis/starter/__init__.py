"""A team's own folder: notebooks, the kit's queries to read, a place for theirs, a profile, a rulebook, settings."""

import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dlqanalysis.errors import SettingsError

_HERE = Path(__file__).parent
_PACKAGE = _HERE.parent
_OWN = {  # written here -> to be changed by the team
    "profile.toml": "profile.toml",
    "rulebook.toml": "rulebook.toml",
    "own.sql": "queries/own.sql",
    "dlq.env": "dlq.env",
    "gitignore": ".gitignore",
}


@dataclass(frozen=True, kw_only=True)
class LaidOut:
    """What `lay_out` found and did, as paths within the folder."""

    folder: Path
    new: tuple[str, ...]
    same: tuple[str, ...]  #: were there already, word for word
    kept: tuple[str, ...]  #: were there and are not the kit's of today: yours, or an older kit's


def lay_out(folder: str | Path) -> LaidOut:
    """A folder with everything a team works on; what stands there already stays as it is, always."""
    where = Path(folder).expanduser().absolute()
    new, same, kept = [], [], []
    try:
        for name, text in _files(where):
            path = where / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if _write_new(path, text):
                new.append(name)
            else:
                (same if path.read_bytes() == text else kept).append(name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(
            f"{error.filename or where} could not be written: {reason}. Give a folder of your own: dlq init DIR."
        ) from None
    return LaidOut(folder=where, new=tuple(new), same=tuple(same), kept=tuple(kept))


def told(done: LaidOut) -> str:
    """What was done, and what to do next, in lines."""
    books = sum(name.endswith(".ipynb") for name in done.new)
    lines = [f"{done.folder}: {len(done.new)} new files, {books} of them notebooks."]
    if done.kept:
        kept = ", ".join(done.kept)
        lines.append(f"Kept as they are, though not what this version would write: {kept}.")
    return "\n".join([*lines, "", _NEXT.format(folder=shlex.quote(str(done.folder)))])


_NEXT = """Next:
  cd {folder}
  edit dlq.env           name your system: DLQ_CELERY_URL or another
  . ./dlq.env
  dlq doctor             what is not well yet
  jupyter lab notebooks  begin with 00_start_here; it runs on the demo's export as it is"""


def _files(where: Path) -> Iterator[tuple[str, bytes]]:
    for kind, pattern in (("notebooks", "*.ipynb"), ("notebooks", "data/demo_*")):
        for path in sorted(_share(kind).glob(pattern)):
            yield f"{kind}/{path.relative_to(_share(kind))}", path.read_bytes()
    for path in sorted(_share("queries").glob("*.sql")):
        yield f"queries/kit/{path.name}", path.read_bytes()
    for source, name in _OWN.items():
        text = (_HERE / source).read_text(encoding="utf-8")
        for word, path in (("{folder}", where), ("{bin}", Path(sys.executable).parent)):
            text = text.replace(word, shlex.quote(str(path)))
        yield name, text.encode()


def _share(kind: str) -> Path:
    """Inside the package where it was installed, beside it in a checkout."""
    inside = _PACKAGE / "_share" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def _write_new(path: Path, text: bytes) -> bool:
    """Whether the file was not there and is now; only its owner may read settings, which will hold passwords."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        handle = os.open(path, flags, 0o600 if path.suffix == ".env" else 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    return True
