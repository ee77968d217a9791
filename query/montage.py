"""Answers as one picture: each face of a target beside its best matches, with names and distances. To be sent, printed or pasted."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StorageError, UsageError
from core.files import check_writable
from core.terminal import line
from query import words
from query.crops import Card, stored

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from query.answers import Match

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_MOST, _ACROSS = 8, 4  # matches of a face; of them, in a row
_MOST_FACES = 20  # a picture of more would be 16,000 pixels high
_MOST_TOLD = 10  # sentences below
_MARGIN, _GAP, _TARGET, _TILE, _CAPTION = 48, 24, 380, 240, 118  # pixels
_PAPER, _INK, _SOFT, _TRACK, _YES, _NO = "#ffffff", "#1a1d21", "#5b616a", "#e3e6ea", "#17703c", "#7d5200"
_NAME, _TEXT = 26, 20  # pixels of letters
_LONGEST = 200  # characters of a name that are looked at

# The system's fonts; the first that has all of a text is taken. Pillow's own knows some of the Latin letters only.
_FONTS = (
    *("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial.ttf", "Arial Unicode.ttf"),
    *("NotoSansCJK-Regular.ttc", "NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf"),
)
_NOWHERE = "\U0010ffff"  # a character that no font has


def check(path: Path) -> None:
    """Refuses what can't become the picture, before the search.

    Raises:
        UsageError: it can't be written, or has another ending than .png, .jpg or .jpeg.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"--montage {path} has to end in .png, .jpg or .jpeg.")
    check_writable(path, "--montage")


def write(path: Path, cards: Sequence[Card]) -> None:
    """Writes the picture.

    Raises:
        StorageError: the file can't be written.
    """
    buffer = io.BytesIO()
    draw(cards).save(buffer, _FORMATS[path.suffix.lower()], quality=90)
    try:
        path.write_bytes(buffer.getbuffer())
    except OSError as error:
        raise StorageError.of(error, f"write the picture {path}", "Choose another file with --montage.") from None


