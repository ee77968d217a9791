"""Answers made up around the demo's portraits: what renderers are tested with."""

from __future__ import annotations

from pathlib import Path

from query.answers import Answer, FaceAnswer, Match, Photo
from query.crops import Card, card

HOSTILE = "<script>document.title='owned'</script> & \"quotes\" é 名前"
LONG = "Wolfeschlegelsteinhausenbergerdorff" * 3
RTL = "محمد علي"
TARGET_BOX = (164, 302, 311, 310)
MAX_PIXELS = 10**8


def match(person: str | None, *images: Path, distance: float = 0.05, fpir: float | None = None) -> Match:
    """A person found by these photos, each a little farther away."""
    photos = tuple(Photo(str(image), (300, 150, 200, 200), distance + 0.01 * at, f"{image.name}-{at}") for at, image in enumerate(images))
    return Match(person, photos, distance <= 0.07, sum(photo.distance <= 0.07 for photo in photos), fpir)


def answer(portraits: dict[str, Path], *, fpir: float | None = None) -> Answer:
    """Two faces; of the first five matches, the best has two photos and the third one none that can be read."""
    matches = [
        match("Barack Obama", portraits["obama.jpg"], portraits["obama3.jpg"], fpir=fpir and fpir / 10),
        match(HOSTILE, portraits["biden.jpg"], distance=0.08, fpir=fpir),
        match(LONG, Path("/photos/gone/gone.jpg"), distance=0.09, fpir=fpir),
        match(RTL, portraits["obama3.jpg"], distance=0.1, fpir=fpir),
        match(None, portraits["biden.jpg"], distance=0.2, fpir=fpir),
    ]
    faces = [FaceAnswer(TARGET_BOX, 1.8, matches), FaceAnswer((0, 0, 9, 9), 1.0, [])]
    return Answer(HOSTILE, "staff", faces, threshold=0.07, fpir=fpir, filters=("taken=<2019>",))


def cards(portraits: dict[str, Path], *, fpir: float | None = None) -> list[Card]:
    """A target with two faces, and one that is no photo."""
    broken = Answer("notes.txt", "staff", error=("not_an_image", "The file is not a photo."))
    return [card(answer(portraits, fpir=fpir), portraits["obama2.jpg"].read_bytes(), MAX_PIXELS), card(broken, b"", MAX_PIXELS)]


def crowd(portraits: dict[str, Path], many: int) -> Card:
    """A target with very many matches, all by one photo."""
    matches = [match(f"Somebody {at}", portraits["biden.jpg"], distance=0.03 + at / many) for at in range(many)]
    return card(
        Answer("who.jpg", "staff", [FaceAnswer(TARGET_BOX, 1.8, matches)], threshold=0.07), portraits["obama2.jpg"].read_bytes(), MAX_PIXELS
    )
