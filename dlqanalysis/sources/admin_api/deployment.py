"""One deployment of the admin API: its name, what it calls its fields, one task of it. Source, hand and monitor share it."""

from functools import cached_property
from urllib.parse import quote

from dlqanalysis.errors import ConnectError
from dlqanalysis.sources._http import Answer, Client, Unreachable
from dlqanalysis.sources.admin_api.dialect import Dialect
from dlqanalysis.sources.admin_api.rows import Row, row_in


class Deployment:
    """The API behind a client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def name(self) -> str:
        """`admin:host`, with port and path where they are not the usual ones."""
        return self.client.place

    @cached_property
    def dialect(self) -> Dialect:
        """What this deployment calls its fields; asked for once."""
        return _learnt(self.client)


def _learnt(client: Client) -> Dialect:
    """The deployment's dialect, from its OpenAPI document at the host's root or beside the API."""
    for path in ("//openapi.json", f"/{client.base.partition('/admin')[0]}/openapi.json"):
        try:
            answer = client.get(path)
            dialect = Dialect.learn(answer.json(), client.base) if answer.status == 200 else None
        except Unreachable:
            raise
        except (ConnectError, ValueError):  # forbidden, a web page, too slow: the API itself may do
            continue
        if dialect and dialect.documented:
            return dialect
    return Dialect()


def task_path(failure_id: str) -> str:
    """Where one task is shown."""
    return f"/tasks/{quote(failure_id, safe='')}"


def task_of(client: Client, failure_id: str) -> tuple[Row | None, Answer]:
    """One task as it is now, or None when the server does not have it (404)."""
    answer = client.get(task_path(failure_id))
    if answer.status == 404:
        return None, answer
    shown = f"GET {client.place}{task_path(failure_id)}"
    if answer.status >= 400:
        raise ConnectError(f"{shown} was refused ({answer.status}): {client.words(answer)}.")
    row = row_in(client.parsed(answer, shown))
    if row is None:
        raise ConnectError(f"{shown} shows no task: its answer has no id.")
    return row, answer
