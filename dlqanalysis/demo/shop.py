"""The demo shop: a real Celery application on Redis or RabbitMQ, whose final failures go to failed_tasks.

celery -A dlqanalysis.demo.shop worker, with these variables:

| variable | means |
|---|---|
| SHOP_BROKER_URL | redis:// or amqp:// |
| SHOP_DATABASE_URL | PostgreSQL with the tables of shop.sql |
| SHOP_RESULTS_URL | Celery's result backend; optional |
| SHOP_MAIL_URL | the mail provider (provider.py); mails are only noted when it is not set |
| SHOP_WORLD | the world file (world.py) |
| SHOP_QUEUE_PREFIX | goes before each queue's name, so that tests do not meet |
"""

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import psycopg
from celery import Celery, Task
from kombu import Connection, Exchange, Queue

from dlqanalysis.demo import world

#: task -> its queue; also the demo's routes
ROUTES = {
    "api.tasks.generate_memo": "memos",
    "api.tasks.render_memo_pdf": "memos",
    "api.tasks.send_email": "emails",
    "api.tasks.send_digest": "emails",
    "api.tasks.enrich_property": "enrichment",
    "api.tasks.geocode_address": "enrichment",
    "billing.tasks.charge_invoice": "payments",
    "billing.tasks.refund_payment": "payments",
    "hooks.tasks.deliver_webhook": "webhooks",
    "hooks.tasks.verify_endpoint": "webhooks",
    "exports.tasks.build_report": "exports",
    "exports.tasks.upload_report": "exports",
}
QUEUES = tuple(dict.fromkeys(ROUTES.values()))
EXCHANGE = "shop"
DEAD_LETTERS = (
    "dlx"  # on RabbitMQ: rejected messages go from QUEUE through this exchange to QUEUE.dlq
)

app = Celery("shop")
_thread = threading.local()


def configure(broker: str, results: str | None = None, prefix: str = "") -> Celery:
    """The application, bound to a broker. Called by the import when SHOP_BROKER_URL is set."""
    amqp = broker.startswith("amqp")
    app.conf.update(
        broker_url=broker,
        result_backend=results,
        result_extended=True,
        task_queues=[_queue(f"{prefix}{name}", amqp, prefix) for name in QUEUES],
        task_default_queue=f"{prefix}{QUEUES[0]}",
        task_default_exchange=f"{prefix}{EXCHANGE}",
        task_default_routing_key=f"{prefix}{QUEUES[0]}",
        task_routes={task: {"queue": f"{prefix}{queue}"} for task, queue in ROUTES.items()},
        task_acks_late=True,
        # RabbitMQ dead-letters what is rejected; Redis has no dead letters, there a rejection is a loss.
        task_acks_on_failure_or_timeout=not amqp,
        worker_prefetch_multiplier=4,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        accept_content=["json"],
    )
    return app


def _queue(name: str, amqp: bool, prefix: str) -> Queue:
    arguments = {
        "x-dead-letter-exchange": f"{prefix}{DEAD_LETTERS}",
        "x-dead-letter-routing-key": f"{name}.dlq",
    }
    exchange = Exchange(f"{prefix}{EXCHANGE}", type="direct")
    return Queue(name, exchange, routing_key=name, queue_arguments=arguments if amqp else None)


def declare_dead_letters(broker: str, prefix: str = "") -> None:
    """On RabbitMQ: the dead-letter exchange and one QUEUE.dlq a queue."""
    exchange = Exchange(f"{prefix}{DEAD_LETTERS}", type="direct")
    with Connection(broker) as connection:
        for name in QUEUES:
            dead = f"{prefix}{name}.dlq"
            Queue(dead, exchange, routing_key=dead)(connection.default_channel).declare()


def submit(
    broker: str, calls: Iterable[tuple[str, Mapping[str, Any]]], prefix: str = ""
) -> list[str]:
    """Enqueue tasks (name, arguments) as a producer of the shop would; gives their ids."""
    producer = Celery("producer", broker=broker, set_as_current=False)
    queues = {name: f"{prefix}{queue}" for name, queue in ROUTES.items()}
    with producer.connection_for_write() as connection:
        return [
            producer.send_task(
                name,
                kwargs=kwargs,
                connection=connection,
                # declared by the worker, with the arguments that only it knows
                queue=Queue(queues[name], Exchange(""), routing_key=queues[name], no_declare=True),
            ).id
            for name, kwargs in calls
        ]


