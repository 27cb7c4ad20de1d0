"""What a task takes, as the profile writes it down, and what its positional arguments are called by that.

`[signatures]` in the profile: `generate_memo = "property_id: int, template_id: int = 1, *, urgent = False"`. It is
read as Python reads a `def`, and never run.
"""

import ast
import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pandas as pd

from dlqanalysis.errors import SettingsError
from dlqanalysis.payload import fields_at
from dlqanalysis.profile import Profile

TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "None": (type(None),),
}
_KINDS = ("posonlyargs", "args", "kwonlyargs")


def named(failures: pd.DataFrame, name: str, profile: Profile) -> pd.Series:
    """A payload's field (user.id goes inside) of each failure, as text: out of kwargs, else out of the positional
    argument that the task's signature calls so; missing where there is none."""
    found = fields_at(failures["kwargs"], name)
    if not profile.signatures or not found.isna().any():
        return found
    first, _, inside = name.partition(".")
    tasks = failures["task_name"].astype("str")
    for task in tasks[found.isna()].dropna().unique():
        text = profile.of(profile.signatures, task)
        names = positional(text, task) if text else ()
        if first not in names:
            continue
        rows = (found.isna() & (tasks == task)).to_numpy(bool)
        path = f"{names.index(first)}{'.' if inside else ''}{inside}"
        found[rows] = fields_at(failures.loc[rows, "args"], path).to_numpy(object)
    return found


def positional(text: str, task: str = "") -> tuple[str, ...]:
    """What the positional arguments of a task are called.

    >>> positional("property_id: int, template_id = 1, *, urgent = False")
    ('property_id', 'template_id')
    """
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature(text, task).parameters.values()
    return tuple(one.name for one in parameters if one.kind in places)


@lru_cache(maxsize=512)
def signature(text: str, task: str = "") -> inspect.Signature:
    """A signature as the profile writes it, or a sentence about what is wrong in it."""
    try:
        (node,) = ast.parse(f"def f({text}): pass").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        node = None
    if not isinstance(node, ast.FunctionDef) or len(node.body) != 1:
        raise SettingsError(
            f"The profile's signature of {task} cannot be read. Write what stands between the brackets of its"
            ' def: "order_id: int, retry = False".'
        )
    found, given = [], node.args
    several = len(given.posonlyargs) + len(given.args) - len(given.defaults)
    kinds = zip(
        _KINDS,
        (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD,
         inspect.Parameter.KEYWORD_ONLY),
        strict=True,
    )  # fmt: skip
    place = 0
    for name, kind in kinds:
        for number, one in enumerate(getattr(given, name)):
            keyword = kind is inspect.Parameter.KEYWORD_ONLY
            free = given.kw_defaults[number] is not None if keyword else place >= several
            place += not keyword
            default = None if free else inspect.Parameter.empty
            found.append(
                inspect.Parameter(one.arg, kind, default=default, annotation=_types(one.annotation))
            )
        if name == "args" and given.vararg:
            found.append(inspect.Parameter(given.vararg.arg, inspect.Parameter.VAR_POSITIONAL))
    if given.kwarg:
        found.append(inspect.Parameter(given.kwarg.arg, inspect.Parameter.VAR_KEYWORD))
    try:
        return inspect.Signature(found)
    except ValueError as error:  # one name twice
        raise SettingsError(f"The profile's signature of {task} is none: {error}.") from None


def _types(node: ast.expr | None) -> Any:
    """The names of a type that can be checked, such as ("int", "None"); empty for any other."""
    parts = [] if node is None else ast.unparse(node).split("|")
    names = tuple(part.strip() for part in parts)
    return names if all(name in TYPES for name in names) else ()
