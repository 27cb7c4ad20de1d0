"""The weekly and the daily report: a notebook run, its page, and its numbers beside those of the last one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import Any

from dlqanalysis.frame import error_of
from dlqanalysis.report.naming import asked, days_of, entitle, last_of, short_name
from dlqanalysis.report.numbers import keep, read
from dlqanalysis.report.page import html
from dlqanalysis.report.running import run


def weekly(
    source: str,
    since: str = "7d",
    out: str | Path = "reports",
    now: datetime | None = None,
    summary: bool = False,
    still: bool = False,
    **parameters: Any,
) -> dict[str, Any]:
    """Run weekly_report and leave weekly-<source>-<date>.html, .json and .ipynb in `out`: see periodic.

    With `summary` it is weekly_summary, for more failures than fit into memory: counts, groups and what is new of
    them, no story and nothing of single failures.
    """
    book = "weekly_summary" if summary else ""
    return periodic("weekly", source, since, out, now, book, still, **parameters)


def daily(
    source: str,
    since: str = "24h",
    out: str | Path = "reports",
    now: datetime | None = None,
    still: bool = False,
    **parameters: Any,
) -> dict[str, Any]:
    """Run daily_report and leave daily-<source>-<date>.html, .json and .ipynb in `out`: see periodic."""
    return periodic("daily", source, since, out, now, still=still, **parameters)


def periodic(
    kind: str,
    source: str,
    since: str,
    out: str | Path = "reports",
    now: datetime | None = None,
    notebook: str = "",
    still: bool = False,
    **parameters: Any,
) -> dict[str, Any]:
    """Run <kind>_report, or another `notebook` with its parameters, and leave <kind>-<source>-<date>.html, .json and .ipynb in `out`
    (<kind>-summary-<source>-<date> of <kind>_summary); parameters are the notebook's.

    Gives html, json and notebook (paths), numbers (see headline; story: the sentences on top) and
    compared_with (the JSON of the last report of this kind and source in `out`, or None).
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    now = now or datetime.now(UTC)
    # two sources of one folder are two reports, and so are two notebooks
    other = f"{notebook.removeprefix(f'{kind}_')}-" if notebook else ""
    stem = f"{kind}-{other}{short_name(source)}-{now:%Y-%m-%d}"
    numbers = folder / f"{stem}.json"
    last = last_of(folder, kind, f"{now:%Y-%m-%d}", source)
    chosen = {"source": source, "since": since, **parameters}
    chosen |= {"keep": str(numbers.resolve()), "previous": str(last.resolve()) if last else ""}
    book = run(notebook or f"{kind}_report", chosen, folder / f"{stem}.ipynb")
    kept = {**(read(numbers) or {}), "asked": asked(source)}
    keep(kept, numbers)
    entitle(
        book, f"{short_name(source)}{days_of(kept, since, str(parameters.get('until') or ''), now)}"
    )
    page = html(book, folder / f"{stem}.html", still=still)
    return {
        "html": page,
        "json": numbers,
        "notebook": book,
        "numbers": read(numbers),
        "compared_with": last,
    }


def must_look(numbers: Mapping[str, Any]) -> bool:
    """Whether a report's numbers want somebody to look: its story is not that it was quiet, or a finding is
    critical."""
    told = numbers.get("story") or [""]
    return not told[0].startswith("Quiet") or numbers.get("severity") == "critical"


def told(numbers: Mapping[str, Any]) -> list[str]:
    """A sentence for numbers that come without a story: how many, of how many groups, and the largest."""
    if not numbers["failures"]:
        return ["Quiet: nothing failed in this time."]
    most = max(numbers["fingerprints"].values(), key=lambda one: one["count"])
    many, groups = numbers["failures"], numbers["groups"]
    some = f"{many:,} failure{'s' if many != 1 else ''} in {groups:,} group{'s' if groups != 1 else ''}"
    error = shorten(error_of(most), 120, placeholder=" ...")
    return [
        f"{some}; {most['count'] / many:.0%} are of the largest: {error} in {most['task_name']},"
        f" {most['failure_class']}."
    ]
