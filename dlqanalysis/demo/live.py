"""Failures that the real worker produces now: the tail of the incident, and what a replay really runs."""

import time
from datetime import UTC, datetime

import psycopg

from dlqanalysis.demo import shop, world
from dlqanalysis.demo.stage import Stage
from dlqanalysis.errors import ConnectError

_WITHIN = 60.0  # seconds


def fail(stage: Stage, mails: int = 60, memos: int = 8) -> datetime:
    """Mails during the outage, and memos under the broken release, until all stand in failed_tasks.

    Gives the moment before the first one. The mail provider is up again afterwards; the release stays broken.
    """
    with psycopg.connect(stage.database, autocommit=True) as connection:
        before, [began] = (
            _count(connection),
            connection.execute("select now()").fetchone() or [None],
        )
        world.write(stage.world, mail="down", pdf_release="broken")
        shop.submit(stage.broker, _calls(mails, memos))
        patient_until = time.monotonic() + _WITHIN
        while (missing := before + mails + memos - _count(connection)) > 0:
            if time.monotonic() > patient_until:
                raise ConnectError(
                    f"The worker left {missing} of {mails + memos} tasks undone after {_WITHIN:.0f} s."
                    f" Its log ends: {stage.home.tail('demo.worker.log')}"
                )
            time.sleep(0.05)
    world.write(stage.world, mail="up")
    return (began or datetime.now(UTC)).astimezone(UTC)


def _calls(mails: int, memos: int) -> list[tuple[str, dict[str, object]]]:
    letters: list[tuple[str, dict[str, object]]] = []
    for number in range(1, mails + 1):
        to = f"user{number}@inbox.example"
        letter = {"to": to, "template": "reminder", "property_id": number}
        digest = {"user_id": number, "to": to, "day": f"{datetime.now(UTC):%Y-%m-%d}"}
        letters.append(
            ("api.tasks.send_digest", digest)
            if number % 6 == 0
            else ("api.tasks.send_email", letter)
        )
    pages = [
        {"property_id": n, "template_id": 3, "tenant_id": "osprey"} for n in range(1, memos + 1)
    ]
    return letters + [("api.tasks.render_memo_pdf", page) for page in pages]


def _count(connection: psycopg.Connection) -> int:
    row = connection.execute("select count(*) from failed_tasks").fetchone()
    return int(row[0]) if row else 0
