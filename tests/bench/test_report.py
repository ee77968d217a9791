from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import charts, report, searches_told, sentences
from bench.results import keep

SVG = "{http://www.w3.org/2000/svg}"


def point(effort: int, recall: float, rate: float) -> dict[str, Any]:
    rates = {"1": rate, "4": 2 * rate, "16": 3 * rate}
    ms = {"p50": 1000 / rate, "p95": 2000 / rate, "p99": 3000 / rate}
    return {
        "effort": effort,
        "recall": recall,
        "rank1": 0.98 * recall,
        "ms": ms,
        "searches_per_second": rates,
        "batch_per_second": 4 * rate,
    }


def engine(name: str, rate: float, **more: Any) -> dict[str, Any]:
    points = [point(30, 0.97, 2 * rate), point(300, 0.995, rate), point(1000, 1.0, rate / 2)]
    return {
        "name": name,
        "effort": "effort",
        "build_seconds": 12.5,
        "bytes": 9_000_000,
        "process_bytes": 5_000_000,
        "points": points,
        **more,
    }


def curve(faces: int) -> list[dict[str, Any]]:
    return [
        {"share": share, "recall": 0.99, "rank1": 0.97 if share < 0.1 else 0.98, "exact_rank1": 0.98}
        | {"ms": {"p50": faces**0.2 + share, "p95": 9.0, "p99": 12.0}, "batch_per_second": 400.0}
        for share in (0.03, 0.15, 1.0)
    ]


