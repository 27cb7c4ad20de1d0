"""The demo: an incident on private servers, read, judged, reported, and what is safe replayed for real."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from dlqanalysis.demo import books, incident, live
from dlqanalysis.demo.stage import Stage, stage, start_worker
from dlqanalysis.errors import DLQError
from dlqanalysis.profile import Profile
from dlqanalysis.replay import Run

NOTEBOOKS = (
    "00_start_here",
    "10_triage",
    "20_patterns",
    "30_duplicates",
    "60_operations",
    "weekly_report",
)
REASON = "DEMO-1: the mail provider is back"


def run_demo(
    out: str | Path = "reports/demo", progress: Callable[[str], None] = lambda line: None
) -> str:
    """Play the whole demo; gives what happened and which file to open, in under 20 lines.

    `progress` gets one line a step, with the elapsed seconds. The reports stay in `out`; servers, worker and
    all else are gone when it ends, also by Ctrl-C or SIGTERM.
    """
    began = time.monotonic()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)

    def step(line: str) -> None:
        progress(f"{time.monotonic() - began:5.1f} s  {line}")

    with terminable():
        step("starting PostgreSQL, Valkey and a mail provider, private to this demo")
        with stage() as playing:
            step("starting a Celery worker; loading two weeks of failures")
            now, counts = datetime.now(UTC), []
            start_worker(
                playing.home,
                playing.shop_environment(),
                meanwhile=lambda: counts.append(incident.load(playing.database, end=now)),
            )
            step(
                f"{counts[0]:,} failures loaded; the mail provider goes down, the worker fails for real"
            )
            since = live.fail(playing)
            step("the provider is back. Running six notebooks side by side, a minute or two")
            pages = books.run(
                playing.home,
                _parameters(playing),
                playing.environment(),
                folder,
                lambda page: step(f"wrote {page}"),
            )
            with _environment(playing.environment()):
                step("planning a replay of the mails that failed live")
                classes, plan, run = _replay(playing, since, lambda line: step(f"replay: {line}"))
            refuse_secrets(folder, playing.secrets())
            step("stopping everything")
    took = time.monotonic() - began
    step("done")
    return _told(counts[0], classes, plan, run, pages, took)


def _parameters(playing: Stage) -> dict[str, dict[str, object]]:
    """Each notebook with its parameters: the shop, and what it is known to have done already."""
    keys = playing.home.path / "done.csv"
    done(playing).to_csv(keys, index=False)
    more: dict[str, dict[str, object]] = {
        "10_triage": {"changes": str(playing.deploys)},
        "20_patterns": {"changes": str(playing.deploys)},
        "30_duplicates": {"done": str(keys)},
    }
    return {name: {"source": "celery", **more.get(name, {})} for name in NOTEBOOKS}


def _replay(
    playing: Stage, since: datetime, say: Callable[[str], None]
) -> tuple[Mapping[str, int], str, Run]:
    """A staged replay of live failures, confirmed and verified; and the verdict on all failures."""
    import dlqanalysis as dlq

    failures = dlq.load("celery", since="15d").pipe(dlq.classify).pipe(dlq.fingerprint)
    classes = failures["failure_class"].value_counts()
    recent = dlq.load("celery", since=since).pipe(dlq.classify).pipe(dlq.fingerprint)
    profile = Profile.load(os.environ["DLQ_PROFILE"])
    effects = dlq.probe(recent, "celery", profile)
    journal = dlq.Journal()
    plan = dlq.plan(recent, journal, reason=REASON, effects=effects, profile=profile)
    say(repr(plan))
    hand = dlq.connect_hand("celery")
    with contextlib.closing(hand):
        run = dlq.replay(
            plan,
            to=hand,
            journal=journal,
            confirm=plan.id,  # a person types it after reading the plan; the demo has read its own
            rate="100/s",
            wait="30s",
            poll=0.2,
            progress=say,
        )
        if "Ctrl-C" in run.stopped:
            raise KeyboardInterrupt
        dlq.verify(run.run_id, to=hand, journal=journal)
    run = Run.read(run.run_id, journal)
    with contextlib.suppress(AttributeError):
        journal.close()
    return classes.to_dict(), repr(plan), run


def done(playing: Stage) -> pd.DataFrame:
    """The keys of what the shop has done already, as `dlq.side_effects` wants them."""
    import psycopg

    with psycopg.connect(playing.reader) as connection:
        rows = connection.execute(
            "select distinct idempotency_key from communications where idempotency_key is not null"
        ).fetchall()
    return pd.DataFrame({"key": pd.Series([key for (key,) in rows], dtype="str")})


def _told(
    count: int,
    classes: Mapping[str, int],
    plan: str,
    run: Run,
    pages: list[Path],
    took: float,
) -> str:
    whole = sum(classes.values())
    shares = ", ".join(f"{n / whole:.0%} {name}" for name, n in classes.items() if n)
    first, *others = (page.name for page in pages)
    return "\n".join(
        [
            f"The demo took {took:.0f} s, on private servers that are gone again.",
            f"  Incident  {count:,} failures of two weeks, and a mail outage that a real Celery worker met.",
            f"  Verdict   {whole:,} open failures: {shares}.",
            f"  Replay    {plan}.",
            f"            {run}",
            "",
            f"Open {pages[0].parent / first} in a browser (no network needed). Beside it:",
            f"  {', '.join(others)}",
            "",
            "Next: `make lab` (`dlq lab`) opens the notebooks on such servers; `dlq init DIR` begins with your own.",
        ]
    )


def refuse_secrets(folder: Path, secrets: tuple[str, ...]) -> None:
    """A password in a report would be a mistake of ours: say so, loudly."""
    for path in folder.rglob("*"):
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
            raise DLQError(
                f"{path} holds a password of the demo's servers. They are gone, so it opens nothing; but"
                " please report this as a bug."
            )


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for as long as the `with` lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end this as Ctrl-C does: in order. Only the main thread can hear them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
