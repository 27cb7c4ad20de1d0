"""Runbooks and traces: where to read on, from the profile, safe whatever a dead letter calls its trace."""

import dlqanalysis as dlq
from dlqanalysis.profile import Profile

LINKS = Profile(
    links={
        "trace": "https://jaeger.internal/trace/{trace_id}?x=1",
        "throttled": "https://wiki/429",
        "charge": "https://wiki/charges",
        "data": "https://wiki/bad-data",
    }
)


def judged(*rows):
    failures = dlq.from_records(
        {"source": "x", "failure_id": str(n), "task_name": task, "exception_message": text, "trace_id": trace}
        for n, (task, text, trace) in enumerate(rows)
    )  # fmt: skip
    return failures.pipe(dlq.classify).pipe(dlq.fingerprint)


def test_the_nearest_runbook_of_a_verdict_is_named():
    failures = judged(
        ("shop.charge", "Request failed with status code 429", "t1"),
        ("shop.charge", "timed out", "t2"),
        ("shop.mail", "Schema validation failed: $.shop is required", None),
        ("shop.mail", "timed out", ""),
    )
    found = dlq.linked(failures, LINKS)
    assert found["runbook"].fillna("").tolist() == [
        "https://wiki/429", "https://wiki/charges", "https://wiki/bad-data", ""
    ]  # fmt: skip
    groups = dlq.linked(dlq.groups(failures), LINKS).set_index("rule")
    assert groups.loc["throttled", "runbook"] == "https://wiki/429"
    assert "runbook" not in failures.columns, "the frame that was given stays as it is"


def test_a_trace_id_is_text_whatever_it_holds():
    hostile = 'a"><script>/../{trace_id}?&#\ud800'
    found = dlq.linked(judged(("a", "x", "abc123"), ("a", "x", hostile), ("a", "x", None)), LINKS)
    plain, odd, none = found["trace_link"]
    assert plain == "https://jaeger.internal/trace/abc123?x=1" and none != none
    inner = odd.removeprefix("https://jaeger.internal/trace/").removesuffix("?x=1")
    assert not set(inner) & set('"<>/?&#{} ')


def test_without_links_it_says_so():
    found = dlq.linked(judged(("a", "x", "t")), Profile())
    assert "runbook" not in found and "[links]" in found.attrs["notes"][-1]
