"""The app as people use it, in headless Chromium: type, click, edit, read the result."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from reverse_codi import Verbalizer
from tests.browser import headless, needs_browser

build = pytest.importorskip("reverse_codi.app.page", exc_type=ImportError).build
QUESTION = "Umar owns 9 cups. Then he picks 3 more. How many cups are left?"
pytestmark = needs_browser


@pytest.fixture(scope="module")
def page() -> Iterator[webdriver.Chrome]:
    app = build({"embedded": Verbalizer.from_pretrained()})
    _, address, _ = app.queue().launch(
        server_name="127.0.0.1", server_port=None, prevent_thread_lock=True, quiet=True
    )
    with headless() as chrome:
        chrome.get(address)
        yield chrome
    app.close()


def find(page: webdriver.Chrome, name: str, inside: str = "") -> webdriver.remote.webelement.WebElement:
    return WebDriverWait(page, 60).until(
        lambda seen: seen.find_element(By.CSS_SELECTOR, f"#{name} {inside}".strip())
    )


def value(page: webdriver.Chrome, name: str) -> str:
    return find(page, name, ":is(textarea, input)").get_attribute("value") or ""


def wait_for(page: webdriver.Chrome, name: str, wanted: str) -> None:
    WebDriverWait(page, 60).until(lambda seen: value(seen, name) == wanted)


def write(page: webdriver.Chrome, name: str, text: str) -> None:
    box = find(page, name, ":is(textarea, input)")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text)


def test_a_question_is_asked_and_a_thought_is_changed(page: webdriver.Chrome) -> None:
    def refused(seen: webdriver.Chrome) -> bool:
        """Until the page listens, a click does nothing."""
        find(seen, "put").click()
        time.sleep(1)
        return any(
            "no question has been asked; write one and press Think" in message.text
            for message in seen.find_elements(By.CSS_SELECTOR, ".toast-body")
        )

    WebDriverWait(page, 60).until(refused)
    write(page, "question", QUESTION)
    find(page, "think").click()
    wait_for(page, "answer", "The answer is: 12")
    wait_for(page, "text", "9 + 3 = 12.")
    assert "9 + 3 = 12." in find(page, "thoughts").text

    write(page, "text", "9 + 4 = 13.")
    find(page, "put").click()
    wait_for(page, "answers", "The answer is: 12 → The answer is: 13")
    find(page, "sample").click()
    WebDriverWait(page, 60).until(lambda seen: "100%" in find(seen, "others").text)
    serious = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert [entry["message"] for entry in serious if "127.0.0.1" in entry["message"]] == []
