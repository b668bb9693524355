"""The page of the service while an analysis goes on, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Browser

from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import STORY, TITLES, told
from tests.serve.browsing import cells, finish, of_the_whole, opened, start
from tests.serve.conftest import job_at
from tests.serve.relay import Relay
from tests.serve.service import Service

NAUGHTY = "<img src=x onerror='window.harmed = 1'><script>window.harmed = 1</script>"


def test_events_are_shown_as_they_come(
    chromium: Browser, service: Service, films: Path, endpoint: FakeEndpoint
) -> None:
    """Also what a model says to do harm: it is there to be read, and nothing runs."""
    endpoint.hold = of_the_whole
    endpoint.answer = lambda body: NAUGHTY if "Sum up the video" in text_of(body) else told(body)
    with opened(chromium, service.url) as page:
        page.uncheck("[value=plot_detail]")
        page.check("[name=styles][value=summary]")
        page.check("[name=tasks][value=titles]")
        start(page, films / "film.mp4")
        page.wait_for_selector("#result-analysis li", timeout=60_000)
        assert page.locator("#result-titles").count() == 0, "captions are shown before the rest is there"
        assert cells(page, "titles:")[0] in ("waiting", "running")
        assert page.is_disabled("#start")
        endpoint.hold, endpoint.latency_s = None, 0.5
        finish(page)
        assert page.inner_text("#state") == "Finished."
        assert cells(page, "captions")[:2] == ["done", "Captions"]
        assert cells(page, "captions")[2].startswith("3 of 3 clips · ")
        assert 0.4 <= float(cells(page, "titles:")[3]) < 30, "seconds"
        assert page.locator("#result-analysis li").all_inner_texts()[1].startswith("00:01\u201300:02")
        assert page.inner_text("#result-speech li >> nth=0").split("\n") == ["00:00\u201300:01", "Who is there?"]
        assert page.inner_text("#result-summary-summary .prose") == NAUGHTY
        assert page.locator("#result-titles li").all_inner_texts() == list(TITLES)
        assert page.evaluate("window.harmed") is None
        assert "tokens in" in page.inner_text("#totals")


WATCH = """
  window.drawn = [];
  const each = (path) => [...document.querySelectorAll(path)];
  const text = (path) => each(path).map((one) => one.innerText)[0] || "";
  const story = "#result-summary-plot_detail[data-state=writing]";
  const look = () => window.drawn.push({
    story: text(`${story} .prose`),
    row: each("tr[data-key='summary:plot_detail']").map((one) => one.dataset.state)[0],
    buttons: each(`${story} .tools button`).length,
    title: text("#result-summary-multi_task[data-state=writing] h3"),
    branches: each("#result-mind_map[data-state=writing] [role=treeitem]").length,
  });
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
"""
"""Writes down what of the results is drawn, whenever the page changes."""


def test_results_grow_while_they_are_written(chromium: Browser, films: Path, tmp_path: Path) -> None:
    """Also the title of a JSON reply, and the branches of a mind map, whose ends are not written yet."""
    with (
        FakeEndpoint(answer=told, stream_pause_s=0.15) as fake,
        Service(job_at(fake, tmp_path, films)) as served,
        opened(chromium, served.url) as page,
    ):
        page.check("[value=multi_task]")
        page.check("[name=tasks][value=mind_map]")
        page.evaluate(WATCH)
        start(page, films / "film.mp4")
        finish(page)
        drawn = page.evaluate("window.drawn")
        assert all(STORY.startswith(each["story"]) for each in drawn)
        growing = [each for each in drawn if each["story"] and each["story"] != STORY]
        assert {(each["row"], each["buttons"]) for each in growing} == {("writing", 0)}
        assert any(TITLES[0].startswith(each["title"]) for each in drawn if each["title"])
        assert any(each["branches"] for each in drawn)
        assert page.inner_text("#result-summary-plot_detail .prose") == STORY
        assert page.locator("#result-mind_map [role=treeitem]").count() == 4


def test_stopping_and_reloading(chromium: Browser, service: Service, films: Path, endpoint: FakeEndpoint) -> None:
    """An analysis outlives the page; its address shows it again, running or finished."""
    with opened(chromium, service.url) as page:
        endpoint.hold = of_the_whole
        page.click("form details > summary")
        page.fill("[name=extra_info]", "It is night.")
        start(page, films / "film.mp4")
        page.wait_for_selector("tr[data-key^=summary][data-state=running]", timeout=60_000)
        page.reload()
        page.wait_for_selector("tr[data-key^=summary][data-state=running]")
        assert page.is_enabled("#stop")
        assert page.input_value("[name=extra_info]") == "It is night."
        endpoint.hold = None
        finish(page)
        assert page.inner_text("#state") == "Finished."
        page.goto(page.url.replace("#", "?again#"))
        page.wait_for_selector("#result-summary-plot_detail")
        assert page.locator("#result-analysis li").count() == 3

        endpoint.hold = of_the_whole
        page.fill("[name=extra_info]", "It is day.")
        page.click("#start")
        page.wait_for_selector("tr[data-key^=summary][data-state=running]", timeout=60_000)
        page.click("#stop")
        page.wait_for_selector("#state:has-text('Stopped')")
        finish(page)
        assert cells(page, "summary:plot_detail")[:3] == ["missing", "Plot in detail", "not made"]
        page.fill("[name=extra_info]", "It is dawn.")
        with page.expect_request(lambda request: request.method == "DELETE"):
            page.click("#start")
            page.click("#stop")
        finish(page)
        assert page.is_hidden("#progress") or "Stopped" in page.inner_text("#state")
        page.goto(f"{service.url}/#session=none")
        page.reload()
        page.wait_for_selector("#error:has-text('NotFound')")


def test_a_lost_connection_is_restored(
    chromium: Browser, service: Service, films: Path, endpoint: FakeEndpoint
) -> None:
    with Relay(service.url) as relay, opened(chromium, relay.url) as page:
        endpoint.hold = of_the_whole
        page.click("form details > summary")
        page.fill("[name=extra_info]", "It rains.")
        start(page, films / "film.mp4")
        page.wait_for_selector("tr[data-key^=summary][data-state=running]", timeout=60_000)
        relay.cut()
        page.wait_for_selector("#state:has-text('connection is lost')")
        endpoint.hold = None
        finish(page)
        assert page.inner_text("#state") == "Finished."
        assert page.inner_text("#result-summary-plot_detail .prose") == STORY


def test_streams_are_parsed_however_they_are_cut(chromium: Browser, service: Service) -> None:
    """CR, LF and CRLF end lines, also when a chunk ends between CR and LF (rexxars/eventsource-parser#17)."""
    parse = """async ([text, size]) => {
      const { EventParser } = await import(document.querySelector("script").src.replace("app.js", "api.js"));
      const parser = new EventParser(), events = [];
      for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
      return events.map(({ id, data }) => `${id}|${data}`);
    }"""
    stream = ': still here\n\nid: 1\nevent: x\ndata: A\ndata:B\n\n\ndata: {"é": "中"}\nid:2\n\ndata: lost'
    with opened(chromium, service.url) as page:
        for end in ("\n", "\r\n", "\r"):
            for size in (1, 2, 3, 1000):
                text = stream.replace("\n", end)
                assert page.evaluate(parse, [text, size]) == ["1|A\nB", '2|{"é": "中"}'], (end, size)


def test_json_that_is_being_written_is_shown_as_far_as_it_goes(chromium: Browser, service: Service) -> None:
    value = {"title": 'A "b" {c}', "tags": ["d", "e, [f"], "highlights": [{"g": None}, 1.5]}
    text = f"Here it is: {json.dumps(value)} That is all."
    parse = """async (text) => {
      const { partialJson } = await import(document.querySelector("script").src.replace("app.js", "partial.js"));
      return Array.from(text, (_, end) => partialJson(text.slice(0, end + 1)) ?? null);
    }"""
    with opened(chromium, service.url) as page:
        parsed = page.evaluate(parse, text)
    assert parsed[-1] == value
    titles = [each.get("title") for each in parsed if each and "title" in each]
    assert titles[0] == ""
    assert 'A "b" {' in titles
    sizes = [len(each) for each in parsed if each is not None]
    assert sizes == sorted(sizes), "what was shown stays"
