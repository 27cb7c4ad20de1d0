"""queries/*.sql as methods: named, documented, bound, read-only; each answers with a DataFrame."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dlqanalysis.errors import DLQError, QueryError, SettingsError, did_you_mean
from dlqanalysis.model import duration, moment, words
from dlqanalysis.profile import queries_folder

if TYPE_CHECKING:
    import pandas as pd

_QUIET = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_WRITES = re.compile(
    r"\b(insert|update|delete|merge|truncate|create|alter|drop|grant|revoke|copy|call|do|into|lock|vacuum"
    r"|refresh|nextval|setval|set_config|pg_terminate_backend|pg_cancel_backend|dblink\w*|lo_\w+)\b",
    re.IGNORECASE,
)
_GLUED = re.compile(r"(?<![:\w]):(\w+)::")
_CAST = re.compile(r"CAST\(\s*:(\w+)\s+AS\s+([\w ]+(?:\[\])?)\s*\)", re.IGNORECASE)


class Asked(Protocol):
    """What queries need of a source: one that can answer SQL."""

    name: str

    def ask(self, sql: str, parameters: Mapping[str, Any]) -> "pd.DataFrame":
        """The rows of one SELECT with `:name` parameters, read-only."""
        ...


@dataclass(frozen=True, slots=True)
class Query:
    """One named SELECT."""

    name: str
    sentence: str  #: what it gives
    sql: str
    place: str  #: file:line
    kinds: Mapping[str, str]  #: parameter -> its SQL type
    optional: frozenset[str]  #: parameters that may be left out

    @property
    def parameters(self) -> tuple[str, ...]:
        """Its parameters, the required ones first."""
        return tuple(sorted(self.kinds, key=lambda name: name in self.optional))

    def bound(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for each parameter: times from durations, lists from text with commas, None where left out."""
        for name in given:
            if name not in self.kinds:
                hint = did_you_mean(name, self.kinds) if self.kinds else "It takes none."
                raise QueryError(f"{self.name} has no parameter '{name}'. {hint}")
        missing = [n for n in self.parameters if n not in self.optional and given.get(n) is None]
        if missing:
            raise QueryError(
                f"{self.name} needs {', '.join(missing)}: write {self.name}({missing[0]}=...)."
            )
        return {name: self._value(name, given.get(name)) for name in self.kinds}

    def _value(self, name: str, value: Any) -> Any:
        kind = self.kinds[name]
        if value is None:
            return None
        if kind.startswith("timestamp"):
            return moment(value)
        if kind == "interval":
            return duration(value) if isinstance(value, str) else value
        if kind.endswith("[]"):
            return [str(one) for one in (words(value) if isinstance(value, str) else value)]
        if kind in ("integer", "bigint", "smallint"):
            try:
                return int(value)
            except (TypeError, ValueError):
                raise QueryError(
                    f"{self.name}: {name} is {value!r}. Give a whole number."
                ) from None
        return str(value)


class Queries:
    """The named queries of one source, as methods: `queries(source).failure_summary(since="7d")`."""

    def __init__(self, source: Asked, known: Mapping[str, Query]) -> None:
        self._source = source
        self._known = dict(known)
        for query in known.values():
            setattr(self, query.name, _method(source, query))

    def __getattr__(self, name: str) -> Any:
        raise UnknownQuery(f"There is no query '{name}'. {did_you_mean(name, self._known)}")

    def __dir__(self) -> list[str]:
        return sorted(self._known)

    def __repr__(self) -> str:
        lines = [f"{q.name}({', '.join(q.parameters)}): {q.sentence}" for q in self._known.values()]
        return "\n".join([f"Queries on {self._source.name}", *lines])


class UnknownQuery(QueryError, AttributeError):
    """Both, so that completion and hasattr go on working."""


def queries(source: Asked) -> Queries:
    """The named queries as methods of one object, for a source that answers SQL; help with `?`."""
    if not callable(getattr(source, "ask", None)):
        name = getattr(source, "name", repr(source))
        hint = f" Try dlq.queries(dlq.connect({source!r}))." if isinstance(source, str) else ""
        raise SettingsError(f"Queries need a connected SQL source, which {name} is not.{hint}")
    return Queries(source, known())


