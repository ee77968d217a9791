"""Photos from archives, lists and the web, ingested as a person types it."""

import functools
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es.documents import alias, rejects_alias
from ingest.commands import ingest
from tests.faces_made import small_copies


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server(tmp_path: Path, portraits: dict[str, Path]) -> Iterator[str]:
    small_copies(portraits["biden.jpg"], tmp_path / "web" / "Joe", 1)
    handler = functools.partial(_Silent, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def _stored(client: Elasticsearch, index: str) -> list[dict[str, Any]]:
    return [hit["_source"] for hit in client.search(index=index, sort="image.path")["hits"]["hits"]]


def _typed(*sources: str, name: str, rejects: Path, allowed: bool = False) -> int:
    import typer

    with pytest.raises(typer.Exit) as ended:
        ingest(list(sources), name, workers=1, rejects=rejects, allow_private_addresses=allowed, json=True, person=None, min_face=80)
    return ended.value.exit_code


def test_archives_lists_and_the_web_end_up_in_one_collection(
    client: Elasticsearch, name: str, server: str, tmp_path: Path, portraits: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for number, photo in enumerate(small_copies(portraits["obama.jpg"], tmp_path / "Barack", 2)):
            zipped.write(photo, f"Barack/{number}.jpg")
    packed = Path(shutil.make_archive(str(tmp_path / "b"), "gztar", tmp_path / "web"))
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,person,camera.left\n{server}/Joe/0000.jpg,Joe,yes\n{server}/nobody.jpg,,no\n")
    rejects = tmp_path / "rejects.jsonl"

    assert _typed(str(listed), name=name, rejects=rejects) == 1
    client.indices.refresh(index=[alias(name), rejects_alias(name)])
    assert [(each["reason"], each["labels"]) for each in _stored(client, rejects_alias(name))] == [
        ("forbidden", {"camera.left": "yes"}),
        ("forbidden", {"camera.left": "no"}),
    ]

    assert _typed(str(listed), name=name, rejects=rejects, allowed=True) == 1
    assert _typed(str(tmp_path / "a.zip"), str(packed), name=name, rejects=rejects) == 0
    client.indices.refresh(index=alias(name))
    assert [(each["image"]["path"], each["person"]) for each in _stored(client, alias(name))] == [
        (f"{tmp_path}/a.zip!/Barack/0.jpg", "Barack"),
        (f"{tmp_path}/a.zip!/Barack/1.jpg", "Barack"),
        (f"{server}/Joe/0000.jpg", "Joe"),  # the archive's is a copy of it
    ]
    assert client.count(index=alias(name), query={"term": {"labels.camera.left": "yes"}})["count"] == 1
    assert '"unreadable": 1' in capsys.readouterr().out
