"""Whether the names in a profile are names of anything: a misspelt grade protects nothing, and nobody notices."""

import difflib
from collections.abc import Collection, Iterator, Mapping

from dlqanalysis.errors import did_you_mean
from dlqanalysis.model import Selection
from dlqanalysis.profile import Profile
from dlqanalysis.queries import known
from dlqanalysis.sources import capabilities, connect

_LOOK = 1_000  #: failures of each system, the newest; a task that is not among them may still fail one day


def unknown_queries(profile: Profile) -> Iterator[str]:
    """A sentence for each query that [effects] names and nobody has written."""
    names = known()
    for task, query in profile.effects.items():
        if query not in names:
            yield (
                f"[effects] names the query '{query}' for {task}, and there is none: nobody would be asked whether its"
                f" work is done. {did_you_mean(query, names)}"
            )


def misspelt_tasks(profile: Profile, tasks: Collection[str]) -> Iterator[str]:
    """A sentence for each task of the profile that no failure has, while one has nearly that name."""
    if not tasks:
        return
    there = {name for task in tasks for name in (task, task.rpartition(".")[2])}
    parts: Mapping[str, Collection[str]] = {
        "safety": profile.safety,
        "keys": profile.keys,
        "effects": profile.effects,
    }
    for part, names in parts.items():
        for name in names:
            if name == "*" or name in there:
                continue
            if close := difflib.get_close_matches(name, sorted(there), n=1, cutoff=0.8):
                yield (
                    f"[{part}] names the task '{name}', which no failure has. Did you mean '{close[0]}'?"
                    f" It is treated as if [{part}] did not name it."
                )


def tasks_of(name: str) -> set[str]:
    """The tasks of the newest failures of a system, whatever their status; none where a look would move messages."""
    can = capabilities(name).set_index("capability")["can"]
    source = connect(name) if can.get("read") else None
    if source is None or type(source).__module__.startswith("dlqanalysis.sources.rabbitmq"):
        return set()
    table = source.read(Selection(status=(), limit=_LOOK), ()).table
    return {str(task) for task in table["task_name"].unique().to_pylist() if task}
