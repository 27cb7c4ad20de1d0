"""One failure in two systems: a real worker writes the row of failed_tasks and rejects the message to its dead-letter
queue. These are the facts that let both be told as one."""

import json

import pytest

import dlqanalysis as dlq
from dlqanalysis.demo import world
from dlqanalysis.sources.celery import open_source as open_table
from dlqanalysis.sources.rabbitmq import open_source as open_queue

pytestmark = pytest.mark.rabbitmq


def test_a_row_and_its_dead_letter_share_the_task_id_and_say_the_same(amqp_shop):
    world.write(amqp_shop.world, mail="down")
    sent = [
        amqp_shop.send(
            "api.tasks.send_digest", user_id=n, to=f"ü{n}@inbox.example", day="2026-11-20"
        )
        for n in range(3)
    ]
    amqp_shop.wait_for("select count(*) from failed_tasks", 3)
    queue = f"{amqp_shop.prefix}emails"
    rows = dlq.load(open_table(amqp_shop.database), since="1h").set_index("task_id")
    letters = open_queue(f"{amqp_shop.broker}?queue={queue}.dlq")
    dead = dlq.load(letters, since="1h")
    while len(dead) < 3:  # the broker moves a message after the row is written
        letters.reread()
        dead = dlq.load(letters, since="1h")
    dead = dead.set_index("task_id")
    assert set(rows.index) == set(dead.index) == set(sent)
    both = rows.add_suffix("_row").join(dead.add_suffix("_dead"))
    apart = (both["failed_at_dead"] - both["failed_at_row"]).dt.total_seconds()
    assert apart.between(
        -1, 10
    ).all()  # AMQP keeps whole seconds, cut off: a dead letter may look older
    for name in ("task_name", "queue", "retries", "args", "payload_state"):
        assert (both[f"{name}_row"].astype("str") == both[f"{name}_dead"].astype("str")).all(), name
    for text, other in zip(both["kwargs_row"], both["kwargs_dead"], strict=True):
        assert json.loads(text) == json.loads(other)
        assert text != other  # jsonb sorts keys and writes ü: content hashes are never equal
    assert (
        both["exception_message_dead"] == "dead-lettered: its consumer gave it up"
    ).all()  # only the row says why
    assert both["exception_type_dead"].isna().all() and both["exception_type_row"].notna().all()
    assert not set(both["failure_id_row"]) & set(both["failure_id_dead"])
