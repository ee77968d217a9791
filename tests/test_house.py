"""The house itself: what the texts promise, what the commands import, which names are used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from typer.core import TyperCommand
from typer.main import get_command
from typer.testing import CliRunner

import facedex
from core.settings import ELASTICSEARCH_VERSION, Settings
from es.collections import create
from faces.pipeline import prepare
from faces.recipe import DEFAULT

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> Iterator[tuple[str, TyperCommand]]:
    def walk(prefix: str, group: object) -> Iterator[tuple[str, TyperCommand]]:
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            if hasattr(command, "commands"):
                yield from walk(f"{prefix}{name} ", command)
            else:
                yield f"{prefix}{name}", command

    yield from walk("", get_command(facedex.app))


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_has_help_with_an_example_and_stands_in_the_readme(name: str, command: TyperCommand) -> None:
    assert command.help is not None
    assert f"facedex {name}" in command.help
    assert name.rsplit(maxsplit=1)[-1] in README
    undocumented = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
    assert undocumented in ([], ["help"])


@pytest.mark.parametrize("name", ["", *(name for name, _ in commands())])
def test_help_does_not_talk_of_python_types(name: str) -> None:
    done = CliRunner().invoke(facedex.app, [*name.split(), "--help"])
    assert done.exit_code == 0
    assert re.findall(r"<\w|\{|\.\.\.\]", done.output) == []


def test_every_setting_stands_in_the_readme() -> None:
    internal = {"request_timeout", "node_start_seconds"}
    for name in Settings.model_fields.keys() - internal:
        assert f"_{name.upper()}" in README, name


def test_every_dependency_has_a_range_and_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    for dependency in project["dependencies"]:
        assert re.search(r"[<>]=?", dependency), dependency
        assert re.search(re.escape(f'"{dependency}",') + r"\s+# \w+", text), dependency
    assert {"elasticsearch", "deepface", "numpy", "typer", "docker"} <= {re.split(r"[<>=]", each)[0] for each in project["dependencies"]}


def test_one_version_of_elasticsearch_everywhere() -> None:
    for text in ("CHANGELOG.md", "docker-compose.yml", ".env.example"):
        content = (ROOT / text).read_text()
        assert ELASTICSEARCH_VERSION in content, text
        assert set(re.findall(r"\b9\.\d+\.\d+\b", content)) == {ELASTICSEARCH_VERSION}, text


def test_the_licence_is_the_one_promised() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"


def test_nothing_is_reported_to_anybody(portraits: dict[str, Path], tmp_path: Path) -> None:
    # onnxruntime would keep an id of the machine and a queue of its use in the home folder.
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "FACEDEX_CACHE_DIR": str(tmp_path / "own"),
    }
    command = [sys.executable, "-m", "facedex", "verify", str(portraits["obama.jpg"]), str(portraits["obama2.jpg"])]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], {"numpy", "elasticsearch", "onnxruntime", "dlib", "deepface", "distributed", "PIL"}),
        (["verify", "PHOTO", "PHOTO"], {"elasticsearch", "distributed", "tenacity", "pandas", "cv2", "onnx", "docker", "jinja2", "psutil"}),
        (
            ["verify", "--pairs", "PAIRS"],
            {"elasticsearch", "distributed", "tenacity", "pandas", "cv2", "onnx", "docker", "jinja2", "psutil"},
        ),
        (
            ["search", "PHOTO", "-c", "NAME"],
            {"distributed", "tenacity", "pandas", "cv2", "onnx", "docker", "jinja2", "psutil", "deepface.DeepFace"},
        ),
        (["status"], {"numpy", "onnxruntime", "dlib", "deepface", "distributed", "PIL", "docker", "jinja2"}),
    ],
)
def test_commands_import_only_what_they_need(
    words: list[str], unwanted: set[str], portraits: dict[str, Path], client: Elasticsearch, name: str, tmp_path: Path
) -> None:
    create(client, name, DEFAULT.as_dict())
    prepare(DEFAULT)  # the very first command of all converts the network, with a package for that
    (tmp_path / "pairs.csv").write_text(f"a,b\n{portraits['obama.jpg']},{portraits['biden.jpg']}\n")
    meant = {"PHOTO": str(portraits["obama.jpg"]), "NAME": name, "PAIRS": str(tmp_path / "pairs.csv")}
    arguments = ["facedex", *(meant.get(word, word) for word in words)]
    code = f"import sys; sys.argv = {arguments!r}; import facedex\ntry: facedex.main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in {0, 1}, done.stderr
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "typer" in loaded
    assert loaded & unwanted == set()
