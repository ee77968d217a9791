"""How commands talk: results on stdout, everything else on stderr, plain JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

DONE, INCOMPLETE, FAILED, INTERRUPTED, READER_GONE = 0, 1, 2, 130, 141  # exit codes

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs on stdout; everything else goes to stderr.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
CollectionName = Annotated[str, typer.Option("--collection", "-c", help="The collection.", metavar="NAME")]

_WIDE = 100_000  # columns

DEFAULT_COLLECTION = "faces"


def say(text: str) -> None:
    """Tells a person what is going on, on stderr."""
    print(plain(text), file=sys.stderr, flush=True)  # noqa: T201


def number_of(number: int, one: str, many: str | None = None) -> str:
    """A number of things, as a person reads it: 1 face, 2,000 faces; ``many`` is for what takes no s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document, on one line of stdout."""
    with _reader():
        print(json.dumps(document, ensure_ascii=True), flush=True)  # noqa: T201


def print_line(text: str) -> None:
    """One line of stdout, for programs; on a terminal it does nothing but stand there."""
    with _reader():
        print(plain(text) if sys.stdout.isatty() else text, flush=True)  # noqa: T201


def show(*renderables: RenderableType) -> None:
    """Prints text, or tables and what else rich can show, for a person, on stdout."""
    writer = console(stderr=False)
    with writer.capture() as capture:
        for each in renderables:
            if isinstance(each, str):
                writer.print(plain(each), soft_wrap=True)
            else:
                writer.print(each)
    with _reader():
        print(capture.get(), end="", flush=True)  # noqa: T201


def ask(question: str) -> None:
    """Asks before something is destroyed; anything but yes ends the command.

    Raises:
        UsageError: there is nobody to ask.
    """
    check_asking(question)
    typer.confirm(question, abort=True, err=True)


def check_asking(question: str) -> None:
    """Refuses what will have to be asked about where there is nobody to ask.

    Raises:
        UsageError: stdin is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask on: add --yes.")


def plain(text: str) -> str:
    """Text that does nothing to a terminal: names of people and files come from outside, and can hold control characters."""
    return "\n".join(map(line, text.split("\n")))


def line(text: str) -> str:
    """A name as it can stand in a line: like :func:`plain`, and a line break in it makes no line of its own."""
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def _reader() -> Iterator[None]:
    """Ends the command quietly when the reader of its output has gone, as with `| head`."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(READER_GONE) from None


def console(*, stderr: bool) -> Console:
    """A rich console that takes text as it is, and breaks no line of a table that another program reads."""
    from rich.console import Console

    piped = not stderr and not sys.stdout.isatty()
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=_WIDE if piped else None)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in ``right`` are aligned to the right. Without any name there is no head.

    What is added to it is cleaned as :func:`line` does.
    """
    from rich import box
    from rich.text import Text

    named = any(columns)
    made = _clean()(box=box.SIMPLE_HEAD if named else None, show_header=named, pad_edge=False)
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    return made


@cache
def _clean() -> type[Table]:
    from rich.table import Table

    class Clean(Table):
        def add_row(self, *cells: RenderableType | None, **more: Any) -> None:
            super().add_row(*(line(cell) if isinstance(cell, str) else cell for cell in cells), **more)

    return Clean
