import json

import pytest

from core import terminal


def test_control_characters_do_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("a\x1b]0;owned\x07b")
    terminal.show("a\x1b[31mb\u202e")
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\\x1b" in out
    assert "\u202e" not in out


def test_cells_of_a_table_are_one_line_that_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = terminal.table("photo", "reason")
    shown.add_row("/p/\x1b]0;owned\x07\u202e\nforged line.jpg", "no_face")
    terminal.show(shown)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\nforged line.jpg" in out
    assert terminal.line("a\nb") == "a\\nb"
    assert terminal.plain("a\nb") == "a\nb"


def test_one_is_no_plural() -> None:
    assert [terminal.number_of(number, "face") for number in (0, 1, 2000)] == ["0 faces", "1 face", "2,000 faces"]
    assert [terminal.number_of(number, "copy", "copies") for number in (1, 2)] == ["1 copy", "2 copies"]


def test_json_holds_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    name = "caf\udce9 \u540d"
    terminal.print_json({"name": name})
    assert json.loads(capsys.readouterr().out) == {"name": name}


def test_markup_in_names_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    shown = terminal.table("person")
    shown.add_row("[bold]:smile:[/bold]")
    terminal.show(shown)
    assert "[bold]:smile:[/bold]" in capsys.readouterr().out
