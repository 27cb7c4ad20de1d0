"""What one deployment of the admin API calls its fields, learnt from its OpenAPI document.

Deployments differ (`failed_task_id` or `task_id`, `queue_name` or `queue`, `limit` or `max_tasks`), and
such servers ignore fields they do not know: `dry_run: true` sent to one without it replays for real.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ID_FIELDS = ("failed_task_id", "task_id", "id")
PAGE = 500  #: rows asked for at once; published servers allow 1 to 1000

_QUEUE = ("queue_name", "queue")
_LIMIT = ("max_tasks", "limit")
_HEALTH = ("/health", "/api/v1/health", "/healthz", "/api/health")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """What the bulk replay takes, as far as its schema says. Used for dry runs only."""

    fields: frozenset[str] = frozenset()
    queue: str = ""
    limit: str = ""
    most: int = 100

    @property
    def dry_runs(self) -> bool:
        """Whether a dry run by queue and task can be asked for without any doubt."""
        return bool({"dry_run", "task_name"} <= self.fields and self.queue and self.limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """The names of one deployment; what no document says stays empty."""

    documented: bool = False  #: an OpenAPI document names this API
    replays: bool | None = None  #: whether it has POST /replay; None when nothing says
    archives: bool = False  #: whether it documents POST /archive/{id}
    id_field: str = ""  #: the body's name for the row's number
    id_type: str = ""  #: integer or string, where the schema says
    force_required: bool = False
    queue_filters: tuple[str, ...] = (
        _QUEUE  #: undocumented: both are sent, the unknown one is ignored
    )
    status_filters: tuple[str, ...] = ("status",)
    page: int = PAGE
    bulk: Bulk = Bulk()
    health: str = ""  #: absolute path, where documented

    @classmethod
    def learn(cls, document: Any, base: str) -> "Dialect":
        """The dialect an OpenAPI document describes for the API below `base`; anything odd in it is skipped."""
        paths = _at(document, "paths")
        if not paths or not any("/dlq" in str(path) or _is(base, path) for path in paths):
            return cls()
        replay = _operation(paths, base + "/replay", "post")
        body = _schema(document, replay, "ReplayTaskRequest")
        fields = _at(body, "properties")
        id_field = next((name for name in ID_FIELDS if name in fields), "")
        listing = _parameters(document, _operation(paths, base + "/tasks", "get"))
        bulk = _schema(
            document, _operation(paths, base + "/replay-bulk", "post"), "ReplayBulkRequest"
        )
        return cls(
            documented=True,
            replays=replay is not None,
            archives=any(_archives(path, paths[path], base) for path in paths),
            id_field=id_field,
            id_type=_type(fields.get(id_field)),
            force_required="force" in (body.get("required") or ()),
            queue_filters=_first(_QUEUE, listing) if listing else _QUEUE,
            status_filters=_first(("status",), listing) if listing else ("status",),
            page=min(PAGE, _number(_at(listing.get("limit"), "schema").get("maximum"), PAGE)),
            bulk=_bulk(_at(bulk, "properties")),
            health=next((path for path in _HEALTH if "get" in _at(paths.get(path))), ""),
        )


def _archives(path: Any, operations: Any, base: str) -> bool:
    place, _, name = str(path).rpartition("/")
    return name[:1] == "{" and _is(base + "/archive", place) and "post" in _at(operations)


def _bulk(fields: Mapping[str, Any]) -> Bulk:
    limit = next((name for name in _LIMIT if name in fields), "")
    return Bulk(
        fields=frozenset(fields),
        queue=next((name for name in _QUEUE if name in fields), ""),
        limit=limit,
        most=_number(_at(fields.get(limit)).get("maximum"), 1000),
    )


def _at(value: Any, *steps: str) -> Mapping[str, Any]:
    """The mapping found on the way, or an empty one."""
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _is(full: str, documented: Any) -> bool:
    """Whether a documented path is this one; a proxy may have put a prefix before it."""
    path = str(documented)
    return full == path or (path.count("/") >= 2 and full.endswith(path))


def _operation(paths: Mapping[str, Any], full: str, verb: str) -> Mapping[str, Any] | None:
    for path, operations in paths.items():
        if _is(full, path) and verb in _at(operations):
            return _at(operations, verb)
    return None


def _schema(document: Any, operation: Mapping[str, Any] | None, usual: str) -> Mapping[str, Any]:
    """The schema of an operation's body: what it refers to, else the one with the usual name."""
    content = _at(operation, "requestBody", "content", "application/json", "schema")
    return _resolved(document, content) or _at(document, "components", "schemas", usual)


def _resolved(document: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(5):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        schema = _at(document, *reference[2:].split("/"))
    return schema


def _parameters(document: Any, operation: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    listed = (operation or {}).get("parameters")
    found = (
        [_resolved(document, _at(entry)) for entry in listed] if isinstance(listed, list) else []
    )
    return {entry["name"]: entry for entry in found if isinstance(entry.get("name"), str)}


def _first(names: tuple[str, ...], have: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in names if name in have)[:1]


def _type(schema: Any) -> str:
    """A field's JSON type; of `anyOf` (pydantic's Optional) the first that is not null."""
    own = _at(schema).get("type")
    if isinstance(own, str):
        return own
    choices = _at(schema).get("anyOf")
    kinds = [_type(choice) for choice in choices] if isinstance(choices, list) else []
    return next((kind for kind in kinds if kind and kind != "null"), "")


def _number(value: Any, default: int) -> int:
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default
    )
