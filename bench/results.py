"""What a bench leaves behind: its figures, and all that they belong to: the command, the code, the machine, the versions.

Nothing in it tells whose machine it was: no name of a host or user, and no path but those below the checkout and beside it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("facedex", "elasticsearch", "numpy", "onnxruntime", "dlib-bin", "deepface")  # that matter to nearly every figure
_CLIENT = "elasticsearch-py"  # which has the server's name
_ELSEWHERE = "FOLDER"  # a path that says something about this machine only
_DROPPED = ("--json", "--out", "--add")  # how the figures came here

Result = dict[str, Any]


def keep(
    path: Path, bench: str, figures: Mapping[str, Any], *, command: Sequence[str] | None = None, packages: Iterable[str] = ()
) -> Result:
    """Writes the figures of a bench as JSON. Call it whenever there is something new: so nothing is lost with what comes after.

    Args:
        path: the file; its folder is made.
        bench: which one, as the report looks for it: ``search``, ``growth``, ``embedding``, ``startup`` ...
        figures: what it measured.
        command: the words of its command line; by default those of this process.
        packages: whose versions belong to the figures, beside PACKAGES. Those that are not installed are left out.
    """
    document = {
        "bench": bench,
        "command": typed(sys.argv if command is None else command),
        "taken": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(packages),
        "figures": _anonymous(dict(figures)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(json.dumps(document, indent=1) + "\n")
    half.replace(path)
    return document


def read(path: Path) -> Result | None:
    """What was kept there; None where there is nothing of the kind, or nothing whole."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if is_result(document) else None


def is_result(document: object) -> bool:
    """Whether that is what ``keep`` writes (a part may be missing, as in figures that come from elsewhere)."""
    return isinstance(document, dict) and isinstance(document.get("figures"), dict) and isinstance(document.get("bench"), str)


def typed(words: Sequence[str]) -> str:
    """A command line as somebody would type it in the checkout."""
    shown, rest = ["python"], iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _DROPPED:
            if name == "--out" and not equals:
                next(rest, None)
        elif equals and name.startswith("--"):
            shown.append(f"{name}={_place(value)}")
        else:
            shown.append(_place(word))
    return " ".join(f"'{word}'" if re.search(r"[^\w./,:=@%+-]", word) else word for word in shown)


def _anonymous(value: Any) -> Any:
    """Figures without paths of this machine."""
    if isinstance(value, Mapping):
        return {name: _anonymous(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_anonymous(each) for each in value]
    return _place(value) if isinstance(value, str | Path) else value


def _place(word: str | Path) -> str:
    if not Path(word).is_absolute():
        return str(word)
    path = Path(os.path.normpath(word))
    if path.is_relative_to(ROOT):
        return str(path.relative_to(ROOT))
    beside = ROOT.parent / "shared"
    return f"../{path.relative_to(ROOT.parent)}" if path.is_relative_to(beside) else _ELSEWHERE


def commit() -> str | None:
    """The commit that was measured; ``+`` after it: the code was changed since. None: this is no checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        # The results themselves, and the page of them, are no change of what is measured.
        look = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"]
        changed = subprocess.run(look, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() + ("+" if changed.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    release = re.match(r"\d+(\.\d+)?", platform.release())
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": " ".join((platform.system(), release[0] if release else "", platform.machine())),
    }


def _cpu() -> str:
    """The processor's model."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
        return subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return platform.machine()


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Of Python, of packages, and of the Elasticsearch server that Facedex brings (its client is ``elasticsearch-py``)."""
    from core.settings import ELASTICSEARCH_VERSION

    found = {"python": platform.python_version(), "elasticsearch": ELASTICSEARCH_VERSION}
    for name in dict.fromkeys((*PACKAGES, *packages)):
        try:
            found[_CLIENT if name == "elasticsearch" else name] = version(name)
        except PackageNotFoundError:
            continue
    return found
