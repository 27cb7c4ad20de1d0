"""Grouping: how well (Loghub-2k, pairs of messages) and how fast, beside Drain3 and regex masks.

DLQ_LOGHUB names a folder that holds the *_2k.log_structured.csv files of github.com/logpai/loghub, at any depth.
GA is Loghub's grouping accuracy: the share of lines whose group holds exactly the lines of its true template. F1 is
of groups (FGA): the harmonic mean of the shares of our groups, and of the true groups, that are exactly right.
"""

import csv
import ctypes
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from statistics import mean

import pandas as pd
import polars as pl
import pyarrow as pa

from bench.beside import have
from bench.goals import Figure, Section, at_least, at_most
from bench.messages import messages, without_numbers
from bench.timing import median
from dlqanalysis.fingerprint import fingerprint, skeletons, template
from dlqanalysis.fingerprint.similar import merged

Grouping = Callable[[list[str]], Sequence[Hashable]]
ROWS, SLOW_ROWS = 1_000_000, 50_000
_PAIRS = Path(__file__).parents[1] / "tests/data/fingerprint_pairs.jsonl"

_MASKS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d+\.\d+\.\d+\.\d+(:\d+)?"), "<ip>"),
    (re.compile(r"0x[0-9a-f]+"), "<hex>"),
    (re.compile(r"\b\d+\b"), "<num>"),
]
CHAIN = [  # what a careful team writes: one substitution a kind
    *_MASKS[:1],
    (re.compile(r"https?://[^\s'\")]+"), "<url>"),
    (re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+"), "<email>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    *_MASKS[1:3],
    (re.compile(r"(/[\w.-]+){2,}"), "<path>"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "<hex>"),
    (re.compile(r"\d+\.\d+"), "<float>"),
    (re.compile(r"\b(?!4\d\d\b|5\d\d\b)\d+\b"), "<int>"),
]


def run(rows: int = ROWS, repeat: int = 3) -> Section:
    """The section, P5."""
    speed, figures = _speed(rows, repeat)
    return Section([*_loghub(), "", *_pairs(), "", *speed], figures)


def score(found: Sequence[Hashable], true: Sequence[Hashable]) -> tuple[float, float]:
    """(grouping accuracy, F1 of groups)."""
    ours, theirs = defaultdict(set), defaultdict(set)
    for row, (one, other) in enumerate(zip(found, true, strict=True)):
        ours[one].add(row)
        theirs[other].add(row)
    exact = set(map(frozenset, theirs.values()))
    right = [rows for rows in ours.values() if frozenset(rows) in exact]
    return sum(map(len, right)) / len(true), 2 * len(right) / (len(ours) + len(theirs))


def _frame(texts: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"exception_type": "Error", "exception_message": texts})


def ours(texts: list[str]) -> list[str]:
    """Fingerprints: each row by itself."""
    return fingerprint(_frame(texts))["fingerprint"].to_list()


def ours_merged(texts: list[str]) -> list[str]:
    """The same, as if a person had taken every proposal of `similar`."""
    templates = fingerprint(_frame(texts))["template"].to_list()
    becomes = {
        one: pattern for pattern, found in merged(Counter(templates)).items() for one in found
    }
    return [becomes.get(one, one) for one in templates]


def masks(texts: list[str]) -> list[str]:
    """Plain regex masks, one row after the other."""
    return [substituted(text, _MASKS) for text in texts]


def substituted(text: str, chain: list[tuple[re.Pattern[str], str]]) -> str:
    for pattern, name in chain:
        text = pattern.sub(name, text)
    return text


def drain(texts: list[str]) -> list[int]:
    """Drain3 as it comes."""
    return _drain(texts, masked=False)


def drain_masked(texts: list[str]) -> list[int]:
    """Drain3 with the masks of its own example."""
    return _drain(texts, masked=True)


def _drain(texts: list[str], masked: bool) -> list[int]:
    from drain3 import TemplateMiner
    from drain3.masking import MaskingInstruction
    from drain3.template_miner_config import TemplateMinerConfig

    edge, end = r"((?<=[^A-Za-z0-9])|^)", r"((?=[^A-Za-z0-9])|$)"
    settings = TemplateMinerConfig()
    if masked:
        settings.masking_instructions = [
            MaskingInstruction(edge + pattern + end, name)
            for pattern, name in (
                (r"(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))", "ID"),
                (r"(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})", "IP"),
                (r"([0-9a-f]{6,} ?){3,}", "SEQ"),
                (r"([0-9A-F]{4} ?){4,}", "SEQ"),
                (r"(0x[a-f0-9A-F]+)", "HEX"),
                (r"([\-\+]?\d+)", "NUM"),
            )
        ]
    miner = TemplateMiner(config=settings)
    return [miner.add_log_message(text)["cluster_id"] for text in texts]