def draw(cards: Sequence[Card]) -> Image.Image:
    """The picture: a band for each face, as wide as the one with the most matches needs."""
    from PIL import Image, ImageDraw

    faces = [(card, number) for card in cards for number in range(len(card.answer.faces))]
    told = [f"{Path(card.answer.target).name}: {card.answer.error[1]}" for card in cards if card.answer.error]
    if len(faces) > _MOST_FACES:
        told.insert(0, f"and {len(faces) - _MOST_FACES:,} more faces")
        faces = faces[:_MOST_FACES]
    if len(told) > _MOST_TOLD:
        told[_MOST_TOLD - 1 :] = [f"and {len(told) - _MOST_TOLD + 1:,} more that have no face to show"]
    most = max((len(card.answer.faces[number].matches) for card, number in faces), default=0)
    across = max(1, min(_ACROSS, most))
    width = _MARGIN + _TARGET + _MARGIN + across * (_TILE + _GAP) - _GAP + _MARGIN
    heights = [_height(card, number, across) for card, number in faces]
    total = _MARGIN + sum(heights) + len(heights) * _MARGIN + (2 * len(told) * _TEXT + _GAP if told else 0)
    picture = Image.new("RGB", (width, total), _PAPER)
    pen = ImageDraw.Draw(picture)
    top = _MARGIN
    for (card, number), height in zip(faces, heights, strict=True):
        if top > _MARGIN:
            pen.line([(_MARGIN, top - _MARGIN // 2), (width - _MARGIN, top - _MARGIN // 2)], _TRACK, 2)
        _band(picture, pen, card, number, top, across)
        top += height + _MARGIN
    for sentence in told:
        _write(pen, (_MARGIN, top), sentence, _TEXT, _SOFT, width - 2 * _MARGIN)
        top += 2 * _TEXT
    return picture


def _height(card: Card, number: int, across: int) -> int:
    rows = -(-min(_MOST, len(card.answer.faces[number].matches)) // across)
    return max(_TARGET + _CAPTION, rows * (_TILE + _CAPTION + _GAP) - _GAP)


def _band(picture: Image.Image, pen: ImageDraw.ImageDraw, card: Card, number: int, top: int, across: int) -> None:
    from PIL import Image

    answer = card.answer
    face = answer.faces[number]
    target = None
    if card.faces[number]:
        with Image.open(io.BytesIO(card.faces[number]), formats=["JPEG"]) as kept:  # our own JPEG
            target = kept.resize((_TARGET, _TARGET), Image.Resampling.LANCZOS)
    _paste(picture, pen, target, (_MARGIN, top), _TARGET)
    caption = top + _TARGET + 14
    _write(pen, (_MARGIN, caption), words.verdict(face), _NAME + 4, _INK, _TARGET)
    which = f"face {number + 1} of {len(answer.faces)}, " if len(answer.faces) > 1 else ""
    _write(pen, (_MARGIN, caption + 40), f"{which}{answer.target.rstrip('/').rpartition('/')[2]}", _TEXT, _SOFT, _TARGET)
    if len(face.matches) > _MOST:
        _write(pen, (_MARGIN, caption + 68), f"the best {_MOST} of {len(face.matches):,} results", _TEXT, _SOFT, _TARGET)
    for place, match in enumerate(face.matches[:_MOST]):
        row, column = divmod(place, across)
        at = (2 * _MARGIN + _TARGET + column * (_TILE + _GAP), top + row * (_TILE + _CAPTION + _GAP))
        _paste(picture, pen, stored(match.best, _TILE, card.max_pixels), at, _TILE)
        _caption(pen, match, answer.threshold, (at[0], at[1] + _TILE))


def _caption(pen: ImageDraw.ImageDraw, match: Match, threshold: float | None, at: tuple[int, int]) -> None:
    left, top = at
    hue = _YES if match.verified else _NO
    pen.rounded_rectangle([left, top + 10, left + _TILE, top + 20], 5, _TRACK)
    reached = round(_TILE * words.nearness(match.best.distance, threshold))
    pen.rounded_rectangle([left, top + 10, left + max(10, reached), top + 20], 5, hue)
    pen.rectangle([left + _TILE // 2 - 1, top + 7, left + _TILE // 2 + 1, top + 23], _INK)
    _write(pen, (left, top + 30), words.name(match), _NAME, _INK, _TILE)
    _tick(pen, (left, top + 68), hue, is_yes=match.verified)
    _write(pen, (left + 26, top + 66), "the same person" if match.verified else "somebody else", _TEXT, hue, _TILE - 26)
    _write(pen, (left, top + 92), f"distance {match.best.distance:.4f}", _TEXT, _SOFT, _TILE)


def _tick(pen: ImageDraw.ImageDraw, at: tuple[int, int], hue: str, *, is_yes: bool) -> None:
    """A tick or a cross; drawn, since not every font has them."""
    left, top = at
    strokes = [[(1, 9), (7, 15), (18, 3)]] if is_yes else [[(3, 3), (15, 15)], [(15, 3), (3, 15)]]
    for stroke in strokes:
        pen.line([(left + x, top + y) for x, y in stroke], hue, 3, joint="curve")


def _paste(picture: Image.Image, pen: ImageDraw.ImageDraw, face: Image.Image | None, at: tuple[int, int], side: int) -> None:
    if face is not None:
        picture.paste(face, at, _rounded(side))
        return
    pen.rounded_rectangle([*at, at[0] + side - 1, at[1] + side - 1], 16, None, _TRACK, 3)
    _write(pen, (at[0] + 24, at[1] + side // 2 - _TEXT), "can't be read", _TEXT, _SOFT, side - 48)
    _write(pen, (at[0] + 24, at[1] + side // 2 + 6), "any more", _TEXT, _SOFT, side - 48)


@cache
def _rounded(side: int) -> Image.Image:
    """The mask of a square with round corners."""
    from PIL import Image, ImageDraw

    mask = Image.new("L", (2 * side, 2 * side))
    ImageDraw.Draw(mask).rounded_rectangle([0, 0, 2 * side - 1, 2 * side - 1], 32, 255)
    return mask.resize((side, side), Image.Resampling.LANCZOS)


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, hue: str, width: int) -> None:
    """One line of text from outside; what doesn't fit is cut off."""
    text = line(text[:_LONGEST])
    font = _font(text, size)
    blank = _drawn(font, _NOWHERE)
    # A letter without its accent says more than a box.
    text = "".join(unicodedata.normalize("NFKD", c)[0] if _drawn(font, c) == blank else c for c in text)
    if pen.textlength(text, font) > width:
        low, high = 0, len(text)  # characters that fit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if pen.textlength(text[:middle] + "…", font) <= width else (low, middle - 1)
        text = text[:low] + "…"
    pen.text(at, text, hue, font)


def _font(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The first font with all characters of a text, or the one that lacks the fewest."""
    best, fewest = None, len(text) + 1
    for font in _fonts(size):
        blank = _drawn(font, _NOWHERE)
        lacks = sum(not character.isspace() and _drawn(font, character) == blank for character in set(text))
        if lacks < fewest:
            best, fewest = font, lacks
        if not lacks:
            break
    assert best is not None  # noqa: S101 - Pillow has one
    return best


@lru_cache(4096)
def _drawn(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, character: str) -> bytes:
    return bytes(font.getmask(character))


@cache
def _fonts(size: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, ...]:
    return tuple(_known(size))


def _known(size: int) -> Iterator[ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    from contextlib import suppress

    from PIL import ImageFont

    for name in _FONTS:
        with suppress(OSError):
            yield ImageFont.truetype(name, size)
    yield ImageFont.load_default(size)
