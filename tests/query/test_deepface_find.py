"""facedex.find beside DeepFace.find, which runs in a process of its own, untouched by ours."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import demo
import facedex
from bench.peers import deepface_home
from query.deepface_find import FindOptions

THEIRS = """
import json, sys
from deepface import DeepFace
gallery, photo = sys.argv[1:]
def shape(tables):
    return [[[[name, str(kind)] for name, kind in table.dtypes.items()], table.to_dict("records")] for table in tables]
options = dict(db_path=gallery, model_name="Dlib", detector_backend="dlib", silent=True)
print(json.dumps([
    shape(DeepFace.find(img_path=photo, **options)),
    shape(DeepFace.find(img_path=photo, similarity_search=True, **options)),
    shape(DeepFace.find(img_path=photo, threshold=0.000001, **options)),
]))
"""


@pytest.fixture
def gallery(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    for person, names in demo.PEOPLE.items():
        (tmp_path / "people" / person).mkdir(parents=True)
        for name in names:
            shutil.copy(portraits[name], tmp_path / "people" / person)
    return tmp_path / "people"


def shape(tables: list[pd.DataFrame]) -> list[Any]:
    return [[[[name, str(kind)] for name, kind in table.dtypes.items()], table.to_dict("records")] for table in tables]


def test_the_tables_are_those_of_deepface(
    gallery: Path, name: str, node: object, portraits: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = os.environ | {"DEEPFACE_HOME": str(deepface_home(tmp_path)), "DEEPFACE_BACKEND_ENGINE": "onnx", "DEEPFACE_LOG_LEVEL": "50"}
    monkeypatch.chdir(tmp_path)
    arguments = [sys.executable, "-c", THEIRS, "people", str(portraits["obama2.jpg"])]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    (tmp_path / "people" / "ds_model_dlib_detector_dlib_aligned_normalization_base_expand_0.npz").unlink()

    def ours(**options: Any) -> list[Any]:
        return shape(facedex.find(str(portraits["obama2.jpg"]), "people", "Dlib", detector_backend="dlib", collection=name, **options))

    for mine, other in zip([ours(), ours(similarity_search=True), ours(threshold=0.000001)], theirs, strict=True):
        assert len(mine) == len(other) == 1
        (columns, rows), (their_columns, their_rows) = mine[0], other[0]
        assert columns == their_columns
        # Faces are found and aligned on other scales, so that distances differ and photos of one person may change places.
        assert {row["identity"] for row in rows} == {row["identity"] for row in their_rows}
        for row, their_row in zip(*(sorted(each, key=lambda row: row["identity"]) for each in (rows, their_rows)), strict=True):
            assert row["distance"] == pytest.approx(their_row["distance"], abs=0.04)
            assert row["threshold"] == their_row["threshold"]
            assert (row["confidence"] > 50) == (their_row["confidence"] > 50)
            for side in ("source_x", "source_y", "source_w", "source_h"):
                assert row[side] == pytest.approx(their_row[side], abs=25)
        people = [list(dict.fromkeys(Path(row["identity"]).parent.name for row in each)) for each in (rows, their_rows)]
        assert people[0] == people[1]
        assert [row["distance"] for row in rows] == sorted(row["distance"] for row in rows)


@pytest.fixture
def opened(gallery: Path, name: str, node: object) -> Any:
    with facedex.open(name, create=True) as made:
        made.ingest(gallery, workers=0)
        yield made


@pytest.mark.parametrize(
    "options",
    [
        {"distance_metric": "euclidean"},
        {"align": False},
        {"expand_percentage": 10},
        {"normalization": "Facenet"},
        {"return_type": "dict"},
        {"k": 0},
    ],
)
def test_what_cannot_be_honoured_is_refused(options: FindOptions, opened: facedex.Collection, portraits: dict[str, Path]) -> None:
    with pytest.raises(facedex.UsageError, match=next(iter(options))):
        opened.find(portraits["obama2.jpg"], **options)


def test_another_model_is_refused(opened: facedex.Collection, portraits: dict[str, Path]) -> None:
    with pytest.raises(facedex.RecipeMismatch, match="VGG-Face"):
        opened.find(portraits["obama2.jpg"], model_name="VGG-Face")
    with pytest.raises(facedex.RecipeMismatch, match="retinaface"):
        facedex.find(portraits["obama2.jpg"], collection=opened.name, detector_backend="retinaface")


def test_what_changes_nothing_is_taken(opened: facedex.Collection, portraits: dict[str, Path]) -> None:
    plain = opened.find(portraits["obama2.jpg"])
    spelled = opened.find(
        str(portraits["obama2.jpg"]),
        None,
        "dlib",
        distance_metric="cosine",
        enforce_detection=True,
        align=True,
        silent=True,
        datastore_format="parquet",
        return_type="pandas",
    )
    pd.testing.assert_frame_equal(plain[0], spelled[0])


def test_arrays_are_bgr_and_k_counts_rows(opened: facedex.Collection, portraits: dict[str, Path]) -> None:
    with Image.open(portraits["obama2.jpg"]) as image:
        bgr = np.asarray(image.convert("RGB"))[..., ::-1]
    (by_path,) = opened.find(portraits["obama2.jpg"], similarity_search=True, k=2)
    (by_array,) = opened.find(bgr, similarity_search=True, k=2)
    assert len(by_path) == 2
    (exactly,) = opened.find(bgr, similarity_search=True, k=2, exact=True)
    pd.testing.assert_frame_equal(by_path, exactly, atol=1e-6)
    pd.testing.assert_frame_equal(by_path, by_array)


def test_a_photo_without_a_face(opened: facedex.Collection) -> None:
    file = io.BytesIO()
    Image.new("RGB", (200, 200)).save(file, "PNG")
    with pytest.raises(facedex.PhotoError) as caught:
        opened.find(file.getvalue())
    assert caught.value.code == "no_face"
    (table,) = opened.find(file.getvalue(), enforce_detection=False)
    assert table.empty
    assert list(table.columns)[:2] == ["identity", "hash"]


def test_only_photos_below_the_folder(opened: facedex.Collection, gallery: Path, portraits: dict[str, Path]) -> None:
    (table,) = opened.find(portraits["obama2.jpg"], gallery / "Joe Biden", similarity_search=True, refresh_database=False)
    assert list(table["identity"]) == [str(gallery / "Joe Biden" / "biden.jpg")]
    (gallery / "Joe Biden" / "another.jpg").write_bytes(portraits["obama2.jpg"].read_bytes())
    (table,) = opened.find(portraits["obama2.jpg"], gallery / "Joe Biden")
    assert list(table["identity"]) == [str(gallery / "Joe Biden" / "another.jpg")]
    assert table["distance"][0] == pytest.approx(0, abs=1e-6)
