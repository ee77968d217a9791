"""How a bench tells its figures: a table for a person, one JSON document for a program."""

from __future__ import annotations

import json as jsons
from collections.abc import Mapping
from typing import Any

from core.terminal import show, table


def tell(figures: Mapping[str, Any], *, json: bool) -> None:
    """Prints figures by name."""
    if json:
        print(jsons.dumps(figures))
        return
    shown = table("", "", right=("",))
    for name, value in figures.items():
        shown.add_row(name.replace("_", " "), str(value))
    show(shown)
