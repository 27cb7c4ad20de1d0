"""What can be seen to be wrong with a Redis or Valkey that holds queues: does it take what a hand writes, and does it
keep what it holds. One finding each."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dlqanalysis.model import Finding

if TYPE_CHECKING:
    import redis

_FULL, _FILLING = 0.9, 0.75  # of maxmemory
_SAVING = ("rdb_last_bgsave_status", "aof_last_write_status")


def takes(client: "redis.Redis", place: object) -> Iterator[Finding]:
    """What keeps a hand from writing: no scripts for this user, or a replica. Each of them blocks."""
    import redis

    try:
        client.execute_command("EVAL", "return 1", 0)
    except redis.ResponseError as error:
        text = f"Redis at {place} runs no scripts for this user ({error}): grant it EVAL."
        yield Finding(name="scripts", severity="critical", text=text, blocks=True)
    try:
        role = str(client.info("replication").get("role", "master"))
    except redis.ResponseError:
        return  # a user need not have INFO; a replica then refuses the first write
    if role != "master":
        text = f"Redis at {place} is a replica, which takes no writes. Give the hand the primary."
        yield Finding(name="role", severity="critical", text=text, blocks=True)


def keeps(client: "redis.Redis", place: object) -> Iterator[Finding]:
    """How full its memory is, whether it deletes keys when that is full, and whether it could save to its disk.

    Policies: https://redis.io/docs/latest/develop/reference/eviction/
    """
    import redis

    try:
        told: dict[str, Any] = client.info("memory") | client.info("persistence")
    except redis.ResponseError:
        text = f"Redis at {place} tells this user nothing of its memory: grant INFO to see it."
        yield Finding(name="memory", severity="warning", text=text)
        return
    most, used = int(told.get("maxmemory", 0)), int(told.get("used_memory", 0))
    policy = str(told.get("maxmemory_policy", "noeviction"))
    facts = {"used_memory": used, "maxmemory": most, "maxmemory_policy": policy}
    if policy != "noeviction":
        which = "any key, whole queues among them" if policy.startswith("allkeys") else "keys that expire"  # fmt: skip
        text = (
            f"Redis at {place} has maxmemory-policy {policy}: when its memory is full it deletes {which}, without a"
            " word. Queues need noeviction."
        )
        worst = most and policy.startswith("allkeys")
        severity = "critical" if worst else "warning"
        yield Finding(name="eviction", severity=severity, text=text, facts=facts)
    share = used / most if most else 0.0
    text = f"Redis at {place} uses {used / 2**20:,.0f} MB"
    text += f" of {most / 2**20:,.0f} MB ({share:.0%})." if most else "; it has no limit."
    if share >= _FILLING:
        text += (
            " What comes when it is full is refused, or something else is deleted. Make room first."
        )
    severity = "critical" if share >= _FULL else "warning" if share >= _FILLING else "ok"
    yield Finding(name="memory", severity=severity, text=text, facts=facts)
    for name in _SAVING:
        if str(told.get(name, "ok")) != "ok":
            text = f"Redis at {place} could not save ({name}): a restart would lose what is not on disk. Look at its log."
            yield Finding(name="saving", severity="critical", text=text, facts={"status": name})
