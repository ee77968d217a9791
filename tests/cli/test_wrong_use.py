"""Whatever is typed wrong, or missing on the machine: one clear sentence, exit code 2, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from tests.cli.conftest import Result, Type
from tests.faces_made import lost, small_copies


def refused(result: Result, *words: str) -> None:
    """One sentence on stderr that holds these words, and exit code 2."""
    assert result.code == 2, result
    sentences = [line for line in result.err.splitlines() if line.startswith("facedex: ")]
    assert len(sentences) == 1, result.err
    for word in words:
        assert word in sentences[0]


@pytest.fixture
def photo(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    return small_copies(portraits["obama.jpg"], tmp_path / "people" / "Barack", 1)[0]


def test_no_such_folder(type_: Type) -> None:
    refused(type_("ingest", "/no/such/folder"), "/no/such/folder")


def test_an_empty_folder(tmp_path: Path, type_: Type) -> None:
    refused(type_("ingest", tmp_path), "no photos", str(tmp_path))


def test_a_folder_is_no_photo(tmp_path: Path, type_: Type, photo: Path) -> None:
    refused(type_("verify", tmp_path, photo), str(tmp_path), "is a folder")
    (tmp_path / "empty").mkdir()
    refused(type_("search", tmp_path / "empty"), "no photos in the folder")


def test_a_verdict_on_nothing(tmp_path: Path, type_: Type, photo: Path) -> None:
    refused(type_("verify"), "Name two photos", "--pairs")
    refused(type_("verify", photo), "Name two photos")
    refused(type_("verify", photo, photo, "--csv"), "--csv")
    refused(type_("verify", photo, photo, "--pairs", tmp_path / "pairs.csv"), "no photos")
    refused(type_("verify", "--pairs", tmp_path / "pairs.csv"), "pairs.csv")
    refused(type_("verify", "--pairs", tmp_path / "pairs.csv", "--json", "--csv"), "not both")


def test_a_search_for_nothing(type_: Type, photo: Path) -> None:
    refused(type_("search"), "Name a photo", "--list")
    refused(type_("search", photo, "--json", "--csv"), "not both")


def test_files_to_write_are_checked_before_the_work(photo: Path, tmp_path: Path, type_: Type) -> None:
    env = {"ELASTICSEARCH_URL": "http://127.0.0.1:1"}
    refused(type_("ingest", photo, "--rejects", tmp_path, env=env), "--rejects", "is a folder")
    refused(type_("search", photo, "--html", tmp_path / "no" / "page.html", env=env), "--html", "not there")


def test_what_is_not_elasticsearch(tmp_path: Path, photo: Path, type_: Type) -> None:
    class Files(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), partial(Files, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for words in (["status"], ["collections", "list"], ["search", photo], ["ingest", photo]):
            refused(type_(*words, env={"ELASTICSEARCH_URL": f"http://127.0.0.1:{server.server_port}"}), "is not Elasticsearch")
        server.shutdown()


def test_no_such_photo(type_: Type) -> None:
    refused(type_("search", "nobody.jpg"), "nobody.jpg")
    refused(type_("verify", "nobody.jpg", "nobody.jpg"), "nobody.jpg")


def test_wrong_use_answers_programs_in_json(type_: Type) -> None:
    result = type_("search", "nobody.jpg", "--json")
    assert result.json["error"]["code"] == "no_such_photo"
    refused(result)


def test_an_unknown_model_or_detector(photo: Path, type_: Type) -> None:
    refused(type_("ingest", photo, "--model", "Facenet9000"), "Facenet9000", "Facenet512", "Dlib")
    refused(type_("ingest", photo, "--detector", "eyes"), "eyes", "retinaface")
    refused(type_("verify", photo, photo, "--model", "Facenet9000"), "Facenet9000")


def test_another_model_than_the_collections_is_refused_before_its_weights_are_asked_for(
    client: Elasticsearch, name: str, photo: Path, tmp_path: Path, type_: Type
) -> None:
    type_("collections", "create", name)
    for words in (["search", photo], ["ingest", photo]):
        result = type_(*words, "-c", name, "--model", "Facenet512", env={"DEEPFACE_HOME": str(tmp_path)})
        refused(result, "another recipe", "Facenet512 instead of Dlib")


def test_a_model_without_its_weights(photo: Path, tmp_path: Path, type_: Type) -> None:
    refused(type_("ingest", photo, "--model", "Facenet", env={"DEEPFACE_HOME": str(tmp_path)}), "facenet", str(tmp_path))


def test_anti_spoofing_without_its_weights(client: Elasticsearch, name: str, photo: Path, tmp_path: Path, type_: Type) -> None:
    words = ["ingest", photo, "-c", name, "--anti-spoofing", "--workers", 1]
    refused(type_(*words, env={"DEEPFACE_HOME": str(tmp_path)}), str(tmp_path))


def test_an_unknown_collection(client: Elasticsearch, photo: Path, type_: Type) -> None:
    refused(type_("search", photo, "-c", "not-there"), "not-there")
    refused(type_("collections", "show", "not-there"), "not-there")
    refused(type_("collections", "delete", "not-there", "--yes"), "not-there")


def test_a_bad_collection_name(client: Elasticsearch, photo: Path, type_: Type) -> None:
    refused(type_("ingest", photo, "-c", "Bad Name"), "Bad Name")
    refused(type_("collections", "create", "Bad Name"), "Bad Name")


def test_a_collection_that_exists(client: Elasticsearch, name: str, type_: Type) -> None:
    type_("collections", "create", name)
    refused(type_("collections", "create", name), name, "exists")


def test_a_query_with_another_recipe(client: Elasticsearch, name: str, photo: Path, type_: Type) -> None:
    from es.collections import create
    from faces.recipe import DEFAULT

    create(client, name, DEFAULT.as_dict() | {"weights_sha256": "0" * 64})
    refused(type_("search", photo, "-c", name), name, "another recipe")
    refused(type_("ingest", photo, "-c", name), name, "another recipe")


def test_the_engine_unreachable(photo: Path, type_: Type) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for words in (["search", photo], ["ingest", photo], ["status"], ["collections", "list"], ["up"]):
        refused(type_(*words, env={"ELASTICSEARCH_URL": url}), "can't be reached", "ELASTICSEARCH_URL")


def test_a_bad_address(photo: Path, type_: Type) -> None:
    refused(type_("search", photo, env={"ELASTICSEARCH_URL": "localhost:9200"}), "localhost:9200")


def test_the_port_taken(tmp_path: Path, type_: Type) -> None:
    tmp_path = _enterable(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(type_("up", env={"FACEDEX_DATA_DIR": str(tmp_path), "FACEDEX_NODE_PORT": str(port)}), str(port))


def test_no_jdk(tmp_path: Path, type_: Type) -> None:
    env = {"FACEDEX_DATA_DIR": str(_enterable(tmp_path)), "FACEDEX_JAVA_HOME": str(tmp_path / "no-java")}
    refused(type_("up", env=env), "JDK", str(tmp_path / "no-java"))


def _enterable(folder: Path) -> Path:
    """A folder that the engine's own user can enter; pytest's are closed to others."""
    import tempfile

    if os.geteuid() != 0:
        return folder
    made = Path(tempfile.mkdtemp(dir=os.environ["FACEDEX_DATA_DIR"]))
    made.chmod(0o711)
    return made


def test_a_cache_that_cannot_be_written(photo: Path, type_: Type) -> None:
    # Below a file nothing can be made, whoever asks; root may write into read-only folders.
    refused(type_("verify", photo, photo, env={"FACEDEX_CACHE_DIR": str(photo / "cache")}), "FACEDEX_CACHE_DIR")


def test_a_read_only_cache(photo: Path, tmp_path: Path, type_: Type) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write into read-only folders")
    (tmp_path / "cache").mkdir(mode=0o500)
    refused(type_("verify", photo, photo, env={"FACEDEX_CACHE_DIR": str(tmp_path / "cache")}), "FACEDEX_CACHE_DIR")


def test_the_disk_full(client: Elasticsearch, name: str, photo: Path, tmp_path: Path, type_: Type) -> None:
    (photo.parent / "notes.txt").write_text("no photo")
    refused(type_("ingest", photo.parent, "-c", name, "--workers", 1, "--rejects", "/dev/full"), "disk is full", "--rejects")
    refused(type_("search", photo, "-c", name, "--html", "/dev/full"), "disk is full", "--html")


def test_a_setting_that_does_not_fit(type_: Type) -> None:
    refused(type_("status", env={"FACEDEX_NODE_PORT": "many"}), "FACEDEX_NODE_PORT can't be used: give a whole number.")
    refused(type_("status", env={"FACEDEX_WEB_SECONDS": "0"}), "give more than 0")


@pytest.mark.parametrize("words", [["serach"], ["verify", "--pears"], ["ingest", "--nonsense"], ["ingest", ".", "--min-face", "0"]])
def test_what_the_command_line_does_not_know(words: list[str], type_: Type) -> None:
    result = type_(*words)
    assert result.code == 2
    assert "Usage" in result.err
    assert type_(*words, "--json").json["error"]["code"] == "usage"


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["search", "x.jpg", "--since", "yesterday"], "'--since': 'yesterday' is no time: give a day as 2026-01-31, or a time as"),
        (["search", "x.jpg", "--top", "0"], "'--top': give 1 or more"),
        (["search", "x.jpg", "--top", "1001"], "'--top': give 1,000 or less"),
        (["search", "x.jpg", "--top", "many"], "'--top': give a whole number"),
        (["collections", "calibrate", "faces", "--fpir", "few"], "'--fpir': give a number"),
        (["ingest", ".", "--person", "person"], "'--person': 'person' is not one of 'none', 'folder', 'csv'"),
    ],
)
def test_a_value_that_does_not_fit_is_told_what_would(words: list[str], given: str, type_: Type) -> None:
    result = type_(*words)
    assert result.code == 2
    assert f"Invalid value for {given}" in result.err
    assert "Value error" not in result.err
    assert "Input should" not in result.err


def test_a_bug_is_one_sentence_too(type_: Type, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("0.123, 0.456")

    monkeypatch.setattr("query.verify.verify", explode)
    refused(type_("verify", photo, photo), "ZeroDivisionError")
    assert "0.123" not in type_("verify", photo, photo).err


@pytest.mark.parametrize("words", ["status --json", "status", "collections list"])
def test_a_reader_that_goes_away_is_no_error(client: Elasticsearch, words: str) -> None:
    command = f"set -o pipefail; {sys.executable} -m facedex {words} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 141
    assert done.stderr == ""


def test_names_too_long_for_a_file_are_not_there(type_: Type) -> None:
    refused(type_("search", "x" * 300), "no photo")
    refused(type_("ingest", "x" * 300), "no file or folder")


def test_too_much_on_stdin_is_refused(client: Elasticsearch, name: str, type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    type_("collections", "create", name)
    monkeypatch.setattr("query.targets.MAX_BYTES", 1000)
    result = type_("search", "-", "-c", name, "--json", stdin=b"x" * 1001)
    assert result.code == 1
    assert result.lines[0]["error"]["code"] == "too_large"


def test_a_data_folder_that_is_a_file(tmp_path: Path, type_: Type) -> None:
    file = _enterable(tmp_path) / "file"
    file.write_text("not a folder")
    env = {"FACEDEX_DATA_DIR": str(file)}
    refused(type_("up", env=env), str(file))
    assert type_("down", "--json", env=env).json == {"stopped": False}


def test_a_collection_that_cannot_answer_hides_no_other(client: Elasticsearch, name: str, type_: Type) -> None:
    lost(client, name)
    try:
        status = type_("status", "--json")
        assert status.code == 0
        (entry,) = [entry for entry in status.json["collections"] if entry["name"] == name]
        assert entry["faces"] is None
        assert name in status.err
        assert "?" in type_("status").out
    finally:
        client.indices.delete(index=[f"facedex-{name}-v1", f"facedex-{name}-rejects-v1"])


def test_a_password_on_the_command_line_is_refused(type_: Type) -> None:
    done = type_("--url", "https://ada:s3cret@127.0.0.1:9200", "status", "--json")
    assert done.code == 2
    assert done.json["error"]["code"] == "insecure"
    assert "ELASTICSEARCH_URL" in done.err
    assert "s3cret" not in done.out + done.err
