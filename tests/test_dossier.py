"""The dossier: what happened in order, how far it reached, what became of it, whether it is over; and a safe page."""

import html
import re

import mistune
import numpy as np
import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis import dossier
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.model import Finding, Outcome, Selection
from dlqanalysis.profile import Profile
from dlqanalysis.readings import depths
from dlqanalysis.report.dossier.fates import items_of, sources_of
from dlqanalysis.report.dossier.words import words_of
from dlqanalysis.sources import connect_hand
from tests.lists import KINDS, Lists, message
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
    mails = failures[failures["task_name"] == "shop.mail"].head(good + bad + 1)
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
    assert (
        table["text"]
        .iloc[1]
        .startswith("ConnectionError: connection refused in shop.mail; 60 failures")
    )
    assert (
        table["text"].iloc[2].startswith("ConnectionError: connection refused in shop.mail; 1 more")
    )
    assert run in table["text"].iloc[3] and "INC-7" in table["text"].iloc[3]
    assert (
        table["text"].iloc[4] == f"{run} breaker in stage 1; 1 failed again, 3 succeeded, 1 pending"
    )
    assert dossier.chronicle(failures)["what"].tolist() == ["begins", "ends"]
    with pytest.raises(SchemaError, match="fingerprint"):
        dossier.chronicle(failures.drop(columns="fingerprint"))


def test_an_episode_that_ends_is_not_said_to_be_over_while_its_error_goes_on():
    """It ended in the evening, and the same error came all night."""
    burst = frame()
    mails = burst[burst["queue"] == "mail"]
    last = mails["failed_at"].max()
    rare = mails.head(3).assign(
        failure_id=["r1", "r2", "r3"], failed_at=[last + n * 9 * HOUR for n in (1, 2, 3)]
    )
    table = dossier.chronicle(pd.concat([burst, rare], ignore_index=True))
    [end] = table.loc[table["what"] == "ends", "text"]
    told = f"; 4 more came after it, the last {last + 27 * HOUR:%Y-%m-%d %H:%M:%S}Z"
    assert end == f"ConnectionError: connection refused in shop.mail{told}"


def test_how_far_it_reached():
    table = dossier.radius(frame(), PROFILE).set_index("measure")["count"]
    assert table["failures"] == 260 and table["queues"] == 2 and table["distinct tenant"] == 2
    unknown = dossier.radius(frame().assign(worker=pd.NA), PROFILE)["measure"]
    assert "workers" not in set(unknown)  # 0 would read as that none is hit


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


