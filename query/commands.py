"""The commands that ask: who is this, and is it the same person?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import PhotoError, UsageError
from core.files import MAX_BYTES, check_writable, read
from core.settings import settings
from core.terminal import DEFAULT_COLLECTION, DONE, INCOMPLETE, CollectionName, Json, print_json, say, show
from query.search import DEFAULT_PEOPLE, Searcher

if TYPE_CHECKING:
    from query.answers import Answer

app = typer.Typer()

Model = Annotated[str | None, typer.Option(help="Refuse unless the collection was made with this model.", metavar="NAME")]
Detector = Annotated[str | None, typer.Option(help="Refuse unless the collection was made with this detector.", metavar="NAME")]
MinFace = Annotated[int, typer.Option(min=20, max=4000, help="Width in pixels from which faces are looked for.", metavar="PIXELS")]
STDIN = "-"


@app.command()
def search(
    photo: Annotated[list[str], typer.Argument(help="Photos of who is looked for, or - for one on stdin.", metavar="PHOTO")],
    collection: CollectionName = DEFAULT_COLLECTION,
    people: Annotated[int, typer.Option("--top", min=1, max=1000, help="How many people to name for each face.")] = DEFAULT_PEOPLE,
    min_face: MinFace = 80,
    model: Model = None,
    detector: Detector = None,
    html: Annotated[Path | None, typer.Option(help="Write the answers as one HTML page, with the faces.", metavar="FILE")] = None,
    json: Json = False,
) -> None:
    """Say who is on a photo: for every face in it the people it could be, best first, each by their best photo.

    "the same?" (`verified` in JSON) says whether the distance is within the threshold. Exit code 1: nothing was found.

    Examples:

      facedex search who.jpg

      curl -s https://example.org/who.jpg | facedex search - --json
    """
    from es import client as connection
    from es.collections import get
    from faces.agreement import agreed
    from faces.pipeline import Pipeline

    _check(photo)
    if html:
        check_writable(html, "--html")
    with connection.connect(settings(), say) as client:
        recipe = agreed(collection, get(client, collection).recipe, model=model, detector=detector)
        searcher = Searcher(client, collection, recipe, Pipeline(recipe, min_face=min_face), people=people)
        missed, cards = False, []
        for answer, data in _answers(searcher, photo):
            missed |= not answer.found
            _show(answer, json)
            if html:
                from query.page import card

                cards.append(card(answer, data, settings().max_pixels))
    if html:
        from query.page import write

        write(html, cards, recipe)
        say(f"The page: {html}")
    raise typer.Exit(INCOMPLETE if missed else DONE)


def _check(photos: list[str], *, need_all: bool = False) -> None:
    """Refuses what can't be meant: nothing but names that are not there, or, where all are needed, one of them."""
    for photo in photos:
        if os.path.isdir(photo):  # noqa: PTH112 - unlike Path.is_dir, false for a name that is too long
            raise UsageError(f"{photo!r} is a folder: give photos.", code="no_such_photo")
    missing = [photo for photo in photos if photo != STDIN and not os.path.exists(photo)]  # noqa: PTH110
    if missing and (need_all or len(missing) == len(photos)):
        raise UsageError(f"There is no photo {missing[0]!r}.", code="no_such_photo")
    if photos.count(STDIN) > 1:
        raise UsageError("Only one photo can come on stdin.")


def _answers(searcher: Searcher, photos: list[str]) -> Iterator[tuple[Answer, bytes]]:
    from query.answers import Answer

    for photo in photos:
        try:
            data = _stdin() if photo == STDIN else read(photo)
        except PhotoError as error:
            yield Answer(photo, searcher.collection, error=(error.code, str(error))), b""
            continue
        yield searcher.answer(photo, data, settings().max_pixels), data


def _stdin() -> bytes:
    if sys.stdin is None:
        raise PhotoError("There is nothing on stdin.", code="unreadable")
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PhotoError(f"What comes on stdin has more than {MAX_BYTES >> 20} MB.", code="too_large")
    return data


def _show(answer: Answer, json: bool) -> None:
    if json:
        print_json(answer.as_dict())
        return
    from query.tables import tables

    show(*tables(answer))


@app.command()
def verify(
    photo: Annotated[Path, typer.Argument(help="A photo.", metavar="PHOTO")],
    other: Annotated[Path, typer.Argument(help="Another photo.", metavar="PHOTO")],
    min_face: MinFace = 80,
    model: Annotated[str, typer.Option(help="DeepFace's name of the recognition model.", metavar="NAME")] = "Dlib",
    detector: Annotated[str, typer.Option(help="DeepFace's name of the face detector.", metavar="NAME")] = "dlib",
    json: Json = False,
) -> None:
    """Say whether two photos show the same person: their closest pair of faces decides. Needs no Elasticsearch.

    Exit code 0 whether they do or not: read the answer.

    Example: facedex verify one.jpg two.jpg
    """
    from faces.photo import decode
    from faces.pipeline import Pipeline
    from faces.recipe import resolve
    from query.verify import verify as judge

    _check([str(photo), str(other)], need_all=True)
    recipe = resolve(model, detector)
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
