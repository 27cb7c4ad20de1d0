"""The command line: dlq demo | lab | report | snapshot | check | journal.

Exit codes: 0 done, 1 and 2 are what `dlq check` found (warning, critical; 2 is a wrong command line, too),
3 could not be done, 130 stopped by Ctrl-C.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer import style

from dlqanalysis import __version__
from dlqanalysis.errors import DLQError, SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from dlqanalysis.journal import Journal
    from dlqanalysis.model import Finding, Source

FAILED, STOPPED = 3, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Investigate dead-letter queues: what failed, why, what is safe to replay.\n\n"
    "New here? Run `dlq demo`: it needs no service and no configuration, and leaves reports to open. "
    "Then `dlq lab`: the same incident in notebooks. Your own systems: set DLQ_CELERY_URL (README, "
    "'Connect your systems') and use the name `celery` wherever a SOURCE is asked for.",
)
report_app = typer.Typer(
    no_args_is_help=True, help="Write reports: self-contained HTML files that open offline."
)
app.add_typer(report_app, name="report")
journal_app = typer.Typer(no_args_is_help=True, help="The record of every action: look, and prove.")
app.add_typer(journal_app, name="journal")

SourceName = Annotated[
    str,
    typer.Argument(
        help="A name (celery reads DLQ_CELERY_URL), or the path of an export or snapshot.",
        metavar="SOURCE",
    ),
]


def main() -> None:
    """What `dlq` runs: the app, with what the reader can mend told in one sentence on stderr."""
    try:
        app()
    except DLQError as error:
        _refuse(error)


def _refuse(error: DLQError) -> NoReturn:
    from dlqanalysis.redact import redact

    typer.secho(redact(str(error)), fg=typer.colors.RED, err=True)
    raise SystemExit(FAILED)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dlqanalysis {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the reports go.")] = Path("reports/demo"),
) -> None:
    """Play an incident on private servers: investigate, report, replay what is safe. Nothing to set up."""
    from dlqanalysis.demo import run_demo

    with _Progress() as progress:
        summary = run_demo(out=out, progress=progress)
    typer.echo(summary)


@app.command()
def lab(
    port: Annotated[
        int | None, typer.Option(help="Port of JupyterLab; a free one by default.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """JupyterLab on the notebooks, with the demo's servers behind it, until Ctrl-C."""
    from dlqanalysis.demo import run_lab

    with _Progress() as progress:
        run_lab(port=port, browser=browser, progress=progress)


@report_app.command()
def weekly(
    source: Annotated[str, typer.Option(help="A name (celery reads DLQ_CELERY_URL) or a path.")],
    since: Annotated[str, typer.Option(help="7d, 24h, a date, or a time with its zone.")] = "7d",
    out: Annotated[Path, typer.Option(help="Folder of the HTML and JSON.")] = Path("reports"),
) -> None:
    """The week's checklist as HTML, and its headline numbers as JSON for next week's comparison."""
    from dlqanalysis.report import weekly as run

    _no_secret(source)
    made = run(source, since=since, out=out)
    for name in ("html", "json"):
        typer.echo(made[name])


@report_app.command()
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
) -> None:
    """Run one notebook with your parameters and write it as HTML."""
    from dlqanalysis.report import html, run

    chosen = dict(_pair(text) for text in parameter or [])
    _no_secret(*chosen.values())
    book = run(name, chosen, out / f"{Path(name).stem}.ipynb")
    typer.echo(html(book, code=code))


@app.command()
def snapshot(
    source: SourceName,
    out: Annotated[Path, typer.Argument(help="The file to write, such as failures.parquet.")],
) -> None:
    """Keep everything that a source has now, hashed, in one Parquet file. Reads only."""
    from dlqanalysis.archive import snapshot as keep
    from dlqanalysis.sources import connect

    typer.echo(keep(connect(source), out))


