"""Takes the button that uploads a chart's data to plotly's maker out of plotly's renderers, and shows them figures
that were made harmless, as soon as there are any.

Importing them takes time, and most cells show tables: nothing is imported here.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any

CONFIG = {"showSendToCloud": False, "displaylogo": False, "plotlyServerURL": "", "responsive": True}
_RENDERERS = "plotly.io._renderers"
_SHOW = (
    "_build_mime_bundle",
    "_perform_external_rendering",
)  #: through one of them goes every figure that is shown
_made: list[Callable[[Mapping[str, Any]], dict[str, Any]]] = []  #: what makes a figure harmless


def no_share_button() -> None:
    """Now, where plotly's renderers were imported already; else when they are."""
    if _RENDERERS in sys.modules:
        _take(sys.modules[_RENDERERS])
    elif not any(isinstance(one, _Watch) for one in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


def shown_as(make: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """From now on every figure that plotly shows (as a dict) goes through `make` first."""
    _made[:] = [make]
    no_share_button()


def _take(renderers: Any) -> None:
    for name in _SHOW:
        show = getattr(renderers.renderers, name)
        if _made and not hasattr(show, "of_dlqanalysis"):
            setattr(renderers.renderers, name, _through(show))
    for name in renderers.renderers:
        renderer = renderers.renderers[name]
        if hasattr(renderer, "config"):
            renderer.config = {**(renderer.config or {}), **CONFIG}


def _through(show: Callable[..., Any]) -> Callable[..., Any]:
    def shown(figure: Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
        made = _made[0](figure) if _made else figure
        bundle = show(made, *arguments, **options)
        meta = (made.get("layout") or {}).get("meta")
        if (
            bundle and isinstance(meta, Mapping) and "alt" in meta
        ):  # for who sees no plotly, or nothing
            bundle = {"text/plain": str(meta["alt"]), **bundle}
        return bundle

    shown.of_dlqanalysis = True  # type: ignore[attr-defined]
    return shown


class _Watch(MetaPathFinder):
    """Sees the renderers being imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _RENDERERS:
            return None
        found = PathFinder.find_spec(fullname, path)
        if found is None or found.origin is None:
            return None
        loader = _Unshared(fullname, found.origin)
        return spec_from_file_location(fullname, found.origin, loader=loader)


class _Unshared(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _take(module)
