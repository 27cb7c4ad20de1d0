"""Writes the generated tables of README.md and docs/*.md; `--check` only says whether they are fresh.

A table stands between `<!-- table NAME -->` and `<!-- end -->`. A new table is one function here.
"""

import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import dlqanalysis
from dlqanalysis import health
from dlqanalysis.classify import rules
from dlqanalysis.frame import COLUMNS
from dlqanalysis.queries import known

ROOT = Path(__file__).parents[1]
_TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rows(head: str, lines: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    names = head.split("|")
    cells = [[_cell(str(cell)) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *cells))


def _cell(text: str) -> str:
    """Bars escaped; < written so that it shows, except in code, where it shows as it is."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def frame() -> str:
    """The columns of a failures frame."""
    return rows("column|dtype|meaning", ((f"`{n}`", d, m) for n, (d, m) in COLUMNS.items()))


def settings() -> str:
    """The environment variables, from the table in profile.py's docstring."""
    doc = inspect.getdoc(sys.modules["dlqanalysis.profile"]) or ""
    lines = [line for line in doc.splitlines() if line.startswith("| DLQ_")]
    found = [re.split(r" \| ", line.strip("| "), maxsplit=1) for line in lines]
    return rows("variable|means", ((f"`{name}`", text) for name, text in found))


def thresholds() -> str:
    """The thresholds of `dlq check`."""
    lines = ((f"`{n}`", f"`{d!r}`".replace("'", '"'), m) for n, (d, m) in health.THRESHOLDS.items())
    return rows("threshold|default|meaning", lines)


def face() -> str:
    """What `import dlqanalysis as dlq` gives, a sentence each."""
    lines = []
    for name in sorted(dlqanalysis._FACE, key=str.lower):
        doc = inspect.getdoc(getattr(dlqanalysis, name)) or ""
        lines.append((f"`dlq.{name}`", re.split(r"\n\n", doc)[0].replace("\n", " ")))
    return rows("name|gives", lines)


def named_queries() -> str:
    """Every named query: parameters, and what it gives."""
    found = known().values()
    return rows(
        "query|parameters|gives",
        ((f"`{q.name}`", ", ".join(q.parameters), q.sentence) for q in found),
    )


def rulebook() -> str:
    """Every built-in rule, in the order in which they are tried."""
    return rows(
        "rule|class|confidence|why|example",
        (
            (
                f"`{rule.name}`",
                rule.failure_class,
                rule.confidence,
                rule.why,
                " ".join(f"{rule.examples[0].get('exception', '')}: {rule.examples[0].get('message', '')}".strip(": ").split())[:110],
            )
            for rule in rules.builtin()
        ),
    )  # fmt: skip


def decisions() -> str:
    """Every decision, by its title."""
    found = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    titles = (page.read_text(encoding="utf-8").split("\n")[0].lstrip("# ") for page in found)
    return rows(
        "decision", ([f"[{title}]({page.name})"] for title, page in zip(titles, found, strict=True))
    )


TABLES = {
    "decisions": decisions,
    "frame": frame,
    "settings": settings,
    "thresholds": thresholds,
    "face": face,
    "queries": named_queries,
    "rules": rulebook,
}


def written(text: str) -> str:
    """The text with its tables as they are now."""
    return _TABLE.sub(lambda match: match[1] + TABLES[match[2]]() + "\n" + match[3], text)


def pages() -> list[Path]:
    """The pages that have generated tables."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if _TABLE.search(page.read_text(encoding="utf-8"))]


def main(check: bool) -> int:
    """Writes the pages, or names those that are stale; gives the exit code."""
    stale = [page for page in pages() if written(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]  # fmt: skip
    for page in stale:
        if check:
            print(f"{page.relative_to(ROOT)} is stale. Run: make docs")
        else:
            page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