def _ways() -> dict[str, Grouping]:
    ways: dict[str, Grouping] = {
        "fingerprint": ours,
        "with every proposal taken": ours_merged,
        "regex masks": masks,
    }
    return ways | ({"Drain3": drain, "Drain3 masked": drain_masked} if have("drain3") else {})


def _loghub() -> list[str]:
    folder = os.environ.get("DLQ_LOGHUB")
    if not folder:
        return ["Loghub not measured: DLQ_LOGHUB names no folder."]
    ways = _ways()
    lines = [f"| set | {' | '.join(ways)} |", "|---" * (len(ways) + 1) + "|"]
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for path in sorted(Path(folder).rglob("*_2k.log_structured.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        texts, true = [row["Content"] for row in rows], [row["EventId"] for row in rows]
        for name, way in ways.items():
            scores[name].append(score(way(texts), true))
        cells = [f"{scores[name][-1][0]:.3f} / {scores[name][-1][1]:.3f}" for name in ways]
        lines.append(f"| {path.name.split('_')[0]} | {' | '.join(cells)} |")
    cells = [
        f"**{mean(ga for ga, _ in scores[name]):.3f} / {mean(f1 for _, f1 in scores[name]):.3f}**"
        for name in ways
    ]
    sets = len(lines) - 2
    return [
        "GA / F1 of groups, nothing tuned per set:",
        "",
        *lines,
        f"| mean of {sets} | {' | '.join(cells)} |",
    ]


def _pairs() -> list[str]:
    pairs = [json.loads(line) for line in _PAIRS.read_text(encoding="utf-8").splitlines()]
    texts = [pair[side] for pair in pairs for side in "ab"]
    lines = [
        f"{len(pairs):,} pairs of messages that must ({sum(pair['same'] for pair in pairs)}) or must not share:",
        "",
        "| way | right | split | merged |",
        "|---|---|---|---|",
    ]
    for name, way in _ways().items():
        if way is ours_merged:
            continue
        found = way(texts)
        same = [found[2 * n] == found[2 * n + 1] for n in range(len(pairs))]
        split = sum(pair["same"] and not one for pair, one in zip(pairs, same, strict=True))
        joined = sum(one and not pair["same"] for pair, one in zip(pairs, same, strict=True))
        lines.append(f"| {name} | {1 - (split + joined) / len(pairs):.1%} | {split} | {joined} |")
    return lines


def _speed(rows: int, repeat: int) -> tuple[list[str], list[Figure]]:
    part = min(rows, SLOW_ROWS)
    texts = messages(rows)
    frame = _frame(texts)
    column = pa.array(texts)
    few = texts[:part]
    scale = rows / part
    told = fingerprint(frame)
    alone = [template(text) for text in few[::500]]
    same = told["template"].iloc[:part:500].to_list() == alone
    by_row = _row_by_row(few[: max(1, part // 10)])
    differ = sum(one != other for one, other in zip(by_row, told["template"], strict=False))
    whole = _fresh(lambda: fingerprint(frame), repeat)
    chain = scale * median(lambda: _row_by_row(few[: part // 10]), 1) * 10
    plain = scale * median(lambda: [substituted(text, CHAIN) for text in few], 1)
    by_polars = median(lambda: _polars_chain(texts), repeat)
    seconds = {
        "fingerprint": whole,
        "skeletons alone": _fresh(lambda: skeletons(column), repeat),
        "ten substitutions, polars": by_polars,
        "the same table, row by row": chain,
        "ten substitutions, row by row": plain,
    }
    apart = without_numbers(max(1, rows // 4))
    words = _frame(apart)
    alone = _fresh(lambda: fingerprint(words), 1)
    alone_polars = median(lambda: _polars_chain(apart), 1)
    alone_chain = median(lambda: _row_by_row(apart[: part // 10]), 1) * len(apart) / (part // 10)
    figures = [
        at_most("P5", "rows that differ from the same table row by row", differ, 0),
        at_least("P5", "the same table, row by row / fingerprint", chain / whole, 35),
        at_least("P5", "ten substitutions, row by row / fingerprint", plain / whole, 35),
        at_least("P5", "ten substitutions by polars / fingerprint", by_polars / whole, 2.5),
        at_least("P5", "nothing collapses: the same table, row by row / fingerprint", alone_chain / alone, 12),
        at_most("P5", "nothing collapses: fingerprint / ten substitutions by polars", alone / alone_polars, 1.05),
    ]  # fmt: skip
    if have("drain3"):
        seconds["Drain3"] = median(lambda: drain(texts), 1)
        seconds["Drain3 masked"] = median(lambda: drain_masked(texts), 1)
        figures += [
            at_least("P5", f"{name} / fingerprint", seconds[name] / whole, 35)
            for name in ("Drain3", "Drain3 masked")
        ]
    if scan := _in_c(column):
        seconds["one pass in C: digits masked, hashed"] = median(scan, repeat)
        figures.append(
            at_most("P5", "fingerprint / one pass in C", whole / median(scan, repeat), 3)
        )
    shapes = len(skeletons(column).unique())
    lines = [
        f"{rows:,} messages, {len(set(texts)):,} distinct, {shapes:,} skeletons,"
        f" {told['fingerprint'].nunique():,} fingerprints; a row alone has the template it has among all:"
        f" {same}; rows that differ from the same table row by row: {differ} of {len(by_row):,}; the slow ways"
        f" on {part:,} of them or a tenth of that, scaled:",
        "",
        "| way | s | fingerprint is faster by |",
        "|---|---|---|",
        *(f"| {name} | {taken:.2f} | {taken / whole:.1f} x |" for name, taken in seconds.items()),
        "",
        f"{len(apart):,} messages that all differ by a word: fingerprint {alone:.2f} s, ten substitutions by polars"
        f" {alone_polars:.2f} s, the same table row by row {alone_chain:.2f} s (scaled).",
    ]
    return lines, figures


_C = """#include <stdint.h>
void scan(const int64_t *at, const uint8_t *text, int64_t rows, uint64_t *out) {
  for (int64_t row = 0; row < rows; row++) {
    uint64_t hash = 1469598103934665603u, digit = 0;
    for (int64_t n = at[row]; n < at[row + 1]; n++) {
      uint8_t c = text[n];
      if (c >= '0' && c <= '9') { if (digit) continue; digit = 1; c = '0'; } else digit = 0;
      hash = (hash ^ c) * 1099511628211u;
    }
    out[row] = hash;
  }
}"""


def _in_c(column: pa.Array) -> Callable[[], object] | None:
    """One pass over all bytes in C, numbers masked and hashed; None where there is no compiler."""
    import numpy as np

    compiler = shutil.which("cc")
    if compiler is None:
        return None
    wide = column.cast(pa.large_string())
    _, at, text = wide.buffers()
    out = np.empty(len(wide), np.uint64)
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "scan.c", Path(folder) / "scan.so"
        source.write_text(_C)
        subprocess.run([compiler, "-O3", "-shared", "-fPIC", "-o", library, source], check=True)
        scan = ctypes.CDLL(str(library)).scan
    given = [ctypes.c_void_p(buffer.address) for buffer in (at, text)]
    return lambda: (scan(*given, ctypes.c_int64(len(wide)), ctypes.c_void_p(out.ctypes.data)), wide)


def _fresh(call: Callable[[], object], times: int) -> float:
    """The median of calls that find nothing remembered of the last one."""
    other = _frame(["x"])

    def forgetful() -> None:
        fingerprint(other)
        call()

    return median(forgetful, times)


def _row_by_row(texts: list[str]) -> list[str]:
    """The same table by `re`, one message after the other: what fingerprint saves by columns and skeletons."""
    from dlqanalysis.fingerprint import table

    def compiled(pattern: str) -> re.Pattern[str]:
        return re.compile(pattern.replace("(?-u:", "(?:").replace("(?i-u:", "(?i:"), re.ASCII)

    def steps(lines: Sequence[table.Step]) -> list[tuple[re.Pattern[str], str]]:
        return [
            (compiled(s.pattern), re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", s.into.replace("\\", r"\\")))
            for s in lines
        ]

    first, text_steps = steps(table.SKELETON), steps(table.TEXT)
    numbers, values = steps(table.NUMBERS), steps(table.VALUES)
    kept, gone, named = compiled(table.KEPT), compiled(table.GONE), compiled(table.NAME)
    found = []
    for text in texts:
        for pattern, into in first:
            text = pattern.sub(into, text)
        codes = iter(kept.findall(text))
        text = gone.sub(table.NUM, kept.sub(table.CODE, text))
        text = re.sub(table.CODE, lambda _, codes=codes: next(codes), text).strip()
        if not named.search(text):
            for pattern, into in (*text_steps, *numbers, *values):
                text = pattern.sub(into, text)
        for mark, name in table.FINISH.items():
            text = text.replace(mark, name)
        found.append(text.strip())
    return found


def _polars_chain(texts: list[str]) -> pl.Series:
    expression = pl.col("text")
    for pattern, name in CHAIN[:-1]:
        expression = expression.str.replace_all(pattern.pattern, name)
    expression = expression.str.replace_all(r"\b[0-9]+\b", "<int>")
    return pl.DataFrame({"text": texts}).select(expression)["text"].unique()
