"""What tests do with the page of the service in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

from tests.fakes.answers import media_urls

REFUSALS = ("400 (Bad Request)", "401 (Unauthorized)", "404 (Not Found)", "net::ERR_")
"""The console names each refused request and each broken connection; the page shows why."""


@contextmanager
def opened(chromium: Browser, url: str, **context: Any) -> Iterator[Page]:
    """The page, once it is ready; nothing may be asked of another host, refused by its policy, or thrown."""
    wrong: list[str] = []
    page = chromium.new_context(**{"locale": "en-US", **context}).new_page()
    host = "/".join(url.split("/")[:3])
    page.on(
        "request", lambda asked: None if asked.url.startswith((host, "blob:", "data:")) else wrong.append(asked.url)
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text))
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    yield page
    page.context.close()
    assert [said for said in wrong if not any(refusal in said for refusal in REFUSALS)] == []


def of_the_whole(body: dict[str, Any]) -> bool:
    """Whether a request is about the whole video, and not about one of its clips."""
    return not media_urls(body)


def start(page: Page, video: object) -> None:
    page.fill("[name=video]", str(video))
    page.click("#start")


def finish(page: Page) -> None:
    page.wait_for_selector("#start:enabled", timeout=60_000)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it is drawn


def cells(page: Page, key: str) -> list[str]:
    """State and texts of a row of the progress table."""
    row = page.locator(f"tr[data-key='{key}']")
    return [str(row.get_attribute("data-state")), *row.locator("th, td").all_inner_texts()]
