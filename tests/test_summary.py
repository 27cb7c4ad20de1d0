"""A summary is counted and judged as all of its failures would be, on whatever road they come."""

import sys

import numpy as np
import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis.demo import incident
from dlqanalysis.frame import check
from dlqanalysis.report.numbers import headline
from dlqanalysis.sources.celery import open_source

ROWS = 3_000


@pytest.fixture
def url(shop_url):
    """The demo's incident in a table."""
    incident.load(shop_url, rows=ROWS, history=False)
    return shop_url


def judged(failures):
    return failures.pipe(dlq.classify).pipe(dlq.fingerprint)


def test_a_summary_counts_and_judges_as_its_failures_do(url):
    every, few = judged(dlq.load(url, since=None)), judged(dlq.summary(url, since=None))
    assert few["count"].sum() == len(every) == few.attrs["summary_of"] and len(few) < len(every)
    assert check(few)["failure_id"].isin(every["failure_id"]).all()
    pd.testing.assert_frame_equal(dlq.coverage(few), dlq.coverage(every))
    unknown = ["exception_type", "template", "failures", "share"]
    pd.testing.assert_frame_equal(
        dlq.unknown_groups(few)[unknown], dlq.unknown_groups(every)[unknown]
    )
    same = ("failures", "exhausted", "groups", "classes", "queues", "tasks", "last_failed")
    one, other = headline(few), headline(every)
    assert {name: one[name] for name in same} == {name: other[name] for name in same}
    for by in ("failure_class", "task_name", "exception_type"):
        pd.testing.assert_frame_equal(dlq.timeline(few, by=by), dlq.timeline(every, by=by))
    same = ["fingerprint", "failure_class", "task_name", "exception_type", "template", "count",
            "share", "last_failed", "exhausted", "queues", "class_share", "rule"]  # fmt: skip
    pd.testing.assert_frame_equal(dlq.groups(few)[same], dlq.groups(every)[same])
    counted = ["task_name", "queue", "count", "share", "exhausted"]
    by = ["task_name", "queue"]
    pd.testing.assert_frame_equal(dlq.counts(few, by)[counted], dlq.counts(every, by)[counted])


def test_every_road_and_any_pieces_give_the_same(url, monkeypatch):
    whole = dlq.summary(url, since=None)
    slow = open_source(url)
    slow.road = "sqlalchemy"
    pd.testing.assert_frame_equal(dlq.summary(slow, since=None), whole)
    monkeypatch.setattr(sys.modules["dlqanalysis.summary"], "_FOLD", 10)
    monkeypatch.setattr("dlqanalysis.sources.celery.stream._ROWS", 70)
    pieces = dlq.summary(slow, since=None)
    pd.testing.assert_frame_equal(pieces, whole)


def test_it_takes_what_load_takes(url, tmp_path):
    asked = {"since": "2026-11-15", "until": "2026-11-19", "queue": "emails", "status": None}
    every, few = dlq.load(url, **asked), dlq.summary(url, every="1d", **asked)
    assert few["count"].sum() == len(every) > len(few) > 0
    assert set(few["queue"]) == {"emails"} and few["failed_at"].max() == every["failed_at"].max()
    assert few.attrs["selection"] == every.attrs["selection"]
    assert len(dlq.summary(url, since="2031-01-01")) == 0


def test_an_export_is_summed_up_too(url, tmp_path):
    every = dlq.load(url, since=None)
    kept = dlq.snapshot(every, tmp_path / "failures.parquet")
    few = judged(dlq.summary(kept, since=None))
    assert few["count"].sum() == len(every)
    pd.testing.assert_frame_equal(dlq.coverage(few), dlq.coverage(judged(every)))


def test_one_failure_more_is_one_more_in_its_row(url):
    """Of equal rows the newest stands for all, and its time is theirs to the interval."""
    few = dlq.summary(url, since=None, every="365d")
    every = dlq.load(url, since=None)
    at = every.set_index("failure_id")["failed_at"]
    newest = at.reindex(few["failure_id"]).to_numpy()
    assert (newest == few["failed_at"].to_numpy()).all()
    assert np.isin(every["failed_at"].max(), few["failed_at"])
