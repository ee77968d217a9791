from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from query import pictures
from query.pictures import Protocol
from query.tables import tables
from tests.query.cards_made import answer, cards, crowd


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, Protocol.kitty),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, Protocol.kitty),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.iterm2),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Protocol.iterm2),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Protocol.iterm2),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, None),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, None),  # another terminal, started from kitty
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "iTerm.app"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/run/tmux,1,0"}, None),
        ({"TERM": "screen", "LC_TERMINAL": "iTerm2"}, None),
        ({}, None),
    ],
)
def test_a_terminal_says_by_its_environment_what_it_can_show(environment: dict[str, str], protocol: Protocol | None) -> None:
    assert pictures.spoken(environment) == protocol


@pytest.mark.parametrize(
    ("asked", "is_terminal", "term", "protocol"),
    [
        (None, True, "xterm-kitty", Protocol.kitty),
        (None, True, "xterm", None),
        (True, True, "xterm", Protocol.iterm2),
        (True, True, "xterm-kitty", Protocol.kitty),
        (False, True, "xterm-kitty", None),
        (None, False, "xterm-kitty", None),
        (True, False, "xterm-kitty", None),  # what reads a pipe can show nothing
    ],
)
def test_pictures_are_for_terminals_and_can_be_asked_for_and_refused(
    asked: bool | None, is_terminal: bool, term: str, protocol: Protocol | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMUX", "STY", "ZELLIJ", "LC_TERMINAL", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal, raising=False)
    assert pictures.protocol(asked) == protocol


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(portraits: dict[str, Path], protocol: Protocol, *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
    found = cards(portraits)[0]
    with console.capture() as capture:
        for each in tables(answer(portraits), pictures.strips(found, protocol)):
            console.print(each)
    return capture.get()


def test_kitty_gets_a_png_in_pieces(portraits: dict[str, Path]) -> None:
    text = shown(portraits, Protocol.kitty, terminal=True)
    codes = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert codes[0][0] == "a=T,f=100,q=2,c=70,m=1"
    assert {control for control, _ in codes[1:-1]} == {"m=1"}
    assert codes[-1][0] == "m=0"
    assert max(len(piece) for _, piece in codes) == 4096
    with Image.open(io.BytesIO(base64.b64decode("".join(piece for _, piece in codes)))) as picture:
        assert (picture.format, picture.size) == ("PNG", (5 * 172 + 12, 160))
    assert re.search(r"\x1b\\\n", text)


def test_iterm2_gets_a_png_at_once(portraits: dict[str, Path]) -> None:
    text = shown(portraits, Protocol.iterm2, terminal=True)
    (found,) = re.findall(r"\x1b\]1337;File=inline=1;size=(\d+);width=70;preserveAspectRatio=1:([^\a]+)\a\n", text)
    assert len(base64.b64decode(found[1])) == int(found[0])
    assert text.index("face 1 of 2") < text.index("\x1b]1337") < text.index("person")


def test_nothing_but_a_terminal_gets_control_codes(portraits: dict[str, Path]) -> None:
    text = shown(portraits, Protocol.kitty, terminal=False)
    assert "\x1b" not in text
    assert "Barack Obama" in text


def test_a_narrow_terminal_gets_fewer_faces(portraits: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "45")
    (strip,) = pictures.strips(crowd(portraits, 20), Protocol.kitty)
    assert strip.faces == 3
    monkeypatch.setenv("COLUMNS", "5")
    (strip,) = pictures.strips(crowd(portraits, 20), Protocol.kitty)
    assert strip.faces == 2


def test_a_strip_has_no_picture_in_its_representation(portraits: dict[str, Path]) -> None:
    (strip,) = pictures.strips(crowd(portraits, 1), Protocol.kitty)
    assert len(repr(strip)) < 100
