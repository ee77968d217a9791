"""Vectors of two recipes can't be compared: what is asked for must agree with what a collection was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.errors import RecipeMismatch
from faces.recipe import Recipe, resolve, spelled


def agreed(name: str, pinned: Mapping[str, object], *, model: str | None = None, detector: str | None = None) -> Recipe:
    """The pinned recipe of a collection, if this machine can follow it and nothing else was asked for.

    Args:
        name: the collection, for the sentence.
        pinned: its recipe as stored.
        model: the model asked for; ``None`` for the collection's.
        detector: likewise.

    Raises:
        RecipeMismatch: the two differ, in what was asked for or in the weights that are installed here.
        ModelError: unknown model, or its weights are missing.
    """
    recipe = Recipe.from_dict(pinned)
    names = spelled(model or recipe.model, detector or recipe.detector)
    # The names first: nobody should have to bring weights only to be refused.
    asked = replace(recipe, model=names[0], detector=names[1])
    difference = asked.difference(recipe) or resolve(*names).difference(recipe)
    if difference is not None:
        raise RecipeMismatch(
            f"The collection {name!r} was made with another recipe ({difference}), so its faces can't be compared: "
            "leave out --model and --detector, or use a collection of its own."
        )
    return recipe
