"""Where answers go: a table for a person, JSON or CSV lines for programs, and a page, all while the search goes on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from core.errors import PhotoError
from core.files import check_writable
from core.settings import settings
from core.terminal import print_json, print_line, say, show, table

if TYPE_CHECKING:
    from faces.recipe import Recipe
    from query.answers import Answer
    from query.page import Card
    from query.pairs import Judged
    from query.targets import Target


class Output:
    """Shows answers as they come; writes the page at the end.

    Raises:
        UsageError: the page can't be written.
    """

    def __init__(self, *, json: bool, csv: bool, html: Path | None) -> None:
        self.missed = False  # whether there was a target for which nothing was found
        self._json, self._csv, self._html = json, csv, html
        self._cards: list[Card] = []
        self._recipe: Recipe | None = None
        self._is_first = True
        if html:
            check_writable(html, "--html")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self._html is not None and self._recipe is not None:
            from query.page import write

            write(self._html, self._cards, self._recipe)
            say(f"The page: {self._html}")

    def add(self, target: Target, answer: Answer, recipe: Recipe) -> None:
        """Shows one answer."""
        self.missed |= not answer.found
        self._recipe = recipe
        if self._json:
            print_json(answer.as_dict())
        elif self._csv:
            self._rows(answer)
        else:
            from query.tables import tables

            show(*tables(answer))
        if self._html:
            from query.page import card

            self._cards.append(card(answer, _bytes(target), settings().max_pixels))

    def _rows(self, answer: Answer) -> None:
        from query import rows

        if self._is_first:
            print_line(rows.head())
        self._is_first = False
        for line in rows.lines(answer):
            print_line(line)


def _bytes(target: Target) -> bytes:
    try:
        return target.place.read()
    except PhotoError:
        return b""


def show_pairs(pairs: Iterable[Judged], recipe: Recipe, *, json: bool, csv: bool) -> int:
    """Shows verdicts on pairs as they come, then how often they are right; says how many pairs have a photo that can't be used."""
    from query import rows
    from query.pairs import HEAD
    from query.rates import Rates

    rates = Rates(recipe.threshold)
    if csv:
        print_line(rows.line(HEAD))
    for judged in pairs:
        rates.add(judged)
        if json:
            print_json(judged.as_dict())
        elif csv:
            print_line(rows.line(judged.as_row()))
        elif judged.error is not None:
            say(f"facedex: line {judged.pair.line}: {judged.error[1]}")
    if json:
        print_json({"summary": rates.as_dict()})
    elif csv:
        say("\n".join(f"{what}: {how_much}" for what, how_much in rates.rows()))
    else:
        shown = table("pairs", f"{rates.pairs:,}")
        for what, how_much in rates.rows()[1:]:
            shown.add_row(what, how_much)
        show(shown)
    return rates.errors
