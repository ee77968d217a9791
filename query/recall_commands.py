"""The commands that measure the search on one's own collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import App
from core.settings import settings
from core.terminal import DEFAULT_COLLECTION, CollectionName, Json, print_json, say, show, table

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.collections import Collection
    from query.recall import Level, Measured, Probes, Truth

app = App()
bench = App(no_args_is_help=True, help="Measure the search on your own collection.\n\nExample: facedex bench recall -c faces")
app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Keeps `recall` a command of its own while it is the only one."""


@bench.command()
def recall(
    collection: CollectionName = DEFAULT_COLLECTION,
    probes: Annotated[
        int, typer.Option(min=2, max=10_000, help="How many faces to draw from the collection and search for.", metavar="NUMBER")
    ] = 500,
    k: Annotated[int, typer.Option("--k", min=1, max=1000, help="How many nearest faces of each to compare.", metavar="NUMBER")] = 10,
    index_types: Annotated[
        str | None,
        typer.Option(help="Measure copies of the faces under these index types, too; each is deleted afterwards.", metavar="TYPE,TYPE"),
    ] = None,
    store: Annotated[bool, typer.Option("--store", help="Have searches of this collection use the recommended number.")] = False,
    json: Json = False,
) -> None:
    """Tell what the approximate search loses against the exact one, by the number of candidates that it looks at.

    candidates: the faces that it looks at in the graph, or without one compares again in full, after all were compared by fewer bits.
    recall: of the k nearest faces, how many it finds; same first: how often its first face is the nearest one; right person: how often
    that is the same person, where another photo shows them; compared: how many faces that takes. A photo never finds itself.

    Example: facedex bench recall -c faces --index-types int8_flat,bbq_hnsw
    """
    from es import client as connection
    from es.collections import annotate, changeable, count, get
    from es.index_types import index_options
    from query.knn import depth
    from query.recall import draw, truth

    types = [each.strip() for each in (index_types or "").split(",") if each.strip()]
    for each in types:
        index_options(each)  # refuses what is none, before the work begins
    with connection.connect(settings(), say) as client:
        # Who may not keep the result is told before it is measured.
        found = changeable(client, collection) if store else get(client, collection)
        faces = count(client, found)["faces"]
        drawn = draw(client, found, probes)
        say(f"Compares {len(drawn):,} faces of {collection} with all {faces:,}.")
        known = truth(client, found, drawn, k)
        measured = _measure(client, found, types, drawn, known, k, faces)
        best = measured[0].recommended
        kept = best if store and best is not None and best.reached else None
        if kept is not None:
            annotate(client, collection, num_candidates=kept.num_candidates)
    if json:
        document: dict[str, Any] = {
            "collection": collection,
            "faces": faces,
            "probes": len(drawn),
            "probes_with_mates": sum(drawn.mates),
            "k": k,
            "exact": {"labelled_rank1": known.rank1, "seconds": round(known.seconds, 3)},
            "indices": [each.as_dict() for each in measured],
            "stored": kept.num_candidates if kept is not None else None,
        }
        print_json(document)
        return
    _show(measured, known, len(drawn), k, depth(found).candidates)
    show(*_advice(measured[0], k, collection, store))


def _measure(
    client: Elasticsearch, collection: Collection, types: list[str], probes: Probes, known: Truth, k: int, faces: int
) -> list[Measured]:
    """The collection's own index first, then the copies."""
    from es.index_types import GRAPH_FROM, is_quantised
    from query.knn import ASKED, Depth, compared_again, depth
    from query.recall import LEVELS, Measured, measure

    def seen(level: Level) -> None:
        say(f"{level.num_candidates:,} candidates: recall {level.recall:.2%}, the same first {level.rank1:.2%}")

    def one(index: str, index_type: str, how: Depth, *, is_copy: bool) -> Measured:
        # What searches do now is measured, too, whatever number that is.
        levels = sorted(LEVELS if is_copy else {*LEVELS, how.candidates})
        found = measure(client, index, probes, known, k, faces=faces, depth=how, levels=levels, seen=seen)
        return Measured(index_type, is_copy, faces, found, compared_again(round(how.share * faces)) if how.again else ASKED)

    measured = [one(collection.index, collection.index_type, depth(collection), is_copy=False)]
    if types:
        from es.copies import copy, sweep

        sweep(client, collection)
        for index_type in types:
            say(f"Copies the faces into an index of type {index_type}.")
            with copy(client, collection, index_type) as index:
                has_graph = index_type.endswith("hnsw") and faces >= GRAPH_FROM
                how = Depth(again=is_quantised(index_type) and not has_graph)
                measured.append(one(index, index_type, how, is_copy=True))
    return measured


def _show(measured: list[Measured], known: Truth, probes: int, k: int, now: int) -> None:
    from es.index_types import GRAPH_FROM

    right = ("candidates", f"recall@{k}", "same first", "right person", "compared", "median ms", "95 % ms")
    shown = table("index type", *right, right=right)
    shown.add_row("exact", "", _share(1.0), _share(1.0), _share(known.rank1), f"{measured[0].faces:,}", "", "")
    for each in measured:
        for level in each.levels:
            shares = (_share(level.recall), _share(level.rank1), _share(level.labelled_rank1))
            name = each.index_type + ("*" if each.is_copy else "")
            candidates = f"{level.num_candidates:,}" if each.is_copy or level.num_candidates != now else f"now {now:,}"
            times = (f"{level.median_ms:.1f}", f"{level.p95_ms:.1f}")
            shown.add_row(name, candidates, *shares, f"{level.compared:,}", *times)
    notes = [f"The exact search of all {probes:,} faces together took {known.seconds:.1f} s."]
    copies = [each for each in measured if each.is_copy]
    if copies:
        notes.append("* A copy of the faces, deleted again.")
    if measured[0].faces < GRAPH_FROM and any(each.index_type.endswith("hnsw") for each in copies):
        notes.append(f"Below {GRAPH_FROM:,} faces there is no graph under any type: every face was compared.")
    show(shown, *notes)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _advice(measured: Measured, k: int, collection: str, stored: bool) -> list[str]:
    from query.recall import RANK1, RECALL

    best = measured.recommended
    if best is None:
        return ["Every face is compared, whatever the number of candidates: there is nothing to choose. Measure again when there are more."]
    aims = {"rank1": f"the same first for {best.rank1:.2%} of the faces", "recall": f"{best.recall:.2%} of the {k} nearest"}
    wished = {"rank1": f"{RANK1:.1%}", "recall": f"{RECALL:.0%}"}
    said = f"Recommended: {best.num_candidates:,} candidates, which find {' and '.join(aims.values())}."
    missed = " and ".join(f"{wished[aim]} of the {'first' if aim == 'rank1' else 'nearest'}" for aim in aims if aim not in best.reached)
    if missed:
        said += f" No number that was measured finds {missed}: `facedex search --exact` does."
    kept = (
        f"Stored: searches of {collection} look at {best.num_candidates:,} candidates."
        if stored
        else f"`facedex bench recall -c {collection} --store` has searches use it."
    )
    return [said, kept]
