"""Prometheus's HTTP API: two queries and what it says of itself."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from dlqanalysis.errors import ConnectError, QueryError, SettingsError, did_you_mean
from dlqanalysis.sources._http import Api, Client
from dlqanalysis.sources.prometheus.queries import NAMES

PROMETHEUS = Api(
    scheme="prometheus",
    title="a Prometheus",
    usual_path="",
    begins="/api/v1/query and /-/healthy",
    right="the right to query",
)


@dataclass(slots=True)
class Result:
    """An answer: its type (vector, matrix, scalar, string), its entries, and what Prometheus warns of."""

    kind: str
    entries: list[Any]
    warnings: list[str] = field(default_factory=list)


def open_client(
    url: str, token: str | None = None, *, token_name: str = "DLQ_PROMETHEUS_TOKEN", **others: Any
) -> tuple[Client, dict[str, str]]:
    """A client for the URL, and the URL's options. A token user:password goes as basic authentication."""
    place, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option in options:
        if option not in {"metrics", *NAMES}:
            raise SettingsError(
                f"'{option}' is no option of a Prometheus URL. {did_you_mean(option, {'metrics', *NAMES})}"
            )
    api, token, hide = PROMETHEUS, (token or "").strip(), tuple[str, ...]()
    if ":" in token:
        hide = (token, token.partition(":")[2])
        api = replace(api, header="Authorization: Basic")
        token = base64.b64encode(token.encode()).decode()
    return Client(api, place, token, token_name=token_name, hide=hide, **others), options


def ask(client: Client, path: str, params: Mapping[str, Any]) -> Result:
    """The result of /api/v1/query or /api/v1/query_range. QueryError for what Prometheus does not take."""
    answer = client.get(path, params, also=(503,))
    if answer.status in (400, 422):
        raise QueryError(f"Prometheus does not take this query: {client.words(answer)}.")
    if answer.status == 503:
        raise ConnectError(
            f"{client.place} gave up on this query ({client.words(answer)}). Ask for a shorter time, or less often."
        )
    if answer.status >= 300:
        raise ConnectError(
            f"{client.place} has no {path} ({answer.status}). Check the path in the URL: it ends before /api/v1."
        )
    body = client.parsed(answer, f"{client.place}{path}")
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, Mapping) or body.get("status") != "success":
        raise ConnectError(
            f"{client.place} answers {path} as no Prometheus does. Check host and path in the URL."
        )
    kind, entries = data.get("resultType"), data.get("result")
    if not isinstance(entries, list) or kind not in ("vector", "matrix", "scalar", "string"):
        raise ConnectError(
            f"{client.place} answers with a result of an unknown type. Update the kit."
        )
    told = [body.get(name) for name in ("warnings", "infos")]
    warnings = [str(text) for part in told if isinstance(part, list) for text in part]
    return Result(kind, entries, warnings)