def database() -> psycopg.Connection:
    """This thread's connection; a new one when the last was lost."""
    connection = getattr(_thread, "connection", None)
    if connection is None or connection.closed:
        connection = psycopg.connect(os.environ["SHOP_DATABASE_URL"], autocommit=True)
        _thread.connection = connection
    return connection


def _text(value: object) -> str:
    """Text that PostgreSQL takes: it refuses NUL and lone surrogates, and the failure would go unrecorded."""
    return str(value).replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def _json(value: object) -> str:
    return json.dumps(_clean(value), default=repr)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(name): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    return _text(value) if isinstance(value, str) else value


class DLQTask(Task):
    """Writes each run to task_executions, and a task that failed for good to failed_tasks."""

    max_retries = 2

    def before_start(self, task_id: str, args: tuple, kwargs: dict) -> None:
        self.request.shop_began = time.monotonic()  # kept a run: threads share this task

    def on_failure(
        self, exc: Exception, task_id: str, args: tuple, kwargs: dict, einfo: Any
    ) -> None:
        request, delivery = self.request, self.request.delivery_info or {}
        database().execute(
            "insert into failed_tasks (task_id, task_name, queue_name, args, kwargs, exception_type,"
            " exception_message, traceback, retries_attempted, max_retries, worker, idempotency_key)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                task_id,
                self.name,
                delivery.get("routing_key") or "?",
                _json(list(args)),
                _json(dict(kwargs)),
                type(exc).__name__,
                _text(exc),
                _text(einfo),
                request.retries,
                self.max_retries,
                request.hostname,
                kwargs.get("idempotency_key"),
            ),
        )

    def on_retry(self, exc: Exception, task_id: str, args: tuple, kwargs: dict, einfo: Any) -> None:
        self._note_execution("retry")

    def after_return(  # not called for retries
        self, status: str, retval: Any, task_id: str, args: tuple, kwargs: dict, einfo: Any
    ) -> None:
        self._note_execution("success" if status == "SUCCESS" else "failed")

    def _note_execution(self, status: str) -> None:
        request = self.request
        began = getattr(request, "shop_began", None) or time.monotonic()
        database().execute(
            "insert into task_executions (task_id, task_name, queue_name, status, runtime_ms, worker)"
            " values (%s, %s, %s, %s, %s, %s)",
            (
                request.id,
                self.name,
                (request.delivery_info or {}).get("routing_key"),
                status,
                int((time.monotonic() - began) * 1000),
                request.hostname,
            ),
        )


class DeletedRecord(LookupError):
    """A record that a task was made for is not there any more."""


def note(task: Task, channel: str, key: str, **about: Any) -> str:
    """Leave a trace of what was done. Nothing stops a second one: that is what duplicates are made of."""
    database().execute(
        "insert into communications (property_id, template_id, channel, recipient, idempotency_key, task_id)"
        " values (%s, %s, %s, %s, %s, %s)",
        (
            about.get("property_id"),
            about.get("template_id"),
            channel,
            about.get("recipient"),
            key,
            task.request.id,
        ),
    )
    return key


def require_property(property_id: int) -> tuple[str, str]:
    """A property's tenant and address, or DeletedRecord."""
    row = (
        database()
        .execute("select tenant, address from properties where id = %s", (property_id,))
        .fetchone()
    )
    if row is None:
        raise DeletedRecord(f"Property matching query does not exist: id={property_id}")
    return row


def mail(to: str, template: str) -> None:
    """Hand a mail to the provider; raises what the provider's outage raises."""
    if url := os.environ.get("SHOP_MAIL_URL"):
        message = {"to": to, "template": template}
        if not hasattr(_thread, "client"):  # making one loads certificates: 30 ms
            _thread.client = httpx.Client(timeout=0.5, trust_env=False)
        _thread.client.post(f"{url}/v3/mail/send", json=message).raise_for_status()


def mail_or_retry(task: Task, to: str, template: str) -> None:
    """Hand a mail over; when that fails, try again soon, at most max_retries times."""
    try:
        mail(to, template)
    except httpx.HTTPError as error:
        raise task.retry(exc=error, countdown=0.05 * 2**task.request.retries) from error


