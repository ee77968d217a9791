"""The commands about what was left out."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated, Any

import typer

from core.command_line import App
from core.errors import UsageError
from core.settings import settings
from core.terminal import DEFAULT_COLLECTION, DONE, INCOMPLETE, CollectionName, Json, line, print_json, say, show, table
from workers.options import MinFace, WorkerCount

rejects = App(no_args_is_help=True, help="What was left out: why, and once more.")

Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only what was left out for this reason.", metavar="REASON")]


@rejects.command("list")
def list_(
    collection: CollectionName = DEFAULT_COLLECTION,
    reason: Reasons = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, max=10_000, help="How many of the newest to name.", metavar="N")] = 20,
    json: Json = False,
) -> None:
    """Count what was left out by reason, and name the newest.

    Example: facedex rejects list --reason no_face -n 100
    """
    from es import client as connection
    from es.collections import get
    from ingest.rejects import check, counts, newest

    with connection.connect(settings(), say) as client:
        get(client, collection)
        check(client, collection, reason or [])
        there = counts(client, collection)
        named = newest(client, collection, limit, reason or [])
    if json:
        print_json({"collection": collection, "rejected": there, "newest": named})
        return
    if not there:
        show(f"Nothing was left out of {collection}.")
        return
    by_reason = table("reason", "photos", right=("photos",))
    for code, count in there.items():
        by_reason.add_row(code, f"{count:,}")
    newest_first = table("photo", "reason", "when")
    for each in named:
        newest_first.add_row(each["image"], each["reason"], each["at"][:16].replace("T", " "))
    show(by_reason, *([newest_first] if named else []))
    total = sum(there.values())
    if named and len(named) < total:
        show(f"These are the newest {len(named):,} of {total:,}; -n N shows more, `facedex rejects show PATH` says why.")


@rejects.command("show")
def show_(
    photo: Annotated[str, typer.Argument(help="The path of the photo, or the id of the reject.", metavar="PATH_OR_ID")],
    collection: CollectionName = DEFAULT_COLLECTION,
    json: Json = False,
) -> None:
    """Say why one photo was left out.

    Example: facedex rejects show ~/photos/group.jpg
    """
    from es import client as connection
    from es.collections import get
    from ingest.rejects import matching

    with connection.connect(settings(), say) as client:
        get(client, collection)
        found = matching(client, collection, photo)
    if not found:
        raise UsageError(f"{photo!r} was not left out of {collection}: `facedex rejects list` names what was.", code="no_such_reject")
    if json:
        print_json({"collection": collection, "rejects": found})
        return
    for each in found:
        _show(each)


def _show(reject: dict[str, Any]) -> None:
    shown = table("", "")
    for key, value in reject.items():
        if value is not None:
            shown.add_row(key, str(value))
    show(shown)


@rejects.command()
def retry(
    collection: CollectionName = DEFAULT_COLLECTION,
    reason: Reasons = None,
    min_face: MinFace = 80,
    workers: WorkerCount = None,
    allow_private_addresses: Annotated[
        bool, typer.Option("--allow-private-addresses", help="Let addresses lead into private networks.")
    ] = False,
    json: Json = False,
) -> None:
    """Ingest again what was left out. What works now is stored and leaves the rejects; photos that are gone are named.

    A later `facedex ingest` with another --min-face looks at these photos again: give it the same one.

    Example: facedex rejects retry --reason no_face --min-face 40
    """
    from core.web import Limits
    from es import client as connection
    from es.collections import get
    from faces.agreement import agreed
    from ingest.commands import show_report
    from ingest.progress import shown
    from ingest.rejects import Retry, check
    from ingest.report import RejectsFile
    from ingest.run import Options, ingest
    from workers.executors import cores
    from workers.worker import Detection

    folder = settings().data_dir
    options = Options(
        Detection(min_face), cores() if workers is None else workers, settings().max_pixels, remember=folder / "seen", again=True
    )
    note = folder / "rejects" / f"{collection}-retry-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.jsonl"
    with connection.connect(settings(), say) as client:
        recipe = agreed(collection, get(client, collection).recipe, model=None, detector=None)
        check(client, collection, reason or [])
        limits = Limits(settings().web_seconds, allow_private_addresses or settings().allow_private_addresses)
        again = Retry(client, collection, reason or [], limits)
        counted = Retry(client, collection, reason or [], limits)
        with RejectsFile(note) as file, shown(counted.photos) as seen:
            report = ingest(client, collection, recipe, again.photos(), file, options, seen)
    for path in again.gone_first:
        say(f"gone: {line(path)}")
    if again.gone > len(again.gone_first):
        say(f"... and {again.gone - len(again.gone_first):,} more")
    if again.masked:
        say(f"{again.masked:,} have addresses with secrets, which are not stored: ingest their list again.")
    show_report(report, json, {"gone": again.gone, "gone_first": again.gone_first, "masked": again.masked})
    raise typer.Exit(INCOMPLETE if report.rejected or report.outdated or again.gone or again.masked else DONE)
