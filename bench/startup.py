"""What a command costs before it does anything: CPU and wall time of a cold start of each, beside Python's own and that of numpy.

Every command is started with --help; a few also do what they are for, on a running node and a collection of a few portraits, which is
deleted at the end. All take turns, and each figure is the median of its turns. Files are in the disk cache, as after the first time.

    python bench/startup.py --turns 7
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.results import keep  # noqa: E402
from core.terminal import print_json, say, show, table  # noqa: E402

PEERS = {"python -c pass": [sys.executable, "-c", "pass"], "python -c 'import numpy'": [sys.executable, "-c", "import numpy"]}
_ANSWERED = (0, 1)  # exit codes


def facedex(*words: str) -> list[str]:
    """A command as the installed `facedex` starts it."""
    return [sys.executable, "-c", "import facedex; facedex.main()", *words]


def started(command: Sequence[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a process from its start to its end, with what it started itself and waited for.

    Raises:
        RuntimeError: it did not work.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=ROOT
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for
    if process.returncode not in _ANSWERED:
        raise RuntimeError(f"`{' '.join(command[-3:])}` ended with {process.returncode}")
    return wall, used.ru_utime + used.ru_stime


def leaves() -> list[str]:
    """Every command, in the order of `facedex --help`."""
    from typer.main import get_command

    import facedex as front

    def walk(prefix: str, group: Any) -> Iterator[str]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(f"{prefix}{name} ", command)
            else:
                yield f"{prefix}{name}"

    return list(walk("", get_command(front.app)))


@contextmanager
def at_work() -> Iterator[dict[str, list[str]]]:
    """Commands that do something, by what they are called in the table."""
    import demo
    from core.settings import settings
    from es.client import connect
    from es.collections import delete, get

    name = f"bench-{uuid.uuid4().hex[:12]}"
    people = demo.portraits()
    photo = str(next(people.rglob("obama2.jpg")))
    with connect(settings(), say) as client:  # starts the node
        started(facedex("ingest", str(people), "-c", name))
        try:
            yield {
                "status": facedex("status"),
                "collections list": facedex("collections", "list"),
                "collections show NAME": facedex("collections", "show", name),
                "rejects list": facedex("rejects", "list", "-c", name),
                "search PHOTO": facedex("search", photo, "-c", name),
                "verify PHOTO PHOTO": facedex("verify", photo, photo),
                "ingest FOLDER (nothing new)": facedex("ingest", str(people), "-c", name),
            }
        finally:
            delete(client, get(client, name))


def measure(commands: Mapping[str, Sequence[str]], turns: int) -> dict[str, dict[str, float]]:
    """Medians of each command, milliseconds: ``wall`` and ``cpu``."""
    for command in commands.values():
        started(command)  # fills the disk cache, and writes what Python compiles
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(turns):
        for name, command in commands.items():
            taken[name].append(started(command))
    return {
        name: {what: round(1000 * statistics.median(turn[at] for turn in each), 1) for at, what in enumerate(("wall", "cpu"))}
        for name, each in taken.items()
    }


def figures(turns: int, *, node: bool) -> dict[str, Any]:
    """The three groups: peers, --help of every command, commands at work; and how often numpy's import each of them takes."""
    helps = {name: facedex(*name.split(), "--help") for name in leaves()}
    measured: dict[str, Any] = {"turns": turns}
    with at_work() if node else _nothing() as working:
        every = measure({**PEERS, **{f"{name} --help": each for name, each in helps.items()}, **working}, turns)
    numpy = every["python -c 'import numpy'"]["cpu"]
    for values in every.values():
        values["numpys"] = round(values["cpu"] / numpy, 2)
    measured["peers"] = {name: every[name] for name in PEERS}
    measured["help"] = {name: every[f"{name} --help"] for name in helps}
    return measured | {"at_work": {name: every[name] for name in working}}


@contextmanager
def _nothing() -> Iterator[dict[str, list[str]]]:
    yield {}


def main(
    turns: Annotated[int, typer.Option(min=1, help="How often each is started.")] = 5,
    node: Annotated[bool, typer.Option("--node/--help-only", help="Commands at work as well, on a running node.")] = True,
    out: Annotated[Path | None, typer.Option(help="Keep the figures, as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how long commands take to start."""
    measured = figures(turns, node=node)
    if out is not None:
        keep(out, "startup", measured, packages=("typer", "rich"))
    if json:
        print_json(measured)
        return
    numbers = ("wall ms", "CPU ms", "x import numpy")
    shown = table("command", *numbers, right=numbers)
    for group, words in (("peers", ""), ("help", "facedex {} --help"), ("at_work", "facedex {}")):
        for name, values in measured[group].items():
            cells = (f"{values['wall']:.0f}", f"{values['cpu']:.0f}", f"{values['numpys']:.1f}")
            shown.add_row(words.format(name) if words else name, *cells)
    show(shown)


if __name__ == "__main__":
    typer.run(main)
