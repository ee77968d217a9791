"""The commands about what was done: who searched when, and what for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import App
from core.errors import UsageError
from core.settings import settings
from core.terminal import Json, Yes, ask, number_of, print_json, say, show, table

if TYPE_CHECKING:
    from rich.table import Table

app = App()
operations = App(
    no_args_is_help=True, help="What was done with collections: who searched when, and what for.\n\nExample: facedex operations list"
)
app.add_typer(operations, name="operations")


@operations.command("list")
def list_(
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest.", metavar="NUMBER")] = 20,
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="Of this collection only.", metavar="NAME")] = None,
    json: Json = False,
) -> None:
    """List what was done: searches, ingest runs, calibrations, deletions; newest first. Kibana shows the same (`facedex kibana install`).

    Example: facedex operations list --last 50
    """
    from es import client as connection
    from es.operations import latest

    with connection.connect(settings(), say) as client:
        found = latest(client, last, collection)
    if json:
        print_json({"operations": found})
    elif not found:
        show("Nothing is recorded yet." if settings().record_operations else "Nothing is recorded: FACEDEX_RECORD_OPERATIONS is off.")
    else:
        show(_table(found))


def _table(found: list[dict[str, Any]]) -> Table:
    shown = table("when", "who", "what", "collection", "purpose", "seconds", "", right=("seconds",))
    for one in found:
        try:
            shown.add_row(*_row(one))
        except (KeyError, TypeError, ValueError, AttributeError):
            # Whoever may search may add documents of their own: one of these must not hide the others.
            shown.add_row("?", *[""] * 5, "not written by Facedex")
    return shown


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    when = datetime.fromisoformat(one["@timestamp"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    words = (one["user"], one["action"], one["collection"], one.get("purpose", ""))
    return (when, *map(str, words), f"{one['seconds']:,.1f}", _said(one))


def _said(one: dict[str, Any]) -> str:
    said = [] if one["outcome"] == "finished" else [one["outcome"]]
    if "targets" in one:
        said.append(
            f"{number_of(one['targets'], 'photo')}, {number_of(one['results'], 'person', 'people')} named, {one['verified']:,} verified"
        )
    elif "ingest" in one:
        said.append(
            f"{number_of(one['ingest']['photos'], 'photo')}, {number_of(one['faces'], 'face')} stored, "
            f"{one['ingest']['rejected']:,} rejected"
        )
    return ", ".join(said + one.get("error", []))


@operations.command()
def prune(
    older_than: Annotated[str, typer.Option(help="Days for which it is kept, such as 365d.", metavar="DAYS", show_default=False)],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete what was recorded longer ago.

    Example: facedex operations prune --older-than 365d --yes
    """
    from es import client as connection
    from es.operations import prune as delete

    days = re.fullmatch(r"(\d{1,5})d?", older_than)
    if days is None:
        raise UsageError(f"--older-than {older_than} is not understood: give days, like 365d.")
    before = datetime.now(UTC) - timedelta(days=int(days[1]))
    if not yes:
        ask(f"Delete what was recorded before {before.astimezone():%Y-%m-%d %H:%M}?")
    with connection.connect(settings(), say) as client:
        deleted = delete(client, before)
    if json:
        print_json({"deleted": deleted})
    else:
        show(f"Deleted {deleted:,} records.")
