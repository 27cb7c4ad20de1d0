"""What systems say of themselves, brought under one schema; and what can be done with each."""

import sys
from importlib import import_module
from types import ModuleType

import pandas as pd
import pytest

import dlqanalysis as dlq
from dlqanalysis import readings
from dlqanalysis.errors import SchemaError, SettingsError
from dlqanalysis.plan import ACTIONS
from dlqanalysis.sources import SYSTEMS


class Two:
    """A monitor with two queues and no workers to speak of."""

    name = "two"

    def depths(self):
        rows = [
            {"source": "two", "queue": queue, "state": "waiting", "depth": depth}
            for queue, depth in (("a", 3), ("b", None))
        ]
        return readings.depths(rows)

    def workers(self):
        nothing = readings.workers([])
        nothing.attrs["notes"] = ["two cannot tell its workers"]
        return nothing


def test_the_answers_of_several_places_make_one_frame():
    other = Two()
    other.name = "other"
    found = dlq.depths(Two(), other)
    assert len(found) == 4 and dict(found.dtypes) == dict(readings.depths([]).dtypes) | {
        name: found[name].dtype for name in ("source", "queue", "state")
    }
    assert found["depth"].sum() == 6 and found["depth"].isna().sum() == 2
    assert all(isinstance(found[name].dtype, pd.CategoricalDtype) for name in ("source", "queue"))


def test_what_cannot_be_told_is_a_note():
    assert dlq.workers(Two()).attrs["notes"] == ["two cannot tell its workers"]
    nowhere = dlq.depths("nowhere", Two())
    assert len(nowhere) == 2 and "DLQ_NOWHERE_URL" in nowhere.attrs["notes"][0]


def test_a_reading_with_an_unknown_column_is_refused():
    with pytest.raises(SchemaError, match="queue"):
        readings.depths([{"queu": "a"}])


def test_a_text_may_name_several_places_and_none_is_said():
    found = dlq.workers("nowhere, elsewhere")
    assert ["DLQ_NOWHERE_URL" in note for note in found.attrs["notes"]] == [True, False]
    [note] = dlq.depths("").attrs["notes"]
    assert note.startswith("No system was named")


def test_findings_of_systems_that_cannot_be_asked_are_findings():
    [unset] = dlq.findings("nowhere")
    assert unset.severity == "warning" and "DLQ_NOWHERE_URL" in unset.text
    away = "celery+redis://:s3cret@127.0.0.1:1/0?timeout=0.3"
    found = dlq.findings("nowhere", away)
    assert [one.severity for one in found] == ["warning", "critical"]
    assert (
        found[0].name == "nowhere: monitor"
        and found[1].name == "celery:redis:127.0.0.1:1/0: broker"
    )
    assert "s3cret" not in "".join(one.text for one in found)
    assert dlq.findings("") == []


def test_an_export_has_no_queues():
    with pytest.raises(SettingsError, match="no queues"):
        dlq.connect_monitor("a/b.parquet")


@pytest.mark.parametrize("module", sorted(set(SYSTEMS.values())))
def test_each_system_says_what_it_can(module):
    told = import_module(f"dlqanalysis.sources.{module}")
    assert "read" in {**told.CAN, **told.CANNOT} and not set(told.CAN) & set(told.CANNOT)
    known = {*ACTIONS, "read", "outcome", "settle", "repair", "reroute", "monitor", "redirect"}
    assert {*told.CAN, *told.CANNOT} <= known
    assert hasattr(told, "open_source"), "even if only to say where the failures are"
    assert hasattr(told, "open_monitor") == ("monitor" in told.CAN)
    acts = set(told.CAN) - {"read", "monitor"}
    assert hasattr(told, "open_hand") == bool(acts)
    if acts:  # some are imported only by who opens one
        file = import_module(f"dlqanalysis.sources.{module}.hand")
        hands = [thing for name, thing in vars(file).items() if name.endswith("Hand")]
        assert [hand.capabilities for hand in hands if hasattr(hand, "capabilities")] == [acts]
    elif "replay" in told.CANNOT:
        scheme = next(scheme for scheme in SYSTEMS if SYSTEMS[scheme] == module)
        with pytest.raises(SettingsError, match=r"cannot be replayed from: .*connect the hand to"):
            dlq.connect_hand(f"{scheme}://user:word@host/0")


def test_a_module_that_has_only_a_source_says_so(monkeypatch):
    monkeypatch.setitem(SYSTEMS, "folder", "folder")
    monkeypatch.setitem(
        sys.modules, "dlqanalysis.sources.folder", ModuleType("dlqanalysis.sources.folder")
    )
    for verb, says in (
        (dlq.connect_hand, r"folder:// cannot be replayed from: .*connect the hand to"),
        (dlq.connect_monitor, "folder:// tells nothing"),
        (dlq.capabilities, r"folder does not say what it can do. Give it CAN and CANNOT"),
    ):
        with pytest.raises(SettingsError, match=says) as caught:
            verb("folder://user:s3cret@host/dead")
        assert "s3cret" not in str(caught.value)


def test_capabilities_are_a_table_with_a_reason_each(monkeypatch):
    monkeypatch.setenv("DLQ_JOBS_URL", "bullmq+redis://127.0.0.1:1/0")
    table = dlq.capabilities("jobs").set_index("capability")
    assert table.loc["replay", "can"] and not table.loc["revoke", "can"]
    assert (table["how"].str.len() > 10).all()
    assert not dlq.capabilities("x/y.csv").set_index("capability").loc["replay", "can"]


class Paused(Two):
    """One whose queues can be paused, and that counts how often it was closed."""

    closed = 0

    def queues(self):
        return dlq.from_records(
            [
                {
                    "source": "two",
                    "failure_id": "a@2026-11-22T03:00:00Z",
                    "queue": "a",
                    "status": "running",
                }
            ]
        )

    def close(self):
        self.closed += 1


def test_queues_that_can_be_paused_become_a_plan(tmp_path):
    frame = dlq.pausable(Paused())
    plan = dlq.plan(frame, reason="storm", action="pause")
    assert [item.queue for item in plan.items()] == ["a"] and not plan.warnings
    assert dlq.pausable(Two()).attrs["notes"] == [
        "two cannot tell queues: its system has no such thing."
    ]


def test_a_monitor_that_was_opened_by_name_is_closed_and_one_that_was_given_is_not(monkeypatch):
    mine = Paused()
    monkeypatch.setattr("dlqanalysis.operations.connect_monitor", lambda name: mine)
    dlq.depths("two")
    assert mine.closed == 1
    dlq.depths(mine)
    assert mine.closed == 1


def test_only_what_keeps_metrics_is_asked_for_them():
    with pytest.raises(SettingsError, match="two keeps no metrics"):
        dlq.metrics(Two(), "depth")
