"""RESULTS.md: one section a bench, replaced by its next run."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("pandas", "polars", "pyarrow", "google-re2", "drain3", "duckdb")
_HEAD = "# Measured\n\nMedians; each figure beside its anchor, measured in the same run. `make bench` writes this file.\n\n"


def machine() -> str:
    """The machine and the versions of a run, as one line."""
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} missing")
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), load {load:.1f}, Python {platform.python_version()},"
        f" {', '.join(versions)}"
    )


def write(path: Path, name: str, text: str) -> None:
    """Puts a bench's section into the file, in alphabetical order, in place of its last one."""
    old = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", old, re.M | re.S))
    sections[name] = text.partition("\n")[2]
    body = "".join(f"## {key}\n{sections[key].rstrip()}\n\n" for key in sorted(sections))
    path.write_text(_HEAD + body.rstrip() + "\n", encoding="utf-8")
