import json
from pathlib import Path

from ingest.report import RejectsFile, Report, pace
from workers.worker import Reject


def test_rejects_are_lines_that_only_their_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "rejects" / "run.jsonl"
    with RejectsFile(path) as file:
        assert file.written is None
        file.add("/photos/a.jpg", Reject("no_face", "A sentence."))
    assert json.loads(path.read_text()) == {"image": "/photos/a.jpg", "reason": "no_face", "message": "A sentence."}
    assert (path.stat().st_mode | path.parent.stat().st_mode) & 0o077 == 0


def report(photos: int, **stages: float) -> Report:
    made = Report("run", "faces", indexed=photos, workers=2)
    made.stages.update(stages)
    return made


def test_a_small_run_names_its_start_and_no_slowest_stage() -> None:
    told = pace(report(7, read=0.1, faces=0.9, start=4.3, lookup=0.1, write=0.5))
    assert told == "By stage: start 4.3 s, lookup 0.1 s, write 0.5 s; of 2 workers together: read 0.1 s, faces 0.9 s."


def test_only_the_stages_of_workers_are_several_at_a_time() -> None:
    looking, storing = report(100, faces=9.0, start=99.0, write=4.0), report(100, faces=9.0, start=99.0, write=5.0)
    assert (looking.bottleneck, storing.bottleneck) == ("workers", "write")
    assert pace(looking).startswith("Slowest was finding and embedding faces (2 at a time). By stage: start 99.0 s, ")
    assert pace(storing).startswith("Slowest was storing faces. By stage: ")