def test_what_runs_took_out_of_its_source_is_counted_from_the_journal(
    redis_url, key_prefix, journal
):
    """A list has no more of a message that was replayed than the journal tells."""
    lists = Lists(redis_url, key_prefix)
    lists.fill(*(message(n, KINDS[n % 2]) for n in range(20)))
    options = {
        "reason": "INC-7",
        "ungraded": None,
        "classes": ("transient", "permanent", "data", "unknown"),
    }
    plan = dlq.plan(lists.load(task=KINDS[0]), journal, **options)
    with connect_hand(lists.url) as hand:
        run = dlq.replay(
            plan, to=hand, journal=journal, confirm=plan.id, rate=None, gate=None, wait="0s"
        )
    sent = run.items["failure_id"].tolist()
    assert len(sent) == 10 and lists.redis.llen(lists.dlq) == 10
    for failure_id, outcome in zip(
        sent, [Outcome.SUCCEEDED] * 7 + [Outcome.FAILED_AGAIN], strict=False
    ):
        journal.record(run.run_id, [(failure_id, "outcome", {"outcome": str(outcome)})])

    def read(**selection):
        return lists.load(**selection).pipe(dlq.classify).pipe(dlq.fingerprint)

    failures = read()
    table = dossier.aftermath(failures, journal).set_index("failure_class")
    gone = table.loc[dossier.GONE, ["failures", "replayed", "succeeded", "failed_again", "pending"]]
    assert gone.tolist() == [10, 10, 7, 1, 2] and table["failures"].sum() == 20
    head = dossier.facts(failures, [], table.reset_index()).set_index("field")["value"]
    assert head["failures"] == "20 (10 still there, 10 replayed)"
    assert (head["replayed"], head["succeeded after replay"]) == ("10", "7")
    for name in (
        "first failure",
        "last failure",
        "failing for",
    ):  # when the others failed nobody knows any more
        assert head[name].endswith(" (of those still there)")
    ended = dossier.resolution(failures, journal).set_index("what")["because"]
    assert ended["last failure"] == "of all groups still there"
    left = dossier.remains(failures, journal)
    assert (left["left"].sum(), left["of"].sum()) == (13, 20)
    assert when(dossier.resolution(failures, journal))["last successful replay"] == (
        journal.items()["outcome_at"][journal.items()["outcome"] == "succeeded"].max()
    )
    assert severities(failures, journal)["replays succeed"] == "critical"  # 7 of 8
    other = read(task=KINDS[1])  # of another task nothing was replayed
    assert dossier.aftermath(other, journal)["replayed"].sum() == 0
    lists.fill(
        message(14, KINDS[0], retryCount=4)
    )  # the one that failed again lies there as another entry
    again = dossier.aftermath(read(), journal)
    assert again["failures"].sum() == 20 and again["failed_again"].sum() == 1
    lists.redis.delete(lists.dlq)
    empty = read()
    assert dossier.aftermath(empty, journal)["succeeded"].sum() == 7
    assert "replay begins" in set(dossier.chronicle(empty, None, journal)["what"])
    lists.redis.close()


@pytest.mark.parametrize("queue, sent", [("mails; task x, y", 3), ("other", 0)])
def test_what_of_the_journal_belongs_to_a_frame_is_asked_for_source_by_source(journal, queue, sent):
    """A queue's name may hold the signs that part a sentence, and joined frames were selected each by its own words."""
    both = frame()
    both["queue"] = both["queue"].cat.rename_categories({"mail": "mails; task x, y"})
    replayed(journal, both, 2, 0)
    [name] = sources_of(both)
    left = both.iloc[:0].copy()
    selection = Selection(queue=(queue,)).as_dict()
    left.attrs = {"source": name, "asked": {name: selection, "elsewhere": Selection().as_dict()}}
    assert len(items_of(left, journal)) == sent
    left.attrs = {"source": name, "asked": {"elsewhere": selection}}
    assert len(items_of(left, journal)) == 3


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


def test_the_page_reads_as_it_was_written():
    said = "(to be filled in) a_b [c](d) #1 & <e> *f* {g} $h"
    text = dossier.page(pd.DataFrame({"field": ["title"], "value": [said]}), {})
    assert "| (to be filled in) a" in text and said in html.unescape(text)


def test_a_tasks_name_is_written_as_it_is_and_nothing_stands_slanted():
    said = "memo.send_all _now_ __init__ a__b__c é_é_é *_x_* x_ _y! ![z](u)"
    text = dossier.page(pd.DataFrame({"task": [said]}), {})
    assert "memo.send_all" in text and "é_é_é" in text
    shown = mistune.html(text)
    assert "<em>" not in shown and "<strong>" not in shown and "<img" not in shown
    assert said in html.unescape(shown)


def test_the_page_lists_who_is_hit_and_no_address():
    failures = frame()
    failures["kwargs"] = failures["kwargs"].str.replace('"t0"', '"jo@mail.example"')
    text = dossier.page(
        dossier.facts(failures, [], dossier.aftermath(failures)),
        {"Who is hit": dlq.affected(failures, PROFILE)},
    )
    assert re.search(r"tenant \| t1 \| \d+ \|", text) and "mail.example" not in text
    assert len(re.findall(r"\| tenant \|", text)) == 2


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


def when(table):
    return dict(zip(table["what"], table["at"], strict=True))


