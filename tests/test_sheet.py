"""Exports for spreadsheets: no formula, no secret, nothing invisible, and every value still there."""

import csv
import io

import pandas as pd
import pytest

from dlqanalysis.display.sheet import sheet
from dlqanalysis.errors import SettingsError
from tests.hostile import PAYLOADS, failures

BAD = ("=", "+", "-", "@", "\t", "\r", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def read(path):
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))


def test_no_cell_of_a_hostile_incident_is_a_formula_or_invisible(tmp_path):
    rows = read(sheet(failures(), tmp_path / "out.csv"))
    cells = [cell for row in rows for cell in row]
    assert len(rows) == 2 * len(PAYLOADS) + 1
    assert not [cell for cell in cells if cell.lstrip().startswith(BAD)]
    assert not [cell for cell in cells if not cell.isprintable()]
    assert max(map(len, cells)) < 32_767
    assert any(r"\u202e" in cell for cell in cells) and any(r"\x1b[2J" in cell for cell in cells)
    assert any(cell.startswith("'=HYPERLINK(") for cell in cells)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1+1", "\t=1", "\n=1", "\ufeff=1", "\uff1d1"]
)
def test_each_way_to_a_formula_is_text(tmp_path, text):
    frame = pd.DataFrame(
        {"a": [text], text: ["x"], "b": pd.Categorical([text])}, index=pd.Index([text], name=text)
    )
    rows = read(sheet(frame, tmp_path / "out.csv"))
    assert all(cell == "" or not cell.lstrip().startswith(BAD) for row in rows for cell in row)


def test_numbers_and_times_stay_and_missing_is_empty(tmp_path):
    frame = pd.DataFrame(
        {
            "n": [-1.5, None],
            "when": pd.to_datetime(["2026-11-01", None], utc=True),
            "id": ["00123", None],
        }
    )
    assert read(sheet(frame, tmp_path / "out.csv"))[1:] == [
        ["-1.5", "2026-11-01 00:00:00+00:00", "00123"],
        [""] * 3,
    ]


def test_it_is_redacted_and_the_frame_is_not(tmp_path):
    frame = pd.DataFrame({"kwargs": ['{"password": "x1y2z3"}'], "raw": [b'{"token": "x1y2z3"}']})
    assert "x1y2z3" not in sheet(frame, tmp_path / "out.csv").read_text(encoding="utf-8")
    assert "x1y2z3" in frame["kwargs"][0]


def test_another_ending_and_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(SettingsError, match=r"ends in \.csv"):
        sheet(pd.DataFrame(), tmp_path / "out.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        sheet(pd.DataFrame({"a": [1]}), tmp_path / "file" / "out.csv")
