import pytest

from ingest import progress
from ingest.report import Report


def test_a_log_says_what_of_the_photos_and_the_faces_it_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    with progress.shown(list) as seen:
        seen(Report("run", "faces", embedded=60, indexed=1, faces=1, skipped=2))
    line = capsys.readouterr().err
    assert line.startswith("60 photos looked at, ")
    assert line.endswith(": 1 face stored, 2 skipped, 0 rejected\n")
