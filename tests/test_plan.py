"""The plan: every failure goes or stays with one reason, and the id is a hash of all of it."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlqanalysis.errors import PlanError
from dlqanalysis.frame import from_records
from dlqanalysis.journal import Journal
from dlqanalysis.model import State
from dlqanalysis.plan import plan
from dlqanalysis.plan.reasons import was_undone
from dlqanalysis.profile import Profile

START = datetime(2026, 11, 1, tzinfo=UTC)
NOBODY = Profile()


def failure(number=0, **fields):
    return {
        "source": "celery:failed_tasks",
        "failure_id": str(number),
        "task_id": f"task-with-one-name-{number}",
        "task_name": "shop.charge",
        "queue": "payments",
        "status": "failed",
        "args": [number],
        "kwargs": {},
        "exception_type": "ConnectionError",
        "exception_message": "connection refused",
        "failed_at": START + timedelta(minutes=number),
        "failure_class": "transient",
        **fields,
    }


def frame(*rows):
    """A frame whose verdicts are given, so that these tests are about the plan alone."""
    classes = [row.pop("failure_class") for row in rows]
    made = from_records(rows)
    by_id = {row["failure_id"]: name for row, name in zip(rows, classes, strict=True)}
    verdict = pd.Categorical(made["failure_id"].map(by_id))
    return made.assign(
        failure_class=verdict, rule=pd.Categorical(["r"] * len(made)), why="w", confidence="high",
        fingerprint="f" * 16, template="connection refused",
    )  # fmt: skip


def because(made):
    return dict(zip(made.held_back["failure_id"], made.held_back["because"], strict=True))


def journal_with(tmp_path, *sent, uncertain=(), generation=1):
    """A journal in which some failures were sent (failure_id, sent_id) or left uncertain."""
    journal = Journal(f"sqlite:///{tmp_path / 'j.sqlite'}")
    names = [*(failure_id for failure_id, _ in sent), *uncertain]
    rows = frame(*(failure(int(name)) for name in names))
    earlier = plan(rows, None, reason="before", profile=NOBODY)
    items = [
        SimpleNamespace(**{name: getattr(item, name) for name in item.__slots__})
        for item in earlier.items()
    ]
    for item in items:
        item.generation = generation
    told = SimpleNamespace(
        id=earlier.id, digest=earlier.digest, action="replay", source=earlier.source, reason="before",
        held_back=earlier.held_back, items=lambda: iter(items),
    )  # fmt: skip
    run = journal.start(told, {})
    journal.claim(run, earlier.source, items)
    journal.record(run, [(failure_id, "sent", {"sent_id": new}) for failure_id, new in sent])
    return journal, run


HELD = [
    ("unreadable payload", {"payload_state": "unreadable"}, {}, "payload is unreadable"),
    ("truncated payload", {"payload_state": "truncated"}, {}, "payload is truncated"),
    ("no payload", {"args": None, "kwargs": None}, {}, "payload is missing"),
    ("replayed by status", {"status": "replayed"}, {}, "status is already replayed"),
    ("archived", {"status": "archived"}, {}, "status is already archived"),
    ("replayed by time", {"replayed_at": START}, {}, "was already replayed"),
    ("permanent", {"failure_class": "permanent"}, {}, "class is permanent"),
    ("data", {"failure_class": "data"}, {}, "class is data"),
    ("unknown", {"failure_class": "unknown"}, {}, "class is unknown"),
    ("never", {}, {"safety": {"charge": "never"}}, "task is graded never in the profile"),
    (
        "never by whole name",
        {},
        {"safety": {"shop.charge": "never"}},
        "task is graded never in the profile",
    ),
    ("never by default", {}, {"safety": {"*": "never"}}, "task is graded never in the profile"),
    ("reconcile unprobed", {}, {"safety": {"charge": "reconcile"}}, "task is graded reconcile"),
    ("needs a key", {}, {"safety": {"charge": "needs_key"}}, "task is graded needs_key"),
]


@pytest.mark.parametrize(
    ("name", "fields", "profile", "reason"), HELD, ids=[row[0] for row in HELD]
)
def test_each_reason_to_stay(name, fields, profile, reason):
    made = plan(frame(failure(1), failure(2, task_name="a.b"), failure(3, **fields)), None, reason="x",
                profile=Profile(**profile))  # fmt: skip
    assert because(made)["3"].startswith(reason)
    assert ("1" in because(made)) == bool(profile)


@pytest.mark.parametrize(
    ("fields", "profile"),
    [
        ({}, {"safety": {"charge": "idempotent"}}),
        ({"idempotency_key": "k"}, {"safety": {"charge": "needs_key"}}),
        ({}, {"safety": {"charge": "needs_key"}, "keys": {"charge": "charge_{0}"}}),
        ({}, {"safety": {"charge": "never", "shop.charge": "idempotent"}}),
    ],
)
def test_what_a_grade_lets_through(fields, profile):
    made = plan(frame(failure(1, **fields)), None, reason="x", profile=Profile(**profile))
    assert list(made.chosen["failure_id"]) == ["1"]


def test_a_plan_keeps_how_its_failures_were_loaded():
    failures = frame(failure())
    failures.attrs["selection"] = "since 2026-11-01, queue mails"
    assert plan(failures, reason="x").selection == "since 2026-11-01, queue mails"
    assert plan(frame(failure()), reason="x").selection == "a frame made by hand"


def test_the_first_reason_wins(tmp_path):
    """In the order of the table in the documentation: each row has its own reason and all later ones."""
    worst = {
        "payload_state": "unreadable", "status": "replayed", "failure_class": "data", "task_name": "x.never",
    }  # fmt: skip
    rows = [
        failure(1, **worst),
        failure(2, **{**worst, "payload_state": "complete"}),
        failure(3, failure_class="data", task_name="x.never"),
        failure(4, failure_class="data", task_name="x.never"),
        failure(5, failure_class="data", task_name="x.never"),
        failure(6, failure_class="data", task_name="x.never", args=[5]),
        failure(7, failure_class="data", task_name="x.never", task_id="came-back"),
        failure(8, failure_class="data", task_name="x.never"),
        failure(9, failure_class="data"),
        failure(10),
        failure(11),
    ]
    journal, run = journal_with(
        tmp_path, ("3", "new-3"), ("99", "came-back"), uncertain=["4"], generation=2
    )
    effects = pd.DataFrame({"failure_id": ["5", "6"], "effect": ["done", "done"]})
    made = plan(
        frame(*rows), journal, reason="x", limit=1, effects=effects, max_generations=2,
        profile=Profile(safety={"never": "never"}),
    )  # fmt: skip
    assert because(made) == {
        "1": "payload is unreadable",
        "2": "status is already replayed",
        "3": f"was already replayed in run {run}",
        "4": f"is uncertain since run {run}: dlq.settle it",
        "5": "its side effect was already done",
        "6": "its side effect was already done",
        "7": "came back after 2 replays: quarantine it",
        "8": "task is graded never in the profile",
        "9": "class is data",
        "11": "over the limit of 1",
    }
    assert list(made.chosen["failure_id"]) == ["10"]


def test_of_duplicates_the_oldest_goes():
    rows = [
        failure(1, args=[7]),
        failure(2, args=[7]),
        failure(3, task_id="task-with-one-name-1"),
        failure(4, args=[8]),
    ]
    made = plan(frame(*rows), None, reason="x", profile=NOBODY)
    assert list(made.chosen["failure_id"]) == ["1", "4"]
    assert set(because(made)) == {"2", "3"}
    assert all(reason.startswith("duplicate by entry") for reason in because(made).values())


def test_business_keys_of_the_profile_make_duplicates_too():
    rows = [
        failure(1, args=[], kwargs={"p": 1, "at": "08:00"}),
        failure(2, args=[], kwargs={"p": 1, "at": "09:00"}),
        failure(3, args=[], kwargs={"p": 2, "at": "08:00"}),
    ]
    made = plan(frame(*rows), None, reason="x", profile=Profile(keys={"shop.charge": "charge_{p}"}))
    assert because(made) == {"2": "duplicate by business key: an older one stands for it"}


def test_a_probed_effect_lets_a_reconcile_task_go():
    effects = pd.DataFrame(
        {"failure_id": ["1", "2", "3"], "effect": ["not_done", "cannot_tell", "done"]}
    )
    profile = Profile(safety={"charge": "reconcile"})
    rows = [failure(number) for number in (1, 2, 3)]
    made = plan(frame(*rows), None, reason="x", effects=effects, profile=profile)
    assert list(made.chosen["failure_id"]) == ["1"]
    assert because(made)["2"].startswith("task is graded reconcile")
    assert because(made)["3"] == "its side effect was already done"


def test_a_task_that_came_back_once_may_go_a_second_time(tmp_path):
    journal, _ = journal_with(tmp_path, ("99", "came-back"), generation=1)
    made = plan(
        frame(failure(1, task_id="came-back"), failure(2)), journal, reason="x", profile=NOBODY
    )
    assert dict(zip(made.chosen["failure_id"], made.chosen["generation"], strict=True)) == {
        "1": 2,
        "2": 1,
    }


def test_a_skip_in_a_later_run_does_not_hide_that_it_was_sent(tmp_path):
    journal, run = journal_with(tmp_path, ("1", "new"))
    later = plan(frame(failure(2)), None, reason="later", profile=NOBODY)
    second = journal.start(SimpleNamespace(
        id="z", digest="z", action="replay", source=later.source, reason="r", held_back=later.held_back,
        items=lambda: iter(plan(frame(failure(1)), None, reason="q", profile=NOBODY).items())), {})  # fmt: skip
    journal.record(second, [("1", "skipped", {"detail": "already"})])
    made = plan(frame(failure(1), failure(2)), journal, reason="x", profile=NOBODY)
    assert because(made) == {"1": f"was already replayed in run {run}"}
    assert (journal.items(second)["state"] == State.SKIPPED).all()


def test_the_id_is_of_everything():
    rows = [failure(number) for number in range(5)]

    def id_of(rows=rows, **options):
        options = {"reason": "INC-42", "profile": NOBODY, **options}
        return plan(frame(*(dict(row) for row in rows)), None, **options).id

    ids = {
        "same": id_of(),
        "other reason": id_of(reason="INC-43"),
        "limit": id_of(limit=3),
        "classes": id_of(classes=("transient", "data")),
        "content": id_of([*rows[:4], {**rows[4], "args": ["other"]}]),
        "one more": id_of([*rows, failure(9)]),
        "one more held back": id_of([*rows, failure(9, failure_class="data")]),
        "held back for another reason": id_of([*rows, failure(9, failure_class="permanent")]),
        "source": id_of([{**row, "source": "other"} for row in rows]),
        "generation": id_of([{**row, "queue": "slow"} for row in rows]),
    }
    assert ids["same"] == id_of()
    assert len(set(ids.values())) == len(ids)
    assert all(len(name) == 8 for name in ids.values())


def test_the_id_says_where_they_go_and_the_page_says_who_goes_elsewhere():
    def routed(**routes):
        rows = [failure(1), failure(2, task_name="api.send"), failure(3, failure_class="data")]
        return plan(frame(*rows), None, reason="x", ungraded=None, profile=Profile(routes=routes))

    own, same, other = routed(), routed(send="payments"), routed(send="emails")
    assert len({own.id, same.id, other.id}) == 3
    assert [item.target for item in other.items()] == ["", "emails"]
    said = "1 failure goes where the profile's [routes] says, not to the queue that stands in their row: api.send to emails."
    assert said in other.warnings
    assert not any("[routes]" in warning for warning in own.warnings + same.warnings)


def test_what_is_changed_after_the_fact_is_noticed():
    made = plan(frame(failure(1), failure(2)), None, reason="x", profile=NOBODY)
    assert made.intact
    made.chosen.loc[0, "failure_id"] = "77"
    assert not made.intact
    with pytest.raises(AttributeError):
        made.reason = "other"


def test_what_is_refused(tmp_path):
    good = frame(failure(1))
    unfiltered = good.copy()
    unfiltered.attrs["narrows"] = False
    unfiltered.attrs["loaded"] = 1
    both = frame(failure(1), failure(2, source="bullmq:default"))
    for failures, options, words in [
        (good, {"reason": " "}, "needs a reason"),
        (good.iloc[:0], {}, "no failures to plan for"),
        (both, {}, "2 sources"),
        (unfiltered, {}, "without any filter"),
        (good, {"limit": 0}, "at least 1"),
        (good, {"classes": ("transientt",)}, "Did you mean 'transient'"),
        (good, {"action": "reply"}, "Did you mean 'replay'"),
    ]:
        with pytest.raises(PlanError, match=words):
            plan(failures, None, **{"reason": "x", "profile": NOBODY, **options})
    assert len(plan(unfiltered, None, reason="x", limit=5, profile=NOBODY).chosen) == 1
    unfiltered.attrs["loaded"] = 2  # one of two rows is left: somebody chose it
    assert len(plan(unfiltered, None, reason="x", profile=NOBODY).chosen) == 1


def test_the_page_says_what_a_tired_person_needs():
    hostile = failure(3, task_name="<script>alert(1)</script>", failure_class="data")
    made = plan(frame(failure(1), failure(2), hostile), None, reason="<b>INC</b>", profile=NOBODY)
    assert repr(made) == f"Plan {made.id}: 2 to replay, 1 held back (1 class is data)"
    page = made._repr_html_()
    assert "<script>" not in page and "<b>INC" not in page
    assert "2 to replay" in page and "class is data" in page
    assert any("no journal" in text for text in made.warnings)
    assert any("without a safety grade" in text for text in made.warnings)
    assert any("side effects were not checked" in text for text in made.warnings)
    assert list(made.summary["failures"]) == [1, 2] or list(made.summary["failures"]) == [2, 1]


def test_items_are_the_chosen_in_order():
    made = plan(frame(failure(2), failure(1)), None, reason="x", profile=NOBODY)
    items = list(made.items())
    assert [item.failure_id for item in items] == ["1", "2"]
    assert items[0].content_hash == made.chosen["content_hash"].iloc[0]
    assert items[0].queue == "payments" and items[0].generation == 1


def test_other_actions_take_what_a_replay_may_not(tmp_path):
    rows = [
        failure(1, payload_state="unreadable"),
        failure(2, failure_class="data"),
        failure(3, args=[2]),
        failure(4, args=[2]),
        failure(5, status="replayed", replayed_at=START),
        failure(6, status="pending_replay"),
        failure(7, status="archived"),
        failure(8),
        failure(9),
    ]
    journal, run = journal_with(tmp_path, ("8", "new-8"), uncertain=["9"])
    profile = Profile(safety={"*": "never"})

    def chosen(action, **options):
        made = plan(
            frame(*(dict(row) for row in rows)),
            journal,
            reason="x",
            action=action,
            profile=profile,
            **options,
        )
        return list(made.chosen["failure_id"]), because(made)

    assert chosen("replay")[0] == []
    went, stayed = chosen("quarantine")
    assert went == ["1", "2", "3", "4"]
    assert stayed["8"] == f"was already replayed in run {run}"
    assert chosen("quarantine", classes=("data",))[0] == ["2"]
    went, stayed = chosen("archive")  # what was replayed may be archived; what is under way may not
    assert went == ["1", "2", "3", "4", "5", "8"]
    assert set(stayed) == {"6", "7", "9"}
    assert chosen("purge")[0] == ["1", "2", "3", "4"]


def test_a_purge_wants_the_number_too():
    made = plan(frame(failure(1), failure(2)), None, reason="x", action="purge", profile=NOBODY)
    assert made.confirmation == f"{made.id} 2"
    assert any("gone for good" in text for text in made.warnings)
    archived = plan(
        frame(failure(1), failure(2)), None, reason="x", action="archive", profile=NOBODY
    )
    assert archived.confirmation == archived.id != made.id


ROW = st.fixed_dictionaries(
    {
        "failure_class": st.sampled_from(["transient", "permanent", "data", "unknown"]),
        "payload_state": st.sampled_from(["complete", "truncated", "unreadable", "missing"]),
        "status": st.sampled_from(["failed", "replayed", "odd", None]),
        "task_name": st.sampled_from(["a.one", "b.two", None]),
        "task_id": st.sampled_from(["same", "other", None]),
        "args": st.sampled_from([[1], [2]]),
        "queue": st.sampled_from(["q", None]),
    }
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12), limit=st.sampled_from([None, 1, 3]))
def test_every_failure_goes_or_stays_with_a_reason(rows, limit):
    failures = frame(*(failure(number, **row) for number, row in enumerate(rows)))
    made = plan(failures, None, reason="x", limit=limit, profile=Profile(safety={"two": "never"}))
    ids = [*made.chosen["failure_id"], *made.held_back["failure_id"]]
    assert sorted(ids) == sorted(failures["failure_id"])
    assert (made.held_back["because"].str.len() > 0).all()
    assert len(made.chosen) <= (limit or len(rows))
    chosen = failures[failures["failure_id"].isin(made.chosen["failure_id"])]
    assert (chosen["payload_state"] == "complete").all() and (chosen["status"] != "replayed").all()
    assert (chosen["failure_class"] == "transient").all() and (chosen["task_name"] != "b.two").all()
    assert made.summary["failures"].sum() == len(rows)


def test_only_an_undo_after_it_takes_a_replay_back():
    def entry(action, hour, state="sent"):
        at = START + timedelta(hours=hour)
        return {"source": "s", "failure_id": "1", "action": action, "state": state, "at": at}

    first = pd.DataFrame([entry("replay", 1)])
    for later, undone in (
        (entry("replay", 2), False),
        (entry("quarantine", 2), False),
        (entry("undo", 2, "refused"), False),
        (entry("undo", 0), False),
        (entry("undo", 2), True),
    ):
        history = pd.concat([first, pd.DataFrame([later])], ignore_index=True)
        assert was_undone(first, history).tolist() == [undone], later


def test_a_plan_in_one_line_names_four_reasons_and_counts_the_others():
    tasks = {"never": "a", "needs_key": "b"}
    profile = Profile(safety={name: grade for grade, name in tasks.items()})
    made = plan(
        frame(
            failure(1, task_name="a"), failure(2, task_name="b"), failure(3, failure_class="data"),
            failure(4, failure_class="permanent"), failure(5, failure_class="unknown"), failure(6),
        ),
        reason="x", profile=profile,
    )  # fmt: skip
    assert len(set(because(made).values())) == 5
    assert repr(made).endswith(", 1 more reason)") and repr(made).count("1 ") == 6
