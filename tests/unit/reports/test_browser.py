"""The page as people use it, in headless Chromium: search, filters, keys, themes, charts, widths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from reverse_codi.reports.page import write_report
from reverse_codi.reports.records import TraceReport
from reverse_codi.reports.report import Report
from tests.browser import headless, needs_browser, sized

pytestmark = [needs_browser, pytest.mark.long]
NASTY = "<img src=x onerror=\"document.title='broken'\"> <script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def file(tiny_report: TraceReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose last trace would break a page that does not escape; its thoughts are trusted or not."""
    *traces, last = tiny_report.traces
    cards = [
        dataclasses.replace(
            card,
            row=dataclasses.replace(
                card.row, translation="12 + 5 = 17.", match=0.9, trust=float(k == 0), shared=None
            ),
        )
        for k, card in enumerate(last.thoughts)
    ]
    traces = [*traces, dataclasses.replace(last, question=NASTY, thoughts=cards)]
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(Report("A report", traces=dataclasses.replace(tiny_report, traces=traces)), path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with headless() as chrome:
        yield chrome


@pytest.fixture
def opened(browser: webdriver.Chrome, file: Path) -> Iterator[Callable[..., webdriver.Chrome]]:
    """Opens the report at a width and with the system's theme; no test may leave a message in the console."""

    def open_page(width: int = 1300, dark: bool = False) -> webdriver.Chrome:
        sized(browser, width)
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
        browser.get(file.as_uri())
        browser.execute_script("localStorage.clear(); document.documentElement.style.scrollBehavior = 'auto'")
        return browser

    yield open_page
    assert browser.get_log("browser") == []


def shown(browser: webdriver.Chrome, what: str = "article.trace") -> list[str]:
    """The ids (or sites) of what can be seen."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
        ".map(e => e.id || e.dataset.site)"
    )
    found: list[str] = browser.execute_script(script, what)
    return found


def press(browser: webdriver.Chrome, *keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def current(browser: webdriver.Chrome) -> Any:
    return browser.execute_script("return document.activeElement.id")


def wait(browser: webdriver.Chrome, script: str) -> None:
    WebDriverWait(browser, 60).until(lambda chrome: chrome.execute_script(f"return {script}"))


def test_texts_stay_texts(opened: Callable[..., webdriver.Chrome]) -> None:
    page = opened()
    assert page.title == "A report"
    assert page.find_element(By.CSS_SELECTOR, "#trace-3 h3").text == " ".join(NASTY.split())
    assert page.find_elements(By.CSS_SELECTOR, ".trace img, .trace script") == []


def test_search_finds_what_any_text_of_a_trace_says(opened: Callable[..., webdriver.Chrome]) -> None:
    page = opened()
    press(page, "/", "onerror")
    assert shown(page) == ["trace-3"] and page.find_element(By.ID, "shown").text == "1 of 3 traces"
    assert page.execute_script("return CSS.highlights.get('found').size") == 1
    press(page, Keys.ESCAPE)
    assert shown(page) == ["trace-1", "trace-2", "trace-3"]
    press(page, "/", "12 + 5 = 17.")
    assert "trace-3" in shown(page)
    press(page, " and nothing of the kind")
    assert shown(page) == []
    page.find_element(By.ID, "clear").click()
    assert len(shown(page)) == 3


def test_filters_leave_the_thoughts_that_fit(opened: Callable[..., webdriver.Chrome]) -> None:
    page = opened()
    page.find_element(By.CSS_SELECTOR, "#site option:nth-child(3)").click()
    assert shown(page, ".card") == ["h1"] * 3
    page.find_element(By.CSS_SELECTOR, "#site option:nth-child(1)").click()
    page.find_element(By.CSS_SELECTOR, "#trust option[value=yes]").click()
    assert shown(page, "#trace-3 .card") == ["h0"]
    page.find_element(By.CSS_SELECTOR, "#trust option[value=no]").click()
    assert shown(page, "#trace-3 .card") == ["h1", "h2"]


def test_keys_go_from_trace_to_trace(opened: Callable[..., webdriver.Chrome]) -> None:
    page = opened()
    press(page, "j")
    assert current(page) == "trace-1"
    press(page, "j", Keys.ARROW_RIGHT)
    assert current(page) == "trace-3"
    top = page.execute_script("return document.activeElement.getBoundingClientRect().top")
    assert 0 <= top < 450
    press(page, "j", "k", Keys.ARROW_LEFT)
    assert current(page) == "trace-1"
    press(page, "/", "j")  # in the search it is a letter
    assert current(page) == "search"
    press(page, Keys.ESCAPE)
    press(page, "?")
    assert page.execute_script("return document.querySelector('#help').open")


def test_light_and_dark_follow_the_system_until_the_reader_chooses(
    opened: Callable[..., webdriver.Chrome],
) -> None:
    def paper(page: webdriver.Chrome) -> str:
        found: str = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        return found

    light, dark = "rgb(246, 247, 249)", "rgb(17, 20, 25)"
    assert paper(opened()) == light
    page = opened(dark=True)
    assert paper(page) == dark
    page.find_element(By.ID, "theme").click()
    assert paper(page) == light
    page.refresh()
    assert paper(page) == light  # remembered
    press(page, "t")
    assert paper(page) == dark


def test_the_map_is_drawn_when_it_comes_into_view(opened: Callable[..., webdriver.Chrome]) -> None:
    page = opened()
    assert page.execute_script("return document.querySelectorAll('#map svg').length") == 0
    page.execute_script("document.querySelector('#map').scrollIntoView()")
    wait(page, "document.querySelectorAll('#map .scatterlayer .points path').length > 6")
    press(page, "t")
    wait(page, "document.querySelectorAll('#map .scatterlayer .points path').length > 6")


@pytest.mark.parametrize("width", [360, 768, 1300])
def test_the_page_is_no_wider_than_the_screen(opened: Callable[..., webdriver.Chrome], width: int) -> None:
    page = opened(width, dark=width == 768)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.execute_script("document.querySelector('#map').scrollIntoView()")
    wait(page, "document.querySelectorAll('#map svg').length > 0")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
