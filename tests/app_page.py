"""The app's page in a browser: what people do there, and what they read."""

from __future__ import annotations

from collections.abc import Callable

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

TRANSLATION, MATCH = 1, 2
"""Columns of the table of thoughts."""


def until(page: Chrome, holds: Callable[[], bool]) -> None:
    WebDriverWait(page, 60, poll_frequency=0.3).until(lambda _: holds())


def find(page: Chrome, name: str, inside: str = "") -> WebElement:
    return WebDriverWait(page, 60).until(
        lambda seen: seen.find_element(By.CSS_SELECTOR, f"#{name} {inside}".strip())
    )


def value(page: Chrome, name: str) -> str:
    return find(page, name, ":is(textarea, input)").get_attribute("value") or ""


def wait_for(page: Chrome, name: str, wanted: str) -> None:
    until(page, lambda: value(page, name) == wanted)


def cell(page: Chrome, row: int, column: int, table: str = "thoughts") -> WebElement:
    return find(page, table, f'[data-testid="cell-{row}-{column}"]')


def listening(page: Chrome) -> bool:
    """Whether the page answers: before that a click does nothing."""
    find(page, "sample").click()
    told = [each.text for each in page.find_elements(By.CSS_SELECTOR, ".toast-body")]
    return any("no question has been asked; write one and press Think" in text for text in told)


def ask(page: Chrome, question: str, answer: str, thoughts: int = 4) -> None:
    """Ask, and wait for the answer and the last thought."""
    find(page, "question", "textarea").send_keys(question)
    find(page, "think").click()
    wait_for(page, "answer", answer)
    last = f'#thoughts [data-testid="cell-{thoughts - 1}-{TRANSLATION}"]'
    until(page, lambda: bool(page.find_elements(By.CSS_SELECTOR, last)))


def edit(page: Chrome, row: int, text: str) -> None:
    """Click a translation, write another text, press Enter."""
    cell(page, row, TRANSLATION).click()
    write(page, row, text)


def write(page: Chrome, row: int, text: str) -> None:
    """Write into a translation that is being edited."""
    box = find(page, "thoughts", f'[data-testid="cell-{row}-{TRANSLATION}"] textarea')
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text or Keys.DELETE)
    box.send_keys(Keys.ENTER)
