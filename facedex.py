"""The front door: the command line, put together from the rooms' own commands, and the names that a program imports.

Finds one face among millions. Every face becomes one vector, once; a search asks Elasticsearch for the nearest ones.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

import es.cluster.commands
import es.commands
import es.kibana.commands
import es.operations_commands
import es.security.commands
import es.snapshot_commands
import ingest.collections_commands
import ingest.commands
import query.calibrate_commands
import query.commands
import query.recall_commands
from core.command_line import App
from core.errors import (
    CollectionError,
    EngineError,
    FacedexError,
    ModelError,
    PhotoError,
    RecipeMismatch,
    StorageError,
    UsageError,
)
from core.terminal import DONE, FAILED, INCOMPLETE, INTERRUPTED, print_json, say
from es.access import check_typed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.report import Report
    from library import Collection, find, open, verify  # noqa: A004 - read as facedex.open
    from query.answers import Answer, FaceAnswer, Match, Photo
    from query.verify import Verdict

# What programs import; see docs/python.md.
__all__ = [
    "Answer",
    "Collection",
    "CollectionError",
    "EngineError",
    "FaceAnswer",
    "FacedexError",
    "Match",
    "ModelError",
    "Photo",
    "PhotoError",
    "RecipeMismatch",
    "Report",
    "StorageError",
    "UsageError",
    "Verdict",
    "find",
    "open",
    "verify",
]
# Where those are that the commands don't need at once.
_ROOMS = {
    **dict.fromkeys(("Collection", "find", "open", "verify"), "library"),
    **dict.fromkeys(("Answer", "FaceAnswer", "Match", "Photo"), "query.answers"),
    "Report": "ingest.report",
    "Verdict": "query.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'facedex' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


app = App(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Find one face among millions: photos go in, a photo comes back as a person.",
)
for room in (
    es.commands,
    es.snapshot_commands,
    es.security.commands,
    es.operations_commands,
    es.kibana.commands,
    ingest.commands,
    query.commands,
    query.recall_commands,
):
    app.add_typer(room.app)
app.add_typer(es.cluster.commands.app, name="cluster")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("facedex"))  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    url: Annotated[str | None, typer.Option(help="The Elasticsearch to use, for ELASTICSEARCH_URL.", metavar="URL")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    if url is not None:
        check_typed(url)
        os.environ["ELASTICSEARCH_URL"] = url


@app.command()
def demo(json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """Try all of it on a handful of photos: bring them, ingest them, and name the person on one that was not ingested.

    Leaves the page facedex-demo.html in the current folder.

    Example: facedex demo
    """
    import demo as steps

    raise typer.Exit(DONE if steps.run(json=json) else INCOMPLETE)


@app.command()
def doctor(
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="Look at this collection only.", metavar="NAME")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Do what is safe to do about it: missing fields, cut-off loads, templates.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Look for what is wrong or will be: versions, disks, memory, shards, mappings, access. Each finding says what to do.

    Exit code 1 means that there is a warning or an error, 2 that the engine can't be reached; this machine is judged all the same.

    Example: facedex doctor
    """
    import checkup

    raise typer.Exit(checkup.run(collection, fix=fix, json=json))


def main() -> None:
    """Runs the command line. Whatever goes wrong is one sentence on stderr (and a JSON document with --json), never a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # a pod that is stopped, a terminal that is closed
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)  # as Ctrl-C
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that a terminal's or a pipe's encoding can't hold
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="facedex")
    except FacedexError as error:
        _fail(str(error), error.code, error.details)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            went_on = "; what was stored stays, and the same command goes on from there" if "ingest" in sys.argv[1:3] else ""
            say(f"facedex: interrupted{went_on}.")
        elif ended.code == FAILED and "--json" in sys.argv:  # what was typed was not understood; stderr has the usage
            print_json({"error": {"code": "usage", "message": "The command line was not understood: see --help."}})
        raise
    except Exception as error:
        if os.environ.get("FACEDEX_DEBUG"):
            raise
        # No message: it could quote a vector.
        _fail(f"an error that should not happen ({type(error).__name__}); FACEDEX_DEBUG=1 shows where.", "bug")


def _fail(message: str, code: str, details: Mapping[str, Any] | None = None) -> None:
    say(f"facedex: {message}")
    if "--json" in sys.argv:
        print_json({"error": {"code": code, "message": message}, **(details or {})})
    sys.exit(FAILED)


if __name__ == "__main__":
    main()
