"""The page of the service, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import STORY, TITLES, told
from tests.serve.browsing import cells, finish, opened, start
from tests.serve.conftest import job_at
from tests.serve.service import Service

TOKEN = "0123456789abcdef"  # noqa: S105 - of a service that lives for one test


def test_a_refused_address_clears_earlier_results(chromium: Browser, service: Service, films: Path) -> None:
    with opened(chromium, service.url) as page:
        start(page, films / "film.mp4")
        finish(page)
        assert page.locator(".result").count() == 3
        start(page, "http://127.0.0.1:1/film.mp4")
        page.wait_for_selector("#error:has-text('InvalidParam')")
        assert "not public" in page.inner_text("#error")
        assert page.locator(".result").count() == 0
        assert page.is_hidden("#progress")
        assert page.get_attribute("#video", "aria-invalid") == "true"
        assert page.evaluate("document.activeElement.id") == "video"
        start(page, films / "missing.mp4")
        page.wait_for_selector("#error:has-text('missing_file')")
        finish(page)
        assert cells(page, "video")[0] == "failed"


def test_every_result_is_rendered_copied_and_downloaded(
    chromium: Browser, service: Service, films: Path, tmp_path: Path
) -> None:
    allowed = ["clipboard-read", "clipboard-write"]

    def saved(button: str) -> str:
        with page.expect_download() as started:
            page.click(button)
        started.value.save_as(tmp_path / started.value.suggested_filename)
        return (tmp_path / started.value.suggested_filename).read_text(encoding="utf-8")

    with opened(chromium, service.url, permissions=allowed, accept_downloads=True) as page:
        for style in ("tags", "multi_task"):
            page.check(f"[value={style}]")
        page.check("[name=tasks][value=mind_map]")
        start(page, films / "film.mp4")
        finish(page)
        multi = page.locator("#result-summary-multi_task")
        assert multi.locator("h3").inner_text() == TITLES[0]
        assert multi.locator(".tags li").all_inner_texts() == ["light", "wall"]
        assert multi.locator(".lines li").all_inner_texts() == [STORY]
        assert page.inner_text("#result-summary-plot_detail .prose") == STORY
        assert page.locator("#result-summary-tags .tags li").count() == 5
        page.click("#result-summary-multi_task >> text=Copy")
        page.wait_for_selector("#result-summary-multi_task >> text=Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == f"### {TITLES[0]}\n\n#### Tags\n\n- light\n- wall\n\n#### Highlights\n\n- {STORY}\n"
        assert saved("#result-summary-multi_task >> text=Markdown") == copied
        assert json.loads(saved("#result-summary-multi_task >> text=JSON"))["value"]["title"] == TITLES[0]
        srt = saved("#result-analysis >> text=SRT")
        assert srt.startswith("1\n00:00:00,000 --> 00:00:01,000\n")
        assert srt.count(" --> ") == 3
        assert "00:00:00,500 --> 00:00:01,500\nWho is there?\n" in saved("#result-speech >> text=SRT")
        assert saved("#result-mind_map >> text=Markdown").splitlines()[:3] == ["- Light", "  - Walls", "    - Red"]
        assert "<svg" in saved("#result-mind_map >> text=SVG")
        whole = saved("#progress >> text=Markdown")
        assert whole.startswith("# film\n\n## ")
        assert [line for line in whole.splitlines() if line.startswith("## ")][-2:] == ["## Captions", "## Speech"]
        assert json.loads(saved("#progress >> text=JSON"))["state"] == "done"
        assert {path.name for path in tmp_path.iterdir()} >= {"film.captions.srt", "film.multi_task.md", "film.json"}


def test_a_result_is_made_again_and_the_others_stay(
    chromium: Browser, service: Service, films: Path, endpoint: FakeEndpoint
) -> None:
    with opened(chromium, service.url) as page:
        page.check("[name=tasks][value=titles]")
        page.check("[name=tasks][value=mind_map]")
        start(page, films / "film.mp4")
        finish(page)
        before = len(endpoint.requests)
        endpoint.answer = lambda body: "Another one" if "titles for it" in text_of(body) else told(body)
        page.click("#result-titles >> text=Make again")
        page.wait_for_selector("#result-titles li:has-text('Another one')", timeout=60_000)
        finish(page)
        assert [text_of(request.body).count("titles for it") for request in endpoint.requests[before:]] == [1]
        for _ in range(2):
            assert page.locator("#result-titles li").all_inner_texts() == ["Another one"]
            assert page.inner_text("#result-summary-plot_detail .prose") == STORY
            assert page.locator("#result-mind_map [role=treeitem]").count() == 4
            assert cells(page, "mind_map:")[0] == "done"
            page.reload()
            page.wait_for_selector("#result-mind_map")
        page.go_back()
        page.wait_for_selector(f"#result-titles li:has-text('{TITLES[0]}')")


def test_the_mind_map_is_a_diagram_for_the_keyboard_too(chromium: Browser, service: Service, films: Path) -> None:
    with opened(chromium, service.url) as page:
        page.check("[name=tasks][value=mind_map]")
        start(page, films / "film.mp4")
        finish(page)
        node = page.locator("[role=tree] [role=treeitem]")
        assert [each.get_attribute("aria-label") for each in node.all()] == ["Light", "Walls", "Red", "Blocks"]
        assert [each.get_attribute("aria-level") for each in node.all()] == ["1", "2", "3", "2"]
        boxes = [each.bounding_box() for each in node.all()]
        assert all(boxes)
        lefts = [box["x"] for box in boxes if box]
        assert lefts[0] < lefts[1] < lefts[2]
        assert abs(lefts[1] - lefts[3]) < 2, "branches of one node stand below each other"
        assert page.locator("path.link").count() == 3
        focused = "document.activeElement.getAttribute('aria-label')"
        node.nth(0).focus()
        for key, name in (("ArrowRight", "Walls"), ("ArrowDown", "Red"), ("End", "Blocks"), ("Home", "Light")):
            page.keyboard.press(key)
            assert page.evaluate(focused) == name, key
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        assert node.nth(1).get_attribute("aria-expanded") == "false"
        assert node.count() == 3
        page.keyboard.press("Enter")
        assert node.count() == 4
        node.nth(1).click()
        assert node.count() == 3


def test_the_token_is_kept_per_tab(chromium: Browser, endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    with Service(job_at(endpoint, tmp_path / "out", films), TOKEN) as served, opened(chromium, served.url) as page:
        start(page, films / "film.mp4")
        page.wait_for_selector("#error:has-text('Unauthorized')")
        assert page.evaluate("document.activeElement.id") == "token"
        page.fill("#token", TOKEN)
        page.keyboard.press("Tab")
        page.wait_for_selector("#vlm[placeholder=qwen-vl-max]", state="attached")
        start(page, films / "film.mp4")
        finish(page)
        assert page.inner_text("#state") == "Finished."
        page.reload()
        page.wait_for_selector("#result-analysis")
        assert page.input_value("#token") == TOKEN
        other = page.context.new_page()
        other.goto(page.url)
        other.wait_for_selector("#error:has-text('Unauthorized')")
        assert other.input_value("#token") == ""
        assert page.evaluate("Object.keys(localStorage)") == []


def test_prompts_models_and_settings_reach_the_service(
    chromium: Browser, service: Service, films: Path, endpoint: FakeEndpoint
) -> None:
    with opened(chromium, service.url) as page:
        page.click("form details > summary")
        page.click("[data-prompt=summary]")
        assert "{video_analysis_text}" in page.input_value("[name=summary_prompt]")
        assert page.is_disabled("[name=styles][value=tags]"), "a prompt of one's own writes prose"
        page.fill("[name=summary_prompt]", "Only what is said: {video_asr_text}")
        start(page, films / "film.mp4")
        page.wait_for_selector("#error:has-text('{video_analysis_text}')")
        page.fill("[name=summary_prompt]", "Sing of {video_analysis_text} and {video_asr_text}. {video_extra_info}")
        page.fill("[name=caption_prompt]", "What is there? {asr} {video_extra_info}")
        page.fill("[name=extra_info]", "The block is called Bob.")
        page.fill("[name=snapshot_interval]", "2")
        page.fill("[name=language]", "German")
        page.check("[name=tasks][value=titles]")
        page.fill("[name=titles]", "2")
        page.fill("[name=clip_seconds]", "3")
        before = len(endpoint.requests)
        page.click("#start")
        finish(page)
        asked = [text_of(request.body) for request in endpoint.requests[before:]]
        assert sum(text.startswith("What is there?") and "Bob" in text for text in asked) == 1, "one clip of 3 s"
        assert sum(text.startswith("Sing of ") and "Bob" in text and "German" in text for text in asked) == 1
        assert sum("Write 2 titles" in text for text in asked) == 1
        page.fill("[name=vlm_model]", "another")
        page.click("#start")
        page.wait_for_selector("#error:has-text('There is no model')")


def test_english_and_chinese(chromium: Browser, service: Service, films: Path) -> None:
    with opened(chromium, service.url, locale="zh-CN") as page:
        assert page.get_attribute("html", "lang") == "zh-CN"
        assert page.title() == page.inner_text("h1") == "分析视频"
        texts = page.evaluate(
            "import(document.querySelector('script').src.replace('app.js', 'i18n.js')).then((m) => m.TEXTS)"
        )
        assert texts["en"].keys() == texts["zh"].keys()
        for key, english in texts["en"].items():
            holes = [
                sorted(part.partition("}")[0] for part in text.split("{")[1:]) for text in (english, texts["zh"][key])
            ]
            assert holes[0] == holes[1], key
        used = page.evaluate("[...document.querySelectorAll('[data-text]')].map((each) => each.dataset.text)")
        assert set(used) <= texts["en"].keys()
        start(page, films / "film.mp4")
        finish(page)
        assert page.inner_text("#state") == "已完成。"
        page.select_option("#ui-language", "en")
        assert page.get_attribute("html", "lang") == "en"
        assert page.inner_text("#state") == "Finished."
        assert page.inner_text("#result-analysis h2") == "Captions"
        page.click("text=The API")
        expect(page.locator("h1")).to_have_text("The API")  # the choice of the language is kept
        page.wait_for_selector("html[data-ready]")
        assert "/v1/analyses/{session}" in page.inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_every_control_has_a_name(
    chromium: Browser, service: Service, films: Path, scheme: Any
) -> None:
    size: Any = {"width": 360, "height": 740}
    with opened(chromium, service.url, viewport=size, color_scheme=scheme) as page:
        page.check("[name=tasks][value=mind_map]")
        start(page, films / "film.mp4")
        finish(page)
        page.click("form details > summary")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, background[4:-1].split(","))) < 60) == (scheme == "dark")
        unnamed = """[...document.querySelectorAll("input, select, textarea, button")].filter(
            (each) => !(each.labels?.length || each.ariaLabel || each.textContent.trim())).map((each) => each.id)"""
        assert page.evaluate(unnamed) == []
        assert page.get_attribute("#state", "aria-live") == "polite"
        assert page.get_attribute("#error", "role") == "alert"
        live = "[...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].map((each) => each.id)"
        assert page.evaluate(live) == ["error", "state"], "texts that grow are not read out again and again"


def test_files_are_typed_cached_and_the_same_for_everybody(endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    with Service(job_at(endpoint, tmp_path / "out", films), TOKEN) as served:
        page = httpx2.get(served.url)
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-cache"
        known = {"If-None-Match": page.headers["etag"]}
        assert httpx2.get(served.url, headers=known).status_code == 304
        for name, kind in (("app.js", "text/javascript"), ("style.css", "text/css")):
            path = next(part for part in page.text.split('"') if part.endswith(name))
            got = httpx2.get(f"{served.url}/{path}")
            assert got.headers["content-type"] == f"{kind}; charset=utf-8", "whatever the machine's registry says"
            assert "immutable" in got.headers["cache-control"]
            assert httpx2.get(f"{served.url}/static/earlier/{name}").status_code == 404
        assert httpx2.get(f"{served.url}/static/../analyses.py").status_code in (401, 404)
        assert httpx2.get(f"{served.url}/v1/settings").status_code == 401
        sent = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx2.get(f"{served.url}/v1/settings", headers=sent).json()["models"]["llm"] == ["qwen-max"]
