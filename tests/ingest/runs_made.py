"""Runs over small folders, in this process (tests.workers holds that worker processes give the same), and what they leave."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from core.settings import settings
from es import collections
from es.documents import alias, rejects_alias
from faces.recipe import DEFAULT
from ingest.report import RejectsFile, Report
from ingest.run import Options, ingest
from photos.sources import PersonFrom, photos


def age(folder: Path) -> None:
    for path in folder.rglob("*.*"):
        os.utime(path, (time.time() - 3600,) * 2)


def run(client: Elasticsearch, name: str, *folders: Path, remember: Path | None = None, **options: Any) -> Report:
    if collections.find(client, name) is None:
        collections.create(client, name, DEFAULT.as_dict())
    with RejectsFile(settings().data_dir / "rejects" / f"{name}.jsonl") as file:
        sources = photos(folders, PersonFrom.folder)
        return ingest(client, name, DEFAULT, sources, file, Options(**{"workers": 0, "remember": remember, **options}))


def stored(client: Elasticsearch, name: str) -> dict[str, dict[str, Any]]:
    hits = client.search(index=alias(name), size=1000, source={"exclude_vectors": False})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def places(client: Elasticsearch, name: str) -> dict[str, str]:
    """Person by path."""
    return {face["image"]["path"]: str(face.get("person")) for face in stored(client, name).values()}


def contents(client: Elasticsearch, name: str) -> dict[str, str]:
    """SHA-256 by path."""
    return {face["image"]["path"]: face["image"]["sha256"] for face in stored(client, name).values()}


def left_out(client: Elasticsearch, name: str) -> dict[str, str]:
    hits = client.search(index=rejects_alias(name), size=1000)["hits"]["hits"]
    return {hit["_source"]["image"]["path"]: hit["_source"]["reason"] for hit in hits}


def undisturbed(client: Elasticsearch, name: str, *folders: Path) -> None:
    """The collection holds what one made anew would hold."""
    before, before_rejects = contents(client, name), left_out(client, name)
    collections.delete(client, collections.get(client, name))
    run(client, name, *folders)
    assert before == contents(client, name)
    assert before_rejects == left_out(client, name)
