"""Calibrating a collection, as a person types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from es import collections
from faces.recipe import DEFAULT
from query.calibration import Calibration
from tests.cli.conftest import Type
from tests.faces_made import vector
from tests.query.test_calibration import away, crowd, fill, photo


def test_a_collection_is_calibrated_and_what_it_means_is_said(client: Elasticsearch, name: str, tmp_path: Path, type_: Type) -> None:
    twins = [photo("x.jpg", "Ada\x1b[31m", vector(30_000)), photo("y.jpg", "A. Lovelace", away(vector(30_000), 0.004, 1))]
    fill(client, name, [*crowd(), *twins])
    result = type_("collections", "calibrate", name, "--chart", tmp_path / "curve.svg")
    assert result.code == 0
    for words in (f"{name}, 802 faces", "400 people", "calibrated", "fall-back", "0.0700"):
        assert words in result.out
    assert "1 % is less than 400 people can show: at 7.5 %" in result.out
    assert "Left out: 2 photos" in result.out
    assert "\x1b" not in result.out
    assert f"The chart: {tmp_path / 'curve.svg'}" in result.err
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")
    stored = Calibration.from_notes(collections.get(client, name).notes)
    assert stored is not None
    assert f"Of 1,000 strangers, {1000 * stored.promised:.0f} are taken for somebody in {name}" in result.out

    document = type_("collections", "calibrate", name, "--fpir", "0.1", "--json").json
    assert document["collection"] == name
    assert (document["wished"], document["people"], document["mated"]) == (0.1, 400, 800)
    assert document["fallback"]["threshold"] == DEFAULT.search_threshold
    assert document["fallback"]["fnir"] == pytest.approx(0.5)
    assert [set(each["people"]) for each in document["suspects"]] == [{"Ada\x1b[31m", "A. Lovelace"}]
    again = Calibration.from_notes(collections.get(client, name).notes)
    assert again is not None
    assert again.as_dict().items() <= document.items()
    assert again.wished == 0.1


def test_without_second_photos_nothing_is_drawn(client: Elasticsearch, name: str, tmp_path: Path, type_: Type) -> None:
    fill(client, name, crowd()[::2])
    result = type_("collections", "calibrate", name, "--chart", tmp_path / "curve.png")
    assert result.code == 0
    assert "not known" in result.out
    assert "nothing was drawn" in result.err
    assert not (tmp_path / "curve.png").exists()


def test_wrong_use_of_calibrate(client: Elasticsearch, name: str, tmp_path: Path, type_: Type) -> None:
    assert type_("collections", "calibrate", name, "--json").json["error"]["code"] == "no_collection"
    fill(client, name, crowd()[:4])
    refused = type_("collections", "calibrate", name, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "too_few_people")
    assert collections.get(client, name).notes == {}
    for wrong in ("0", "1", "-1", "nan", "0.6"):
        assert type_("collections", "calibrate", name, f"--fpir={wrong}").code == 2
    assert "must end in .png or .svg" in type_("collections", "calibrate", name, "--chart", tmp_path / "curve.gif").err