def known() -> dict[str, Query]:
    """Every query by name: ours, then those in the folder that DLQ_QUERIES names."""
    folders = [_folder()]
    if own := queries_folder():
        folders.append(own)
    found: dict[str, Query] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.sql")):
            for query in read(path):
                if query.name in found or query.name in dir(Queries):
                    place = found[query.name].place if query.name in found else "Python"
                    raise SettingsError(
                        f"{query.place}: the name {query.name} is taken by {place}. Choose another."
                    )
                found[query.name] = query
    return found


def read(path: Path) -> list[Query]:
    """The queries of one file, checked: a sentence each, SELECTs only, declared and bound parameters."""
    from aiosql.query_loader import QueryLoader
    from aiosql.types import SQLOperationType
    from aiosql.utils import SQLLoadException, SQLParseException

    loader = QueryLoader(_Unchanged(), None)
    try:
        loaded = loader.load_query_data_from_file(path, encoding="utf-8")
    except (SQLParseException, SQLLoadException, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path.name} cannot be read: {error}. Mend that query.") from None
    found = []
    for datum in loaded:
        place = f"{path.name}:{datum.floc[1]}"
        if datum.operation_type != SQLOperationType.SELECT:
            raise SettingsError(
                f"{place}: {datum.query_name} has an operator. Only plain SELECTs are read."
            )
        found.append(
            _checked(datum.query_name, datum.doc_comments, datum.sql, place, datum.parameters)
        )
    return found


def _checked(name: str, doc: str, sql: str, place: str, declared: list[str] | None) -> Query:
    sql = sql.strip().rstrip(";").strip()
    bare = _QUIET.sub(" ", sql)
    if not doc:
        raise SettingsError(f"{place}: {name} has no sentence. Say below its name what it gives.")
    if glued := _GLUED.search(bare):
        raise SettingsError(
            f"{place}: :{glued[1]}:: would bind nothing. Write CAST(:{glued[1]} AS type)."
        )
    write = _WRITES.search(bare)
    if ";" in bare or write or not re.match(r"\s*(select|with)\b", bare, re.IGNORECASE):
        what = f"says {write[0].upper()}" if write else "is not one SELECT"
        raise SettingsError(f"{place}: {name} {what}. Queries only read: one SELECT or WITH each.")
    types = {param: kind.strip().lower() for param, kind in _CAST.findall(sql)}
    for param in declared or []:
        if param not in types:
            raise SettingsError(f"{place}: say the type of :{param} as CAST(:{param} AS type).")
    kinds = {param: types[param] for param in declared or []}
    optional = frozenset(
        param
        for param in kinds
        if re.search(
            rf"CAST\(\s*:{param}\s+AS [^)]+\)\s+IS NULL|coalesce\(\s*CAST\(\s*:{param}\b", sql, re.I
        )
    )
    sentence = " ".join(doc.split())
    return Query(name=name, sentence=sentence, sql=sql, place=place, kinds=kinds, optional=optional)


def _method(source: Asked, query: Query) -> Any:
    def method(**parameters: Any) -> "pd.DataFrame":
        try:
            answer = source.ask(query.sql, query.bound(parameters))
        except QueryError as error:
            text = str(error)
            raise QueryError(text if query.name in text else f"{query.name}: {text}") from None
        except DLQError:
            raise
        answer.attrs = {"query": query.name, "source": source.name}
        return answer

    method.__name__ = method.__qualname__ = query.name
    method.__doc__ = f"{query.sentence}\n\n{query.place}\n\n{query.sql}"
    method.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if name in query.optional else inspect.Parameter.empty,
            )
            for name in query.parameters
        ]
    )
    return method


def _folder() -> Path:
    """queries/ beside the package in a checkout, inside it in a wheel."""
    here = Path(__file__).resolve().parent
    inside = here / "_share" / "queries"
    return inside if inside.is_dir() else here.parent / "queries"


class _Unchanged:
    """aiosql's driver adapter that leaves `:name` as it is: the source binds."""

    is_aio_driver = False

    def process_sql(self, query_name: str, op_type: Any, sql: str) -> str:
        """The SQL itself."""
        return sql
