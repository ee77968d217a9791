from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from core.errors import StorageError
from faces.recipe import DEFAULT
from query.answers import Answer, Photo
from query.crops import stored
from query.page import card, write
from tests.query.cards_made import HOSTILE, LONG, MAX_PIXELS, RTL, cards, crowd

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The photo that a thousand matches share is opened once."""
    kept = cache(lambda image, box, side: stored(Photo(image, box, 0, ""), side, MAX_PIXELS))
    monkeypatch.setattr("query.page.stored", lambda photo, side, _: kept(photo.image, photo.box, side))


@pytest.fixture
def page(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    write(tmp_path / "page.html", cards(portraits, fpir=0.02), DEFAULT)
    return tmp_path / "page.html"


def test_names_from_outside_are_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "The file is not a photo." in text
    assert "taken=&lt;2019&gt;" in text


def test_nothing_is_fetched_and_nothing_runs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert "http" not in text.replace("http-equiv", "")
    assert not re.search(r"<(script|link|iframe|object|base)\b|\bon\w+=|url\(|@import", text)


def test_rates_of_strangers_are_in_plain_words_and_their_lack_is_told(page: Path, portraits: dict[str, Path], tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "A stranger comes within it in 1 of 50 searches." in text
    assert "A stranger comes this close in 1 of 500 searches." in text
    write(tmp_path / "page.html", cards(portraits), DEFAULT)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "the collection is not calibrated" in text
    assert "A stranger" not in text


@pytest.mark.usefixtures("quick")
def test_only_what_is_near_the_top_is_large(portraits: dict[str, Path], tmp_path: Path) -> None:
    write(tmp_path / "few.html", [crowd(portraits, 12)], DEFAULT)
    write(tmp_path / "many.html", [crowd(portraits, 212)], DEFAULT)
    grown = (tmp_path / "many.html").stat().st_size - (tmp_path / "few.html").stat().st_size
    assert grown < 200 * 12_000


def test_the_page_is_written_as_it_is_made(portraits: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    path = tmp_path / "page.html"

    def watched(*_: object) -> None:
        sizes.append(path.stat().st_size)

    monkeypatch.setattr("query.page.stored", watched)
    write(path, [crowd(portraits, 100)], DEFAULT)
    assert len(sizes) == 100
    assert sizes[50] > sizes[0]


def test_names_that_are_not_text_do_not_stop_a_page(tmp_path: Path) -> None:
    write(tmp_path / "page.html", [card(Answer("caf\udce9.jpg", "staff", error=("no_face", "None.")), b"", 10**8)], DEFAULT)
    assert "caf\\udce9.jpg" in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="--html"):
        write(tmp_path / "no folder" / "page.html", [], DEFAULT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium here")
    from playwright.sync_api import sync_playwright

    # Without its own errands: it is to ask for nothing but the page.
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=quiet)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Browser, page: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page in a browser of the width and colours asked for; it must say nothing and ask for nothing."""
    width: int
    scheme: Literal["light", "dark"]
    width, scheme = getattr(request, "param", (1200, "light"))
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    shown = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda asking: asked.append(asking.url))
    shown.goto(page.as_uri())
    yield shown
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


WIDTHS = [(320, "light"), (360, "dark"), (1200, "light"), (2560, "dark")]


@pytest.mark.browser
@pytest.mark.parametrize("opened", WIDTHS, indirect=True)
def test_nothing_has_to_be_scrolled_sideways_and_every_picture_is_there(opened: Page) -> None:
    assert opened.title() == "Facedex: who is this?"
    opened.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wide = "[...document.querySelectorAll('.match *, nav a *')].filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth)"
    assert opened.evaluate(f"{wide}.map(each => each.outerHTML.slice(0, 80))") == []
    assert (
        opened.evaluate("Promise.all([...document.images].map(image => image.decode().then(() => image.naturalWidth > 0)))") == [True] * 10
    )
    assert opened.locator("main .target img").count() == 2
    assert opened.locator("main .gone").count() == 1