def test_the_end_is_computed_from_failures_and_journal(journal):
    """Mails fail in hours 200 to 260, memos steadily: only the mails began, so only they are the incident."""
    failures = frame()
    mails = failures.index[failures["queue"] == "mail"]
    straggler = START + 205 * HOUR
    failures.loc[mails[-1], "failed_at"] = straggler
    before = failures.loc[mails[:-1], "failed_at"]
    found = dossier.resolution(failures, quiet="1h", now=NOW)
    told = when(found)
    assert abs(told["began"] - before.min()) < pd.Timedelta("1s")
    assert (
        told["last failure"] == told["calm since"] == straggler
    )  # not before it: one came after that calm
    assert found["because"].iloc[2] == "no new failure of the 1 group that began came after it"
    assert told["resolved"] == straggler + pd.Timedelta("1h")
    assert pd.isna(told["last successful replay"])
    replayed(journal, failures, 3, 1)
    healed = when(dossier.resolution(failures, journal, now=NOW))["last successful replay"]
    items = journal.items()
    assert healed == pd.to_datetime(items.loc[items["outcome"] == "succeeded", "outcome_at"]).max()
    assert when(dossier.resolution(failures, journal, now=NOW))["resolved"] == max(
        healed, straggler + pd.Timedelta("15min")
    )


def test_what_still_fails_is_not_resolved():
    failures = frame()
    newest = failures.loc[failures["queue"] == "mail", "failed_at"].max()
    found = dossier.resolution(failures, now=newest + pd.Timedelta("5min")).set_index("what")
    assert pd.isna(found.loc["resolved", "at"])
    fresh = "not yet 15 minutes without a new failure of the 1 group that began"
    assert found.loc["resolved", "because"] == found.loc["calm since", "because"] == fresh
    assert pd.isna(found.loc["calm since", "at"])
    steady = failures[failures["queue"] == "memo"]
    told = dossier.resolution(steady, now=NOW).set_index("what")
    assert told.loc["began", "because"] == "the first failure: no group has an onset"
    assert told.loc["last failure", "at"] == steady["failed_at"].max()
    nothing = dossier.resolution(failures.head(0), now=NOW)
    assert nothing["at"].isna().all() and len(nothing) == 5


def test_an_episode_that_goes_on_is_not_resolved_however_long_its_gaps():
    """Mails come every 17 minutes to the end: a quarter of an hour without one is no calm."""
    failures = frame()
    failures = failures[failures["queue"] == "memo"].reset_index(drop=True)
    end = failures["failed_at"].max()
    slow = frame().query("queue == 'mail'").head(60).reset_index(drop=True)
    slow["failed_at"] = [end - pd.Timedelta(minutes=17 * n) for n in range(60)]
    failures = pd.concat([failures, slow], ignore_index=True)
    now = end + pd.Timedelta("20min")
    assert dossier.episodes(failures, now=now)["until"].isna().all()
    told = dossier.resolution(failures, now=now).set_index("what")
    assert told.loc[["calm since", "resolved"], "at"].isna().all()
    said = told.loc["resolved", "because"]
    assert re.fullmatch(
        r"not yet: ConnectionError: .+ goes on, on average one every 1[5-9] minutes", said
    )
    head = dossier.facts(failures, [], dossier.aftermath(failures), ended=told.reset_index())
    assert dict(zip(head["field"], head["value"], strict=True))["resolved at"] == said
    late = end + pd.Timedelta("5h")
    assert dossier.episodes(failures, now=late)["until"].tolist() == [end]
    assert when(dossier.resolution(failures, now=late))["resolved"] == end + pd.Timedelta("15min")


def test_what_a_check_calls_critical_is_not_resolved():
    failures = frame()
    bad = [Finding(name="depth", severity="critical", text="t")]
    told = dossier.resolution(failures, now=NOW, checks=bad).set_index("what")
    assert pd.isna(told.loc["resolved", "at"])
    assert told.loc["resolved", "because"] == "not yet: see the checklist (depth)"
    assert told.loc["calm since", "at"] == told.loc["last failure", "at"]