@app.command()
def check(
    source: SourceName,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    profile: Annotated[
        Path | None, typer.Option(help="Thresholds and channels; default: what DLQ_PROFILE names.")
    ] = None,
    notify: Annotated[
        bool, typer.Option("--notify", help="Tell the profile's channels when something is found.")
    ] = False,
) -> None:
    """Judge a source by thresholds. Exit code 0 ok, 1 warning, 2 critical, 3 could not check."""
    from dlqanalysis import health
    from dlqanalysis.notify import send
    from dlqanalysis.profile import Profile
    from dlqanalysis.sources import connect, load

    limits = Profile.load(profile)
    opened = connect(source)
    failures = load(opened, since=None)
    findings = health.check(failures, limits, executions=_executions(opened))
    if as_json:
        typer.echo(json.dumps(_facts(findings, failures), indent=1, default=str))
    else:
        for finding in findings:
            color = {"critical": typer.colors.RED, "warning": typer.colors.YELLOW}
            word = style(f"{finding.severity:<9}", fg=color.get(finding.severity))
            typer.echo(f"{word}{finding.name:<18} {_plain(finding.text)}")
    if notify and health.worst(findings) != "ok":
        send(findings, limits)
    raise typer.Exit(health.exit_code(findings))


@journal_app.command()
def runs(
    count: Annotated[int, typer.Option("-n", help="How many of the newest.")] = 20,
) -> None:
    """Who did what, when and why, the newest first; DLQ_JOURNAL_URL names the journal."""
    table = _journal().runs().head(count)
    names = ["run_id", "action", "source", "operator", "reason", *_COUNTED]
    shown = table[names].rename(columns={name: name.replace("_", " ") for name in names})
    typer.echo(_plain_lines(shown.to_string(index=False)) if len(table) else "No run yet.")


@journal_app.command()
def verify() -> None:
    """Whether every entry is what was written. Exit code 0 when it is, 2 when something was altered."""
    journal = _journal()
    broken = journal.verify()
    for sentence in broken:
        typer.secho(sentence, fg=typer.colors.RED, err=True)
    if broken:
        raise typer.Exit(2)
    count = len(journal.runs())
    typer.echo(f"Every entry of {count:,} run{'' if count == 1 else 's'} is what was written.")


_COUNTED = ("sent", "refused", "skipped", "uncertain", "not_reached")


def _journal() -> "Journal":
    from dlqanalysis.journal import Journal

    if (journal := Journal.if_any()) is None:
        raise SettingsError(
            "There is no journal yet: it is made with the first replay. DLQ_JOURNAL_URL or DLQ_HOME may name"
            " another place."
        )
    return journal


def _plain_lines(text: str) -> str:
    return "\n".join(_plain(line) for line in text.splitlines())


def _executions(source: "Source") -> "pd.DataFrame | None":
    """What the system knows of executions, where it keeps them; None where it does not."""
    if not hasattr(source, "ask"):
        return None
    from dlqanalysis.queries import queries

    try:
        return queries(source).success_rate()
    except DLQError:
        return None


def _facts(findings: "list[Finding]", failures: "pd.DataFrame") -> dict[str, Any]:
    from dlqanalysis import health

    return {
        "source": failures.attrs.get("source"),
        "checked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "severity": health.worst(findings),
        "truncated": bool(failures.attrs.get("truncated")),
        "findings": [
            {
                "name": finding.name,
                "severity": finding.severity,
                "text": _plain(finding.text),
                "facts": dict(finding.facts),
            }
            for finding in findings
        ],
    }


def _plain(text: str) -> str:
    """Redacted, without the control characters that a terminal would obey."""
    from dlqanalysis.redact import redact

    return "".join(character if character.isprintable() else " " for character in redact(text))


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


class _Progress:
    """One moving line on a terminal, plain lines elsewhere; on stderr, so that stdout has the result."""

    def __init__(self) -> None:
        self.moving = sys.stderr.isatty()

    def __enter__(self) -> Callable[[str], None]:
        return self.say

    def say(self, line: str) -> None:
        typer.echo(f"\r\x1b[2K{line[:100]}" if self.moving else line, err=True, nl=not self.moving)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.moving:
            typer.echo("\r\x1b[2K", err=True, nl=False)
        if kind is KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
            raise typer.Exit(STOPPED)


if __name__ == "__main__":
    main()