@pytest.mark.browser
def test_what_is_told_of_each_match(opened: Page) -> None:
    told = opened.locator(".match").nth(0).inner_text().splitlines()
    lines = [line for line in told if line]
    assert lines[:3] == ["Barack Obama", "✓ the same person", "distance 0.0500; 2 photos match"]
    assert "1 of 500 searches" in lines[3]
    names = opened.locator(".match .name").all_inner_texts()
    assert names == ["Barack Obama", HOSTILE, LONG, RTL, "(not named)"]
    assert opened.locator(".match").nth(1).inner_text().splitlines()[1] == "✗ somebody else"
    assert opened.locator(".target h3").all_inner_texts()[0].splitlines() == ["Face 1 of 2", "Looks like Barack Obama"]
    widths = opened.evaluate("[...document.querySelectorAll('.match .bar i')].map(i => i.offsetWidth / i.parentElement.offsetWidth)")
    assert widths[:2] == pytest.approx([1 - 0.05 / 0.14, 1 - 0.08 / 0.14], abs=0.02)
    opened.locator("summary").first.focus()
    opened.keyboard.press("Enter")
    assert opened.locator(".match").nth(0).locator("details").inner_text().count("obama") == 2


@pytest.mark.browser
def test_it_can_be_read_by_a_machine_that_reads_aloud(opened: Page) -> None:
    levels = opened.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(heading => Number(heading.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert opened.evaluate("document.documentElement.lang") == "en"
    assert opened.evaluate("[...document.querySelectorAll('main figure img')].every(image => image.alt)")
    assert opened.evaluate(
        "[...document.querySelectorAll('[id]')].length == new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
    )
    assert opened.evaluate(
        "[...document.querySelectorAll('[aria-labelledby]')].every(e => document.getElementById(e.getAttribute('aria-labelledby')))"
    )
    links = opened.evaluate("[...document.querySelectorAll('nav a')].map(link => !!document.querySelector(link.getAttribute('href')))")
    assert links == [True] * 3  # two faces and a target without one
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.closest('nav') !== null")


@pytest.mark.browser
@pytest.mark.parametrize("opened", [(1200, "light"), (1200, "dark")], indirect=True)
def test_text_stands_out_in_light_and_dark(opened: Page) -> None:
    # By the formula of WCAG 2; every text, against the first background beneath it.
    worst: list[Any] = opened.evaluate("""() => {
        const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
            .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b }
        const bare = element => getComputedStyle(element).backgroundColor === 'rgba(0, 0, 0, 0)'
        const behind = element => { while (element !== document.body && bare(element)) element = element.parentElement
            return getComputedStyle(element).backgroundColor }
        const found = [...document.querySelectorAll('body *')].filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
            .map(e => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x)
                return [(a + .05) / (b + .05), e.className || e.tagName] })
        return found.sort((x, y) => x[0] - y[0])[0] }""")
    assert worst[0] >= 4.5, worst


@pytest.mark.browser
def test_dark_mode_has_colours_of_its_own(browser: Browser, page: Path) -> None:
    colours = []
    schemes: list[Literal["light", "dark"]] = ["light", "dark"]
    for scheme in schemes:
        context = browser.new_context(color_scheme=scheme)
        shown = context.new_page()
        shown.goto(page.as_uri())
        colours.append(shown.evaluate("(style => [style.color, style.backgroundColor])(getComputedStyle(document.body))"))
        shown.emulate_media(media="print")
        colours.append(shown.evaluate("(style => [style.color, style.backgroundColor])(getComputedStyle(document.body))"))
        context.close()
    assert colours[0][0] != colours[2][0]
    assert colours[0][1] != colours[2][1]
    assert colours[1] == colours[3]  # paper is white


@pytest.mark.browser
@pytest.mark.usefixtures("quick")
def test_a_page_with_a_thousand_results_can_be_looked_at(browser: Browser, portraits: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write(path, [crowd(portraits, 1000)], DEFAULT)
    assert path.stat().st_size < 15_000_000
    context = browser.new_context(viewport={"width": 360, "height": 800})
    shown = context.new_page()
    shown.goto(path.as_uri(), timeout=30_000)
    assert shown.locator(".match").count() == 1000
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    last = shown.locator(".match").last
    shown.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    last.locator(".name").scroll_into_view_if_needed()
    shown.wait_for_function("[...document.querySelectorAll('.match')].pop().innerText.includes('Somebody 999')")
    assert last.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 176
    assert shown.locator(".pin img").is_visible()  # who is looked for stays in sight
    context.close()
