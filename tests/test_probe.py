"""Whether the work is done is asked of the system itself: done, not done, cannot tell, and after the replay again."""

import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import QueryError, SettingsError
from dlqanalysis.profile import Profile
from tests.books import play

PROFILE = Profile(
    keys={"memo": "memo_{property_id}_{template_id}", "mail": "mail_{to}"},
    effects={"memo": "communication_keys", "mail": "communication_keys"},
    safety={"memo": "reconcile"},
)


@pytest.fixture
def shop(shop_url):
    """Memos for properties 1 to 3, of which 1 was sent; a mail whose payload lacks the address; a task nobody knows."""
    with psycopg.connect(shop_url, autocommit=True) as db:
        for n, (task, kwargs) in enumerate(
            [("memo", f'{{"property_id": {p}, "template_id": 7}}') for p in (1, 2, 3)]
            + [("mail", "{}"), ("other", '{"a": 1}')]
        ):
            db.execute(
                "insert into failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
                " exception_message, failed_at) values (%s, %s, 'q', '[]', %s, 'ConnectionError', 'refused', now())",
                (f"t{n}", task, kwargs),
            )
        db.execute(
            "insert into communications (property_id, template_id, channel, idempotency_key)"
            " values (1, 7, 'mail', 'memo_1_7')"
        )
    return shop_url


def told(shop, profile=PROFILE):
    failures = dlq.load(dlq.connect(shop), since=None)
    table = dlq.probe(failures, dlq.connect(shop), profile)
    assert table["failure_id"].tolist() == failures["failure_id"].tolist()
    ids = dict(zip(failures["failure_id"], failures["task_id"], strict=True))
    return failures, table.assign(task=table["failure_id"].map(ids)).set_index("task")


def test_three_answers_each_with_its_evidence(shop):
    failures, table = told(shop)
    assert table["effect"].astype("str").to_dict() == {
        "t0": "done", "t1": "not_done", "t2": "not_done", "t3": "cannot_tell", "t4": "cannot_tell",
    }  # fmt: skip
    assert table.loc["t0", "evidence"].startswith("found, times 1, last_sent ")
    assert table.loc["t3", "evidence"] == "to is missing"
    assert "names no key or no query" in table.loc["t4", "evidence"]
    says = "Of 5 failures 1 is done already and 2 are not; of 2 nobody can tell"
    assert dlq.probe(failures, shop, PROFILE).attrs["says"] == says
    plan = dlq.plan(failures, reason="x", effects=table.reset_index(), profile=PROFILE, limit=9)
    names = failures.set_index("failure_id")["task_id"]
    assert set(plan.chosen["failure_id"].map(names)) == {"t1", "t2", "t3", "t4"}
    assert any("of 2 chosen failures nobody could tell" in text for text in plan.warnings)
    sure = dlq.plan(
        failures.iloc[1:3], reason="x", effects=table.reset_index(), profile=PROFILE, limit=9
    )
    assert len(sure.chosen) == 2 and not any("nobody could tell" in t for t in sure.warnings)


def test_after_the_replay_it_is_asked_again(shop):
    assert told(shop)[1].loc["t1", "effect"] == "not_done"
    with psycopg.connect(shop, autocommit=True) as db:
        db.execute(
            "insert into communications (channel, idempotency_key) values ('mail', 'memo_2_7')"
        )
    assert told(shop)[1].loc["t1", "effect"] == "done"


def test_a_query_may_give_the_fields_of_the_key_instead(shop):
    by_fields = Profile(keys=PROFILE.keys, effects={"memo": "communications_recent"})
    assert told(shop, by_fields)[1].loc[["t0", "t1"], "effect"].tolist() == ["done", "not_done"]


@pytest.mark.parametrize(
    ("profile", "error", "words"),
    [
        (
            Profile(keys=PROFILE.keys, effects={"memo": "success_rate"}),
            SettingsError,
            "neither a column 'key' nor",
        ),
        (
            Profile(keys=PROFILE.keys, effects={"memo": "communication_key"}),
            QueryError,
            "communication_keys",
        ),
    ],
)
def test_what_the_profile_must_say(shop, profile, error, words):
    with pytest.raises(error, match=words):
        told(shop, profile)


def test_nobody_to_ask_is_said_and_the_plan_says_it_too(shop, tmp_path):
    failures = dlq.load(shop, since=None)
    for profile, source, why in [
        (Profile(), shop, "names no query of side effects"),
        (PROFILE, dlq.snapshot(dlq.connect(shop), tmp_path / "a.parquet"), "answers no queries"),
    ]:
        none = dlq.probe(failures, source, profile)
        assert not len(none) and why in none.attrs["notes"][0]
        made = dlq.plan(failures, reason="x", effects=none, limit=9, profile=profile)
        assert made.options["effects"] is False
        assert any("nobody asked" in one or "were not checked" in one for one in made.warnings)
    assert not len(dlq.probe(failures.head(0), shop, PROFILE))


def test_a_plan_names_the_tasks_whose_effects_were_not_asked(shop):
    failures = dlq.load(shop, since=None)
    profile = Profile(keys=PROFILE.keys, effects=PROFILE.effects)
    made = dlq.plan(failures, reason="x", limit=9, profile=profile)
    [mind] = [one for one in made.warnings if "nobody asked" in one]
    assert "whether the work of memo, mail is done" in mind and "4 chosen failures" in mind
    asked = dlq.probe(failures, shop, profile)
    made = dlq.plan(failures, reason="x", limit=9, profile=profile, effects=asked)
    assert not any("nobody asked" in one or "were not checked" in one for one in made.warnings)


@pytest.mark.parametrize("name", ["00_start_here", "40_replay", "weekly_report", "30_duplicates"])
def test_the_notebooks_hold_back_what_was_done(name, shop, tmp_path, monkeypatch):
    (tmp_path / "profile.toml").write_text(
        'name = "shop"\n[keys]\nmemo = "memo_{property_id}_{template_id}"\n'
        '[effects]\nmemo = "communication_keys"\n[safety]\nmemo = "idempotent"\n'
    )
    monkeypatch.setenv("DLQ_PROFILE", str(tmp_path / "profile.toml"))
    _, names = play(name, without="raises-exception", source=shop)
    if name == "30_duplicates":
        assert names["effects"]["effect"].value_counts().to_dict() == {
            "done": 1,
            "not_done": 2,
            "cannot_tell": 2,
        }
        return
    held = names["rehearsal"] if name == "weekly_report" else names["plan"].summary
    because = held.set_index("because")["failures"]
    assert because["its side effect was already done"] == 1
