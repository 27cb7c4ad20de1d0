"""Is the broker ready for these items: dead-letter queues, targets, consumers, alarms, delivery limits."""

from collections.abc import Iterable, Iterator

from dlqanalysis.errors import ConnectError
from dlqanalysis.model import Finding
from dlqanalysis.sources.rabbitmq.queues import Queues


def findings(queues: Queues, dlqs: Iterable[str], targets: Iterable[str]) -> list[Finding]:
    """What somebody should see before anything moves; what blocks comes with the next step."""
    found: list[Finding] = []
    try:
        for queue in sorted(dlqs):
            found += _dlq(queues, queue)
        for queue in sorted(targets):
            found.append(_target(queues, queue))
        if queues.management:
            found += [
                Finding(
                    name="alarm",
                    severity="critical",
                    blocks=True,
                    text=f"{alarm}: RabbitMQ takes no messages. Free some, then try again.",
                )
                for alarm in queues.management.alarms()
            ]
    except ConnectError as error:
        found.append(Finding(name="rabbitmq", severity="critical", text=str(error), blocks=True))
    return found


def _dlq(queues: Queues, queue: str) -> Iterator[Finding]:
    name = f"queue {queue}"
    depth = queues.link.depth(queue)
    if queue not in queues.address.queues or depth is None:
        text = f"'{queue}' is no dead-letter queue of this address. Load and plan again."
        yield Finding(name=name, severity="critical", text=text, blocks=True)
        return
    if not queues.link.lock(queue):
        text = f"Another run, or a load, is at '{queue}' just now. Wait until it has ended."
        yield Finding(name=name, severity="critical", text=text, blocks=True)
        return
    facts = queues.facts(queue)
    told = {"waiting": depth[0], "consumers": depth[1], "kind": facts.kind or "not known"}
    if depth[1]:
        text = f"{depth[1]} consumers take messages from '{queue}': what they hold cannot be sent."
        yield Finding(name=name, severity="warning", text=text, facts=told)
    else:
        yield Finding(
            name=name, severity="ok", text=f"'{queue}' has {depth[0]:,} waiting.", facts=told
        )
    if facts.limit.value is not None:
        text = (
            f"'{queue}' drops what is given back more than {facts.limit.value} times. Messages that a run holds"
            " and does not send are given back; those at the limit go to its end anew."
        )
        yield Finding(name=f"delivery limit {queue}", severity="warning", text=text)


def _target(queues: Queues, queue: str) -> Finding:
    """A target that does not exist would lose what is sent to it; its items are refused one by one."""
    name = f"queue {queue or '(not known)'}"
    if not queue:
        text = "Some items do not say which queue they died in. Name their tasks under [routes] in the profile."
        return Finding(name=name, severity="warning", text=text)
    depth = queues.link.depth(queue)
    if depth is None:
        text = f"There is no queue '{queue}' in vhost '{queues.address.vhost}'. Start its workers, or name another under [routes]."
        return Finding(name=name, severity="critical", text=text, blocks=True)
    if why := queues.full(queue, depth[0], 0):
        return Finding(name=name, severity="critical", text=f"{why}.", blocks=True)
    facts = {"waiting": depth[0], "consumers": depth[1]}
    text = f"Queue {queue} has {depth[0]:,} waiting and {depth[1]} consumers."
    return Finding(name=name, severity="ok" if depth[1] else "warning", text=text, facts=facts)
