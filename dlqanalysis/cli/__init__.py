"""The command line: dlq demo | lab | init | report | snapshot | check | doctor | notify | rules | journal.

Exit codes: 0 done, 1 and 2 are what `dlq check` found (warning, critical; 2 is a wrong command line, too), 1 is a
report that somebody must look at, 3 could not be done, 130 stopped by Ctrl-C.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer import style

from dlqanalysis import __version__
from dlqanalysis.cli import reports
from dlqanalysis.errors import DLQError, SettingsError

if TYPE_CHECKING:
    from dlqanalysis.checkup import Checkup
    from dlqanalysis.journal import Journal

FAILED, STOPPED = 3, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Investigate dead-letter queues: what failed, why, what is safe to replay.\n\n"
    "New here? Run `dlq demo`: it needs no service and no configuration, and leaves reports to open. "
    "Then `dlq lab`: the same incident in notebooks. Your own systems: `dlq init DIR` lays out a folder for them; set "
    "DLQ_CELERY_URL in it and use the name `celery` wherever a SOURCE is asked for.",
)
app.add_typer(reports.app, name="report")
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
    except OSError as error:
        # a full disk, a folder that cannot be written: that is no finding, whose code is 1
        where = f"{error.filename}: " if error.filename else ""
        _refuse(
            DLQError(
                f"{where}{error.strerror or error}. Check the path, its permissions, and the room on its disk."
            )
        )


def _refuse(error: DLQError) -> NoReturn:
    typer.secho(_plain(str(error)), fg=typer.colors.RED, err=True)
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


@app.command("init")
def lay_out(
    folder: Annotated[Path, typer.Argument(help="The folder; made when missing.", metavar="DIR")],
) -> None:
    """Lay out a team's folder: notebooks, queries, profile, rulebook, settings. Overwrites nothing, ever."""
    from dlqanalysis import starter

    typer.echo(starter.told(starter.lay_out(folder)))


@app.command()
def snapshot(
    source: SourceName,
    out: Annotated[Path, typer.Argument(help="The file to write, such as failures.parquet.")],
) -> None:
    """Keep everything that a source has now, hashed, in one Parquet file. Reads only."""
    from dlqanalysis.archive import snapshot as keep
    from dlqanalysis.sources import connect

    typer.echo(keep(connect(source), out))


ProfileName = Annotated[
    str,
    typer.Option(
        help="A path, or one of the kit's own (celery, bullmq, ...); default: what DLQ_PROFILE names."
    ),
]


@app.command()
def check(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Names (celery reads DLQ_CELERY_URL), or paths of exports.", metavar="SOURCE..."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    profile: ProfileName = "",
    notify: Annotated[
        bool, typer.Option("--notify", help="Tell the profile's channels what is new, or over.")
    ] = False,
    again: Annotated[
        str, typer.Option(help="With --notify: after how long the same findings are told again.")
    ] = "4h",
) -> None:
    """Judge systems by thresholds. Exit code 0 ok, 1 warning, 2 critical, 3 could not check."""
    from dlqanalysis import health
    from dlqanalysis.checkup import all_findings, checkups, facts_of
    from dlqanalysis.notify import tell
    from dlqanalysis.profile import Profile

    limits = Profile.load(profile or None)
    done = checkups(source, limits)
    if as_json:
        typer.echo(json.dumps(facts_of(done), indent=1, default=str))
    else:
        for look in done:
            _say(look, several=len(done) > 1)
    if notify:
        untold: list[DLQError] = []
        for look in done:
            levels = (look.severity, look.escalation)
            try:
                # by the name asked for: two systems of one kind have the same source name
                told = tell(look.findings, limits, look.place, levels, again)
            except DLQError as error:  # who is away keeps no other from hearing of the rest
                untold.append(error)
                continue
            typer.echo(_plain(f"{look.place}: {told}"), err=True)
        if untold:
            raise untold[0]
    if not all(look.checked for look in done):
        raise typer.Exit(health.COULD_NOT_CHECK)
    raise typer.Exit(health.exit_code(all_findings(done)))


