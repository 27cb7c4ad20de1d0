"""The demo incident: the same for a seed, true to the tables, and a story that can be found in it."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlqanalysis.demo import export, incident
from dlqanalysis.demo.words import GONE
from dlqanalysis.frame import check, from_arrow

DATA = Path(__file__).parents[1] / "notebooks" / "data"


@pytest.fixture(scope="module")
def failed():
    return pa.concat_tables(chunk.failed_tasks for chunk in incident.chunks()).to_pandas()


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    first, again = (next(iter(incident.chunks(500))) for _ in range(2))
    assert first.failed_tasks.equals(again.failed_tasks)
    assert first.communications.equals(again.communications)
    assert not next(iter(incident.chunks(500, seed=1))).failed_tasks.equals(first.failed_tasks)


def test_the_committed_export_is_what_its_command_writes(tmp_path):
    made, deploys = export.write(tmp_path)
    kept = pq.read_table(DATA / export.NAME)
    assert pq.read_table(made).equals(kept)
    assert deploys.read_bytes() == (DATA / export.DEPLOYS).read_bytes()
    assert (DATA / export.NAME).stat().st_size < 400_000
    frame = check(from_arrow(kept))
    assert len(frame) == export.ROWS
    assert set(frame["payload_state"]) == {"complete", "truncated", "unreadable", "missing"}
    with_traceback = frame.dropna(subset=["traceback"])
    kinds = frame[["task_name", "exception_type"]].drop_duplicates()
    assert len(with_traceback[["task_name", "exception_type"]].drop_duplicates()) == len(kinds)


@pytest.mark.parametrize("rows", [1, 40, 5_000, 120_000])
def test_it_has_exactly_the_rows_asked_for(rows):
    chunks = list(incident.chunks(rows))
    ids = np.concatenate([chunk.failed_tasks["id"].to_numpy() for chunk in chunks])
    assert ids.tolist() == list(range(1, rows + 1))
    assert max(chunk.failed_tasks.num_rows for chunk in chunks) <= 1.5 * incident.CHUNK
    seen = [chunk.failed_tasks["failed_at"].to_pandas() for chunk in chunks]
    assert all(times.is_monotonic_increasing for times in seen)


def test_it_spans_two_weeks_six_queues_and_twelve_tasks(failed):
    assert failed["queue_name"].nunique() == 6
    assert failed["task_name"].nunique() == 12
    assert failed["failed_at"].min() >= incident.END - timedelta(days=14)
    assert failed["failed_at"].max() <= incident.END
    assert (failed["failed_at"] >= failed["first_failed_at"]).all()
    assert (failed["first_failed_at"] >= failed["enqueued_at"]).all()
    replayed = failed[failed["status"] == "replayed"]
    assert len(replayed) > 100
    assert (replayed["replayed_at"] > replayed["failed_at"]).all()
    assert failed.loc[failed["status"] != "replayed", "replayed_at"].isna().all()


def test_the_release_broke_its_task_at_its_deploy_and_not_before(failed):
    deploy = next(d for d in incident.deploys() if d["version"] == "2026.11.3")
    broken = failed[failed["task_name"] == "api.tasks.render_memo_pdf"]
    delay = broken["failed_at"].min() - datetime.fromisoformat(deploy["at"])
    assert timedelta(seconds=30) < delay < timedelta(minutes=2)
    assert set(broken["exception_message"]) == {"'margins'"}


def test_the_outage_is_a_wall_of_429s_of_the_mail_provider_at_the_end(failed):
    last = failed[failed["failed_at"] > incident.END - timedelta(hours=5)]
    assert last["exception_message"].str.contains("429 Too Many Requests").mean() > 0.4
    assert (last["queue_name"] == "emails").mean() > 0.8


def test_the_rolled_back_import_names_properties_that_are_gone(failed):
    there = set(incident.properties()["id"].to_pylist())
    complete = failed.dropna(subset=["kwargs"])
    asked = complete["kwargs"].map(json.loads)
    batch = asked.map(lambda kwargs: kwargs.get("batch"))
    gone = asked[batch.notna()].map(lambda kwargs: kwargs["property_id"])
    assert len(gone) > 500
    assert gone.between(*GONE).all()
    assert {kwargs["tenant_id"] for kwargs in asked[batch.notna()]} == {"kestrel"}
    others = asked[batch.isna()].map(lambda kwargs: kwargs.get("property_id")).dropna()
    assert set(others.astype(int)) <= there


def test_duplicates_come_in_both_kinds(failed):
    recorded_twice = failed["task_id"].duplicated().sum()
    assert recorded_twice == int(incident.ROWS * 0.02)
    same_work = failed.duplicated(["task_name", "kwargs"]) & ~failed["task_id"].duplicated()
    assert same_work.sum() >= int(incident.ROWS * 0.03)


def test_the_leak_grows(failed):
    leak = failed[failed["exception_type"] == "ReportError"]
    half = incident.END - timedelta(days=7)
    assert (leak["failed_at"] > half).sum() > 2 * (leak["failed_at"] <= half).sum()


@pytest.mark.parametrize(
    "part",
    [
        "<script>",
        "onerror=",
        "\x1b[31;1m",
        "\u202e",
        "postgresql://exports:",
        "Bearer ",
        "key=geo-",
    ],
)
def test_strangers_and_secrets_are_in_the_messages(failed, part):
    assert failed["exception_message"].str.contains(part, regex=False).any()


def test_payloads_that_cannot_be_read_are_there_in_three_kinds(failed):
    bad = failed[failed["kwargs"].isna()]
    kinds = {
        (row.args is not None and row.args == row.args, row.body == row.body)
        for row in bad.itertuples()
    }
    assert kinds == {(True, False), (True, True), (False, False)}
    for text in bad["args"].dropna():
        assert isinstance(json.loads(text), str)


def test_it_loads_into_the_tables_of_the_shop(shop_url):
    end = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert incident.load(shop_url, rows=3_000, end=end) == 3_000
    with psycopg.connect(shop_url) as connection:
        one = lambda statement: connection.execute(statement).fetchone()[0]  # noqa: E731
        assert one("select count(*) from failed_tasks") == 3_000
        assert one("select max(failed_at) from failed_tasks") <= end
        assert one("insert into failed_tasks (task_id, task_name, queue_name, exception_type)"
                   " values ('x', 'x', 'x', 'x') returning id") == 3_001  # fmt: skip
        done = one(
            "select count(*) from failed_tasks join communications using (task_id)"
            " where exception_type in ('ReadTimeout', 'HTTPError')"
        )
        assert 30 < done < 300
        assert one("select count(*) from task_executions where status = 'failed'") == 3_000
        assert one(
            "select count(*) from failed_tasks left join properties p"
            " on p.id = (kwargs->>'property_id')::bigint"
            " where exception_type = 'DeletedRecord' and p.id is null"
        ) > 100  # fmt: skip
        assert one("select count(*) from failed_tasks where body is not null") > 0


def test_the_deploys_are_the_ones_of_the_export():
    lines = list(csv.DictReader((DATA / export.DEPLOYS).read_text("utf-8").splitlines()))
    assert lines == incident.deploys()
