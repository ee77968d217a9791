"""How commands talk: results on stdout, everything else on stderr, plain JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DONE, INCOMPLETE, FAILED = 0, 1, 2  # exit codes

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs on stdout; everything else goes to stderr.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
CollectionName = Annotated[str, typer.Option("--collection", "-c", help="The collection.", metavar="NAME")]

DEFAULT_COLLECTION = "faces"


def say(text: str) -> None:
    """Tells a person what is going on, on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document, on one line of stdout."""
    print(json.dumps(document, ensure_ascii=False), flush=True)  # noqa: T201


def show(*renderables: str | Table) -> None:
    """Prints text or tables for a person, on stdout, without reading markup or emoji into names and paths."""
    console(stderr=False).print(*renderables, sep="\n")


def console(*, stderr: bool) -> Console:
    """A rich console that takes text as it is."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in ``right`` are aligned to the right. Without any name there is no head."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    named = any(columns)
    made = Table(box=box.SIMPLE_HEAD if named else None, show_header=named, pad_edge=False)
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    return made
