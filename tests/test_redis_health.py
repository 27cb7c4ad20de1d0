"""What every system on Redis says of the server under it."""

import pytest
import redis

from dlqanalysis.demo import servers
from dlqanalysis.sources import connect_hand, connect_monitor

SYSTEMS = [("bullmq+", ""), ("list+", "?keys=dlq:a&main=a"), ("priority+", ""), ("celery+", "")]


def _said(url: str) -> list[dict[str, str]]:
    """Name -> severity, from the monitor and, where there is one, from the hand before a replay."""
    watching = connect_monitor(url)
    said = [{f.name: f.severity for f in watching.health()}]
    watching.close()
    if not url.startswith("celery+"):  # a broker has no dead letters to send back
        with connect_hand(url) as hand:
            said.append({f.name: f.severity for f in hand.preflight([])})
    return said


def test_every_system_on_redis_tells_of_a_server_that_evicts_or_is_full():
    with servers.valkey() as url, redis.Redis.from_url(url) as client:
        urls = [f"{scheme}{url}{more}" for scheme, more in SYSTEMS]
        for said in (one for place in urls for one in _said(place)):
            assert "eviction" not in said and said["memory"] == "ok"
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", 2**40)
        for said in (one for place in urls for one in _said(place)):
            assert said["eviction"] == "critical" and said["memory"] == "ok"
        client.config_set("maxmemory-policy", "volatile-ttl")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.2))
        for said in (one for place in urls for one in _said(place)):
            assert said["eviction"] == "warning" and said["memory"] in ("warning", "critical")


@pytest.mark.parametrize(("scheme", "more"), SYSTEMS[:3])
def test_a_replica_or_a_user_without_scripts_blocks_a_replay(scheme, more):
    with servers.valkey() as url, servers.valkey() as other, redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-eval", "-@scripting")  # fmt: skip
        at = url.rpartition("@")[2]
        with connect_hand(f"{scheme}redis://reader:word@{at}{more}") as hand:
            assert {f.name for f in hand.preflight([]) if f.blocks} == {"scripts"}
        with redis.Redis.from_url(other) as first:
            here = first.connection_pool.connection_kwargs
            client.config_set("masterauth", here["password"])
            client.replicaof("127.0.0.1", here["port"])
            with connect_hand(f"{scheme}{url}{more}") as hand:
                assert "role" in {f.name for f in hand.preflight([]) if f.blocks}
