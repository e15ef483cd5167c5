"""The app as people use it, in headless Chromium: type, click, edit in the table, read the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from reverse_codi import Verbalizer
from tests.app_page import MATCH, TRANSLATION, ask, cell, edit, find, listening, until, wait_for, write
from tests.browser import headless, needs_browser, sized

app = pytest.importorskip("reverse_codi.app.page", exc_type=ImportError)
QUESTION, ANSWER = "Umar owns 9 cups. Then he picks 3 more. How many cups are left?", "The answer is: 12"
pytestmark = [needs_browser, pytest.mark.long]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    page = app.build({"embedded": Verbalizer.from_pretrained()})
    yield app.serve(page)
    page.close()


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with headless() as browser:
        yield browser


@pytest.fixture
def asked(chrome: Chrome, address: str) -> Iterator[Callable[..., Chrome]]:
    """Opens the page and asks; no test may leave an error in the console."""

    def open_page(width: int = 1300, theme: str = "light") -> Chrome:
        sized(chrome, width)
        chrome.get(f"{address}?__theme={theme}")
        until(chrome, lambda: listening(chrome))
        chrome.get_log("browser")  # drops what the page before said when it was left
        ask(chrome, QUESTION, ANSWER)
        return chrome

    yield open_page
    assert [entry["message"] for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_translation_is_edited_in_the_table_and_the_answer_follows(asked: Callable[..., Chrome]) -> None:
    page = asked()
    assert cell(page, 0, TRANSLATION).text == "9 + 3 = 12."
    assert not page.find_elements(By.CSS_SELECTOR, "#after table")

    edit(page, 0, "9 + 4 = 13.")
    wait_for(page, "answer", "The answer is: 12 → The answer is: 13")
    until(page, lambda: cell(page, 0, 2, "after").text.endswith("= 13."))
    assert [cell(page, 0, column, "after").text for column in (0, 1)] == ["h0", "9 + 3 = 12."]

    edit(page, 0, "9 + 5 = 14.")
    wait_for(page, "answer", "The answer is: 12 → The answer is: 14")

    edit(page, 0, "")  # the thought is taken back
    wait_for(page, "answer", ANSWER)
    until(page, lambda: cell(page, 0, TRANSLATION).text == "9 + 3 = 12.")
    until(page, lambda: not page.find_elements(By.CSS_SELECTOR, "#after table"))


def test_what_was_measured_cannot_be_edited(asked: Callable[..., Chrome]) -> None:
    page = asked()
    ActionChains(page).double_click(cell(page, 0, MATCH)).send_keys("9").perform()
    assert page.find_elements(By.CSS_SELECTOR, "#thoughts textarea") == []


def test_the_thought_that_is_clicked_is_sampled(asked: Callable[..., Chrome]) -> None:
    page = asked()
    for row, site in ((1, "h1"), (0, "h0")):
        cell(page, row, MATCH).click()
        wait_for(page, "site", site)
    find(page, "sample").click()
    until(page, lambda: "100%" in find(page, "others").text)
    assert cell(page, 0, 0, "others").text == "9 + 3 = 12."


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_a_tap_edits(asked: Callable[..., Chrome], theme: str) -> None:
    page = asked(390, theme)
    place = cell(page, 0, TRANSLATION)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", place)
    middle = (
        "const box = arguments[0].getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]"
    )
    x, y = page.execute_script(middle, place)
    assert 0 < x < 390  # it is seen without scrolling to the side
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    write(page, 0, "9 + 4 = 13.")
    wait_for(page, "answer", "The answer is: 12 → The answer is: 13")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    style = "return getComputedStyle(document.querySelector('gradio-app')).backgroundColor"
    paper: str = page.execute_script(style)
    red = int(paper.partition("(")[2].partition(",")[0])
    assert (red < 64) == (theme == "dark")


def test_nothing_is_asked_of_another_machine(asked: Callable[..., Chrome], address: str) -> None:
    loaded = asked().execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert loaded and [name for name in loaded if not name.startswith((address, "data:", "blob:"))] == []
