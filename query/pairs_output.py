"""Verdicts on pairs, shown: a table of what they come to for a person, JSON or CSV lines for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from core.terminal import print_json, print_line, say, show, table
from query import rows
from query.pairs import HEAD
from query.rates import Rates

if TYPE_CHECKING:
    from faces.recipe import Recipe
    from query.pairs import Judged


def show_pairs(pairs: Iterable[Judged], recipe: Recipe, *, json: bool, csv: bool) -> int:
    """Shows verdicts on pairs as they come, then how often they are right; says how many pairs have a photo that can't be used."""
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
