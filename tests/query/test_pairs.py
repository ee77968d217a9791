from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from core.errors import UsageError
from core.web import Limits
from faces.recipe import DEFAULT
from photos.places import File
from query.pairs import Judged, judged, read


def lines(path: Path, *texts: str, head: str = "a,b,same") -> Path:
    path.write_text("\n".join([head, *texts]) + "\n")
    return path


def test_columns_may_stand_in_any_order_and_others_are_left_alone(tmp_path: Path) -> None:
    (pair,) = read(lines(tmp_path / "pairs.csv", "yes, x,https://example.org/2.jpg,1.jpg", head="same, note, b, a"))
    assert (pair.line, pair.a, pair.b, pair.same) == (2, str(tmp_path / "1.jpg"), "https://example.org/2.jpg", True)


@pytest.mark.parametrize(("text", "meant"), [("1", True), ("TRUE", True), ("no", False), ("0", False), ("", None)])
def test_what_same_says(text: str, meant: bool | None, tmp_path: Path) -> None:
    (pair,) = read(lines(tmp_path / "pairs.csv", f"1.jpg,2.jpg,{text}"))
    assert pair.same is meant


def test_lines_that_cannot_be_read_are_told_and_harm_no_other(tmp_path: Path) -> None:
    found = read(lines(tmp_path / "pairs.csv", "1.jpg,2.jpg,maybe", "1.jpg", '"1.jpg,2.jpg,1', "1.jpg,2.jpg,0", ""))
    assert [pair.wrong is None for pair in found] == [False, False, False, True]
    assert [pair.line for pair in found] == [2, 3, 4, 5]
    assert "neither 1 nor 0" in str(found[0].wrong)


@pytest.mark.parametrize("head", ["a,c", "a,b,b", "path,person", ""])
def test_a_file_without_the_columns_is_refused(head: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="columns a and b"):
        read(lines(tmp_path / "pairs.csv", "1.jpg,2.jpg,1", head=head))


def test_an_empty_list_and_none_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds none"):
        read(lines(tmp_path / "pairs.csv"))
    with pytest.raises(UsageError, match="no list of pairs"):
        read(tmp_path / "nothing.csv")


def judge(path: Path) -> list[Judged]:
    return list(judged(read(path), DEFAULT, Limits()))


def test_pairs_are_judged_in_order_and_each_photo_is_read_once(
    tmp_path: Path, portraits: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()

    def counted(place: File, read_: object = File.read) -> bytes:
        reads[place._path] += 1
        return read_(place)  # type: ignore[operator, no-any-return]

    monkeypatch.setattr(File, "read", counted)
    obama, again, biden = (portraits[name] for name in ("obama.jpg", "obama2.jpg", "biden.jpg"))
    (tmp_path / "broken.jpg").write_bytes(obama.read_bytes()[:1000])
    found = judge(
        lines(
            tmp_path / "pairs.csv",
            f"{obama},{biden},0",
            f"{obama},broken.jpg,1",
            f"{again},{obama},1",
            f"{obama},{obama},",
            "nobody.jpg,broken.jpg,1",
        )
    )
    assert [each.verdict and each.verdict.verified for each in found] == [False, None, True, True, None]
    assert [each.error and each.error[0] for each in found] == [None, "truncated", None, None, "unreadable"]
    assert set(reads.values()) == {1}
    assert [each.as_dict()["line"] for each in found] == [2, 3, 4, 5, 6]
    assert len({frozenset(each.as_dict()) for each in found}) == 1