def task(name: str) -> Any:
    """A task of the shop under this name."""
    return app.task(bind=True, base=DLQTask, name=name)


@task("api.tasks.generate_memo")
def generate_memo(
    self: Task, property_id: int, template_id: int, tenant_id: str = "", batch: str = ""
) -> str:
    """Write a memo about a property."""
    require_property(property_id)
    key = f"memo_{property_id}_{template_id}"
    return note(self, "memo", key, property_id=property_id, template_id=template_id)


@task("api.tasks.render_memo_pdf")
def render_memo_pdf(self: Task, property_id: int, template_id: int, tenant_id: str = "") -> str:
    """Lay a memo out for printing; release 2026.11.3 breaks it."""
    _, address = require_property(property_id)
    layout = {"address": address, "template": template_id}
    if world.read()["pdf_release"] == "broken":
        layout["margins"]  # release 2026.11.3 forgot them
    key = f"pdf_{property_id}_{template_id}"
    return note(self, "pdf", key, property_id=property_id, template_id=template_id)


@task("api.tasks.send_email")
def send_email(self: Task, to: str, template: str, property_id: int) -> str:
    """Send one mail; a mail that goes twice arrives twice."""
    mail_or_retry(self, to, template)
    key = f"email_{template}_{property_id}_{to}"
    return note(self, "email", key, property_id=property_id, recipient=to)


@task("api.tasks.send_digest")
def send_digest(self: Task, user_id: int, to: str, day: str) -> str:
    """Send a user's digest of a day."""
    mail_or_retry(self, to, "digest")
    return note(self, "digest", f"digest_{user_id}_{day}", recipient=to)


@task("api.tasks.enrich_property")
def enrich_property(
    self: Task, property_id: int, provider: str = "parcels", tenant_id: str = "", batch: str = ""
) -> str:
    """Add what a provider knows about a property."""
    require_property(property_id)
    return note(self, "enrichment", f"enrich_{property_id}_{provider}", property_id=property_id)


@task("api.tasks.geocode_address")
def geocode_address(self: Task, property_id: int, address: str) -> str:
    """Find where a property lies."""
    require_property(property_id)
    return note(self, "geocode", f"geocode_{property_id}", property_id=property_id)


@task("billing.tasks.charge_invoice")
def charge_invoice(
    self: Task,
    invoice_id: int,
    amount_cents: int,
    currency: str,
    customer: str,
    idempotency_key: str,
) -> str:
    """Charge an invoice; a charge that runs twice charges twice."""
    if amount_cents <= 0:
        raise ValueError(f"amount must be positive, got {amount_cents} for invoice {invoice_id}")
    return note(self, "charge", idempotency_key, recipient=customer)


@task("billing.tasks.refund_payment")
def refund_payment(self: Task, payment_id: str, amount_cents: int, reason: str) -> str:
    """Give a payment back."""
    return note(self, "refund", f"refund_{payment_id}")


@task("hooks.tasks.deliver_webhook")
def deliver_webhook(self: Task, endpoint_id: int, url: str, event: str, payload: dict) -> str:
    """Tell a customer's endpoint about an event."""
    return note(self, "webhook", f"hook_{endpoint_id}_{event}_{payload.get('id')}", recipient=url)


@task("hooks.tasks.verify_endpoint")
def verify_endpoint(self: Task, endpoint_id: int, url: str) -> str:
    """See whether a customer's endpoint answers."""
    return note(self, "verification", f"verify_{endpoint_id}", recipient=url)


@task("exports.tasks.build_report")
def build_report(self: Task, tenant_id: str, report: str, month: str) -> str:
    """Build a tenant's monthly report."""
    return note(self, "report", f"report_{tenant_id}_{report}_{month}", recipient=tenant_id)


@task("exports.tasks.upload_report")
def upload_report(self: Task, tenant_id: str, report: str, month: str, bucket: str) -> str:
    """Put a report into a bucket."""
    return note(self, "upload", f"upload_{tenant_id}_{report}_{month}", recipient=bucket)


if "SHOP_BROKER_URL" in os.environ:
    configure(
        os.environ["SHOP_BROKER_URL"],
        os.environ.get("SHOP_RESULTS_URL"),
        os.environ.get("SHOP_QUEUE_PREFIX", ""),
    )
