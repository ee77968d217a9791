"""Faces in terminals that can show pictures: by kitty's graphics protocol, or by iTerm2's inline images.

Two short protocols and no library: of those there are, one keeps to a Pillow older than ours, and another knows one of the two and asks the
terminal questions as soon as it is imported. What a terminal can do is read off its environment, never asked: it would answer on stdin.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from query.crops import Card, stored

if TYPE_CHECKING:
    from PIL import Image, ImageDraw
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    from query.answers import Match

_MOST = 5  # faces found
_SIDE, _GAP = 160, 12  # pixels
_CELLS = 14  # columns of a terminal for a face
_CHUNK = 4096  # bytes of base64 that kitty takes at once
_YES, _NO = "#17703c", "#5b616a"


class Protocol(Enum):
    """How pictures are sent to a terminal."""

    kitty = "kitty"
    iterm2 = "iterm2"


# What terminals call themselves. Others that know a protocol don't say so, or only from some version on: for these there is --pictures.
_BY_TERM = {"xterm-kitty": Protocol.kitty, "xterm-ghostty": Protocol.kitty}
_BY_PROGRAM = {
    "ghostty": Protocol.kitty,
    "iTerm.app": Protocol.iterm2,
    "WezTerm": Protocol.iterm2,
    "mintty": Protocol.iterm2,
    "rio": Protocol.iterm2,
}


def protocol(asked: bool | None) -> Protocol | None:
    """How pictures can be shown on stdout, or ``None`` for not at all.

    Args:
        asked: ``--pictures``, ``--no-pictures``, or neither: then only a terminal that is known for it gets them.
    """
    if asked is False or not sys.stdout.isatty():
        return None
    known = spoken(os.environ)
    return known or (Protocol.iterm2 if asked else None)  # the one that more terminals know; others leave it out


def spoken(environment: Mapping[str, str]) -> Protocol | None:
    """The protocol of the terminal that this environment is about, if it is known."""
    term = environment.get("TERM", "")
    # Multiplexers inherit the environment of the terminal that they were started in, and swallow its pictures.
    if any(environment.get(name) for name in ("TMUX", "STY", "ZELLIJ")) or term.startswith(("screen", "tmux")):
        return None
    if environment.get("LC_TERMINAL") == "iTerm2":  # reaches other machines, as ssh often passes LC_* on
        return _BY_TERM.get(term, Protocol.iterm2)
    return _BY_TERM.get(term) or _BY_PROGRAM.get(environment.get("TERM_PROGRAM", ""))


@dataclass(frozen=True, slots=True)
class Strip:
    """One picture as the terminal takes it. As control codes: nothing of it reaches what is no terminal, and no line is broken."""

    png: bytes = field(repr=False)
    faces: int
    protocol: Protocol

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import ControlType, Segment

        columns = max(1, min(self.faces * _CELLS, options.max_width - 1))
        yield Segment(encoded(self.png, self.protocol, columns), None, [(ControlType.BELL,)])  # what kind of control does not matter
        yield Segment.line()


def strips(card: Card, protocol: Protocol) -> list[Strip]:
    """For each face of a target one row of pictures: the target, then its best matches in the order of the table."""
    columns = shutil.get_terminal_size().columns
    most = max(1, min(_MOST, columns // _CELLS - 1))
    made = []
    for number, face in enumerate(card.answer.faces):
        picture = row(card, number, most)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        made.append(Strip(buffer.getvalue(), 1 + min(most, len(face.matches)), protocol))
    return made


def row(card: Card, number: int, most: int = _MOST) -> Image.Image:
    """The row of a face, on nothing: it suits light and dark terminals."""
    from PIL import Image, ImageDraw

    matches = card.answer.faces[number].matches[:most]
    picture = Image.new("RGBA", ((1 + len(matches)) * (_SIDE + _GAP) + (_GAP if matches else 0), _SIDE))
    pen = ImageDraw.Draw(picture)
    if card.faces[number]:
        with Image.open(io.BytesIO(card.faces[number]), formats=["JPEG"]) as kept:  # our own JPEG
            picture.paste(kept.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
    for place, match in enumerate(matches, 1):
        left = place * (_SIDE + _GAP) + _GAP  # a wider gap after the target
        face = stored(match.best, _SIDE, card.max_pixels)
        if face is None:
            pen.rectangle([left, 0, left + _SIDE - 1, _SIDE - 1], None, "#7d828a", 3)
        else:
            picture.paste(face, (left, 0))
        _number(pen, place, match, left)
    return picture


def _number(pen: ImageDraw.ImageDraw, place: int, match: Match, left: int) -> None:
    """The line of the table that a face belongs to, with a tick if it is the same person."""
    from PIL import ImageFont

    width = 62 if match.verified else 34
    pen.rounded_rectangle([left + 6, _SIDE - 40, left + 6 + width, _SIDE - 6], 8, _YES if match.verified else _NO)
    pen.text((left + 23, _SIDE - 23), str(place), "white", ImageFont.load_default(24), anchor="mm")
    if match.verified:
        pen.line([(left + x, _SIDE - y) for x, y in ((38, 23), (46, 15), (60, 32))], "white", 4, joint="curve")


def encoded(png: bytes, protocol: Protocol, columns: int) -> str:
    """A PNG as the control codes that show it, so many columns wide; its height follows."""
    text = base64.b64encode(png).decode("ascii")
    if protocol is Protocol.iterm2:
        return f"\x1b]1337;File=inline=1;size={len(png)};width={columns};preserveAspectRatio=1:{text}\a"
    pieces = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    codes = []
    for at, piece in enumerate(pieces):
        first = f"a=T,f=100,q=2,c={columns}," if at == 0 else ""  # q=2: no answer, which would look as if typed
        codes.append(f"\x1b_G{first}m={int(at < len(pieces) - 1)};{piece}\x1b\\")
    return "".join(codes)
