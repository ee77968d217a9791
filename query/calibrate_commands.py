"""The command that measures what a distance means in a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UsageError
from core.settings import settings
from core.terminal import Json, number_of, print_json, say, show, table
from es.collections_commands import collections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from query.calibration import Calibration

_MOST = 0.5  # a threshold that takes half of all strangers for somebody is none
_SUSPECTS = 5  # named on the screen


@collections.command("calibrate")
def calibrate(
    name: Annotated[str, typer.Argument(help="The collection.")],
    fpir: Annotated[
        float, typer.Option(help="Share of strangers who may be taken for somebody (false positives).", metavar="SHARE")
    ] = 0.01,
    chart: Annotated[Path | None, typer.Option(help="Draw the curve into this .png or .svg file.", metavar="FILE")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample that is drawn from more than 20,000 photos.", metavar="NUMBER")] = 0,
    json: Json = False,
) -> None:
    """Measure how often a stranger is taken for somebody, and choose the threshold of searches by it.

    Every labelled photo with one face is searched among all others: without its person (a stranger), and with their other photos. The
    curve and the threshold are stored with the collection. Do it again when the collection has grown.

    Example: facedex collections calibrate faces --fpir 0.01 --chart curve.png
    """
    from es import client as connection
    from es.collections import annotate, changeable
    from es.operations import recorded
    from query import det
    from query.calibration import measure

    if not 0 < fpir <= _MOST:
        raise UsageError(f"--fpir {fpir:g} is not understood: give a share above 0 and up to {_MOST:g}, like 0.01 for 1 %.")
    if chart:
        det.check(chart)
    with connection.connect(settings(), say) as client:
        collection = changeable(client, name)  # who may not keep the result is told before it is measured
        fallback = float(collection.recipe["search_threshold"])
        with recorded(client, "calibrate", name):
            measured = measure(client, collection, fpir, seed, say)
            annotate(client, name, calibration=measured.as_dict())
    if chart and measured.missed is None:
        say("facedex: nothing was drawn: too few people have a second photo, so how many are missed is not known.")
    elif chart:
        det.draw(measured, name, fallback, chart)
        say(f"The chart: {chart}")
    if json:
        rates = {"threshold": fallback, "fpir": round(measured.fpir(fallback), 6), "fnir": measured.fnir(fallback)}
        suspects = [{"people": [one, two], "distance": distance} for one, two, distance in measured.suspects]
        print_json({"collection": name} | measured.as_dict() | {"fallback": rates, "suspects": suspects})
    else:
        show(*_told(name, measured, fallback))


def _told(name: str, measured: Calibration, fallback: float) -> Iterator[str | Table]:
    """What a person reads."""
    from query.det import percent

    gallery = table("", "")
    gallery.add_row("gallery", f"{name}, {number_of(measured.faces, 'face')}")
    gallery.add_row(
        "searched as strangers", f"{number_of(measured.people, 'person', 'people')}, by {number_of(measured.probes, 'photo')} of one face"
    )
    gallery.add_row("searched as known", f"{number_of(measured.mated, 'photo')} of people with another photo")
    yield gallery
    rates = table("", "threshold", "strangers accepted (FPIR)", "known people missed (FNIR)", right=("threshold",))
    for word, threshold in (("calibrated", measured.threshold), ("fall-back", fallback)):
        missed = measured.fnir(threshold)
        rates.add_row(word, f"{threshold:.4f}", percent(measured.fpir(threshold)), "not known" if missed is None else percent(missed))
    yield rates
    too = "" if measured.missed is None else f", and of 1,000 photos of people who are in it {1000 * measured.missed:.0f} are missed"
    yield f"Of 1,000 strangers, {1000 * measured.promised:.0f} are taken for somebody in {name}{too}."
    if measured.wished < measured.resolution:
        yield (
            f"{percent(measured.wished)} is less than {number_of(measured.people, 'person', 'people')} can show: at "
            f"{percent(measured.resolution)} 30 of them "
            "are accepted, and below that chance decides. So the threshold is the one for that rate."
        )
    if measured.extrapolated > 1.5:  # noqa: PLR2004
        yield (
            f"A search looks at {measured.extrapolated:.1f} times as many faces as were compared (others have no name, or share their "
            "photo): strangers accepted are extrapolated."
        )
    if measured.suspicious:
        yield (
            f"Left out: {number_of(measured.suspicious, 'photo')} with a near twin under another name. "
            "One person with two names, or a copy? "
            + "; ".join(f"{one} and {two} ({distance:.4f})" for one, two, distance in measured.suspects[:_SUSPECTS])
        )
