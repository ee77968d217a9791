from __future__ import annotations

import pytest

from query import words
from query.answers import FaceAnswer, Match, Photo


def test_a_match_bar_is_half_full_at_the_threshold() -> None:
    assert [words.nearness(distance, 0.07) for distance in (0, 0.07, 0.14, 2)] == pytest.approx([1, 0.5, 0, 0])
    assert words.nearness(0.1, None) == 0
    assert words.nearness(0.1, 0) == 0


@pytest.mark.parametrize(
    ("fpir", "said"),
    [
        (0.01, "1 of 100 searches"),
        (0.023, "1 of 43 searches"),
        (0.0002, "1 of 5,000 searches"),
        (0.37, "37 of 100 searches"),
        (0.999, "nearly every search"),
        (1, "nearly every search"),
    ],
)
def test_rates_are_said_as_people_count(fpir: float, said: str) -> None:
    assert words.strangers(fpir) == f"A stranger comes this close in {said}."
    assert words.strangers(fpir, within=True) == f"A stranger comes within it in {said}."


def test_the_threshold_decides_who_a_face_looks_like() -> None:
    def face(*matches: Match) -> FaceAnswer:
        return FaceAnswer((0, 0, 9, 9), 1.0, list(matches))

    def found(person: str | None, *, verified: bool) -> Match:
        return Match(person, (Photo("1.jpg", (0, 0, 9, 9), 0.05, "1"),), verified, int(verified))

    assert words.verdict(face(found("Ada", verified=True))) == "Looks like Ada"
    assert words.verdict(face(found(None, verified=True))) == "Looks like somebody without a name"
    assert words.verdict(face(found("Ada", verified=False))) == "Nobody known"
    assert words.verdict(face()) == "Nobody to compare with"
