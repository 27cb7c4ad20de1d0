"""How an AMQP URL is read: Celery's habit for the vhost, pika's parameters. Shared by what talks to RabbitMQ."""

import ssl
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dlqanalysis.errors import SettingsError

#: Celery's queues for countdowns on quorum queues, one a level: tasks pass from one to the next as dead letters,
#: until it is their time. Nobody takes from them, and nothing in them has failed.
DELAYING = "celery_delayed_"


def parameters(url: str, heartbeat: int = 60, ca: str | None = None) -> Any:
    """pika's ConnectionParameters; amqp://host// and amqp://host/ both mean the vhost "/".

    For amqps the broker is checked against `ca`, else the URL's ?ca=, else the usual authorities.
    """
    import pika

    parts = urlsplit(url)
    secure: dict[str, Any] = {}
    if parts.scheme == "amqps":
        asked = parse_qs(parts.query)
        ca = ca or (asked.get("ca") or asked.get("ssl_ca_certs") or [None])[0]
        secure = {"ssl_options": pika.SSLOptions(trust(ca), parts.hostname)}
    return pika.ConnectionParameters(
        host=parts.hostname or "localhost",
        port=parts.port or (5671 if parts.scheme == "amqps" else 5672),
        virtual_host=vhost(url),
        credentials=pika.PlainCredentials(
            unquote(parts.username or "guest"), unquote(parts.password or "guest")
        ),
        heartbeat=heartbeat,
        blocked_connection_timeout=30,
        socket_timeout=10,
        **secure,
    )


def trust(ca: str | None) -> ssl.SSLContext:
    """Whom to believe: an authority's file, else SSL_CERT_FILE or the system's authorities."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise SettingsError(
            f"The certificate authority at {ca} cannot be read ({error.strerror or error})."
            " Give ?ca= the path of a PEM file."
        ) from None


def connect(parameters: Any, *more: Any) -> Any:
    """pika's BlockingConnection; what it raises where a server is silent is an AMQPConnectionError, too."""
    import pika
    from pika.adapters.utils.connection_workflow import AMQPConnectorException

    try:
        return pika.BlockingConnection(parameters, *more)
    except AMQPConnectorException as error:
        silent = "nothing was said within 15 s" if "Timeout" in type(error).__name__ else str(error)
        raise pika.exceptions.AMQPConnectionError(silent) from None


def vhost(url: str) -> str:
    """The vhost that a URL names."""
    return unquote(urlsplit(url).path[1:]) or "/"
