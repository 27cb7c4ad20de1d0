"""Whether payloads fit their tasks, by signatures that are read and never run; how large they are."""

import json

import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SettingsError
from dlqanalysis.payload.signatures import signature
from dlqanalysis.plan import plan
from dlqanalysis.profile import Profile

TASK = "api.tasks.generate_memo"
OURS = Profile(
    signatures={"generate_memo": "property_id: int, template_id: int | None = 1, *, urgent: bool = False"},
    safety={"*": "idempotent"},
)  # fmt: skip


def frame(*payloads, task=TASK):
    return dlq.from_records(
        {
            "source": "x", "failure_id": str(n), "task_id": f"t{n}", "task_name": task, "queue": "q",
            "args": args, "kwargs": kwargs, "exception_type": "TimeoutError", "exception_message": "timed out",
            "payload_state": "complete",
        }
        for n, (args, kwargs) in enumerate(payloads)
    )  # fmt: skip


def test_what_a_task_would_not_take_is_told_with_its_reason():
    failures = frame(
        ([5], {}), ([], {"property_id": 5, "urgent": True}), ([5, None], {}), ([5.5], {}),
        ([], {"template_id": 1}), ([5, 1, 2], {}), ([5], {"colour": "red"}), (["5"], {}), ([True], {}),
        ([5], {"property_id": 5}),
    )  # fmt: skip
    found = dlq.misfits(failures, OURS).set_index("failure_id")["because"].to_dict()
    assert found == {
        "3": "property_id is float, not int",
        "4": "missing a required argument: 'property_id'",
        "5": "too many positional arguments",
        "6": "got an unexpected keyword argument 'colour'",
        "7": "property_id is str, not int",
        "8": "property_id is bool, not int",
        "9": "multiple values for argument 'property_id'",
    }


def test_a_plan_holds_back_what_does_not_fit_unless_it_is_mended():
    failures = frame(([5], {}), ([], {}), (["x"], {}))
    made = plan(failures, reason="x", limit=9, profile=OURS)
    assert list(made.chosen["failure_id"]) == ["0", "1"]  # nothing is known of an empty payload
    [held] = made.held_back["because"]
    assert held == "its payload does not fit the task: property_id is str, not int"
    mended = failures.assign(repaired=[None, None, json.dumps({"args": [7]}).encode()])
    assert "2" in set(plan(mended, reason="x", limit=9, profile=OURS).chosen["failure_id"])


def test_tasks_without_a_signature_are_counted_not_judged():
    found = dlq.misfits(frame((["x"], {}), task="other.task"), OURS)
    assert (
        len(found) == 0 and "1 failure is of tasks without a signature" in found.attrs["notes"][0]
    )


@pytest.mark.parametrize(
    "text", ["a b", "a): import os\ndef g(", "*", "a = 1, b", "a=__import__('os').system('x'))#", "a\0"]
)  # fmt: skip
def test_a_signature_is_read_and_never_run(text):
    with pytest.raises(SettingsError, match=r"signature of some\.task cannot be read"):
        signature(text, "some.task")


def test_defaults_stars_and_odd_types_are_understood():
    assert str(signature("a, /, b, c=[], *rest, d, e=f(1), **more").replace()).count(",") == 7
    wide = Profile(signatures={"t": "a: Order, *rest, **more"})
    assert len(dlq.misfits(frame(([1, 2, 3], {"x": 1}), task="t"), wide)) == 0
    with pytest.raises(SettingsError, match="some"):
        signature("a, a", "some")


def test_large_payloads_stand_out():
    failures = frame(*(([n], {}) for n in range(20)), (["x" * 500_000], {}))
    large = failures["failure_id"] == "20"
    failures["exception_type"] = large.map({True: "WorkerLostError", False: "TimeoutError"})
    table = dlq.payload_sizes(failures)
    first = table.iloc[0]
    assert (first["exception_type"], first["failures"], first["failure_id"]) == (
        "WorkerLostError", 1, "20",
    )  # fmt: skip
    assert (table[["median", "p95"]] % 1 == 0).all(axis=None)  # nobody needs half a character
    assert first["largest"] > 500_000 and table.iloc[1]["largest"] < 20
    assert len(dlq.payload_sizes(failures.head(0))) == 0
