from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.errors import StorageError
from faces.recipe import DEFAULT
from query.answers import Answer, FaceAnswer, Match, Photo
from query.page import card, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<script>document.title='owned'</script> & \"quotes\" é 名前"
LONG = "Wolfeschlegelsteinhausenbergerdorff" * 3


def match(person: str | None, image: Path, *, verified: bool = False) -> Match:
    return Match(person, (Photo(str(image), (300, 150, 200, 200), 0.05, person or "x"),), verified, int(verified))


@pytest.fixture
def page(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    target = portraits["obama2.jpg"]
    matches = [
        match("Barack Obama", portraits["obama.jpg"], verified=True),
        match(HOSTILE, portraits["biden.jpg"]),
        match(LONG, tmp_path / "gone.jpg"),
        match(None, portraits["obama3.jpg"]),
    ]
    found = Answer(HOSTILE, "staff", [FaceAnswer((164, 302, 311, 310), 1.8, matches), FaceAnswer((0, 0, 9, 9), 1.0, [])])
    broken = Answer("notes.txt", "staff", error=("not_an_image", "The file is not a photo."))
    cards = [card(found, target.read_bytes(), 10**8), card(broken, b"", 10**8)]
    write(tmp_path / "page.html", cards, DEFAULT)
    return tmp_path / "page.html"


def test_names_from_outside_are_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "The file is not a photo." in text


def test_names_that_are_not_text_do_not_stop_a_page(tmp_path: Path) -> None:
    write(tmp_path / "page.html", [card(Answer("caf\udce9.jpg", "staff", error=("no_face", "None.")), b"", 10**8)], DEFAULT)
    assert "caf\\udce9.jpg" in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="--html"):
        write(tmp_path / "no folder" / "page.html", [], DEFAULT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium here")
    from playwright.sync_api import sync_playwright

    # Without its own errands: it is to ask for nothing but the page.
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=quiet)
        yield launched
        launched.close()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "dark")])
def test_the_page_in_a_browser(browser: Browser, page: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(page.as_uri())
    assert opened.title() == "Facedex: who is this?"
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    assert opened.locator("li").count() == 4
    assert opened.locator("li strong").nth(1).inner_text() == HOSTILE
    assert opened.locator("li").nth(0).inner_text().splitlines()[:2] == ["Barack Obama", "✓ the same"]
    assert opened.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert opened.locator("img").count() == 5  # two target faces, three of the four matches: one photo is gone
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    dark = opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 18, 20)"
    assert dark == (scheme == "dark")
    context.close()
