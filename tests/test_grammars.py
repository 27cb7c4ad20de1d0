"""Grammars that no notebook asks for are not built, and answer as ever when somebody asks."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("rfc3987_syntax") is None, reason="this jsonschema has no such grammars"
)
_SHOWS = "go.Figure()._repr_mimebundle_(); assert 'nbformat' in sys.modules"


def plain(code: str) -> str:
    """What a process of its own prints."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    "way",
    [
        "import dlqanalysis.report, papermill, nbconvert",
        f"import dlqanalysis.charts, plotly.graph_objects as go; {_SHOWS}",
        f"from IPython.testing.globalipapp import start_ipython; start_ipython().run_line_magic('load_ext', 'dlqanalysis');"
        f"import plotly.graph_objects as go; {_SHOWS}",
    ],
)
def test_no_report_and_no_figure_builds_them(way):
    assert plain(f"{way}; print('lark' in sys.modules)").split() == ["False"]


def test_without_us_they_are_built():
    """So that the silence above means something."""
    assert plain("import nbformat; print('lark' in sys.modules)").split() == ["True"]


@pytest.mark.parametrize("first", ["", "from dlqanalysis.display.grammars import spare; spare();"])
def test_whoever_asks_is_answered(first):
    asked = [("http://\u00e9.example/x", "iri"), ("ht tp//", "iri"), ("\u00e9/x", "iri-reference"), ("<", "iri-reference")]  # fmt: skip
    code = (
        f"{first} from jsonschema import FormatChecker; print([FormatChecker().conforms(*one) for one in {asked!r}]);"
        "import rfc3987_syntax as whole; print(whole.is_valid_syntax_iri('x y'), whole.__file__[-26:]);"
        "from rfc3987_syntax.syntax_helpers import is_valid_syntax; print(is_valid_syntax('iri', 'http://a/'))"
    )
    assert plain(code).splitlines() == [
        "[True, False, True, False]", "False rfc3987_syntax/__init__.py", "True",
    ]  # fmt: skip
