"""dlq report: a week, a day, or one notebook as a self-contained HTML file."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from dlqanalysis.errors import SettingsError

LOOK = 1  #: exit code: somebody must look

app = typer.Typer(
    no_args_is_help=True, help="Write reports: self-contained HTML files that open offline."
)

ReportSource = Annotated[str, typer.Option(help="A name (celery reads DLQ_CELERY_URL) or a path.")]
Since = Annotated[str, typer.Option(help="7d, 24h, a date, or a time with its zone.")]
Changes = Annotated[
    str,
    typer.Option(help="Deploys: a .csv or .json, or git:/path; default: what the profile names."),
]
Places = Annotated[
    str,
    typer.Option(
        help="Systems whose queues and workers are asked, names with commas; default: the source."
    ),
]
ReportOut = Annotated[Path, typer.Option(help="Folder of the HTML and JSON.")]
Told = Annotated[
    bool,
    typer.Option("--notify", help="Send the sentences on top to the profile's channels."),
]

Still = Annotated[
    bool,
    typer.Option("--still", help="Charts as pictures: a small page without scripts, for a mail."),
]


@app.command()
def weekly(
    source: ReportSource,
    since: Since = "7d",
    out: ReportOut = Path("reports"),
    changes: Changes = "",
    summary: Annotated[
        bool, typer.Option("--summary", help="Counts only: for more failures than fit into memory.")
    ] = False,
    notify: Told = False,
    still: Still = False,
) -> None:
    """The week's review as HTML, and its numbers as JSON for next week. Exit code 1: somebody must look."""
    if summary:  # single failures are not there to be put beside deploys
        _report("weekly", source, since, out, notify, still, notebook="weekly_summary")
    _report("weekly", source, since, out, notify, still, changes=changes)


@app.command()
def daily(
    source: ReportSource,
    since: Since = "24h",
    out: ReportOut = Path("reports"),
    changes: Changes = "",
    places: Places = "",
    usual: Annotated[
        str, typer.Option(help="From when on failures are read to know what is usual.")
    ] = "14d",
    notify: Told = False,
    still: Still = False,
) -> None:
    """One page about the day as HTML, and its numbers as JSON. Exit code 1: somebody must look."""
    from dlqanalysis.checkup import tells

    places = places or (source if tells(source) else "")
    _report("daily", source, since, out, notify, still, changes=changes, places=places, usual=usual)


def _report(
    kind: str, source: str, since: str, out: Path, notify: bool, still: bool, **parameters: str
) -> NoReturn:
    from dlqanalysis import report

    _no_secret(source, *parameters.values())
    made = report.periodic(kind, source, since=since, out=out, still=still, **parameters)
    for name in ("html", "json"):
        typer.echo(made[name])
    if notify:
        _tell(f"Dead letters of {made['numbers']['asked']}, {kind} report", made)
    raise typer.Exit(LOOK if report.must_look(made["numbers"]) else 0)


def _tell(title: str, made: dict[str, Any]) -> None:
    """Sends the sentences on top. That there is nobody to send to is said; the report is made all the same."""
    from dlqanalysis.notify import send_text
    from dlqanalysis.profile import profile

    try:
        send_text(title, made["numbers"]["story"], profile())
    except SettingsError as error:
        typer.secho(
            f"The report is written, and nobody was told. {error}", fg=typer.colors.YELLOW, err=True
        )


@app.command()
def notebook(
    name: Annotated[
        str, typer.Argument(help="10_triage, 20_patterns, ... or the path of a notebook.")
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="name=value; can be given several times."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the notebook and the HTML.")] = Path(
        "reports"
    ),
    code: Annotated[bool, typer.Option(help="Show the code cells, too.")] = False,
    still: Still = False,
) -> None:
    """Run one notebook with your parameters and write it as HTML. What it sent is told last; exit code 1: a run stopped."""
    from dlqanalysis.report import execute, html, sent_by

    chosen = dict(_pair(text) for text in parameter or [])
    _no_secret(*chosen.values())
    begin = datetime.now(UTC)
    book, stopped = execute(name, chosen, out / f"{Path(name).stem}.ipynb")
    typer.echo(html(book, code=code, still=still))
    written = Path(chosen.get("out", ""))  # of the caller's folder, as html is
    if written.is_file() and written.stat().st_mtime >= begin.timestamp():
        typer.echo(written)
    runs = sent_by(chosen, begin)
    for run in runs:
        typer.echo(run)
    if stopped is not None:
        raise stopped
    if not all(run.finished for run in runs):
        raise typer.Exit(LOOK)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(
            f"'{text}' is no parameter. Write name=value, such as -p source=celery."
        )
    return name.strip(), value


def _no_secret(*values: str) -> None:
    """Parameters are kept in the notebook and its report: no URL with a password may be one."""
    from dlqanalysis.redact import redact

    for value in values:
        if "://" in value and redact(value) != value:
            raise SettingsError(
                "A parameter holds a URL with a password, and parameters are kept in the report. Put the URL"
                " into DLQ_CELERY_URL and give the name: celery."
            )