def test_the_record_says_when_it_was_over_and_that_a_person_confirms(journal):
    failures = frame()
    ended = dossier.resolution(failures, now=NOW)
    well = [Finding(name="x", severity="ok", text="t")]

    def told(found):
        head = dossier.facts(failures, found, dossier.aftermath(failures), ended=ended)
        return dict(zip(head["field"], head["value"], strict=True))

    stamp = f"{when(ended)['resolved']:%Y-%m-%d %H:%M:%S}Z"
    assert told(well)["resolved at"] == f"{stamp} ({dossier.CONFIRM})"
    assert told(well)["time to resolve"].startswith("72 minutes from 2026-11-10 08:01:39Z")
    bad = told([Finding(name="x", severity="critical", text="t")])
    assert bad["resolved at"] == "not over: see the checklist" and "time to resolve" not in bad


def test_what_remains_is_told_error_by_error(journal):
    failures = frame()
    replayed(journal, failures, 5, 2)
    table = dossier.remains(failures, journal).set_index("task_name")
    assert table.loc["shop.mail", ["left", "of"]].tolist() == [55, 60]
    assert table.loc["shop.memo", ["left", "of"]].tolist() == [200, 200]
    assert dossier.remains(failures)["left"].sum() == len(failures)


def test_the_timeline_tells_what_was_known_then_and_no_resume_that_did_nothing(journal):
    """What a verify finds later is not what a run had when it stopped; nor does a run end twice."""
    failures = frame()
    run = replayed(journal, failures, 2, 1)  # stopped with two of them
    journal.take(run, "resumed")
    mail = failures.loc[failures["queue"] == "mail", "failure_id"].iloc[3]
    journal.record(run, [(mail, "outcome", {"outcome": str(Outcome.SUCCEEDED)})])
    for _ in range(2):
        journal.record(run, [("", "finished", {})])
        journal.take(run, "resumed")
    journal.record(run, [("", "finished", {})])
    told = dossier.chronicle(failures, None, journal)
    told = told[told["text"].str.startswith(run)]
    assert told["what"].tolist() == [
        "replay begins",
        "replay stops",
        "replay goes on",
        "replay is done",
    ]
    assert (
        told["text"].iloc[1].endswith("breaker in stage 1; 1 failed again, 2 succeeded, 1 pending")
    )
    assert told["text"].iloc[3] == f"{run} 1 failed again, 3 succeeded"


def test_the_dossier_does_not_read_as_its_opposite():
    failures = frame()
    newest = failures["failed_at"].max()
    found = dossier.checklist(failures, now=newest + pd.Timedelta("5min"))[0]
    assert found.severity == "critical"
    assert found.text.startswith("Not yet 15 minutes without a new failure: the newest is from ")
    assert dossier.checklist(failures, now=NOW)[0].text.startswith(
        "No new failure for 15 minutes: "
    )
    head = dossier.facts(failures.tail(1), [], dossier.aftermath(failures)).set_index("field")
    assert head.loc["failing for", "value"] == "0 seconds"
    page = dossier.page(head, {"Who is hit": dlq.affected(failures, Profile())})
    assert "Not known: the profile names no fields of customers (`affected`)." in html.unescape(
        page
    )
    assert "Nothing." not in page


@pytest.mark.parametrize(
    ("length", "words"),
    [("6min 59s", "7 minutes"), ("60s", "1 minute"), ("42s", "42 seconds"), ("90min", "90 minutes"), ("1D", "24 hours"),
     ("3h", "3 hours"), ("49h", "2 days"), ("1s", "1 second")],
)  # fmt: skip
def test_a_length_of_time_is_said_as_people_say_it(length, words):
    assert words_of(pd.Timedelta(length)) == words


def test_the_timeline_has_the_outcomes_of_a_run(journal):
    failures = frame()
    replayed(journal, failures, 3, 1)
    assert dossier.chronicle(failures, None, journal)["text"].iloc[-1].endswith(
        "breaker in stage 1; 1 failed again, 3 succeeded, 1 pending"
    )  # fmt: skip
