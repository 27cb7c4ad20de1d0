"""Alert rules for Prometheus out of a profile's thresholds: text only, to be kept in a repository and reloaded.

The thresholds are health's, the expressions those that `metrics()` asks by name, so that an alert and a look at
the number agree. What a metric cannot tell (the oldest failure, unreadable payloads, what expires) has no rule.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

from dlqanalysis.errors import QueryError, did_you_mean
from dlqanalysis.health import limits_of
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile
from dlqanalysis.sources.prometheus.queries import DEFAULT, Query, named

#: threshold -> why it has no rule
WITHOUT = {
    "oldest": "no metric tells the age of the oldest failure",
    "unreadable": "no metric tells which payloads can be read",
    "expires_within": "no metric tells what a source will forget",
    "always_fails": "no metric tells executions by task",
    "failed": "depth is the same number where a Prometheus tells it",
    "stopped": "no metric tells whether work stands still: processed_per_minute comes closest",
    "workers_down": "no metric tells how many workers there are",
}
#: threshold -> the words of an alert on it, its sign, severity and how long it must hold
_BOUNDS = {
    "failure_rate": (">", "warning", timedelta(minutes=5)),
    "p95_latency": (">", "warning", timedelta(minutes=5)),
    "waiting": (">", "warning", timedelta(minutes=5)),
    "processed_per_minute": ("<", "critical", timedelta(minutes=10)),
}


def alert_rules(
    profile: Profile | None = None,
    metrics: str = DEFAULT,
    own: Mapping[str, str] | None = None,
    above: Mapping[str, float] | None = None,
    below: Mapping[str, float] | None = None,
) -> str:
    """A rule file for Prometheus, YAML text. `metrics` names the set of queries, `own` puts PromQL of one's own in
    the place of some. `above` and `below` are further bounds, or others than the profile's: named query -> number in
    its unit, such as above={"retry_success_rate": 0.9, "p95_latency": 10}, below={"processed_per_minute": 600}.
    """
    profile = profile or current_profile()
    limits, queries = limits_of(profile), named(metrics, own)
    span = limits["depth_for"] or timedelta(0)
    rules: list[str] = []
    for name, severity, query, limit, held, says in (
        ("DeadLettersWait", "warning", "depth", limits["depth"], span, "dead letters wait"),
        ("ManyDeadLetters", "critical", "depth", limits["depth_critical"], span, "dead letters wait"),
        ("DeadLettersGrow", "critical", "growth_per_minute", limits["growth_per_minute"], None,
         "new dead letters a minute"),
        ("FailuresThisHour", "warning", "failures_per_hour", limits["per_hour"], None,
         "failures in the last hour"),
    ):  # fmt: skip
        if limit is not None and query in queries:
            text = f"{{{{ $value | humanize }}}} {says}, more than {limit:,}."
            expr = f"sum({queries[query].promql}) > {limit}"
            rules += _rule(name, expr, held, severity, text, profile)
    # the profile's thresholds are of everything, not of each queue: counts are added up, as a check does
    given = {**(above or {}), **(below or {})}
    for name, (sign, severity, held) in _BOUNDS.items():
        if limits[name] and name in queries and name not in given:
            asked = queries[name]
            if asked.unit == "1":
                asked = replace(asked, promql=f"sum({asked.promql})")
            rules += _bound(name, limits[name], sign, severity, held, asked, profile)
    for bounds, sign, severity, held in (
        (above, ">", "warning", timedelta(minutes=5)),
        (below, "<", "critical", timedelta(minutes=10)),
    ):
        for query, limit in (bounds or {}).items():
            if query not in queries:
                raise QueryError(
                    f"There is no query '{query}' in '{metrics}'. {did_you_mean(query, queries)}"
                )
            rules += _bound(query, limit, sign, severity, held, queries[query], profile)
    if "depth" in queries:
        text = "Nothing tells the depth: silence is no sign that nothing waits."
        expr = f"absent({queries['depth'].promql})"
        rules += _rule("DeadLettersUnknown", expr, timedelta(minutes=10), "warning", text, profile)
    head = ["groups:", f"  - name: {_quoted(f'dead letters of {profile.name}')}"]
    head += [f"    # {name}: {why}" for name, why in WITHOUT.items() if limits[name] is not None]
    return "\n".join([*head, "    rules:" if rules else "    rules: []", *rules]) + "\n"


def _bound(
    query: str,
    limit: float,
    sign: str,
    severity: str,
    held: timedelta,
    asked: Query,
    profile: Profile,
) -> Iterator[str]:
    word = {">": "High", "<": "Low"}[sign]
    name = word + "".join(part.capitalize() for part in query.split("_"))
    unit = "" if asked.unit == "1" else f" ({asked.unit})"
    text = f"{query} is {{{{ $value | humanize }}}}{unit}; {sign} {limit:g} is {severity}."
    return _rule(name, f"({asked.promql}) {sign} {limit!r}", held, severity, text, profile)


def _rule(
    name: str, expr: str, held: timedelta | None, severity: str, text: str, profile: Profile
) -> Iterator[str]:
    yield f"      - alert: {name}"
    yield f"        expr: {_quoted(expr)}"
    if held:
        yield f"        for: {_quoted(f'{int(held.total_seconds())}s')}"
    yield "        labels:"
    yield f"          severity: {severity}"
    yield "        annotations:"
    yield f"          summary: {_quoted(text)}"
    yield f"          system: {_quoted(_no_template(profile.name))}"


def _no_template(text: str) -> str:
    """A text in which Prometheus's templates find nothing to fill in."""
    return text.replace("{{", '{{ "{{" }}')


def _quoted(text: str) -> str:
    """A YAML scalar in double quotes; whatever is not plain ASCII is escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if " " <= letter <= "~":
        return letter
    code = ord(letter)
    if 0xD800 <= code <= 0xDFFF:  # half of a character is none
        code = 0xFFFD
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
