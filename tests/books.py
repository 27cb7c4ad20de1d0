"""Notebooks for tests: the project's own, played in this process, and small ones made for a test."""

import ast
import json
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

HOSTILE = (
    "<script>window.__xss=1</script><img src=x onerror='window.__xss=2'>"
    "<a href='https://evil.example/'>Click</a></script>"
)
SECRET = "hunter2-s3cr3t"


def read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def code(book: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def python(cell: dict[str, Any]) -> ast.Module:
    """A cell's Python, without the one magic that notebooks use."""
    return ast.parse(source(cell).replace("%load_ext dlqanalysis\n", ""))


def play(name: str, without: str = "", **parameters: Any) -> tuple[list[Any], dict[str, Any]]:
    """What the cells of a notebook show, and its variables, run in this process with these parameters.

    Cells tagged `without` are left out.
    """
    shown, names = [], {}
    for cell in code(read(name)):
        if without in tags(cell):
            continue
        tree = python(cell)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), name, "eval"), names))  # noqa: S307
        if "parameters" in tags(cell):
            names.update(parameters)
    return shown, names


def small(path: Path, *cells: str, parameters: str = "source: str = 'x'  # where") -> Path:
    """A notebook at `path`: a title, a parameters cell, the kit's imports, then these cells."""
    v4 = nbformat.v4
    book = v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    book.cells = [
        v4.new_markdown_cell("# A small notebook\n\nIt asks nothing."),
        v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        v4.new_code_cell(
            "%load_ext dlqanalysis\nimport dlqanalysis as dlq\nfrom dlqanalysis import charts"
        ),
        *(
            v4.new_markdown_cell(cell) if cell.startswith("#") else v4.new_code_cell(cell)
            for cell in cells
        ),
    ]
    nbformat.write(book, path)
    return path


#: A cell that makes 40 failures whose every text is hostile and holds a secret.
FAILURES = f'''
rows = [
    dict(failed_at=f"2026-11-{{1 + n % 9:02d}}T{{n % 24:02d}}:00:00Z", failure_id=str(n),
         task_name="t{{}}{HOSTILE}".replace("{{}}", str(n % 3)), queue="q{HOSTILE}",
         exception_type="E{HOSTILE}", exception_message="{HOSTILE} password={SECRET} a@b.example",
         kwargs={{"password": "{SECRET}", "note": "{HOSTILE}"}})
    for n in range(40)
]
failures = dlq.from_records(rows)
'''
