"""What docker-compose.yml, the Dockerfile and .env.example promise, read without an engine; compose itself is asked where it is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.settings import ELASTICSEARCH_VERSION

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PASSWORDS = {"ELASTIC_PASSWORD": 'a"b\\c&d', "KIBANA_PASSWORD": "another"}


def compose(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the compose plugin, which needs no engine for what is asked here."""
    if shutil.which("docker") is None:
        pytest.skip("the docker command is not here")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ}

    def run(*said: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", *said], cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=False, timeout=60
        )

    if run("version").returncode != 0:
        pytest.skip("the compose plugin is not here")
    return run("--env-file", "/dev/null", "--file", str(FILE), *words)


def services(*words: str) -> set[str]:
    """Which services compose would start."""
    done = compose(*words, "config", "--services", **PASSWORDS)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_version_is_the_one_of_everything_else() -> None:
    images = {service["image"] for service in SERVICES.values()}
    names = {image.partition(":")[0].rpartition("/")[2] for image in images if image.startswith("docker.elastic.co/")}
    assert names == {"elasticsearch", "kibana"}
    for image in images:
        assert image.endswith((f":${{STACK_VERSION:-{ELASTICSEARCH_VERSION}}}", "-facedex}")), image
    assert f"STACK_VERSION={ELASTICSEARCH_VERSION}" in (ROOT / ".env.example").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_and_watched_and_on_loopback(name: str) -> None:
    service = SERVICES[name]
    for port in service.get("ports", []):
        assert re.match(r"\$\{BIND:-127\.0\.0\.1\}:\$\{\w+:-\d+\}:\d+$", port)
    assert "mem_limit" in service
    assert service["restart"] in {"unless-stopped", "no"}
    assert ("healthcheck" in service) == (service["restart"] == "unless-stopped")  # what ends by itself has no health
    assert "privileged" not in service
    assert service.get("network_mode") != "host"


def test_only_programs_of_ours_can_reach_what_runs_programs_for_whoever_asks() -> None:
    assert "ports" not in SERVICES["scheduler"]
    assert {name for name, service in SERVICES.items() if "workers" in service.get("networks", [])} == {"scheduler", "worker", "facedex"}
    assert "workers" in SERVICES["scheduler"]["networks"]
    assert "default" not in SERVICES["scheduler"]["networks"]


def test_every_variable_stands_in_the_example_and_passwords_have_no_default() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", FILE.read_text())) - {"FACEDEX_IMAGE"}
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used == example.keys()
    assert {name for name, value in example.items() if not value} == PASSWORDS.keys()
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", FILE.read_text()))
    assert {name: value for name, value in example.items() if value} == {name: defaults[name] for name in example if name in defaults}


def test_compose_takes_it_and_starts_three_nodes_or_one() -> None:
    assert compose("--profile", "*", "config", "--quiet", **PASSWORDS).stderr == ""
    three = {"prepare", "es01", "es02", "es03", "users", "kibana"}
    assert services() == three
    assert services("--profile", "workers") == three | {"scheduler", "worker"}
    assert started_with("single-kibana") == {"prepare", "single", "single-users", "single-kibana"}
    assert started_with("worker") == {"worker", "scheduler"}


def started_with(name: str) -> set[str]:
    """A service and all that it depends on: what `docker compose up NAME` starts, whatever the profiles."""
    return {name}.union(*(started_with(other) for other in SERVICES[name].get("depends_on", {})))


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_password_that_is_missing_is_told(name: str) -> None:
    done = compose("config", "--quiet", **{other: value for other, value in PASSWORDS.items() if other != name})
    assert done.returncode != 0
    assert re.search(rf"{name} is missing a value: choose it in \.env", done.stderr)


def test_no_password_stands_where_docker_inspect_shows_it_but_where_nothing_else_is_understood() -> None:
    for name, service in SERVICES.items():
        shown = str({key: service.get(key) for key in ("environment", "command", "entrypoint", "healthcheck", "labels")})
        assert ("_PASSWORD}" in shown) == (name in {"kibana", "single-kibana", "facedex"}), name


def test_the_image_is_pinned_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON=3\.\d+-slim-\w+$", text, re.MULTILINE)
    assert text.count("\nFROM python:${PYTHON}") == 2
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "COPY . " not in last
    assert not re.search(r"ADD |curl|wget|:latest|openjdk|jre", text)
    for each in ("read_only", "cap_drop"):
        assert COMPOSE["x-facedex"][each]


def test_the_image_is_made_of_nothing_but_what_the_package_holds() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    kept = {line[1:] for line in ignore if line.startswith("!")}
    packaged = re.search(r"^include = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packaged is not None
    included = {each.removesuffix("/**") for each in re.findall(r'"([^"]+)"', packaged[1])}
    assert kept == included | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
