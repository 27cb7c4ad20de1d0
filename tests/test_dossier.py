"""The dossier: what happened in order, how far it reached, what became of it, whether it is over; and a safe page."""

import re

import numpy as np
import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis import dossier
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.model import Finding, Outcome
from dlqanalysis.profile import Profile
from dlqanalysis.readings import depths
from tests.test_onsets import HOUR, START, office

PROFILE = Profile(
    affected=("tenant",), owners={"mail": "messaging team"}, safety={"*": "idempotent"}
)


def frame(text="connection refused"):
    """A burst of mails in the second week among steady memos; half of the mails are of one tenant."""
    rng = np.random.default_rng(1)
    parts = {"mail": 200 + rng.random(60), "memo": office(rng, 200)}
    rows = [
        {
            "source": "celery:failed_tasks", "failure_id": f"{name}{n}", "task_id": f"t-{name}{n}",
            "task_name": f"shop.{name}", "queue": name, "args": [],
            "kwargs": {"tenant": f"t{n % 2}", "n": n},
            "exception_type": "ConnectionError" if name == "mail" else "KeyError",
            "exception_message": text if name == "mail" else "'margins'",
            "failed_at": START + hour * HOUR,
        }
        for name, hours in parts.items()
        for n, hour in enumerate(sorted(hours))
    ]  # fmt: skip
    return dlq.from_records(rows).pipe(dlq.classify).pipe(dlq.fingerprint)


def replayed(journal, failures, good, bad, action="replay"):
    """As if the mails had been replayed: so many succeeded, so many failed again, the next is pending."""
    mails = failures[failures["queue"] == "mail"].head(good + bad + 1)
    plan = dlq.plan(mails, journal, reason="INC-7", profile=PROFILE, action=action)
    run = journal.start(plan, {})
    items = list(plan.items())
    journal.claim(run, plan.source, items)
    for n, item in enumerate(items):
        journal.record(run, [(item.failure_id, "sent", {})])
        if n < good + bad:
            outcome = Outcome.SUCCEEDED if n < good else Outcome.FAILED_AGAIN
            journal.record(run, [(item.failure_id, "outcome", {"outcome": str(outcome)})])
    journal.record(run, [("", "stopped", {"because": "breaker in stage 1"})])
    return run


def test_what_happened_in_order(journal):
    failures = frame()
    run = replayed(journal, failures, 3, 1)
    changed = pd.DataFrame({"at": [START + 199 * HOUR], "service": ["mailer"], "version": ["7"],
                            "kind": ["deploy"], "text": [""]})  # fmt: skip
    table = dossier.chronicle(failures, changed, journal)
    assert table["at"].is_monotonic_increasing
    assert table["what"].tolist() == ["deploy", "begins", "ends", "replay begins", "replay stops"]
    assert table["text"].iloc[1].startswith("ConnectionError in shop.mail: 60 failures")
    assert run in table["text"].iloc[3] and "INC-7" in table["text"].iloc[3]
    assert table["text"].iloc[4] == f"{run} breaker in stage 1"
    assert dossier.chronicle(failures)["what"].tolist() == ["begins", "ends"]
    with pytest.raises(SchemaError, match="fingerprint"):
        dossier.chronicle(failures.drop(columns="fingerprint"))


def test_how_far_it_reached():
    table = dossier.radius(frame(), PROFILE).set_index("measure")["count"]
    assert table["failures"] == 260 and table["queues"] == 2 and table["distinct tenant"] == 2


def test_what_became_of_them_adds_up(journal):
    failures = frame()
    replayed(journal, failures, 5, 2)
    table = dossier.aftermath(failures, journal).set_index("failure_class")
    mails = table.loc["transient"]
    assert mails[["failures", "replayed", "succeeded", "failed_again", "pending", "untouched"]].tolist() == [
        60, 8, 5, 2, 1, 52,
    ]  # fmt: skip
    states = ["succeeded", "failed_again", "pending", "uncertain", "other", "untouched"]
    assert (table[states].sum(axis=1) == table["failures"]).all()
    nobody = dossier.aftermath(failures)
    assert (nobody["untouched"] == nobody["failures"]).all()


def test_what_was_put_aside_is_not_replayed(journal):
    failures = frame()
    replayed(journal, failures, 0, 0, action="quarantine")
    assert dossier.aftermath(failures, journal)["other"].sum() == 1


