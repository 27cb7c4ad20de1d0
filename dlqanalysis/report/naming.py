"""What a periodic report is called, and which file is the last one of its kind and source."""

import ast
import contextlib
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dlqanalysis.errors import SettingsError
from dlqanalysis.model import moment
from dlqanalysis.redact import redact
from dlqanalysis.report.numbers import read


def last_of(folder: Path, kind: str, today: str, source: str) -> Path | None:
    """The newest earlier report's numbers of this kind and source; files of an older kit name no source."""
    dated = [
        (match[1], path)
        for path in folder.glob(f"{kind}-*.json")
        if (match := re.fullmatch(rf"{kind}-(?:.+-)?(\d{{4}}-\d\d-\d\d)", path.stem))
    ]
    for day, path in sorted(dated, reverse=True):
        if day < today:
            try:
                numbers = read(path)
            except SettingsError:
                continue
            if numbers and numbers.get("asked") == asked(source):
                return path
    return None


def asked(source: str) -> str:
    """A source as a report remembers it: a name, or a file's name without its folder."""
    return Path(source).name


def short_name(source: str) -> str:
    """A source as a file's name and a title can hold it: a name, or a file's name without its ending."""
    name = Path(source).stem if Path(source).is_file() else asked(source)
    return re.sub(r"[^\w.-]+", "-", redact(name)).strip("-.") or "source"


def days_of(numbers: Mapping[str, Any], since: str, until: str, now: datetime) -> str:
    """The days that a report is about, for its title: what was asked for, else from its first failure to its last."""
    begin = moment(since, now) or moment(numbers["first_failed"])
    end = moment(until, now) or (now if since else moment(numbers["last_failed"]))
    if begin is None or end is None:
        return ""
    days = [f"{begin.day} {begin:%b}", f"{end.day} {end:%b}"]
    if begin.year != end.year:
        days = [f"{days[0]} {begin.year}", f"{days[1]} {end.year}"]
    elif begin.month == end.month:
        days[0] = str(begin.day)
    return f", {days[1]}" if begin.date() == end.date() else f", {' to '.join(days)}"


def earlier(*times: str) -> str:
    """The earliest of some times; an empty one is from the beginning."""
    return min(times, key=moment) if all(times) else ""


def asked_with(book: Any) -> str:
    """The source and every parameter that is not as the notebook has it: a page shows no cells, and says what it read.

    Ids that confirm are left out, and so are files that it was only to write or to compare with.
    """
    values: dict[str, Any] = {}
    usual: dict[str, Any] = {}
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags:
            usual = _assigned(cell.source)
            values = dict(usual)
        elif "injected-parameters" in tags:
            values |= _assigned(cell.source)
    told = [
        f"{name} = {value}"
        for name, value in values.items()
        if name not in _UNTOLD
        and value not in ("", None)
        and (name == "source" or value != usual.get(name))
    ]
    return redact("; ".join(told))


_UNTOLD = ("confirm", "confirm_undo", "previous", "keep", "out")


def _assigned(source: str) -> dict[str, Any]:
    """Names and plain values that a cell of parameters gives them."""
    found = {}
    with contextlib.suppress(SyntaxError):
        for line in ast.parse(source).body:
            if isinstance(line, ast.Assign):
                target = line.targets[0]
            elif isinstance(line, ast.AnnAssign):
                target = line.target
            else:
                continue
            if isinstance(target, ast.Name) and isinstance(line.value, ast.Constant):
                found[target.id] = line.value.value
    return found


def entitle(book: Path, about: str) -> None:
    """Says in a report's title what it is about: several lie in one folder, and in one mailbox."""
    import nbformat

    kept = nbformat.read(book, 4)
    kept.cells[0].source = re.sub(
        r"\A# .*", lambda title: f"{title[0]}: {about}", kept.cells[0].source
    )
    nbformat.write(kept, book)
