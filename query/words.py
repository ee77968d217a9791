"""What the numbers of an answer mean, in the words and proportions that table, page and picture share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from query.answers import FaceAnswer, Match

NOT_NAMED = "(not named)"
_OFTEN = 0.1  # from here on, "37 of 100" says more than "1 of 3"
_ALWAYS = 0.995


def name(match: Match) -> str:
    """Who it is, or that nobody said so."""
    return match.person or NOT_NAMED


def nearness(distance: float, threshold: float | None) -> float:
    """How full a match bar is: 1 at no distance, half at the threshold, empty from twice the threshold on."""
    if not threshold or threshold <= 0:
        return 0.0
    return min(1.0, max(0.0, 1 - distance / (2 * threshold)))


def rate(fpir: float) -> str:
    """A rate of strangers as people count: "1 of 43". It is never 0: what nobody did among a thousand may still happen."""
    if fpir >= _ALWAYS:
        return "all"
    return f"{round(100 * fpir)} of 100" if fpir > _OFTEN else f"1 of {round(1 / fpir):,}"


def strangers(fpir: float, *, within: bool = False) -> str:
    """The sentence for it, of one match or (``within``) of the threshold."""
    comes = "A stranger comes within it" if within else "A stranger comes this close"
    counted = rate(fpir)
    return f"{comes} in {'nearly every search' if counted == 'all' else f'{counted} searches'}."


def verdict(face: FaceAnswer) -> str:
    """Who a face is, as far as the threshold says so."""
    if not face.matches:
        return "Nobody to compare with"
    best = face.matches[0]
    if not best.verified:
        return "Nobody known"
    return f"Looks like {best.person or 'somebody without a name'}"