NOW = START + pd.Timedelta("15D")


def severities(*arguments, **options):
    return {one.name: one.severity for one in dossier.checklist(*arguments, now=NOW, **options)}


def test_it_is_over_when_every_check_says_so(journal):
    failures = frame()
    failures = failures[failures["queue"] == "mail"].head(20)
    replayed(journal, failures, 20, 0)
    well = [Finding(name="shop", severity="ok", text="It answers.")]
    empty = depths([{"queue": "mail", "state": "dead_lettered", "depth": 3}])
    assert set(severities(failures, journal, empty, well).values()) == {"ok"}
    found = severities(failures, journal)
    assert found["health"] == "warning"  # nobody looked: no all-clear
    assert severities(failures)["replays succeed"] == "warning"


def test_what_is_not_over(journal):
    failures = frame()
    replayed(journal, failures, 5, 2)
    fresh = failures.assign(
        failed_at=failures["failed_at"].where(failures.index > 0, NOW).astype("datetime64[us, UTC]")
    )
    found = severities(fresh, journal)
    assert found == {"no new failures": "critical", "replays succeed": "critical", "depth": "critical",
                     "health": "warning"}  # fmt: skip
    deep = depths([{"queue": "mail", "state": "failed", "depth": 10}])
    assert severities(failures, None, deep)["depth"] == "critical"


def test_what_only_a_person_knows_is_left_open(journal):
    failures = frame()
    head = dossier.facts(
        failures, dossier.checklist(failures), dossier.aftermath(failures), PROFILE
    )
    told = dict(zip(head["field"], head["value"], strict=True))
    assert told["root cause"] == dossier.OPEN and told["owners"] == "messaging team"
    assert told["resolved at"] == "not over: see the checklist" and told["failures"] == "260"


HOSTILE = (
    "<script>alert(1)</script> ![x](https://evil.example/a.png) [click](javascript:alert(1)) `code` | cell |\n# head"
    " <img src=x onerror=alert(1)> https://evil.example www.evil.example a@evil.example ~~x~~ &lt; \x1b[31m"
)


def test_the_page_holds_no_markup_from_the_failures(tmp_path):
    failures = frame(HOSTILE + " password=hunter2-s3cr3t")
    groups = dlq.groups(failures)[["template", "count"]]
    text = dossier.page(
        dossier.facts(failures, [], dossier.aftermath(failures)),
        {"Groups <b>": groups, "Said": HOSTILE, "Empty": groups.head(0)},
        tmp_path / "page.md",
    )
    assert (tmp_path / "page.md").read_text() == text
    assert (
        not re.search(r"<(script|img|b)\b", text) and "hunter2" not in text and "\x1b" not in text
    )
    assert "](" not in text and "`" not in text and "://" not in text and "@evil" not in text
    assert "www.evil" not in text and text.count("\n# ") == 0 and text.count("\n## ") == 3
    assert "Nothing." in text
    with pytest.raises(SettingsError, match="cannot be written"):
        dossier.page(groups, {}, tmp_path / "no" / "page.md")


def test_long_tables_are_cut_and_say_so():
    long = pd.DataFrame({"n": range(60)})
    assert "10 more rows." in dossier.page(long.head(1), {"Long": long})


def test_a_depth_that_nobody_told_is_no_all_clear():
    failures = frame()
    silent = depths([{"queue": "mail", "state": "failed", "depth": None}])
    assert severities(failures, None, silent)["depth"] == "warning"
    queues = depths([{"queue": "mail", "state": "waiting", "depth": 0}])  # says nothing of failures
    assert severities(failures, None, queues, depth=1)["depth"] == "critical"


def test_the_same_name_in_two_sources_is_two_failures(journal):
    failures = frame()
    replayed(journal, failures, len(failures), 0)
    other = failures.assign(source=failures["source"].cat.rename_categories(["bullmq:default"]))
    assert dossier.aftermath(other, journal)["untouched"].sum() == len(failures)


def test_a_page_starts_no_formulas():
    head = pd.DataFrame({"field": ["x"], "value": ["$\\href{javascript:alert(1)}{x}$"]})
    text = dossier.page(head, {})
    assert "href" in text and "$" not in text and "\\" not in text
