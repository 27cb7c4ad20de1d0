"""Spares a process the grammars that Jupyter's validator builds when it is imported, and that notebooks never ask for.

nbformat imports jsonschema, and that rfc3987-syntax (1.1), which then builds 39 grammars of internationalized URLs:
1.3 of the 1.5 seconds of `import nbformat`. Plotly imports nbformat with its first figure, so a report pays twice.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_NAME = "rfc3987_syntax"


def spare() -> None:
    """From now on they are built when the first such URL is judged, or anything else of that library is asked for."""
    if _NAME not in sys.modules and (spec := find_spec(_NAME)) is not None:
        later = _Later(_NAME)
        later.__path__ = list(
            spec.submodule_search_locations or ()
        )  # the import system asks for it
        sys.modules[_NAME] = later


class _Later(ModuleType):
    """Stands for the library until something is asked of it; what jsonschema takes from it is a function."""

    def is_valid_syntax(self, term: str, text: str) -> bool:
        """The library's own answer."""
        return bool(_library().is_valid_syntax(term, text))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what is asked of any module
            raise AttributeError(name)
        return getattr(_library(), name)


def _library() -> ModuleType:
    if isinstance(sys.modules.get(_NAME), _Later):
        del sys.modules[_NAME]
    return import_module(_NAME)
