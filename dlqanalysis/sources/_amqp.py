"""How an AMQP URL is read: Celery's habit for the vhost, pika's parameters. Shared by what talks to RabbitMQ."""

import ssl
from typing import Any
from urllib.parse import unquote, urlsplit


def parameters(url: str, heartbeat: int = 60) -> Any:
    """pika's ConnectionParameters; amqp://host// and amqp://host/ both mean the vhost "/"."""
    import pika

    parts = urlsplit(url)
    secure: dict[str, Any] = {}
    if parts.scheme == "amqps":
        secure = {"ssl_options": pika.SSLOptions(ssl.create_default_context(), parts.hostname)}
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


def vhost(url: str) -> str:
    """The vhost that a URL names."""
    return unquote(urlsplit(url).path[1:]) or "/"


def place(url: str) -> str:
    """Scheme, host and port: what may be shown of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(":")
