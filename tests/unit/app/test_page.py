"""The app as people use it, in headless Chromium: type, click, edit in the table, read the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from reverse_codi import Verbalizer
from tests.browser import headless, needs_browser, sized

app = pytest.importorskip("reverse_codi.app.page", exc_type=ImportError)
QUESTION = "Umar owns 9 cups. Then he picks 3 more. How many cups are left?"
TRANSLATION, MATCH = 1, 2
pytestmark = needs_browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    page = app.build({"embedded": Verbalizer.from_pretrained()})
    yield app.serve(page)
    page.close()


@pytest.fixture(scope="module")
def chrome() -> Iterator[webdriver.Chrome]:
    with headless() as browser:
        yield browser


@pytest.fixture
def opened(chrome: webdriver.Chrome, address: str) -> Iterator[Callable[..., webdriver.Chrome]]:
    """Opens the page, on which nothing was asked; no test may leave an error in the console."""

    def open_page(width: int = 1300, theme: str = "light") -> webdriver.Chrome:
        sized(chrome, width)
        chrome.get(f"{address}?__theme={theme}")
        # Until the page listens, a click does nothing.
        until(chrome, lambda: (find(chrome, "sample").click(), "no question has been asked" in told(chrome))[1])
        return chrome

    yield open_page
    serious = [entry["message"] for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
    assert serious == []


def until(page: webdriver.Chrome, holds: Callable[[], bool]) -> None:
    WebDriverWait(page, 60, poll_frequency=0.3).until(lambda _: holds())


def find(page: webdriver.Chrome, name: str, inside: str = "") -> WebElement:
    return WebDriverWait(page, 60).until(
        lambda seen: seen.find_element(By.CSS_SELECTOR, f"#{name} {inside}".strip())
    )


def told(page: webdriver.Chrome) -> str:
    return " ".join(each.text for each in page.find_elements(By.CSS_SELECTOR, ".toast-body"))


def value(page: webdriver.Chrome, name: str) -> str:
    return find(page, name, ":is(textarea, input)").get_attribute("value") or ""


def wait_for(page: webdriver.Chrome, name: str, wanted: str) -> None:
    WebDriverWait(page, 60).until(lambda seen: value(seen, name) == wanted)


def cell(page: webdriver.Chrome, row: int, column: int, table: str = "thoughts") -> WebElement:
    return find(page, table, f'[data-testid="cell-{row}-{column}"]')


def ask(page: webdriver.Chrome) -> None:
    find(page, "question", "textarea").send_keys(QUESTION)
    find(page, "think").click()
    wait_for(page, "answer", "The answer is: 12")
    until(page, lambda: bool(page.find_elements(By.CSS_SELECTOR, '#thoughts [data-testid="cell-3-1"]')))


def edit(page: webdriver.Chrome, row: int, text: str) -> None:
    """Double-click a translation, write another text, press Enter."""
    ActionChains(page).double_click(cell(page, row, TRANSLATION)).perform()
    written(page, row, text)


def written(page: webdriver.Chrome, row: int, text: str) -> None:
    box = find(page, "thoughts", f'[data-testid="cell-{row}-{TRANSLATION}"] textarea')
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text or Keys.DELETE)
    box.send_keys(Keys.ENTER)


def test_a_translation_is_edited_in_the_table_and_the_answer_follows(
    opened: Callable[..., webdriver.Chrome],
) -> None:
    page = opened()
    ask(page)
    assert cell(page, 0, TRANSLATION).text == "9 + 3 = 12."
    assert not page.find_element(By.ID, "after").is_displayed()

    edit(page, 0, "9 + 4 = 13.")
    wait_for(page, "answer", "The answer is: 12 → The answer is: 13")
    until(page, lambda: cell(page, 0, 2, "after").text == "9 + 4 = 13.")
    assert [cell(page, 0, column, "after").text for column in (0, 1)] == ["h0", "9 + 3 = 12."]

    edit(page, 0, "9 + 5 = 14.")
    wait_for(page, "answer", "The answer is: 12 → The answer is: 14")

    edit(page, 0, "")  # the thought is taken back
    wait_for(page, "answer", "The answer is: 12")
    until(page, lambda: cell(page, 0, TRANSLATION).text == "9 + 3 = 12.")
    until(page, lambda: not page.find_element(By.ID, "after").is_displayed())


def test_what_was_measured_cannot_be_edited(opened: Callable[..., webdriver.Chrome]) -> None:
    page = opened()
    ask(page)
    ActionChains(page).double_click(cell(page, 0, MATCH)).send_keys("9").perform()
    assert page.find_elements(By.CSS_SELECTOR, "#thoughts textarea") == []


def test_the_thought_that_is_clicked_is_sampled(opened: Callable[..., webdriver.Chrome]) -> None:
    page = opened()
    ask(page)
    cell(page, 1, MATCH).click()
    wait_for(page, "site", "h1")
    cell(page, 0, MATCH).click()
    wait_for(page, "site", "h0")
    find(page, "sample").click()
    until(page, lambda: "100%" in find(page, "others").text)
    assert cell(page, 0, 0, "others").text == "9 + 3 = 12."


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (390, "light"), (1300, "dark")])
def test_the_page_fits_the_screen_and_a_double_tap_edits(
    opened: Callable[..., webdriver.Chrome], width: int, theme: str
) -> None:
    page = opened(width, theme)
    ask(page)
    place = cell(page, 0, TRANSLATION)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", place)
    middle = page.execute_script(
        "const box = arguments[0].getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]",
        place,
    )
    assert 0 < middle[0] < width  # it is seen without scrolling to the side
    tap = {"x": middle[0], "y": middle[1], "tapCount": 2, "gestureSourceType": "touch"}
    page.execute_cdp_cmd("Input.synthesizeTapGesture", tap)
    written(page, 0, "9 + 4 = 13.")
    wait_for(page, "answer", "The answer is: 12 → The answer is: 13")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    red = int(paper.partition("(")[2].partition(",")[0])
    assert (red < 64) == (theme == "dark")


def test_nothing_is_asked_of_another_machine(opened: Callable[..., webdriver.Chrome], address: str) -> None:
    page = opened()
    ask(page)
    asked = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert asked and [name for name in asked if not name.startswith((address, "data:", "blob:"))] == []
