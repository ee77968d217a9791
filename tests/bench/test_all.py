from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import all as benches
from bench.results import ROOT, read


def programs(monkeypatch: pytest.MonkeyPatch, folder: Path, **texts: str) -> None:
    """Benches of a test's own."""
    (folder / "bench").mkdir()
    for name, text in texts.items():
        (folder / "bench" / f"{name}.py").write_text(text)
    monkeypatch.setattr(benches, "ROOT", folder)
    monkeypatch.setattr(benches, "STEPS", tuple(benches.Step(name, ("--faces", "FACES")) for name in texts))


def test_a_bench_that_fails_stops_no_other_and_takes_nothing_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = "import json, sys; print(json.dumps({'words': sys.argv[1:]}))"
    programs(monkeypatch, tmp_path, broken="print('{}'); raise SystemExit(3)", silent="", good=good)
    out = tmp_path / "out"
    out.mkdir()
    (out / "broken.json").write_text(earlier := json.dumps({"bench": "broken", "figures": {"earlier": 1}}))
    with pytest.raises(SystemExit, match="broken, silent"):
        benches.main(4000, tmp_path, out, None)
    kept = read(out / "good.json")
    assert kept is not None
    assert kept["figures"] == {"words": ["--faces", "4000", "--json"]}
    assert kept["command"] == "python bench/good.py --faces 4000"
    assert (out / "broken.json").read_text() == earlier
    assert not (out / "silent.json").exists()
    assert "bench/good.py" in (tmp_path / "out.md").read_text()


def test_without_photos_what_needs_them_is_left_out(tmp_path: Path) -> None:
    command = [sys.executable, "bench/all.py", "--only", "ingest", "--only", "identify", "--photos", str(tmp_path / "none"), "--out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, str(tmp_path / "out")], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("needs photos") == 2
    assert not (tmp_path / "out").exists()


def test_every_step_but_those_that_are_still_to_come_has_its_program() -> None:
    missing = {step.name for step in benches.STEPS if not (ROOT / "bench" / f"{step.name}.py").is_file()}
    assert missing <= {"embedding", "growth"}
