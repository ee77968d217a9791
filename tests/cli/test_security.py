"""The commands as users with few rights type them, and where secrets are seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from core.settings import Settings
from es import collections
from faces.recipe import DEFAULT
from tests.cli.conftest import Result, Type
from tests.faces_made import small_copies
from tests.ingest.runs_made import age, contents
from tests.servers import Secured

TypeAs = Callable[..., Result]


@pytest.fixture
def as_(type_: Type, secured: Secured) -> TypeAs:
    """Runs a command line as a user: `as_("search", "status")`."""
    return lambda user, *words: type_(*words, env=secured.environment(user))


@pytest.fixture
def photos(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    small_copies(portraits["obama.jpg"], tmp_path / "photos" / "Barack", 2)
    small_copies(portraits["biden.jpg"], tmp_path / "photos" / "Joe", 1)
    age(tmp_path)
    return tmp_path / "photos"


@pytest.fixture
def staff(secured: Secured) -> Iterator[str]:
    """The collection ``staff``, empty, and ``staff-old`` beside it."""
    with secured.client() as admin:
        for name in ("staff", "staff-old"):
            collections.create(admin, name, DEFAULT.as_dict())
        yield "staff"
        for found in collections.all_of(admin):
            collections.delete(admin, found)


def test_who_ingests_goes_on_where_something_would_have_to_be_deleted(as_: TypeAs, secured: Secured, staff: str, photos: Path) -> None:
    ingest = ("ingest", photos, "-c", staff, "--workers", 0, "--json")
    first = as_("ingest", *ingest)
    assert (first.code, first.json["faces"], first.json["outdated"]) == (0, 3, 0)
    assert as_("ingest", *ingest).json["skipped"] == 3

    moved, changed, gone = photos / "Barack" / "0000.jpg", photos / "Joe" / "0000.jpg", photos / "Barack" / "0001.jpg"
    moved.rename(photos / "Joe" / "moved.jpg")
    changed.write_bytes(changed.read_bytes().replace(b"biden.jpg 0", b"biden.jpg 9"))
    gone.unlink()
    for _ in range(2):  # the second run skips the new content, and meets the old one again
        then = as_("ingest", *ingest, "--prune", "--yes")
        assert (then.code, then.json["outdated"], then.json["pruned"]) == (1, 1, {})
        assert "nothing was pruned: Elasticsearch does not allow this to the user ingest" in then.err
    told = as_("ingest", *ingest[:-1])
    assert "Still there, though out of date: 1 face or reject," in told.out
    assert "have a steward of the collection run the same command" in told.out
    with secured.client() as admin:
        assert str(photos / "Joe" / "moved.jpg") in contents(admin, staff)

    last = as_("steward", *ingest, "--prune", "--yes")
    assert (last.code, last.json["outdated"], last.json["pruned"]) == (0, 0, {"faces": 1})
    with secured.client() as admin:
        assert sorted(contents(admin, staff)) == [str(changed), str(photos / "Joe" / "moved.jpg")]


def test_who_searches_reads_everything_of_one_collection(as_: TypeAs, staff: str, photos: Path) -> None:
    photo = photos / "Joe" / "0000.jpg"
    as_("ingest", "ingest", photos, "-c", staff, "--workers", 0)
    for how in ((), ("--exact",), ("--where", "person=Joe")):
        found = as_("search", "search", photo, "-c", staff, "--json", *how)
        assert (found.code, found.lines[0]["faces"][0]["matches"][0]["person"]) == (0, "Joe")
    status = as_("search", "status", "--json").json
    assert [entry["name"] for entry in status["collections"]] == [staff]
    assert (status["collections"][0]["faces"], status["version"], status["health"], status["nodes"]) == (3, None, None, [])
    shown = as_("search", "collections", "show", staff, "--json").json
    assert (shown["faces"], shown["health"], shown["bytes"]) == (3, None, None)
    for words in (("status",), ("up",), ("collections", "list"), ("collections", "show", staff), ("rejects", "list", "-c", staff)):
        assert as_("search", *words).code == 0, words
    assert as_("search", "bench", "recall", "-c", staff).code == 0


@pytest.mark.parametrize(
    ("user", "words", "role"),
    [
        ("search", ("ingest", "PHOTOS", "-c", "staff"), "facedex_ingest"),
        ("search", ("collections", "delete", "staff", "--yes"), "facedex_steward"),
        ("search", ("collections", "calibrate", "staff"), "facedex_steward"),
        ("search", ("bench", "recall", "-c", "staff", "--store"), "facedex_steward"),
        ("ingest", ("ingest", "PHOTOS", "-c", "staff", "--bulk-load"), "facedex_steward"),
        ("ingest", ("collections", "optimize", "staff"), "facedex_steward"),
        ("search", ("snapshot", "list"), "facedex_steward"),
        ("ingest", ("ingest", "PHOTOS", "-c", "staff-old"), "facedex_search"),
        ("search", ("search", "PHOTOS", "-c", "staff-old"), "facedex_search"),
        ("steward", ("collections", "create", "another"), "facedex_steward"),
        ("steward", ("security", "init"), "an administrator's rights"),
        ("stranger", ("collections", "list"), "facedex_search"),
    ],
)
def test_what_is_not_allowed_is_one_sentence_with_the_role_that_is_needed(
    as_: TypeAs, staff: str, photos: Path, user: str, words: tuple[str, ...], role: str
) -> None:
    result = as_(user, *(str(photos) if word == "PHOTOS" else word for word in words), "--json")
    assert result.code == 2
    error = json.loads(result.out.splitlines()[-1])["error"]
    assert error["code"] == "forbidden"
    assert role in error["message"]
    assert f"the user {user}" in error["message"]


def test_whoami(as_: TypeAs, type_: Type, client: object, staff: str) -> None:
    assert as_("search", "security", "whoami", "--json").json == {
        "user": {"name": "search", "roles": ["facedex_search_staff"], "kind": "realm"},
        "collections": [{"name": staff, "rights": ["search"]}],
    }
    asked = as_("ingest", "security", "whoami", "-c", staff, "-c", "staff-old", "--json").json["collections"]
    assert asked == [{"name": staff, "rights": ["search", "ingest"]}, {"name": "staff-old", "rights": []}]
    assert "You are steward" in as_("steward", "security", "whoami").out
    assert "no collection" in as_("stranger", "security", "whoami").out
    assert "has no users" in type_("security", "whoami").out
    assert "has no users" in type_("security", "init").err


def test_roles_are_printed_for_files_and_for_the_api(type_: Type) -> None:
    printed = type_("security", "roles", "-c", "staff")
    described = type_("security", "roles", "-c", "staff", "--json").json
    assert [f"{name}:" for name in described] == [line for line in printed.out.splitlines() if not line.startswith(" ")]
    assert type_("security", "roles", "-c", "staff*").code == 2


def test_a_cluster_that_keeps_neither_roles_nor_keys_is_told(as_: TypeAs, tmp_path: Path) -> None:
    result = as_("administrator", "security", "init", "--keys", tmp_path / "keys", "--json")
    assert result.code == 1
    assert result.json["roles"] == []
    assert "roles.yml" in result.json["missing"]
    (tmp_path / "open").mkdir(mode=0o755)
    assert "chmod 700" in as_("administrator", "security", "init", "--keys", tmp_path / "open").err


class _Cluster(BaseHTTPRequestHandler):
    """Stands in for a cluster that keeps roles and keys, which the tests' own can't."""

    made: list[tuple[str, dict[str, object]]]

    def _answer(self, document: dict[str, object], status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return found

    def do_GET(self) -> None:
        known = self.headers["Authorization"] in ("Basic YWRtaW46cGFzcw==", "ApiKey the-key")
        self._answer({"username": "admin", "roles": [], "authentication_type": "realm"}, 200 if known else 401)

    def do_PUT(self) -> None:
        self.made.append((self.path, self._body()))
        self._answer({"role": {"created": True}} if "/role/" in self.path else {"id": "i", "name": "n", "encoded": "the-key"})

    def log_message(self, *_: object) -> None: ...


def test_keys_are_written_to_closed_files_once_and_never_printed(type_: Type, tmp_path: Path) -> None:
    made: list[tuple[str, dict[str, object]]] = []
    with HTTPServer(("127.0.0.1", 0), type("Cluster", (_Cluster,), {"made": made})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        env = {"ELASTICSEARCH_URL": url, "ELASTICSEARCH_USERNAME": "admin", "ELASTICSEARCH_PASSWORD": "pass"}
        words = ("security", "init", "-c", "staff", "--keys", tmp_path / "keys", "--days", 30)
        first = type_(*words, "--json", env=env)
        keys = [body for path, body in made if path == "/_security/api_key"]
        made.clear()
        again = type_(*words, env=env)
        server.shutdown()
    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert "the-key" not in first.out + first.err + again.out + again.err
    files = {role: Path(file) for role, file in first.json["keys"].items()}
    assert list(files) == ["facedex_search_staff", "facedex_ingest_staff", "facedex_steward_staff"]
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    for role, file in files.items():
        assert file.stat().st_mode & 0o777 == 0o600
        config = Settings(_env_file=file)  # type: ignore[call-arg]
        assert (config.url, config.api_key and config.api_key.get_secret_value()) == (url, "the-key")
        assert f"The key with the rights of {role} is good still" in again.out
    assert [key["expiration"] for key in keys] == ["30d"] * 3
    assert [list(key["role_descriptors"]) for key in keys] == [[role] for role in files]  # type: ignore[call-overload]
    assert all("description" not in each for key in keys for each in key["role_descriptors"].values())  # type: ignore[attr-defined]
    roles = {f"/_security/role/facedex_{right}_staff" for right in ("search", "ingest", "steward", "viewer")}
    assert {path for path, _ in made} == roles | {"/facedex--operations-v1"}


@pytest.mark.parametrize("debug", [{}, {"FACEDEX_DEBUG": "1"}])
def test_a_wrong_password_is_told_and_not_shown(secured: Secured, staff: str, debug: dict[str, str]) -> None:
    env = os.environ | secured.environment("search") | debug | {"ELASTICSEARCH_PASSWORD": "wr0ng-secret"}
    command = [sys.executable, "-m", "facedex", "collections", "show", staff, "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "unauthorized"
    assert "wr0ng-secret" not in done.stdout + done.stderr


def test_secrets_stand_in_no_command_line_and_no_log(secured: Secured, staff: str, photos: Path, tmp_path: Path) -> None:
    secret = secured.passwords["ingest"]
    (tmp_path / "password").write_text(secret + "\n")
    (tmp_path / "password").chmod(0o600)
    env = os.environ | secured.environment("ingest") | {"ELASTICSEARCH_PASSWORD_FILE": str(tmp_path / "password"), "FACEDEX_DEBUG": "1"}
    env |= {"FACEDEX_DATA_DIR": str(tmp_path / "data")}
    del env["ELASTICSEARCH_PASSWORD"]
    command = [sys.executable, "-m", "facedex", "ingest", str(photos), "-c", staff, "--workers", "1", "--json"]
    seen: set[str] = set()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while running.poll() is None:
            for process in _family(running.pid):
                try:
                    seen.add(" ".join(process.cmdline()))
                except psutil.Error:
                    continue
            threading.Event().wait(0.02)
        out, err = running.communicate()
    assert running.returncode == 0, err
    assert json.loads(out)["faces"] == 3
    assert any("spawn_main" in line for line in seen), "the worker was seen"
    assert not any(secret in line for line in seen)
    assert secret not in out + err
    for path in (path for path in (tmp_path / "data").rglob("*") if path.is_file()):
        assert secret.encode() not in path.read_bytes(), path


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
