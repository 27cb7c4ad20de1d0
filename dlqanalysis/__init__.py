"""Investigate dead-letter queues: what failed, why, what is safe to replay; replay exactly that, once.

import dlqanalysis as dlq
failures = dlq.load(dlq.connect("celery"), since="7d").pipe(dlq.classify).pipe(dlq.fingerprint)
dlq.coverage(failures)
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "1.0.0"

# name -> module. Loaded on first use, so that `import dlqanalysis` costs little more than pandas.
_FACE = {
    "connect": "sources",
    "connect_hand": "sources",
    "connect_monitor": "sources",
    "capabilities": "sources",
    "load": "loading",
    "scope": "loading",
    "summary": "summary",
    "details": "loading",
    "show": "loading",
    "from_records": "frame",
    "brief": "frame",
    "joined": "duplicates.joined",
    "queries": "queries",
    "classify": "classify",
    "coverage": "classify",
    "unknown_groups": "classify",
    "rule_stub": "classify",
    "rule_stubs": "classify",
    "related": "classify",
    "weigh": "classify.evidence",
    "history": "classify.evidence",
    "contradicted": "classify.evidence",
    "fingerprint": "fingerprint",
    "explain": "fingerprint",
    "similar": "fingerprint",
    "merge_stub": "fingerprint",
    "groups": "patterns",
    "counts": "patterns",
    "timeline": "patterns",
    "exhausted": "patterns",
    "lift": "patterns",
    "lives": "patterns.lives",
    "affected": "patterns.lives",
    "known_stub": "patterns.known",
    "linked": "patterns.known",
    "misfits": "patterns.fits",
    "payload_sizes": "patterns.fits",
    "retry_advice": "patterns.retries",
    "onsets": "patterns.onsets",
    "common_causes": "patterns.causes",
    "changes": "changes",
    "suspects": "changes",
    "duplicates": "duplicates",
    "side_effects": "duplicates.effects",
    "cleanup_sql": "duplicates.cleanup",
    "probe": "replay.probe",
    "depths": "operations",
    "watch": "operations",
    "rates": "workload",
    "capacity": "workload",
    "unseen": "workload",
    "workers": "operations",
    "running": "operations",
    "pausable": "operations",
    "metrics": "operations",
    "figures": "operations",
    "findings": "operations",
    "stuck": "workload",
    "looping": "workload",
    "unregistered": "workload",
    "orphaned": "workload",
    "beat_gaps": "workload",
    "expiring": "workload",
    "repair": "plan.repair",
    "plan": "plan",
    "Plan": "plan",
    "undo": "plan",
    "Journal": "journal",
    "note": "journal.notes",
    "forget": "journal.notes",
    "replay": "replay",
    "resume": "replay",
    "settle": "replay",
    "cancel": "replay",
    "verify": "replay",
    "Run": "replay.run",
    "check": "health",
    "suggest_thresholds": "health",
    "story": "report.story",
    "snapshot": "archive",
    "scan": "scan",
    "redact_frame": "redact",
    "reveal": "display.reveal",
    "sheet": "display.sheet",
    "profile": "profile",
}
_MODULES = {
    "archive": "archive",
    "charts": "charts",
    "demo": "demo",
    "dossier": "report.dossier",
    "errors": "errors",
    "frame": "frame",
    "health": "health",
    "model": "model",
    "notify": "notify",
    "patterns": "patterns",
    "redact": "redact",
    "report": "report",
}

__all__ = sorted([*_FACE, "__version__"])

if TYPE_CHECKING:
    from dlqanalysis.archive import snapshot
    from dlqanalysis.changes import changes, suspects
    from dlqanalysis.classify import (
        classify,
        coverage,
        related,
        rule_stub,
        rule_stubs,
        unknown_groups,
    )
    from dlqanalysis.classify.evidence import contradicted, history, weigh
    from dlqanalysis.display.reveal import reveal
    from dlqanalysis.display.sheet import sheet
    from dlqanalysis.duplicates import duplicates
    from dlqanalysis.duplicates.cleanup import cleanup_sql
    from dlqanalysis.duplicates.effects import side_effects
    from dlqanalysis.duplicates.joined import joined
    from dlqanalysis.fingerprint import explain, fingerprint, merge_stub, similar
    from dlqanalysis.frame import brief, from_records
    from dlqanalysis.health import check, suggest_thresholds
    from dlqanalysis.journal import Journal
    from dlqanalysis.journal.notes import forget, note
    from dlqanalysis.loading import details, load, scope, show
    from dlqanalysis.operations import (
        depths,
        figures,
        findings,
        metrics,
        pausable,
        running,
        watch,
        workers,
    )
    from dlqanalysis.patterns import counts, exhausted, groups, lift, timeline
    from dlqanalysis.patterns.causes import common_causes
    from dlqanalysis.patterns.fits import misfits, payload_sizes
    from dlqanalysis.patterns.known import known_stub, linked
    from dlqanalysis.patterns.lives import affected, lives
    from dlqanalysis.patterns.onsets import onsets
    from dlqanalysis.patterns.retries import retry_advice
    from dlqanalysis.plan import Plan, plan, undo
    from dlqanalysis.plan.repair import repair
    from dlqanalysis.profile import profile
    from dlqanalysis.queries import queries
    from dlqanalysis.redact import redact_frame
    from dlqanalysis.replay import cancel, replay, resume, settle, verify
    from dlqanalysis.replay.probe import probe
    from dlqanalysis.replay.run import Run
    from dlqanalysis.report.story import story
    from dlqanalysis.scan import scan
    from dlqanalysis.sources import (
        capabilities,
        connect,
        connect_hand,
        connect_monitor,
    )
    from dlqanalysis.summary import summary
    from dlqanalysis.workload import (
        beat_gaps,
        capacity,
        expiring,
        looping,
        orphaned,
        rates,
        stuck,
        unregistered,
        unseen,
    )


def __getattr__(name: str) -> Any:
    if name in _FACE or name in _MODULES:
        _show_redacted()
    if name in _FACE:
        module = import_module(f"dlqanalysis.{_FACE[name]}")
        return globals().setdefault(name, getattr(module, name))
    if name in _MODULES:
        return import_module(f"dlqanalysis.{_MODULES[name]}")
    hint = "" if name.startswith("_") else f". {_meant(name)}"
    raise AttributeError(f"module 'dlqanalysis' has no attribute '{name}'{hint}")


def _meant(name: str) -> str:
    from dlqanalysis.errors import did_you_mean

    return did_you_mean(name, _FACE)


_dressed: list[
    Any
] = []  # the shells that show frames redacted, which %load_ext asked for or a verb


def _show_redacted() -> None:
    """In IPython the first verb does what %load_ext does: whoever forgets that line must not see secrets."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and all(shell is not one for one in _dressed):
        load_ipython_extension(shell)


def load_ipython_extension(ipython: Any) -> None:
    """%load_ext dlqanalysis"""
    from dlqanalysis.display.extension import load

    _dressed.append(ipython)  # before: what is imported below asks for verbs, too
    load(ipython)


class _Face(ModuleType):
    """Keeps a verb named like its module (plan, replay, fingerprint) from being hidden by it: importing
    a submodule sets it as an attribute of the package."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _FACE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __dir__() -> list[str]:
    return sorted([*_FACE, *_MODULES, "__version__"])
