"""Where answers go: a table for a person, JSON or CSV lines for programs, a page and a picture, all while the search goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from core.errors import PhotoError
from core.files import check_writable
from core.settings import settings
from core.terminal import print_json, print_line, say, show

if TYPE_CHECKING:
    from faces.recipe import Recipe
    from query.answers import Answer
    from query.crops import Card
    from query.targets import Target


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for; a table if neither ``json`` nor ``csv``, with ``pictures`` of faces where the terminal shows them."""

    json: bool = False
    csv: bool = False
    html: Path | None = None
    montage: Path | None = None
    pictures: bool | None = None


class Output:
    """Shows answers as they come; writes the page and the picture at the end.

    Raises:
        UsageError: one of the files can't be written.
    """

    def __init__(self, wishes: Wishes) -> None:
        self.missed = False  # whether there was a target for which nothing was found
        self._wishes = wishes
        self._cards: list[Card] = []
        self._recipe: Recipe | None = None
        self._is_first = True
        self._meaning: str | None = None  # of the tables, which is the same for all
        if wishes.html:
            check_writable(wishes.html, "--html")
        if wishes.montage:
            from query import montage

            montage.check(wishes.montage)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None or self._recipe is None:
            return
        if self._meaning is not None:
            show(self._meaning)
        if self._wishes.html is not None:
            from query import page

            page.write(self._wishes.html, self._cards, self._recipe)
            say(f"The page: {self._wishes.html}")
        if self._wishes.montage is not None:
            from query import montage

            montage.write(self._wishes.montage, self._cards)
            say(f"The picture: {self._wishes.montage}")

    def add(self, target: Target, answer: Answer, recipe: Recipe) -> None:
        """Shows one answer."""
        self.missed |= not answer.found
        self._recipe = recipe
        wishes = self._wishes
        if wishes.json:
            print_json(answer.as_dict())
        elif wishes.csv:
            self._rows(answer)
        else:
            self._table(target, answer)
        if wishes.html or wishes.montage:
            self._cards.append(_card(target, answer))

    def _rows(self, answer: Answer) -> None:
        from query import rows

        if self._is_first:
            print_line(rows.head())
        self._is_first = False
        for line in rows.lines(answer):
            print_line(line)

    def _table(self, target: Target, answer: Answer) -> None:
        from query import pictures
        from query.tables import meaning, tables

        protocol = pictures.protocol(self._wishes.pictures)
        show(*tables(answer, pictures.strips(_card(target, answer), protocol) if protocol else ()))
        self._meaning = meaning(answer) or self._meaning


def _card(target: Target, answer: Answer) -> Card:
    from query.crops import card

    try:
        data = target.place.read()
    except PhotoError:
        data = b""
    return card(answer, data, settings().max_pixels)
