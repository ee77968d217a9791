from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import StorageError
from core.settings import settings
from faces.cache import cached


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The models folder of an empty cache."""
    monkeypatch.setenv("FACEDEX_CACHE_DIR", str(tmp_path / "cache"))
    settings.cache_clear()
    yield tmp_path / "cache" / "models"
    settings.cache_clear()


class Maker:
    def __init__(self, data: bytes = b"weights") -> None:
        self.data, self.calls = data, 0

    def __call__(self) -> bytes:
        self.calls += 1
        return self.data


def test_made_once_and_then_read(models: Path) -> None:
    maker = Maker()
    first, second = cached("m.onnx", maker), cached("m.onnx", maker)
    assert first == second
    assert (first.data, first.path, maker.calls) == (b"weights", models / "m.onnx", 1)
    assert sorted(path.name for path in models.iterdir()) == ["m.onnx", "m.onnx.sha256"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "no seal", "other seal", "gone"])
def test_damaged_is_made_anew(models: Path, damage: str) -> None:
    maker = Maker(b"0123456789" * 100)
    path = cached("m.onnx", maker).path
    seal = models / "m.onnx.sha256"
    match damage:
        case "flip":
            path.write_bytes(b"x" + path.read_bytes()[1:])
        case "truncate":
            path.write_bytes(path.read_bytes()[:-1])
        case "no seal":
            seal.unlink()
        case "other seal":
            seal.write_text("0" * 64)
        case "gone":
            path.unlink()
    assert cached("m.onnx", maker).data == maker.data
    assert maker.calls == 2
    assert cached("m.onnx", maker).data == maker.data
    assert maker.calls == 2


def test_a_cache_that_cannot_be_written_is_told(models: Path) -> None:
    models.parent.write_text("a file where the cache folder should be")
    with pytest.raises(StorageError, match="FACEDEX_CACHE_DIR"):
        cached("m.onnx", Maker())


def test_a_read_only_cache_will_do_when_the_model_is_in_it(models: Path) -> None:
    cached("m.onnx", Maker())
    models.chmod(0o500)
    try:
        assert cached("m.onnx", Maker()).data == b"weights"
    finally:
        models.chmod(0o700)


def test_makers_at_the_same_moment(models: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda _: cached("m.onnx", Maker(b"y" * 100_000)), range(32)))
    assert {one.data for one in kept} == {b"y" * 100_000}
    assert sorted(path.name for path in models.iterdir()) == ["m.onnx", "m.onnx.sha256"]
