"""The commands about snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import App
from core.errors import UsageError
from core.settings import settings
from core.terminal import INCOMPLETE, Json, Yes, ask, check_asking, number_of, print_json, say, show, table

if TYPE_CHECKING:
    from datetime import datetime

    from elasticsearch import Elasticsearch

    from es.schedules import Schedule
    from es.snapshots import Snapshot

app = App()
snapshot = App(
    no_args_is_help=True,
    help="Copies of collections in a repository of Elasticsearch, and the way back.\n\nExample: facedex snapshot create",
)
app.add_typer(snapshot, name="snapshot")

Repository = Annotated[
    str | None,
    typer.Option(help="The repository of the cluster, for FACEDEX_SNAPSHOT_REPOSITORY; else the one that there is.", metavar="NAME"),
]
Name = Annotated[str, typer.Argument(help="The snapshot.", metavar="SNAPSHOT")]


def _repository(client: Elasticsearch, wish: str | None) -> str:
    from es import repositories

    return repositories.find(client, wish or settings().snapshot_repository, is_own_node=settings().url is None)


@snapshot.command()
def create(
    collection: Annotated[
        list[str] | None, typer.Option("--collection", "-c", help="The collection; may be repeated. Without it: all.", metavar="NAME")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the snapshot; else by date and time.", metavar="NAME")] = None,
    repository: Repository = None,
    json: Json = False,
) -> None:
    """Copy collections, with their rejects, settings and notes, into the snapshot repository. Only what is new is copied.

    Who is erased afterwards is still in it: see `facedex snapshot delete --older-than`.

    Example: facedex snapshot create -c faces
    """
    from es import client as connection
    from es import collections as stored
    from es import snapshots

    with connection.connect(settings(), say) as client:
        place = _repository(client, repository)
        chosen = [stored.get(client, each) for each in dict.fromkeys(collection)] if collection else stored.all_of(client)
        if not chosen:
            raise UsageError("There is no collection yet to make a snapshot of: `facedex ingest FOLDER` makes one.")
        made = snapshots.make(client, place, name or snapshots.new_name(), chosen, everything=not collection, say=say)
    if json:
        print_json({"repository": place, **_document(made)})
    else:
        show(f"Snapshot {made.name} of {', '.join(made.collections)} is in the repository {place}.")
        show(f"Whoever is erased later is still in it: then delete it with `facedex snapshot delete {made.name}`.")


@snapshot.command("list")
def list_(repository: Repository = None, json: Json = False) -> None:
    """List the snapshots, oldest first, with their age: whoever was erased since then is still in them.

    Example: facedex snapshot list
    """
    from es import client as connection
    from es import snapshots

    with connection.connect(settings(), say) as client:
        place = _repository(client, repository)
        found = snapshots.all_of(client, place)
    if json:
        print_json({"repository": place, "snapshots": [_document(each) for each in found]})
        return
    if not found:
        show(f"No snapshot in {place} yet: `facedex snapshot create` makes one.")
        return
    shown = table("snapshot", "made (UTC)", "age", "size", "state", "collections", right=("age", "size"))
    for each in found:
        state = each.state.lower() if each.is_ours else f"{each.state.lower()}, not by Facedex"
        shown.add_row(
            each.name, f"{each.started:%Y-%m-%d %H:%M}", _age(each.age_days), _size(each.bytes), state, ", ".join(each.collections)
        )
    show(shown, "Whoever was erased is still in the snapshots from before that.")


@snapshot.command()
def restore(
    name: Name,
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", help="The collection; may be repeated. Without it: all in the snapshot.", metavar="NAME"),
    ] = None,
    as_: Annotated[str | None, typer.Option("--as", help="Restore the one collection under this name.", metavar="NEWNAME")] = None,
    repository: Repository = None,
    json: Json = False,
) -> None:
    """Bring collections back from a snapshot. None that there is gets overwritten.

    Example: facedex snapshot restore facedex-20260131-023000 -c faces --as faces-january
    """
    from es import client as connection
    from es import restore as way_back
    from es import snapshots

    with connection.connect(settings(), say) as client:
        place = _repository(client, repository)
        found = snapshots.get(client, place, name)
        back = way_back.restore(client, place, found, collection or None, as_, say)
    if json:
        counts = [{"name": each.name, "faces": each.faces, "expected": each.expected} for each in back]
        print_json({"repository": place, "snapshot": name, "made": _time(found.started), "collections": counts})
    else:
        for each in back:
            show(f"Restored {each.name} with {number_of(each.faces, 'face')}, as of {found.started:%Y-%m-%d at %H:%M} UTC.")
    say("Whoever was erased since then is back: erase them again.")
    for each in back:
        if not each.is_as_counted:
            say(
                f"facedex: {each.name} had {number_of(each.expected or 0, 'face')} when the snapshot began, not {each.faces:,}: "
                "did an ingest run?"
            )
    if not all(each.is_as_counted for each in back):
        raise typer.Exit(INCOMPLETE)


@snapshot.command()
def delete(
    names: Annotated[list[str] | None, typer.Argument(help="The snapshots.", metavar="SNAPSHOT")] = None,
    older_than: Annotated[str | None, typer.Option(help="Those that are older than so many days: 30d.", metavar="DAYS")] = None,
    repository: Repository = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete snapshots. Faces that were erased are gone when the last snapshot that holds them is.

    Example: facedex snapshot delete --older-than 30d
    """
    from es import client as connection
    from es import snapshots

    days = _days(older_than)
    if (days is None) == (not names):
        raise UsageError("Name the snapshots to delete, or say --older-than 30d.")
    if not yes:
        check_asking("Delete snapshots?")
    with connection.connect(settings(), say) as client:
        place = _repository(client, repository)
        if days is None:
            chosen = [snapshots.get(client, place, each) for each in dict.fromkeys(names or [])]
        else:
            chosen = [each for each in snapshots.all_of(client, place) if each.is_ours and each.ended and each.age_days > days]
        if chosen and not yes:
            ask(f"Delete {', '.join(each.name for each in chosen)}?")
        snapshots.delete(client, place, chosen)
    if json:
        print_json({"repository": place, "deleted": [each.name for each in chosen]})
    else:
        show(f"Deleted {', '.join(each.name for each in chosen)}." if chosen else "No snapshot is that old.")


