"""After an incident: what happened in order, how far it reached, what became of it, whether it is over, and the
page for the incident's record, with what only a person knows left open.
"""

from dlqanalysis.report.dossier.chronicle import chronicle
from dlqanalysis.report.dossier.ending import CONFIRM, checklist, episodes, resolution
from dlqanalysis.report.dossier.fates import GONE, aftermath, remains
from dlqanalysis.report.dossier.reach import radius
from dlqanalysis.report.dossier.record import OPEN, facts, page

__all__ = [
    "CONFIRM", "GONE", "OPEN", "aftermath", "checklist", "chronicle", "episodes", "facts", "page", "radius", "remains",
    "resolution",
]  # fmt: skip
