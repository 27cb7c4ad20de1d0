"""Asks Celery's workers by broadcast: what they are, hold and know. Silence is no proof of absence.

Who is there is learned by one `ping` that waits out the timeout; everything else is asked of those by name
and is over as soon as they have answered. Asking puts a control message on the broker and a reply queue
that is gone afterwards; no task is touched.
"""

import ssl
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dlqanalysis.errors import ConnectError, SettingsError
from dlqanalysis.sources.celery_broker.address import Address

#: command -> what each worker answers
Answers = dict[str, dict[str, Any]]


class Workers:
    """The workers behind one broker."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def ask(self, *commands: str) -> Answers:
        """Each command's answers: worker -> what it said. Without any worker they are all empty.

        A worker that answers one command and not another is missing there.
        """
        found: Answers = {command: {} for command in commands}
        with self._connected() as (app, connection):
            there = self._ping(app, connection)
            for command in commands if there else ():
                inspect = app.control.inspect(
                    there, self.address.timeout, connection=connection, limit=len(there)
                )
                told = getattr(inspect, command)() or {}
                found[command] = {str(worker): said for worker, said in told.items()}
        return found

    def revoke(self, task_ids: Sequence[str]) -> None:
        """Tell every worker to drop these tasks, and give them time to say so. Never terminates a task."""
        with self._connected() as (app, connection):
            app.control.revoke(
                list(task_ids),
                connection=connection,
                reply=True,
                timeout=self.address.timeout,
                limit=len(self._ping(app, connection)) or None,
            )

    @contextmanager
    def _connected(self) -> Iterator[tuple[Any, Any]]:
        """An application and its only connection; what goes wrong with them becomes a sentence."""
        app = self._app()
        try:
            with warnings.catch_warnings(), app.connection_for_write() as connection:
                warnings.simplefilter("ignore")  # two workers of one name: they are one here
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
                yield app, connection
        except Exception as error:
            # each transport has errors of its own, and they may hold the URL
            if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in (
                "kombu", "redis", "amqp", "vine",
            ):  # fmt: skip
                raise
            raise ConnectError(
                f"The broker at {self.address.place} does not answer ({type(error).__name__}). Check the broker"
                " URL, its user and password, and that it can be reached from here."
            ) from None

    def _ping(self, app: Any, connection: Any) -> list[str]:
        told = app.control.inspect(timeout=self.address.timeout, connection=connection).ping()
        return [str(worker) for worker in told or ()]

    def _app(self) -> Any:
        """An application without tasks: it only speaks to workers."""
        try:
            from celery import Celery
        except ImportError:
            raise SettingsError(
                "Celery is not installed here, and only it can ask workers. Install it: pip install celery."
            ) from None
        address = self.address
        app = Celery("dlqanalysis", broker=address.broker, set_as_current=False)
        app.conf.update(
            broker_connection_timeout=5,
            broker_transport_options={
                # While it waits, kombu gives tasks out again that workers took longer ago than ITS visibility
                # timeout (1 h): tasks that still run, where the application's is longer. Not from here.
                "ack_emulation": False,
                "socket_connect_timeout": 5,
                "socket_timeout": 10 + address.timeout,
                **({"global_keyprefix": address.prefix} if address.prefix else {}),
            }
            if address.scheme.startswith("redis")
            else {},
        )
        if address.scheme == "rediss":
            app.conf.broker_use_ssl = {
                "ssl_cert_reqs": ssl.CERT_REQUIRED,
                **({"ssl_ca_certs": address.ca} if address.ca else {}),
            }
        elif address.scheme == "amqps":
            app.conf.broker_use_ssl = {
                "cert_reqs": ssl.CERT_REQUIRED,
                "ca_certs": address.ca or ssl.get_default_verify_paths().cafile,
                "server_hostname": address.place.removeprefix("amqp:").rpartition(":")[0],
            }
        # one connection for question and answer; Celery's pool would keep a second one open
        app.control.mailbox.producer_pool = None
        return app
