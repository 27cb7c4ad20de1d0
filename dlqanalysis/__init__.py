"""Investigate dead-letter queues: what failed, why, what is safe to replay; replay exactly that, once.

import dlqanalysis as dlq
failures = dlq.load(dlq.connect("celery"), since="7d").pipe(dlq.classify).pipe(dlq.fingerprint)
dlq.coverage(failures)
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> module. Loaded on first use, so that `import dlqanalysis` costs little more than pandas.
_FACE = {
    "connect": "sources",
    "connect_hand": "sources",
    "connect_monitor": "sources",
    "capabilities": "sources",
    "load": "sources",
    "summary": "summary",
    "details": "sources",
    "show": "sources",
    "from_records": "frame",
    "brief": "frame",
    "joined": "joined",
    "queries": "queries",
    "classify": "classify",
    "coverage": "classify",
    "unknown_groups": "classify",
    "rule_stub": "classify",
    "related": "classify",
    "weigh": "evidence",
    "history": "evidence",
    "contradicted": "evidence",
    "fingerprint": "fingerprint",
    "explain": "fingerprint",
    "similar": "fingerprint",
    "merge_stub": "fingerprint",
    "groups": "patterns",
    "counts": "patterns",
    "timeline": "patterns",
    "exhausted": "patterns",
    "lift": "patterns",
    "lives": "lives",
    "affected": "lives",
    "known_stub": "known",
    "retry_advice": "retries",
    "onsets": "onsets",
    "common_causes": "onsets",
    "changes": "changes",
    "suspects": "changes",
    "duplicates": "duplicates",
    "side_effects": "duplicates",
    "cleanup_sql": "cleanup",
    "probe": "probe",
    "depths": "operations",
    "workers": "operations",
    "running": "operations",
    "pausable": "operations",
    "metrics": "operations",
    "findings": "operations",
    "stuck": "workload",
    "looping": "workload",
    "unregistered": "workload",
    "orphaned": "workload",
    "beat_gaps": "workload",
    "expiring": "workload",
    "repair": "repair",
    "plan": "plan",
    "Plan": "plan",
    "undo": "plan",
    "Journal": "journal",
    "replay": "replay",
    "resume": "replay",
    "settle": "replay",
    "cancel": "replay",
    "verify": "replay",
    "Run": "run",
    "check": "health",
    "suggest_thresholds": "health",
    "story": "story",
    "snapshot": "archive",
    "scan": "scan",
    "redact_frame": "redact",
    "profile": "profile",
}
_MODULES = (
    "archive",
    "charts",
    "demo",
    "dossier",
    "errors",
    "frame",
    "health",
    "model",
    "notify",
    "patterns",
    "redact",
    "report",
)

__all__ = sorted([*_FACE, "__version__"])

if TYPE_CHECKING:
    from dlqanalysis.classify import classify, coverage, rule_stub, unknown_groups
    from dlqanalysis.frame import brief, from_records
    from dlqanalysis.journal import Journal
    from dlqanalysis.operations import depths, running, workers
    from dlqanalysis.plan import Plan, plan, undo
    from dlqanalysis.profile import profile
    from dlqanalysis.replay import cancel, replay, resume, settle, verify
    from dlqanalysis.run import Run
    from dlqanalysis.sources import (
        capabilities,
        connect,
        connect_hand,
        connect_monitor,
        details,
        load,
        show,
    )


def __getattr__(name: str) -> Any:
    if name in _FACE:
        module = import_module(f"dlqanalysis.{_FACE[name]}")
        return globals().setdefault(name, getattr(module, name))
    if name in _MODULES:
        return import_module(f"dlqanalysis.{name}")
    raise AttributeError(f"module 'dlqanalysis' has no attribute '{name}'")


def load_ipython_extension(ipython: Any) -> None:
    """%load_ext dlqanalysis"""
    from dlqanalysis.extension import load

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