@app.command()
def notify(
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message; without it nothing is sent.")
    ] = False,
    profile: ProfileName = "",
) -> None:
    """Which channels the profile names, and with --test a message to each of them."""
    from dlqanalysis.notify import send_text
    from dlqanalysis.profile import Profile, notify_urls

    limits = Profile.load(profile or None)
    if test:
        lines = ["If you can read this, alerts of dlq check arrive here. Nothing is wrong."]
        count = send_text(f"Test of {limits.name}", lines, limits)
        typer.echo(f"{count} channel{'' if count == 1 else 's'} took the test message.")
        return
    for variable in notify_urls(limits):
        typer.echo(f"{variable} is set. `dlq notify --test` sends there.")
    if not limits.notify:
        typer.echo(_plain(f"Profile '{limits.name}' names no channel: nothing is ever sent."))


@app.command()
def rules(
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="As a rule file for Prometheus, YAML.")
    ] = False,
    metrics: Annotated[
        str, typer.Option(help="With --prometheus: whose metrics, queues, lists or tasks.")
    ] = "queues",
    profile: ProfileName = "",
) -> None:
    """The thresholds in force, with what they mean; or alerting rules made of them."""
    from dlqanalysis.profile import Profile

    limits = Profile.load(profile or None)
    if prometheus:
        from dlqanalysis.checkup.alert_rules import alert_rules

        typer.echo(alert_rules(limits, metrics), nl=False)
        return
    from dlqanalysis.health import THRESHOLDS, limits_of, readable

    for name, value in limits_of(limits).items():
        typer.echo(f"{name:<21} {readable(value):>8}  {THRESHOLDS[name][1]}")


@app.command()
def doctor(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names to look at; default: all connected.", metavar="[NAME]..."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """What could go wrong at 3 a.m.: reach, rights, TLS, clocks, journal, files. Exit codes as of `dlq check`."""
    from dlqanalysis import health
    from dlqanalysis.doctor import examine

    findings = examine(names or [])
    if as_json:
        told = [{"name": f.name, "severity": f.severity, "text": _plain(f.text)} for f in findings]
        facts = {"severity": health.worst(findings), "findings": told}
        typer.echo(json.dumps(facts, indent=1))
    else:
        for finding in findings:
            typer.echo(f"{finding.severity:<9}{finding.name:<20} {_plain(finding.text)}")
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
def verify(
    known: Annotated[
        str, typer.Option(help="What this command called the newest once: is it still there?")
    ] = "",
) -> None:
    """Whether all entries, and who, why and what was planned, are what was written. Exit code 0, or 2 when something
    was altered or is gone."""
    journal = _journal()
    broken = journal.verify(known)
    for sentence in broken:
        typer.secho(_plain(sentence), fg=typer.colors.RED, err=True)
    if broken:
        raise typer.Exit(2)
    count = len(journal.runs())
    typer.echo(f"Every entry of {count:,} run{'' if count == 1 else 's'} is what was written.")
    if newest := journal.newest()[:16]:
        typer.echo(
            f"The newest is {newest}. In a ticket it proves later that none is gone: --known {newest}"
        )


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


def _say(look: "Checkup", several: bool) -> None:
    """One place's findings, a line each; how grave it is and whom to call below."""
    if several:
        typer.echo(f"{_plain(look.place)}:")
    for finding in look.findings:
        color = {"critical": typer.colors.RED, "warning": typer.colors.YELLOW}
        word = style(f"{finding.severity:<9}", fg=color.get(finding.severity))
        typer.echo(f"{word}{finding.name:<20} {_plain(finding.text)}")
    for name, level in (("severity", look.severity), ("escalation", look.escalation)):
        if level is not None:
            typer.echo(f"{name:<29} {_plain(str(level))}")
            for step in level.steps:
                typer.echo(f"{'':<29} - {_plain(step)}")


def _plain(text: str) -> str:
    """Redacted, without the control characters that a terminal would obey."""
    from dlqanalysis.redact import redact

    return _printable(redact(text))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


class _Progress:
    """One moving line on a terminal, plain lines elsewhere; on stderr, so that stdout has the result."""

    def __init__(self) -> None:
        self.moving = sys.stderr.isatty()

    def __enter__(self) -> Callable[[str], None]:
        return self.say

    def say(self, line: str) -> None:
        line = _printable(line)  # not redacted: the lab's address holds the token that opens it
        typer.echo(f"\r\x1b[2K{line[:100]}" if self.moving else line, err=True, nl=not self.moving)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.moving:
            typer.echo("\r\x1b[2K", err=True, nl=False)
        if kind is KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
            raise typer.Exit(STOPPED)
