"""What was read is said: of which source, what was asked for, how many, and what to know of it."""

import pandas as pd
import pytest

import dlqanalysis as dlq
from tests.lists import KINDS, Lists, message


def test_what_a_load_left_out_or_could_not_read_is_said(redis_url, key_prefix):
    lists = Lists(redis_url, key_prefix)
    lists.fill(message(1, KINDS[0]), message(2, KINDS[0]), "no JSON at all")
    said = dlq.scope(lists.load(since="3650d"))
    assert said.columns.tolist() == ["read"] and said["read"].dtype == "str"
    source = dlq.connect(lists.url).name
    assert said["read"].iloc[0].startswith(f"{source}: since ")
    assert said["read"].iloc[0].endswith(": 2 failures")
    assert "1 row has no time of failure (left out by since and until)" in said["read"].iloc[
        1:
    ].str.cat(sep=" ")
    whole = dlq.scope(lists.load(since=None))["read"]
    assert whole.iloc[0] == f"{source}: from the beginning; status failed: 3 failures"
    assert "left out" not in whole.str.cat(sep=" ")
    cut = dlq.scope(lists.load(since=None, limit=1))["read"]
    assert ": 1 failure" in cut.iloc[0] and "Cut at 1 row," in cut.str.cat(sep=" ")
    counted = dlq.scope(dlq.summary(lists.url, since=None))["read"]
    assert counted.iloc[0] == whole.iloc[0]
    lists.redis.close()


@pytest.mark.parametrize("judged", [False, True])
def test_frames_by_hand_and_joined_ones_are_told_of_too(judged):
    row = {"task_id": "t", "task_name": "a", "exception_type": "E", "exception_message": "m"}
    made = dlq.from_records([row])
    if judged:
        made = made.pipe(dlq.classify).pipe(dlq.fingerprint)
    assert dlq.scope(made)["read"].tolist() == ["records: nothing was asked for: 1 failure"]
    assert dlq.scope(made.iloc[:0])["read"].tolist() == [
        "a frame made by hand: nothing was asked for: 0 failures"
    ]


def test_what_is_said_is_redacted():
    made = pd.DataFrame({"source": []})
    made.attrs = {
        "source": "s",
        "selection": "queue ann@example.com",
        "notes": ["token=sk_live_" + "a" * 24],
    }
    said = dlq.scope(made)["read"].str.cat(sep=" ")
    assert "ann@example.com" not in said and "sk_live_" not in said
