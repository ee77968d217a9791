from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import pytest

from bench import results
from bench.results import ROOT, keep, read, typed


def test_what_is_kept_is_read_again_with_what_it_belongs_to(tmp_path: Path) -> None:
    path = tmp_path / "new" / "search.json"
    kept = keep(path, "search", {"faces": 10}, command=["bench/search.py", "--faces", "10"], packages=["rich", "no-such-package"])
    assert read(path) == kept
    assert kept["figures"] == {"faces": 10}
    assert kept["command"] == "python bench/search.py --faces 10"
    assert kept["machine"]["cores"] >= 1
    assert {"python", "facedex", "elasticsearch", "elasticsearch-py", "numpy", "rich"} <= kept["versions"].keys()
    assert "no-such-package" not in kept["versions"]
    assert [each.name for each in path.parent.iterdir()] == ["search.json"]


def test_nothing_in_it_tells_whose_machine_it_was(tmp_path: Path) -> None:
    figures = {"photos": "/home/somebody/photos", "rows": [{"folder": tmp_path}], "shared": str(ROOT.parent / "shared" / "faces")}
    kept = keep(tmp_path / "it.json", "ingest", figures, command=[str(ROOT / "bench" / "ingest.py"), "--photos", "/home/somebody/photos"])
    assert kept["command"] == "python bench/ingest.py --photos FOLDER"
    assert kept["figures"] == {"photos": "FOLDER", "rows": [{"folder": "FOLDER"}], "shared": "../shared/faces"}
    text = (tmp_path / "it.json").read_text()
    for private in (socket.gethostname(), str(ROOT), str(tmp_path), "somebody", f"/{getpass.getuser()}"):
        assert private not in text


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ([str(ROOT / "bench" / "search.py"), "--out", "/home/somebody/x.json", "--json"], "python bench/search.py"),
        (["bench/search.py", "--out=/home/somebody/x.json", "--faces=10"], "python bench/search.py --faces=10"),
        (["bench/skip.py", "--photos=/media/mine", "--scratch", "."], "python bench/skip.py --photos=FOLDER --scratch ."),
        (["bench/skip.py", "--photos", str(ROOT.parent / "shared" / "my photos")], "python bench/skip.py --photos '../shared/my photos'"),
    ],
)
def test_a_command_is_what_somebody_would_type(words: list[str], command: str) -> None:
    assert typed(words) == command


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"figures": {}}', '{"bench": "search", "figures": []}'])
def test_what_is_no_result_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "it.json"
    assert read(path) is None
    path.write_text(content)
    assert read(path) is None


def test_without_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert results.commit() is None
    assert json.loads(json.dumps(keep(tmp_path / "a.json", "search", {})))["commit"] is None
