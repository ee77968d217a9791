from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from query.answers import Answer, FaceAnswer
from query.tables import meaning, tables
from tests.query.cards_made import answer, match


def printed(shown: Answer, width: int, encoding: str = "utf-8", *, terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="replace")
    colours: Literal["standard"] | None = "standard" if terminal else None
    console = Console(file=file, width=width, markup=False, emoji=False, highlight=False, force_terminal=terminal, color_system=colours)
    for each in tables(shown):
        console.print(each, soft_wrap=isinstance(each, str))
    file.flush()
    return raw.getvalue().decode(encoding)


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.strip(" |").startswith(name))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("fpir", [None, 0.01])
def test_tables_fit_in_80_columns(portraits: dict[str, Path], encoding: str, fpir: float | None) -> None:
    text = printed(answer(portraits, fpir=fpir), 80, encoding)
    lines = [
        line for line in text.splitlines() if "face 1 of 2" not in line and "face 2 of 2" not in line and "up to a distance" not in line
    ]
    assert max(map(cell_len, lines)) <= 80
    assert ("strangers" in text) == (fpir is not None)
    assert "distance" in row(text, "person")
    assert "matched" in row(text, "person")


def test_a_match_bar_says_how_near_in_blocks_or_in_plain_letters(portraits: dict[str, Path]) -> None:
    found = answer(portraits)
    assert "yes █████▏··" in row(printed(found, 120), "Barack")
    assert "no  ········" in row(printed(found, 120), "(not named)")
    assert "yes #####..." in row(printed(found, 120, "latin-1"), "Barack")


def test_what_is_beyond_the_threshold_never_looks_half_full() -> None:
    found = [match("Within", Path("1.jpg"), distance=0.07), match("Beyond", Path("2.jpg"), distance=0.0701)]
    text = printed(Answer("who.jpg", "staff", [FaceAnswer((0, 0, 9, 9), 1.0, found)], threshold=0.07), 120)
    assert "yes ████····" in row(text, "Within")
    assert "no  ███▉····" in row(text, "Beyond")


def test_colour_only_adds(portraits: dict[str, Path]) -> None:
    found = answer(portraits)
    coloured = printed(found, 120, terminal=True)
    assert "\x1b[32m" in coloured
    assert Text.from_ansi(coloured).plain.split() == printed(found, 120).split()


def test_rates_of_strangers_are_counted(portraits: dict[str, Path]) -> None:
    text = printed(answer(portraits, fpir=0.02), 140)
    assert "1 of 500" in row(text, "Barack")
    assert "1 of 50 " in row(text, "(not named)")
    assert "stranger" not in printed(answer(portraits), 140)


def test_what_yes_means_is_told_once(portraits: dict[str, Path]) -> None:
    calibrated, judged = answer(portraits, fpir=0.02), answer(portraits)
    assert str(meaning(calibrated)).endswith("half a bar. A stranger comes within it in 1 of 50 searches.")
    assert "Not calibrated: a stranger may come within it" in str(meaning(judged))
    assert meaning(Answer("who.jpg", "staff", [], threshold=0.07)) is None


def test_a_path_is_cut_at_its_beginning_and_only_where_there_is_no_room() -> None:
    deep = Path("/photos") / "a folder" / "名前の長いフォルダ" / ("x" * 60) / "the end.jpg"
    found = Answer("who.jpg", "staff", [FaceAnswer((0, 0, 9, 9), 1.0, [match("Ada", deep)])], threshold=0.07)
    assert row(printed(found, 80), "Ada").rstrip().endswith("xx/the end.jpg")
    assert "…x" in row(printed(found, 80), "Ada")
    assert "...x" in row(printed(found, 80, "ascii"), "Ada")
    assert str(deep) in printed(found, 100_000)


def test_names_do_nothing_to_a_terminal() -> None:
    found = [match("A\x1b[2Jda\nLovelace", Path("/photos/1\x1b]0;title\a.jpg"))]
    text = printed(Answer("who.jpg", "staff", [FaceAnswer((0, 0, 9, 9), 1.0, found)], threshold=0.07), 140)
    assert "\x1b" not in text
    assert "\a" not in text
    assert "A\\x1b[2Jda\\nLovelace" in text


def test_a_narrow_terminal_still_gets_everything(portraits: dict[str, Path]) -> None:
    text = printed(answer(portraits, fpir=0.5), 50)
    assert {"Obama", "yes", "0.0500", "50"} <= set(text.split())
    assert max(map(cell_len, [line for line in text.splitlines() if "Obama" in line])) <= 50


def test_errors_and_empty_collections_are_sentences() -> None:
    assert "The file is not a photo. (not_an_image)" in printed(
        Answer("n.txt", "s", error=("not_an_image", "The file is not a photo.")), 80
    )
    empty = printed(Answer("who.jpg", "staff", [FaceAnswer((0, 0, 9, 9), 1.0, [])], threshold=0.07), 200)
    assert "the collection staff holds no face to compare with" in empty
    assert "up to" not in empty
