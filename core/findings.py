"""What was looked at and found: by `facedex doctor`, in any room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.terminal import show, table

Level = Literal["ok", "notice", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "notice", "warning", "error")
_MARKS = {"ok": "✓", "notice": "·", "warning": "!", "error": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. From a warning on, there is something to do."""

    check: str  # the name of the check
    level: Level
    what: str  # one sentence: what is so
    why: str = ""  # one sentence: why that matters
    remedy: str = ""  # a command, a setting, or one sentence: what to do
    fix: Callable[[], object] | None = field(default=None, compare=False)  # does the same, where that is safe

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "check": self.check,
            "level": self.level,
            "what": self.what,
            "why": self.why,
            "remedy": self.remedy,
            "fixable": self.fix is not None,
        }


def worst(findings: Sequence[Finding]) -> Level:
    """The highest level among them."""
    return max((each.level for each in findings), key=LEVELS.index, default="ok")


def show_findings(findings: Sequence[Finding]) -> None:
    """Prints what is to be done first, then one line for each thing that is well."""
    shown = table("", "", "")
    for each in sorted(findings, key=lambda finding: -LEVELS.index(finding.level)):
        lines = [each.what, *([f"why: {each.why}"] if each.why else []), *([f"do:  {each.remedy}"] if each.remedy else [])]
        for number, text in enumerate(lines):
            first = number == 0
            shown.add_row(_MARKS[each.level] if first else "", each.check if first else "", text)
    show(shown)
    counts = {level: sum(each.level == level for each in findings) for level in reversed(LEVELS)}
    show(", ".join(f"{count} {level if level == 'ok' or count == 1 else level + 's'}" for level, count in counts.items() if count) + ".")
