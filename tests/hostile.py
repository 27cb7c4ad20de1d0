"""Sixty texts that attack whoever looks at them, and an incident in which every text field holds them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from dlqanalysis import archive
from dlqanalysis.frame import from_records
from dlqanalysis.journal import Journal
from dlqanalysis.plan import plan

#: Where an attack would send the reader's browser, and what it would set there.
AWAY = "https://beacon.example/x"
_FIRE = "window.__xss=1"

PAYLOADS = (
    # scripts, and elements that run them
    f"<script>{_FIRE}</script>",
    f"</script><script>{_FIRE}</script>",
    f"</td></table></div><script>{_FIRE}</script>",
    f"<img src=beacon onerror={_FIRE}>",
    f"<img/src='beacon'/onerror='{_FIRE}'/>",
    f"<svg onload={_FIRE}>",
    f"<svg><script>{_FIRE}</script></svg>",
    f"<svg><animate onbegin={_FIRE} attributeName=x dur=1s>",
    f"<svg><foreignObject><img src=beacon onerror={_FIRE}></foreignObject></svg>",
    f"<math><mtext><img src=beacon onerror={_FIRE}></mtext></math>",
    f"<iframe srcdoc='<script>parent.{_FIRE}</script>'></iframe>",
    f"<iframe src='javascript:parent.{_FIRE}'></iframe>",
    f"<details open ontoggle={_FIRE}>",
    f"<input autofocus onfocus={_FIRE}>",
    f"<video><source onerror={_FIRE} src=beacon></video>",
    f"<body onload={_FIRE}>",
    f"<marquee onstart={_FIRE}>",
    f"<style>@import '{AWAY}';</style>",
    f"<style onload={_FIRE}></style>",
    f"<link rel=stylesheet href={AWAY}>",
    f"<meta http-equiv=refresh content='0;url={AWAY}'>",
    f"<base href='{AWAY}/'>",
    f"<object data='{AWAY}'></object>",
    f"<embed src='{AWAY}'>",
    f"<form action='{AWAY}'><button autofocus>ok</button></form>",
    "<dialog open>Your session ended. Log in: <input></dialog>",
    f"<template><script>{_FIRE}</script></template>",
    f"<noscript><p title='</noscript><img src=beacon onerror={_FIRE}>'>",
    # out of an attribute, a comment, a string
    f"\"><script>{_FIRE}</script>",
    f"' onmouseover='{_FIRE}' x='",
    f"\" autofocus onfocus=\"{_FIRE}\" x=\"",
    f"--><script>{_FIRE}</script><!--",
    f"<!--<script>{_FIRE}</script>",
    f"]]><script>{_FIRE}</script>",
    f"\\u003cscript\\u003e{_FIRE}\\u003c/script\\u003e",
    f"&lt;script&gt;{_FIRE}&lt;/script&gt;",
    f"&#60;img src=beacon onerror={_FIRE}&#62;",
    f"';{_FIRE};//",
    f"${{{_FIRE}}}",
    f"{{{{constructor.constructor('{_FIRE}')()}}}}",
    # links, Markdown, LaTeX
    f"<a href='javascript:{_FIRE}'>open</a>",
    f"<a href='{AWAY}'>open</a>",
    f"[open](javascript:{_FIRE})",
    f"![x]({AWAY})",
    f"data:text/html,<script>{_FIRE}</script>",
    f"$\\href{{javascript:{_FIRE}}}{{open}}$",
    f"\\(\\href{{{AWAY}}}{{open}}\\)",
    "$$\\require{html}\\style{position:fixed;top:0}{LOOK}$$",
    "\\begin{equation}\\class{x}{y}\\unicode{x41}\\end{equation}",
    # plotly's own markup and templates
    f"<b>bold</b><br><a href='{AWAY}'>plotly</a><sub>x</sub>",
    "%{customdata[0]}<extra>%{x}</extra>",
    # what a terminal, a spreadsheet or an eye obeys
    "\x1b[2J\x1b]0;title\x07\x1b]8;;https://beacon.example/x\x1b\\link\x1b]8;;\x1b\\",
    "\u202egpj.exe\u202c \u2066rtl\u2069",
    "zero\u200bwidth\ufeff\u00ad",
    f"=HYPERLINK(\"{AWAY}\",\"open\")",
    "@SUM(1+1)*cmd|'/C calc'!A0",
    f"+{AWAY}",
    "\ufdfd" * 40 + "Z\u0351\u036b\u0343" * 40,
    f"\uff1cscript\uff1e{_FIRE}\uff1c/script\uff1e",
    "x" * 1_000_000 + f"<script>{_FIRE}</script>",
)  # fmt: skip

_TEXTS = (
    "task_id", "task_name", "queue", "exception_type", "exception_message", "traceback", "worker",
    "trace_id", "source",
)  # fmt: skip


def failures() -> pd.DataFrame:
    """Two failures a payload, which stands in every text field; the megabyte only in message and traceback."""
    now = datetime.now(UTC)
    rows = []
    for number in range(2 * len(PAYLOADS)):
        payload = PAYLOADS[number % len(PAYLOADS)]
        short = payload[-200:]
        texts = {name: f"{short}{'' if name != 'task_id' else number}" for name in _TEXTS}
        texts |= {"exception_message": payload, "traceback": f'  File "{short}", line 1\n{payload}'}
        rows.append(
            texts
            | {
                "source": "shop",
                "failure_id": f"{number}{short}",
                "status": "failed",
                "failed_at": now - timedelta(minutes=7 * number),
                "retries": number % 5,
                "args": json.dumps([short]),
                "kwargs": json.dumps(
                    {"tenant_id": short, short: 1, "property_id": 1, "template_id": 2}
                ),
            }
        )
    return from_records(rows)


def plant(folder: Path) -> dict[str, str]:
    """The incident as the data of notebooks in `folder`; gives the environment that names the rest of it."""
    data = folder / "data"
    data.mkdir()
    rows = failures()
    archive.snapshot(rows, data / "demo_export.parquet")
    when = datetime.now(UTC) - timedelta(hours=2)
    table = pd.DataFrame(
        {"at": [when.isoformat()] * len(PAYLOADS), "text": [p[-200:] for p in PAYLOADS]}
    )
    table = table.assign(
        kind="deploy", service=table["text"], version=table["text"], by=table["text"]
    )
    table.to_csv(data / "demo_deploys.csv", index=False)
    some = [payload[-200:] for payload in PAYLOADS[::7]]
    levels = ("critical", "high", "medium", "low", "L3", "L2", "L1")
    (folder / "profile.toml").write_text(
        "\n".join(
            [f"name = {json.dumps(some[0])}", 'affected = ["tenant_id"]', "[owners]"]
            + [f"{json.dumps(text)} = {json.dumps(text)}" for text in some]
            + ["[contacts]", *(f"{name} = {json.dumps(text)}" for name, text in zip(levels, some, strict=False))]
            + ["[safety]", *(f'{json.dumps(text)} = "idempotent"' for text in some)]
        ),
        encoding="utf-8",
    )  # fmt: skip
    journal = Journal(f"sqlite:///{folder / 'journal.sqlite'}")
    from dlqanalysis.classify import classify
    from dlqanalysis.fingerprint import fingerprint

    ready = rows.head(40).pipe(classify).pipe(fingerprint)
    for reason in PAYLOADS[:12]:
        made = plan(ready.assign(failure_class="transient"), journal, reason=reason, limit=40)
        if len(made.chosen):
            run = journal.start(made, {})
            journal.record(run, [("", "finished", {"why": reason})])
    return {
        "DLQ_PROFILE": str(folder / "profile.toml"),
        "DLQ_JOURNAL_URL": f"sqlite:///{folder / 'journal.sqlite'}",
        "DLQ_HOME": str(folder / "home"),
        "DLQ_OPERATOR": PAYLOADS[0],
    }
