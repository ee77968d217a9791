from ingest.contents import Contents
from tests.faces_made import sha


def test_contents_are_kept() -> None:
    kept = Contents()
    assert sha("a") not in kept
    for _ in range(2):
        kept.add(sha("a"))
    assert sha("a") in kept
    assert sha("c") not in kept
    assert sha("a") not in Contents(), "each has its own"


def test_a_hundred_thousand() -> None:
    kept = Contents()
    for number in range(100_000):
        kept.add(f"{number:064x}")
    assert f"{99_999:064x}" in kept
    assert f"{100_000:064x}" not in kept
