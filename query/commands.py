"""The commands that ask: who is this, and is it the same person?"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.command_line import App
from core.errors import PhotoError, UsageError
from core.files import read
from core.settings import settings
from core.terminal import DEFAULT_COLLECTION, DONE, INCOMPLETE, CollectionName, Json, print_json, say, show
from query.search import DEFAULT_PEOPLE, meaning_of, searcher
from workers.options import MinFace

if TYPE_CHECKING:
    from faces.recipe import Recipe
    from query.targets import Target

app = App()

Model = Annotated[str | None, typer.Option(help="Refuse unless the collection was made with this model.", metavar="NAME")]
Detector = Annotated[str | None, typer.Option(help="Refuse unless the collection was made with this detector.", metavar="NAME")]


def _time(text: str | datetime) -> datetime:
    try:
        return text if isinstance(text, datetime) else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: give a day as 2026-01-31, or a time as 2026-01-31T12:00") from None


@app.command()
def search(
    photo: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, or folders, archives or CSV lists of them; - for one on stdin.", metavar="PHOTO"),
    ] = None,
    collection: CollectionName = DEFAULT_COLLECTION,
    people: Annotated[
        int, typer.Option("--top", min=1, max=1000, help="How many people to name for each face.", metavar="NUMBER")
    ] = DEFAULT_PEOPLE,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Search these faces only: person, image, run or labels.NAME; VALUE* for a beginning.", metavar="FIELD=VALUE"),
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Search among faces stored since then.", parser=_time, metavar="TIME")] = None,
    min_quality: Annotated[
        list[str] | None,
        typer.Option(help="Search among faces with at least this size, sharpness, brightness or frontal.", metavar="MEASURE=NUMBER"),
    ] = None,
    same_person: Annotated[bool, typer.Option("--same-person", help="All photos show one person: search for the face they share.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every face, instead of asking the vector index.")] = False,
    list_: Annotated[
        typer.FileText | None,
        typer.Option(
            "--list",
            help="A file of photos, one a line; - for stdin.",
            metavar="FILE",
            encoding="utf-8-sig",
            errors="surrogateescape",
        ),
    ] = None,
    min_face: MinFace = 80,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=512, help="Worker processes, where there are many photos (default: one a core).", metavar="NUMBER"),
    ] = None,
    allow_private_addresses: Annotated[
        bool, typer.Option("--allow-private-addresses", help="Let addresses lead into private networks, and be of any kind.")
    ] = False,
    model: Model = None,
    detector: Detector = None,
    purpose: Annotated[
        str | None, typer.Option(help="What the search is for, to be recorded with it (else FACEDEX_PURPOSE).", metavar="TEXT")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the answers as one HTML page, with the faces.", metavar="FILE")] = None,
    montage: Annotated[Path | None, typer.Option(help="Write the faces and the best matches as one picture.", metavar="FILE.png")] = None,
    pictures: Annotated[
        bool | None,
        typer.Option("--pictures/--no-pictures", help="Show faces in the terminal (default: where it is known to).", show_default=False),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a row for each person named.")] = False,
    json: Json = False,
) -> None:
    """Say who is on a photo: for every face in it the people it could be, best first, each by their best photo.

    "the same?" (`verified` in JSON) says whether the distance is within the threshold, and "matched" how many of the person's faces that
    were looked at are. Exit code 1: for a photo, nothing was found.

    Examples:

      facedex search who.jpg

      facedex search one.jpg two.jpg --same-person --where labels.camera=north --since 2026-01-31

      find photos -name '*.jpg' | facedex search --list - --json

      curl -s https://example.org/who.jpg | facedex search - --json
    """
    from core.web import Limits
    from es import client as connection
    from es.collections import get
    from es.operations import Searches, recorded
    from faces.agreement import agreed
    from faces.quality import gate
    from query import filters, knn, targets
    from query.output import Output, Wishes

    if json and csv:
        raise UsageError("Give --json or --csv, not both.")
    photos = list(photo or [])
    limits = Limits(settings().web_seconds, allow_private_addresses or settings().allow_private_addresses)
    if photos:
        targets.check(photos, limits)
    elif list_ is None:
        raise UsageError("Name a photo, or a --list of them.")
    if list_ is not None and targets.STDIN in photos and list_.name == "<stdin>":
        raise UsageError("Only one of them can come on stdin: a photo, or the list.")
    least = gate(min_quality or [])
    wishes = Wishes(json=json, csv=csv, html=html, montage=montage, pictures=pictures)
    with Output(wishes) as output, connection.connect(settings(), say) as client:
        found = get(client, collection)
        recipe = agreed(collection, found.recipe, model=model, detector=detector)
        clauses = filters.clauses(client, collection, where or [], since, least)
        noted = Searches(filters.fields(where or [], since, least), exact=exact)
        typed = [*(where or []), *([f"since {since}"] if since else []), *(min_quality or [])]
        searching = searcher(
            client,
            collection,
            meaning_of(client, found, recipe, say),
            exact=exact,
            depth=knn.depth(found),
            people=people,
            filters=clauses,
            typed=typed,
            noted=noted,
        )
        sources = itertools.chain(targets.named(photos, limits), targets.listed(list_, limits) if list_ else ())
        seen = targets.looked_at(sources, recipe, min_face=min_face, workers=workers)
        with recorded(client, "search", collection, noted.facts, purpose=purpose), closing(seen):
            for target, answer in searching.answers([_shared(seen, recipe.threshold)] if same_person else seen):
                output.add(target, answer, recipe)
    raise typer.Exit(INCOMPLETE if output.missed else DONE)


def _shared(seen: Iterable[Target], threshold: float) -> Target:
    from query.combine import combined

    targets = list(seen)
    for target in targets:
        if target.error:
            say(f"facedex: {target.name} is left out: {target.error[1]}")
    return combined(targets, threshold)


def _check(photos: list[str]) -> None:
    for photo in photos:
        if os.path.isdir(photo):  # noqa: PTH112 - unlike Path.is_dir, false for a name that is too long
            raise UsageError(f"{photo!r} is a folder: give photos.", code="no_such_photo")
        if not os.path.exists(photo):  # noqa: PTH110
            raise UsageError(f"There is no photo {photo!r}.", code="no_such_photo")


@app.command()
def verify(
    photo: Annotated[Path | None, typer.Argument(help="A photo.", metavar="PHOTO", show_default=False)] = None,
    other: Annotated[Path | None, typer.Argument(help="Another photo.", metavar="PHOTO", show_default=False)] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Instead of two photos: a CSV file of pairs, columns a, b (paths relative to it, or addresses) and perhaps same (1 or 0).",
            metavar="FILE",
        ),
    ] = None,
    min_face: MinFace = 80,
    model: Annotated[str, typer.Option(help="DeepFace's name of the recognition model.", metavar="NAME")] = "Dlib",
    detector: Annotated[str, typer.Option(help="DeepFace's name of the face detector.", metavar="NAME")] = "dlib",
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=512, help="Worker processes, where pairs have many photos (default: one a core).", metavar="NUMBER"),
    ] = None,
    allow_private_addresses: Annotated[
        bool, typer.Option("--allow-private-addresses", help="Let addresses of pairs lead into private networks, and be of any kind.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a row for each pair.")] = False,
    json: Json = False,
) -> None:
    """Say whether two photos show the same person: their closest pair of faces decides. Needs no Elasticsearch.

    Exit code 0 whether they do or not: read the answer. With --pairs, 1 says that there are photos or lines that can't be used. Where
    the column same says who is right, the last line or table tells how often the verdicts are.

    Examples:

      facedex verify one.jpg two.jpg

      facedex verify --pairs pairs.csv --json
    """
    from faces.recipe import resolve

    if pairs is None:
        if photo is None or other is None or csv:
            raise UsageError("Name two photos, or a list of pairs with --pairs; --csv is for the latter.")
        _check([str(photo), str(other)])
        _verify(photo, other, resolve(model, detector), min_face, json)
    else:
        from core.web import Limits
        from query import pairs as listed
        from query.pairs_output import show_pairs

        if photo is not None or (json and csv):
            raise UsageError("With --pairs, name no photos, and give --json or --csv, not both.")
        limits = Limits(settings().web_seconds, allow_private_addresses or settings().allow_private_addresses)
        recipe, given = resolve(model, detector), listed.read(pairs)
        with closing(listed.judged(given, recipe, limits, min_face=min_face, workers=workers)) as judged:
            errors = show_pairs(judged, recipe, json=json, csv=csv)
        raise typer.Exit(INCOMPLETE if errors else DONE)


def _verify(photo: Path, other: Path, recipe: Recipe, min_face: int, json: bool) -> None:
    from faces.photo import decode
    from faces.pipeline import Pipeline
    from query.verify import verify as judge

    pipeline = Pipeline(recipe, min_face=min_face)
    found = []
    for path in (photo, other):
        try:
            found.append(pipeline.find(decode(read(path), max_pixels=settings().max_pixels).pixels))
        except PhotoError as error:
            raise UsageError(f"{path}: {error}", code=error.code) from None
    verdict = judge(recipe, *found)
    if json:
        print_json(verdict.as_dict())
        return
    same = "The same person" if verdict.verified else "Not the same person"
    show(f"{same}: distance {verdict.distance:.4f}, threshold {verdict.threshold:g} ({verdict.model}, {verdict.metric})")
