"""Notebook -> executed notebook -> one HTML file that opens anywhere; and the weekly and daily reports made of them."""

from dlqanalysis.display.grammars import spare
from dlqanalysis.report.beside import lying, rehearse, went_well
from dlqanalysis.report.naming import earlier
from dlqanalysis.report.numbers import archivable, compare, headline, keep, lives, read, since_last
from dlqanalysis.report.page import html
from dlqanalysis.report.periodic import daily, must_look, periodic, told, weekly
from dlqanalysis.report.running import execute, run
from dlqanalysis.report.sending import sent_by

__all__ = [
    "archivable", "compare", "daily", "earlier", "execute", "headline", "html", "keep", "lives", "lying", "must_look", "periodic",
    "read", "rehearse", "run", "sent_by", "since_last", "told", "weekly", "went_well",
]  # fmt: skip

spare()
