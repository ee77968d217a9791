import json
from pathlib import Path

from ingest.report import RejectsFile
from workers.worker import Reject


def test_rejects_are_lines_that_only_their_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "rejects" / "run.jsonl"
    with RejectsFile(path) as file:
        assert file.written is None
        file.add("/photos/a.jpg", Reject("no_face", "A sentence."))
    assert json.loads(path.read_text()) == {"image": "/photos/a.jpg", "reason": "no_face", "message": "A sentence."}
    assert (path.stat().st_mode | path.parent.stat().st_mode) & 0o077 == 0
