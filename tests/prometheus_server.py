"""A small server that speaks Prometheus's HTTP API: it checks parameters as Prometheus does, and answers queries
it was given answers for. It evaluates nothing."""

import math
from typing import Any

from tests.small_server import Reply

NOW = 1_795_330_800.5


def bad(text: str, status: int = 400, kind: str = "bad_data") -> Reply:
    return status, {"status": "error", "errorType": kind, "error": text}


class Prometheus:
    """`series`: query -> [(labels, value)]; a value is sampled alike at each step. `parts` go beside `data`."""

    def __init__(self, series: dict[str, Any] | None = None, **parts: Any) -> None:
        self.series, self.parts = series or {}, parts
        self.alerts: list[dict[str, Any]] = []
        self.ready = True
        self.scalars: dict[str, str] = {}
        self.queries: list[str] = []
        self.fails: Reply = None

    def __call__(self, verb: str, path: str, query: dict[str, str], body: Any) -> Reply:
        if path.startswith("/-/"):
            return (200 if self.ready else 503), b"Prometheus Server is Ready.\n"
        if path == "/api/v1/alerts":
            return 200, {"status": "success", "data": {"alerts": self.alerts}}
        if path not in ("/api/v1/query", "/api/v1/query_range"):
            return 404, b"404 page not found"
        asked = query.get("query", "")
        self.queries.append(asked)
        if self.fails:
            return self.fails
        if not asked or asked.count("(") != asked.count(")"):
            return bad(
                f'invalid parameter "query": 1:{len(asked)}: parse error: unclosed left parenthesis'
            )
        if path == "/api/v1/query":
            return self._told("vector", self._instant(asked, float(query.get("time", NOW))))
        try:
            start, end, step = (float(query[name]) for name in ("start", "end", "step"))
        except (KeyError, ValueError):
            return bad('invalid parameter "start": cannot parse "" to a valid timestamp')
        if step <= 0:
            return bad("zero or negative query resolution step widths are not accepted")
        if (end - start) / step > 11_000:
            return bad("exceeded maximum resolution of 11,000 points per timeseries.")
        times = [start + n * step for n in range(math.floor((end - start) / step) + 1)]
        found = [
            {"metric": labels, "values": [[at, value] for at in times]}
            for labels, value in self.series.get(asked, [])
        ]
        return self._told("matrix", found)

    def _instant(self, asked: str, at: float) -> Any:
        if asked in self.scalars:
            return [at, self.scalars[asked]]
        return [
            {"metric": labels, "value": [at, value]} for labels, value in self.series.get(asked, [])
        ]

    def _told(self, kind: str, result: Any) -> Reply:
        if result and not isinstance(result[0], dict):
            kind = "scalar"
        return 200, {
            "status": "success",
            "data": {"resultType": kind, "result": result},
            **self.parts,
        }