@snapshot.command()
def schedule(
    daily: Annotated[str | None, typer.Option(help="Every day at this time, in UTC.", metavar="HH:MM")] = None,
    cron: Annotated[str | None, typer.Option(help="Elasticsearch's cron expression, in UTC: '0 30 2 ? * MON'.", metavar="EXPR")] = None,
    keep: Annotated[int, typer.Option(min=1, help="Delete snapshots after so many days.", metavar="DAYS")] = 30,
    off: Annotated[bool, typer.Option("--off", help="End the schedule; the snapshots stay.")] = False,
    repository: Repository = None,
    json: Json = False,
) -> None:
    """Have the cluster make snapshots of all collections by itself, and delete old ones; without options, show the schedule.

    Example: facedex snapshot schedule --daily 02:30 --keep 30
    """
    from es import client as connection
    from es import schedules

    expression = schedules.cron(daily, cron) if daily or cron else None
    if off and expression:
        raise UsageError("Either say when, or --off.")
    with connection.connect(settings(), say) as client:
        wished = schedules.Schedule(expression, keep, "") if expression else None
        schedules.check(client, wished)
        if expression:
            schedules.put(client, schedules.Schedule(expression, keep, _repository(client, repository)))
        if off:
            schedules.remove(client)
        found = schedules.get(client)
    if json:
        print_json(
            {"schedule": None if found is None else {"cron": found.cron, "keep_days": found.keep_days, "repository": found.repository}}
        )
    else:
        show(_schedule_words(found))


def _schedule_words(found: Schedule | None) -> str:
    if found is None:
        return "No snapshot is scheduled: `facedex snapshot schedule --daily 02:30` does that."
    return (
        f"Snapshots of all collections at {found.cron} (UTC, seconds first) into {found.repository}, each kept for "
        f"{number_of(found.keep_days, 'day')}."
    )


def _days(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text.strip().removesuffix("d"))
    except ValueError:
        raise UsageError(f"{text!r} is no number of days: give it as 30d.") from None


def _document(each: Snapshot) -> dict[str, Any]:
    return {
        "snapshot": each.name,
        "state": each.state,
        "started": _time(each.started),
        "ended": _time(each.ended) if each.ended else None,
        "age_days": round(each.age_days, 2),
        "collections": each.collections,
        "faces": dict(each.faces),
        "bytes": each.bytes,
        "ours": each.is_ours,
    }


def _time(when: datetime) -> str:
    return when.isoformat(timespec="seconds")


def _age(days: float) -> str:
    return number_of(round(days), "day") if days >= 2 else number_of(round(days * 24), "hour")  # noqa: PLR2004


def _size(count: int | None) -> str:
    from rich.filesize import decimal

    return "?" if count is None else decimal(count)