EXAMPLES: dict[str, dict[str, Any]] = {
    "search": {
        "faces": 10_000,
        "probes": 500,
        "exact_rank1": 0.98,
        "left_out": {"chroma": "no such module"},
        "engines": {
            "facedex": engine("Facedex", 300.0),
            "facedex-hnsw": engine("Facedex, hnsw", 320.0),
            "pgvector": engine("pgvector", 200.0, memory_bytes=7_000_000),
            "another": engine(
                "Another server", 150.0, wire=True, points=[point(10, 0.6, 800.0), point(300, 0.995, 150.0), point(1000, 1.0, 75.0)]
            ),
            "numpy": engine("numpy, every vector", 900.0, points=[point(0, 1.0, 900.0)], effort=""),
            "faiss-hnsw": engine("faiss HNSW", 9_000.0),
        },
    },
    "growth": {
        "points": [
            {
                "faces": faces,
                "segments": 4,
                "build_seconds": faces / 4000,
                "curve": curve(faces),
                "usual": 0.15 if faces == 1_000_000 else 1.0,
            }
            | {"disk_bytes": 900 * faces, "ram_bytes": 3e8 + 200 * faces}
            for faces in (10_000, 100_000, 1_000_000)
        ],
        "fit": {"latency_ms": {"exponent": 0.2}},
        "projection": {},
    },
    "bulk": {
        "faces": 1_000_000,
        "facedex": {"seconds": 100.0, "bytes": 815e6},
        "helpers_bulk": {"seconds": 250.0},
        "ratio": 2.5,
    },
    "embedding": {
        "cpu_ms_a_photo": {
            "as they are": {"decode": 1.0, "detect": 8.0, "embed": 7.0, "all": 16.0},
            "12 MP": {"decode": 70.0, "detect": 390.0, "embed": 7.0, "all": 467.0},
        },
    },
    "startup": {
        "turns": 3,
        "peers": {
            "python -c pass": {"wall": 20, "cpu": 15, "numpys": 0.2},
            "python -c 'import numpy'": {"wall": 100, "cpu": 90, "numpys": 1},
        },
        "help": {"status": {"wall": 300, "cpu": 270, "numpys": 3.0}},
        "at_work": {"search PHOTO": {"wall": 1500, "cpu": 900, "numpys": 10.0}},
    },
    "ingest": {
        "per_cpu_second": {"facedex": 50.0, "deepface": 4.5, "ratio": 11.1},
        "pool": {"one_worker": 50.0, "two_workers": 98.0, "ratio": 1.96},
    },
    "throughput": {"embed": 100.0, "embed_and_index": 98.0, "ratio": 0.98},
    "skip": {"first": 100, "again": 20_000},
    "batch": {"targets": 2000, "batch_per_second": 90.0, "ratio": 1.4, "same": 500, "compared": 500},
    "identify": {
        "probes": 4911,
        "faces": 7319,
        "exact": 0.966,
        "as_it_is": [{"num_candidates": 1000, "labelled_rank1": 0.966}],
        "deepface": {"photos": 200, "approximate": 0.97, "deepface": 0.96},
    },
    "accuracy": {
        "rows": [
            {"pipeline": name, "pairs": 6000, "accuracy": accuracy, "standard_error": 0.0012}
            for name, accuracy in (("facedex", 0.986), ("deepface", 0.968))
        ]
    },
    "open_set": {"rows": [{"fpir_promised": 0.01, "fpir": 0.011}, {"fpir_promised": 0.01, "fpir": 0.009}]},
    "cluster": {"nodes": 3, "lost": 0, "rows": [{"searches": 9000, "failed": 0, "written": 400, "longest": 3.2}]},
    "guard": {"search": {"ratio": 3.1, "bound": 6.0}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, figures in EXAMPLES.items():
        keep(tmp_path / "benchmarks" / f"{name}.json", name, figures, command=[f"bench/{name}.py"])
    return tmp_path / "benchmarks"


def test_everything_that_was_kept_is_told(folder: Path) -> None:
    page = report.write(folder)
    assert page == folder.with_suffix(".md")
    text = page.read_text()
    for title in report.SECTIONS:
        assert f"## {title}\n" in text
    figures = dict(EXAMPLES)
    for section in report.SECTIONS.values():
        for said in (*section.sentences, *section.tables):
            told = said(figures)
            assert told, said.__name__
            assert told.strip() in text
    for name, figures_of in EXAMPLES.items():
        assert f"`python bench/{name}.py`" in text, figures_of
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        assert (page.parent / picture).is_file()
    assert text.count("![") == len(charts.CHARTS)
    assert "nan" not in text


def test_what_it_says_is_what_was_measured() -> None:
    assert "(1,000 compared again in full) finds 100 % of the ten nearest" in searches_told.search_default(EXAMPLES)
    beside = searches_told.search_beside(EXAMPLES)
    assert beside.endswith("pgvector 785, Facedex 1,255 (at 99 %); Another server 586, Facedex 1,255 (at 99 %).")
    quicker = searches_told.search_quicker(EXAMPLES)
    assert quicker.endswith(
        "in the same way: Another server 2,400, Facedex 1,920 (at 60 %); Another server 2,150, Facedex 1,920 (at 70 %)."
    )
    first = searches_told.search_servers_right(EXAMPLES)
    assert first.endswith(
        "(98 % of 500 probes), or as often as an engine gets there, 16 clients get, searches a second: "
        "Facedex, hnsw: 480; Facedex: 450; pgvector: 300; Another server: 225."
    )
    library = searches_told.search_in_process(EXAMPLES)
    assert "at a recall of 99 % faiss HNSW answers one client 11,768 times a second, Facedex 418 times (1/28 as many)" in library
    row = "| pgvector | 1,200 | 1,200 | 1,200 | 1,200 | 1,200 | 785 |"
    assert row in searches_told.equal_table(EXAMPLES)
    assert searches_told.search_left_out(EXAMPLES) == "Not measured: chroma (no such module)."
    right = searches_told.search_right(EXAMPLES)
    assert "faiss HNSW needs an efSearch of 1,000, waits 0.222 ms, and answers 4,500 a second with one thread, 18,000 with all" in right
    assert "as it comes waits 6.67 ms, and many at once come to 600 a second" in right
    grown = sentences.growth_range(EXAMPLES)
    assert "From 10,000 to 1 million faces (100 times as many)" in grown
    assert grown.endswith("from 100,000 on, 1.45 times.")
    assert "it looks into 15 % of the cells, and has 100 % of the exact search" in sentences.growth_right(EXAMPLES)
    stages = "as they are: 16 ms of CPU a photo, 50% of it to detect; 12 MP: 467 ms of CPU a photo, 84% of it to detect."
    assert sentences.embedding_stages(EXAMPLES) == stages
    assert "takes 250 s, 2.5 times as long. A face takes 815 bytes of disk." in sentences.bulk_ratio(EXAMPLES)
    assert "98.6 % are judged right" in sentences.accuracy_both(EXAMPLES)
    assert "promises to take 1 % of strangers for somebody was held to it: 1 % were" in sentences.open_set_kept(EXAMPLES)


def with_points(key: str, *points: dict[str, Any]) -> dict[str, Any]:
    """The example, where one engine has other points."""
    search = EXAMPLES["search"]
    return {"search": search | {"engines": search["engines"] | {key: search["engines"][key] | {"points": list(points)}}}}


def test_who_finds_less_is_compared_at_what_it_finds() -> None:
    less = with_points("another", point(30, 0.5, 9000.0), point(300, 0.97, 150.0))
    assert "Another server 946, Facedex 1,920 (at 95 %)" in searches_told.search_beside(less)
    assert "Another server: 450 (95.06 % at most)" in searches_told.search_servers_right(less)
    assert "| Another server | 19,513 | 12,838 | 7,116 | 2,595 | 946 |  |" in searches_told.equal_table(less)
    for told in (searches_told.search_beside, searches_told.search_servers_right):
        assert "Another" not in told(with_points("another"))  # it was built, and nothing was measured


def test_where_facedex_finds_less_that_is_said() -> None:
    engines = {key: EXAMPLES["search"]["engines"][key] for key in ("facedex", "pgvector", "faiss-hnsw")}
    engines["facedex"] = engines["facedex"] | {"points": [point(30, 0.97, 600.0)]}
    figures = {"search": EXAMPLES["search"] | {"engines": engines}}
    assert searches_told.search_beside(figures).endswith("pgvector 785, Facedex finds less (at 99 %).")
    assert searches_told.search_quicker(figures).endswith("pgvector 785, Facedex finds less (at 99 %).")
    with pytest.raises(report.MISSING):
        searches_told.search_in_process(figures)


def test_who_is_nowhere_quicker_is_not_said_to_be() -> None:
    with pytest.raises(report.MISSING):
        searches_told.search_quicker(with_points("another", point(10, 0.6, 600.0)))


def test_nothing_is_said_of_equal_rank_1_that_is_not_equal() -> None:
    for key in ("facedex", "faiss-hnsw"):
        with pytest.raises(report.MISSING):
            searches_told.search_right(with_points(key, point(1000, 0.97, 300.0)))


def test_charts_are_drawn_on_white_with_their_names(folder: Path) -> None:
    report.write(folder)
    for name in charts.CHARTS:
        picture = ElementTree.parse(folder / f"{name}.svg").getroot()  # noqa: S314 - our own
        assert any(each.get("fill") == "white" for each in picture.iter(f"{SVG}rect")), name
    words = "".join(ElementTree.parse(folder / "search-rates.svg").getroot().itertext())  # noqa: S314
    for word in ("Facedex", "pgvector", "Another server", "faiss HNSW", "1 client", "16 clients", "searches a second"):
        assert word in words


def test_over_the_wire_and_in_process_are_told_apart() -> None:
    titles = {part["title"]: {row["engine"] for row in part["data"]["values"]} for part in charts.rates(EXAMPLES["search"])["vconcat"]}
    wire, here = titles.values()
    assert wire == {"Facedex", "Facedex, hnsw", "pgvector", "Another server"}
    assert here == {"Facedex", "numpy, every vector", "faiss HNSW"}


def test_memory_of_a_server_is_not_that_of_its_client() -> None:
    engines = EXAMPLES["search"]["engines"]
    assert charts.memory("another", engines["another"], 10_000) is None
    assert charts.memory("pgvector", engines["pgvector"], 10_000) == 700
    assert charts.memory("faiss-hnsw", engines["faiss-hnsw"], 10_000) == 500


def test_without_results_it_says_so_and_old_charts_go(folder: Path) -> None:
    report.write(folder)
    for file in folder.glob("*.json"):
        file.unlink()
    (folder / "broken.json").write_text("{")
    assert "No results" in report.write(folder).read_text()
    assert [each.name for each in folder.iterdir()] == ["broken.json"]


@pytest.mark.parametrize("left", list(EXAMPLES))
def test_one_bench_alone_is_enough(left: str) -> None:
    document = {"bench": left, "figures": EXAMPLES[left]}
    assert "## How they were taken" in report.text({left: document}, [], "benchmarks")


def parts(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a document."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, each in steps for way in ((*path, key), *parts(each, (*path, key)))]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(parts(EXAMPLES)), min_size=1, max_size=8), st.booleans())
def test_whatever_is_missing_is_left_out(ways: list[tuple[Any, ...]], empty: bool) -> None:
    broken = json.loads(json.dumps(EXAMPLES))
    for *path, last in ways:
        place: Any = broken
        try:
            for key in path:
                place = place[key]
            if empty:
                place[last] = None
            else:
                del place[last]
        except (LookupError, TypeError):  # it is gone already
            continue
    documents = {name: {"bench": name, "figures": figures} for name, figures in broken.items() if isinstance(figures, dict)}
    text = report.text(documents, [], "benchmarks")
    assert text.startswith("# Benchmarks")
    assert empty or "None" not in text
    for _, chart in charts.CHARTS.values():
        for document in documents.values():
            try:
                json.dumps(chart(document["figures"]))
            except report.MISSING:
                continue
