"""The page of the service, in a real browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import TITLES, told
from tests.serve.service import Service

NAUGHTY = "<img src=x onerror='window.harmed = 1'><script>window.harmed = 1</script>"


def test_the_page_shows_events_as_they_come(
    chromium: Browser, service: Service, films: Path, endpoint: FakeEndpoint
) -> None:
    """Also what a model says to do harm: it is there to be read, and nothing runs."""
    wrong: list[str] = []
    page = chromium.new_context().new_page()
    page.on("request", lambda asked: None if asked.url.startswith(service.url) else wrong.append(asked.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(service.url)
    page.wait_for_selector("html[data-ready]")
    page.fill("[name=video]", "http://127.0.0.1:1/film.mp4")
    page.click("button >> nth=0")
    page.wait_for_selector("#state.bad:has-text('InvalidParam')")
    assert "not public" in page.inner_text("#state")

    endpoint.latency_s = 0.3
    endpoint.answer = lambda body: NAUGHTY if "Sum up the video" in text_of(body) else told(body)
    page.fill("[name=video]", str(films / "film.mp4"))
    page.select_option("[name=kind]", "Summary")
    page.check("[value=videoTitleGenerate]")
    page.check("[value=videoMindMappingGenerate]")
    page.click("button >> nth=0")
    page.wait_for_selector("#shots li", timeout=60_000)
    assert page.is_hidden("#map"), "shots are shown before the rest is there"
    page.wait_for_selector("#state:has-text('task-finished')", timeout=60_000)
    assert page.locator("#shots li").count() == 3
    assert page.inner_text("#shots li >> nth=1").startswith("00:01-00:02")
    assert page.inner_text("#speech li >> nth=0") == "00:00-00:01Who is there?"
    assert page.inner_text("#summary .text") == NAUGHTY
    assert page.inner_text("#titles .text") == "\n".join(TITLES)
    assert page.locator("#map li").all_inner_texts()[-1] == "Blocks"
    assert page.evaluate("window.harmed") is None

    endpoint.latency_s = 30
    page.select_option("[name=kind]", "ExtractVideoTag")
    page.click("button >> nth=0")
    page.click("#stop")
    page.wait_for_selector("#state:has-text('stopped')")
    page.click("text=The API")
    page.wait_for_selector("html[data-ready]")
    assert "/v1/analyses/{session}" in page.inner_text("main")
    page.context.close()
    assert wrong == []
