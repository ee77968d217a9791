"""That what is measured beside each other searches the same: at their highest effort all find what exact search finds."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from deepface.modules import modeling

from bench.clients import Clients
from bench.engines import ENGINES
from bench.engines.engine import Engine
from bench.population import Faces, Population
from bench.search import exact

PEOPLE, PHOTOS, K = 100, 4, 10
LEAST = {"faiss-ivfpq": 0.6, "lancedb": 0.9}  # quantised, and not compared again
HERE = ["numpy", "faiss-hnsw", "faiss-ivfpq", "hnswlib", "usearch", "voyager", "annoy", "qdrant", "lancedb", "deepface-find-dict"]


@pytest.fixture(scope="module")
def gallery() -> list[Faces]:
    return list(Population.load().gallery(PEOPLE, PHOTOS))


@pytest.fixture(scope="module")
def probes() -> Faces:
    return Population.load().probes(15)


@pytest.fixture(autouse=True)
def deepface_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Some engines put a model of their own into DeepFace's registry: no other test is to meet it."""
    monkeypatch.setenv("DEEPFACE_LOG_LEVEL", "40")
    with monkeypatch.context() as patch:
        patch.setitem(modeling.AVAILABLE_MODELS["facial_recognition"], "Dlib", modeling.AVAILABLE_MODELS["facial_recognition"]["Dlib"])
        yield
    getattr(modeling, "cached_models", {}).get("facial_recognition", {}).pop("Dlib", None)


def built(name: str, gallery: list[Faces]) -> Iterator[Engine]:
    engine = ENGINES[name]()
    try:
        for module in engine.modules:
            import_module(module)
        engine.build((block.vectors for block in gallery), PEOPLE * PHOTOS)
    except ImportError as error:
        pytest.skip(f"it comes with the extra bench: {error}")
    try:
        yield engine
    finally:
        engine.close()


@pytest.mark.parametrize("name", HERE)
def test_at_high_effort_all_find_the_same(name: str, gallery: list[Faces], probes: Faces) -> None:
    truth = exact(iter(gallery), probes.vectors, K)
    for engine in built(name, gallery):
        engine.prepare(engine.efforts[-1])
        one = [engine.rows(engine.find(probe, K, engine.efforts[-1])) for probe in probes.vectors]
        together = [engine.rows(found) for found in engine.many(probes.vectors, K, engine.efforts[-1])]
        assert one == together
        recall = np.mean([len(set(rows) & set(known.tolist())) / K for rows, known in zip(one, truth, strict=True)])
        assert recall >= LEAST.get(name, 0.99)
        assert [rows[0] // PHOTOS for rows in one] == probes.people.tolist()
        assert engine.disk() > 0
        assert all(engine.versions().values())


def test_clients_in_processes_of_their_own_ask_a_server(gallery: list[Faces], probes: Faces) -> None:
    for engine in built("redis", gallery):
        assert engine.memory()
        with Clients(engine, probes.vectors, K, processes=2) as clients:
            assert clients.rate(1, 30, 0.05) > 0
            assert clients.rate(4, 30, 0.05) > 0


def test_the_command_measures_a_curve(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    size = ["--faces", "400", "--probes", "20", "--seconds", "0.02"]
    command = [sys.executable, "bench/search.py", *size, "--engines", "numpy", "--out", str(out), "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    kept = json.loads(out.read_text())
    assert (kept["bench"], kept["figures"]) == ("search", document)
    assert (document["faces"], document["probes"], document["left_out"]) == (400, 20, {})
    figures = document["engines"]["numpy"]
    assert figures["versions"] == {"numpy": np.__version__}
    [point] = figures["points"]
    assert (point["recall"], point["rank1"]) == (1.0, document["exact_rank1"])
    assert list(point["searches_per_second"]) == ["1", "4", "16"]
    assert all(rate > 0 for rate in point["searches_per_second"].values())


def test_a_comparison_can_be_measured_in_parts(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        options = ["--probes", "20", "--seconds", "0.02", "--engines", "numpy", "--out", str(out)]
        return subprocess.run(
            [sys.executable, "bench/search.py", *options, *words],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("--faces", "400").returncode == 0
    kept = json.loads(out.read_text())
    before = kept["figures"]["engines"].pop("numpy")
    kept["figures"] |= {"engines": {"faiss-hnsw": before}, "left_out": {"numpy": "it was not there", "annoy": "it is not there"}}
    out.write_text(json.dumps(kept))
    assert run("--faces", "400", "--add").returncode == 0
    kept = json.loads(out.read_text())
    assert "--engines faiss-hnsw,numpy,annoy --faces 400" in kept["command"] and "--add" not in kept["command"]
    figures = kept["figures"]
    assert list(figures["engines"]) == ["faiss-hnsw", "numpy"]
    assert (figures["engines"]["faiss-hnsw"], figures["left_out"]) == (before, {"annoy": "it is not there"})
    of_others = run("--faces", "800", "--add")
    assert of_others.returncode == 2
    assert "without --add" in of_others.stderr
    assert json.loads(out.read_text())["figures"] == figures
    assert run("--faces", "800").returncode == 0
    assert list(json.loads(out.read_text())["figures"]["engines"]) == ["numpy"]
