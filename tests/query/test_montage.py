from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from core.errors import StorageError, UsageError
from query import montage
from query.answers import Answer, FaceAnswer
from query.crops import card
from tests.query.cards_made import HOSTILE, LONG, MAX_PIXELS, RTL, cards, crowd, match


@pytest.mark.parametrize(("name", "kind"), [("faces.png", "PNG"), ("faces.JPG", "JPEG"), ("faces.jpeg", "JPEG")])
def test_one_picture_in_the_format_of_its_name(name: str, kind: str, portraits: dict[str, Path], tmp_path: Path) -> None:
    montage.check(tmp_path / name)
    montage.write(tmp_path / name, cards(portraits))
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kind
        assert picture.width == 1556  # the target and four across
        assert 1200 < picture.height < 1600  # two bands, the first with two rows, and a sentence


def test_the_faces_are_where_they_belong(portraits: dict[str, Path]) -> None:
    picture = montage.draw(cards(portraits)[:1])
    target, first, missing = (picture.crop((x, 60, x + 200, 260)) for x in (60, 490, 1020))
    assert len(target.getcolors(10**6) or []) > 1000
    assert len(first.getcolors(10**6) or []) > 1000
    assert len(missing.getcolors(10**6) or []) < 300  # a frame and words
    caption = picture.crop((476, 290, 716, 400))
    assert sum(count for count, colour in caption.getcolors(10**6) or [] if colour == (23, 112, 60)) > 1000  # the bar and the tick


def test_only_the_best_are_drawn(portraits: dict[str, Path]) -> None:
    assert montage.draw([crowd(portraits, 1000)]).size == montage.draw([crowd(portraits, 8)]).size
    assert montage.draw([crowd(portraits, 1)]).width < 800


def test_very_many_targets_make_no_endless_picture(portraits: dict[str, Path]) -> None:
    broken = card(Answer(LONG * 50, "staff", error=("not_an_image", "The file is not a photo.")), b"", MAX_PIXELS)
    assert montage.draw([crowd(portraits, 1)] * 30 + [broken] * 300).height < 20 * 600 + 600


def test_nothing_at_all_is_a_picture_too(tmp_path: Path) -> None:
    montage.write(tmp_path / "none.png", [])
    broken = card(Answer("n.txt", "staff", error=("not_an_image", "The file is not a photo.")), b"", MAX_PIXELS)
    assert montage.draw([broken]).height < 200


@pytest.mark.parametrize("name", [HOSTILE, LONG, RTL, "A\nB\0\x1b[2J", "\udce9", "x" * 10**6, "", "👩‍👩‍👧", "\U0010ffff"])
def test_any_name_can_be_drawn(name: str) -> None:
    shown = Answer(name, "staff", [FaceAnswer((0, 0, 9, 9), 1.0, [match(name, Path("/photos/gone.jpg"))])], threshold=0.07)
    montage.draw([card(shown, b"", MAX_PIXELS)])


def test_without_fonts_letters_lose_their_accents_and_not_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(montage, "_FONTS", ())
    montage._fonts.cache_clear()

    def drawn(name: str) -> bytes:
        shown = Answer("who.jpg", "staff", [FaceAnswer((0, 0, 9, 9), 1.0, [match(name, Path("/photos/gone.jpg"))])], threshold=0.07)
        return montage.draw([card(shown, b"", MAX_PIXELS)]).tobytes()

    assert drawn("Zoë Ångström") == drawn("Zoe Angstrom")
    montage._fonts.cache_clear()


@pytest.mark.parametrize("name", ["faces.gif", "faces", "no folder/faces.png"])
def test_what_cannot_become_a_picture_is_refused_before_the_search(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--montage"):
        montage.check(tmp_path / name)


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="--montage"):
        montage.write(tmp_path / "no folder" / "faces.png", [])
