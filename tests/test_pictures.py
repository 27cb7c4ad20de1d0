"""The pictures of README and docs show what the reports show now, say in words what is to be seen, and are small."""

import re
from pathlib import Path

import pytest

from tests import pictures
from tests.browser import chromium  # noqa: F401

ROOT = Path(__file__).parents[1]
SHOWN = [
    (page, alt, link)
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for alt, link in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
]


@pytest.mark.browser
def test_each_picture_shows_what_its_report_says_now(browser, tmp_path):
    stale = {}
    for name, _, words in pictures.seen(browser, tmp_path):
        kept = pictures.FOLDER / f"{name}.png"
        was = pictures.words_of(kept.read_bytes()) if kept.exists() else []
        if was != words:
            stale[name] = sorted(set(was) ^ set(words))
    assert not stale, f"run make pictures: {stale}"


def test_pictures_are_small_and_each_is_shown_with_what_it_shows():
    kept = sorted(pictures.FOLDER.iterdir())
    assert [path.stem for path in kept] == sorted(pictures.PICTURES)
    shown = {(page.parent / link).resolve() for page, _, link in SHOWN}
    assert shown == {path.resolve() for path in kept}
    for path in kept:
        png = path.read_bytes()
        assert len(png) <= 120_000 and pictures.width_of(png) <= 1200, path.name
    for page, alt, _ in SHOWN:
        assert len(alt) > 60 and re.search(r"\d", alt), f"{page.name}: {alt}"


def test_words_go_into_a_picture_and_come_out_again():
    png = (pictures.FOLDER / "plan.png").read_bytes()
    words = pictures.words_of(png)
    assert any("94 to replay, 1,823 held back" in line for line in words)
    assert pictures.words_of(pictures.with_words(png, ["another", "word ▲"])) == [
        "another",
        "word ▲",
    ]
    assert pictures.words_of(png[:33]) == []
