"""The demo shop: a real worker that really fails, records, and succeeds when the world is mended."""

import json

import pika
import psycopg
import pytest

from dlqanalysis.demo import incident, shop, world


def test_an_outage_ends_in_failed_tasks_and_the_same_tasks_succeed_after_it(redis_shop):
    world.write(redis_shop.world, mail="down")
    mails = [{"to": f"u{n}@inbox.example", "template": "offer", "property_id": n} for n in range(6)]
    ids = [redis_shop.send("api.tasks.send_email", **mail) for mail in mails]
    redis_shop.wait_for("select count(*) from failed_tasks", 6)
    rows = redis_shop.rows(
        "select task_id, task_name, queue_name, kwargs, exception_type, retries_attempted, status,"
        " traceback like '%send_email%', failed_at > now() - interval '5 minutes' from failed_tasks"
    )
    assert {row[0] for row in rows} == set(ids)
    assert {row[1:3] for row in rows} == {("api.tasks.send_email", f"{redis_shop.prefix}emails")}
    assert sorted((row[3] for row in rows), key=lambda k: k["property_id"]) == mails
    assert {row[4] for row in rows} <= {"HTTPError", "ReadTimeout", "RemoteProtocolError"}
    assert {row[5:] for row in rows} == {(2, "failed", True, True)}
    assert redis_shop.rows("select count(*) from communications") == [(0,)]
    redis_shop.wait_for("select count(*) from task_executions where status = 'retry'", 12)

    world.write(redis_shop.world, mail="up")
    for mail in mails:
        redis_shop.send("api.tasks.send_email", **mail)
    redis_shop.wait_for("select count(*) from communications", 6)
    assert redis_shop.rows("select min(idempotency_key) from communications") == [
        ("email_offer_0_u0@inbox.example",)
    ]
    assert redis_shop.rows("select count(*) from failed_tasks") == [(6,)]


def test_a_task_that_runs_twice_leaves_two_traces_with_one_key(redis_shop):
    for _ in range(2):
        redis_shop.send("api.tasks.send_digest", user_id=7, to="u7@inbox.example", day="2026-11-20")
    redis_shop.wait_for("select count(*) from communications", 2)
    assert redis_shop.rows("select distinct idempotency_key from communications") == [
        ("digest_7_2026-11-20",)
    ]


def test_data_and_code_failures_stay_until_they_are_mended(redis_shop):
    with psycopg.connect(redis_shop.database) as connection:
        connection.execute(
            "insert into properties values (1, 'kite', '1 Harbour Street', 'listed')"
        )
    world.write(redis_shop.world, pdf_release="broken")
    redis_shop.send("api.tasks.render_memo_pdf", property_id=1, template_id=2, tenant_id="kite")
    redis_shop.send("api.tasks.generate_memo", property_id=9_120_001, template_id=2)
    redis_shop.wait_for("select count(*) from failed_tasks", 2)
    assert redis_shop.rows(
        "select exception_type, exception_message from failed_tasks order by 1"
    ) == [
        ("DeletedRecord", "Property matching query does not exist: id=9120001"),
        ("KeyError", "'margins'"),
    ]


def test_hostile_text_is_recorded_where_postgres_would_refuse_it(redis_shop):
    redis_shop.send(
        "billing.tasks.charge_invoice",
        invoice_id="a\x00b",
        amount_cents=-1,
        currency="eur",
        customer="\ud800",
        idempotency_key="k",
    )
    redis_shop.wait_for("select count(*) from failed_tasks", 1)
    [(message, key)] = redis_shop.rows(
        "select exception_message, idempotency_key from failed_tasks"
    )
    assert message == "amount must be positive, got -1 for invoice a\\x00b"
    assert key == "k"


@pytest.mark.rabbitmq
def test_on_rabbitmq_the_failed_message_is_also_dead_lettered(amqp_shop):
    world.write(amqp_shop.world, mail="down")
    task_id = amqp_shop.send(
        "api.tasks.send_digest", user_id=1, to="a@inbox.example", day="2026-11-20"
    )
    amqp_shop.wait_for("select count(*) from failed_tasks", 1)
    connection = pika.BlockingConnection(pika.URLParameters(amqp_shop.broker))
    dead = connection.channel().consume(
        f"{amqp_shop.prefix}emails.dlq", auto_ack=True, inactivity_timeout=60
    )
    method, properties, body = next(dead)
    connection.close()
    assert method is not None, "nothing was dead-lettered"
    assert properties.headers["id"] == task_id
    assert properties.headers["x-death"][0]["reason"] == "rejected"
    assert json.loads(body)[1]["user_id"] == 1


def test_every_task_of_the_story_is_a_task_of_the_shop_with_these_arguments():
    for name, about in incident.script()["task"].items():
        assert shop.ROUTES[name] == about["queue"]
    for chunk in incident.chunks(1_000):
        for row in chunk.failed_tasks.select(["task_name", "kwargs"]).to_pylist():
            if row["kwargs"]:
                signature = shop.app.tasks[row["task_name"]].__header__
                signature(**json.loads(row["kwargs"]))  # raises TypeError where they do not fit
    assert set(incident.script()["task"]) == set(shop.ROUTES)
