"""report.html, in a real browser: what it shows, what it never does, and how large it may get."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, Request, expect

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.shards import read_rows, read_whole, replace_shard, shards
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import TableName
from lvqa_ray.report.films import natural
from lvqa_ray.report.page import PAGE_BYTES, write_report
from tests import media
from tests.report.made import NAUGHTY, make_output, many


@contextmanager
def opened(chromium: Browser, path: Path, **context: Any) -> Iterator[Page]:
    """The page, once its list is there; nothing may have been fetched, refused or thrown meanwhile or afterwards."""
    wrong: list[str] = []
    page = chromium.new_context(**context).new_page()

    def asked(request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            wrong.append(request.url)

    page.on("request", asked)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield page
    page.context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 20 videos that are one film on this disk."""
    folder = tmp_path_factory.mktemp("small")
    film = media.make_video(folder / "film.mp4", seconds=60, fps=5, scenes=(10.0, 20.0, 30.0, 40.0, 50.0))
    return Path(write_report(make_output(folder / "out", 20, video=str(film)), within_s=30).path)


def test_the_numbers_are_those_of_the_tables(small: Path) -> None:
    numbers = count(OutputReader(small.parent))
    records, drops = list(read_rows(small.parent, "data")), list(read_rows(small.parent, "drops"))
    assert (numbers.videos, numbers.with_records, numbers.failures, numbers.unfinished) == (20, 18, 2, 0)
    assert (numbers.questions.kept, numbers.dropped) == (len(records), {"structure": len(drops)})
    assert numbers.clips == {"captioned": 90, "filtered": 0, "failed": 18}
    assert sum(numbers.audit.keys.values()) == sum(numbers.questions.categories.values()) == numbers.questions.kept
    assert numbers.questions.checks["grounding"]["marked"] == sum(
        bool(row["checks"][0]["action"]) for row in [*records, *drops]
    )
    assert numbers.hours == pytest.approx(18 * 60 / 3600)
    assert [(kind.kind, kind.count, kind.example) for kind in numbers.failed] == [("not_a_video", 2, "film-9")]


def test_rows_that_a_later_run_replaced_are_not_counted(tmp_path: Path) -> None:
    from tests.dataset.test_resume import line, put

    put(tmp_path, "data", "a", line("v", 0), line("w", 0))
    put(tmp_path, "data", "b", line("v", 1), line("v", 1, id="v_q1"))
    assert OutputReader(tmp_path).rows("data", ["id"])["id"].to_pylist() == ["w", "v", "v_q1"]


def test_a_reader_finds_a_record_and_sees_where_its_reasons_look(chromium: Browser, small: Path) -> None:
    with opened(chromium, small, viewport={"width": 1300, "height": 900}) as page:
        assert "69 questions about 18 videos" not in page.inner_text("h1")
        assert re.search(r"\d+ questions about 18 videos, made with seer", page.inner_text("#overview"))
        page.fill("#search", "film-4 2th")
        assert page.inner_text("#count") == "1 of 74"
        page.keyboard.press("Enter")
        page.wait_for_selector("h2:text-is('film-4_q2')")
        assert page.get_attribute(".list button", "aria-current") == "true"
        assert page.inner_text(".options .key").startswith("C")
        page.keyboard.press("Escape")
        page.hover(".steps > li:nth-child(2)")
        assert page.inner_text(".now").startswith("0:20 to 0:30")
        lit = page.evaluate("[...document.querySelectorAll('.film i')].map((one) => one.classList.contains('on'))")
        assert lit == [False] * 3 + [True] * 2 + [False] * 5, "ten thumbnails of 6 s"
        page.mouse.move(0, 0)
        assert page.query_selector(".time.lit") is None
        page.keyboard.press("3")
        assert page.inner_text(".now").startswith("0:50 to 1:00")
        page.hover(".track button:nth-child(4)")
        assert "I can't look at that." in page.inner_text(".now")
        drawn = page.evaluate("getComputedStyle(document.querySelector('.steps figure i')).backgroundImage.length")
        assert drawn > 2000


def test_sampled_answers_are_shown_beside_the_frames_they_were_given(chromium: Browser, small: Path) -> None:
    with opened(chromium, small) as page:
        overview = page.locator("#statistics").text_content() or ""
        assert "Answers from the film" in overview
        assert "75 %" in overview
        assert "pass@1 38 %, pass@2" in overview
        assert re.search(r"plot\s*56 %\s*75 %", overview), "success from captions against the film"
        page.goto(page.url.partition("#")[0] + "#film-4_q2")
        page.reload()
        page.wait_for_selector("h2:text-is('film-4_q2')")
        assert page.locator(".trace").count() == 6
        first, last = page.locator(".trace").first, page.locator(".trace").last
        assert "watch 1 C, right best seer from 3 frames" in " ".join(first.inner_text().split())
        first.locator("summary").click()
        assert "Thought 0 of film-4_q2." in first.inner_text()
        assert [one.inner_text() for one in first.locator("figcaption").all()] == ["0:03", "0:25", "0:55"]
        drawn = "one => getComputedStyle(one).backgroundImage.length"
        assert first.locator("figure i").first.evaluate(drawn) > 2000
        assert "solve 2" in last.inner_text()
        assert last.locator("figure").count() == 0


def test_what_is_told_of_the_whole_is_shown_with_its_map_and_what_is_said(chromium: Browser, small: Path) -> None:
    numbers = count(OutputReader(small.parent))
    assert numbers.results["mind_map"] == {"made": 16, "failed": 2}
    with opened(chromium, small) as page:
        assert "Results about whole videos" in page.inner_text(".tiles")
        page.goto(page.url.partition("#")[0] + "#film-4_q2")
        page.reload()
        page.wait_for_selector("h2:text-is('film-4_q2')")
        page.click(".whole > summary")
        shown = page.inner_text(".whole")
        assert all(text in shown for text in ("A dog runs.\n\nIt rests.", "The dog that ran", "What is said 2 lines"))
        assert page.inner_text(".whole .tags") == "dog"
        assert page.locator(".map li").count() == 3
        assert page.inner_text(".map ul ul .node") == "past trees"
        page.hover(".speech i:nth-child(2)")
        assert page.inner_text(".now") == "0:10 to 0:13“Wow 1!”"
        page.goto(page.url.partition("#")[0] + "#film-8_q0")
        page.reload()
        page.wait_for_selector("h2:text-is('film-8_q0')")
        page.click(".whole > summary")
        assert "bad_tree in mind_map: no map" in page.inner_text(".whole .banner")


def test_a_video_without_questions_is_listed_by_its_title(chromium: Browser, tmp_path: Path) -> None:
    from tests.dataset.test_resume import clip, put, result

    at: dict[str, Any] = {"video": "/v.mp4", "alone": True}
    shot = {"caption": "A dog.", "timestamp_start": 0.0, "timestamp_end": 9.0, "lost_sec": 0.0}
    put(tmp_path, "clips", "a", clip("v", 0, video="/v.mp4", **shot, height=9, width=9, fps=25.0))
    put(
        tmp_path,
        "analysis",
        "a",
        result("v", 0, **at, text="A dog runs.", style="summary"),
        result("v", 0, **at, index=1, task="titles", text="Dog", value='{"titles": ["Dog"]}'),
        result("v", 0, **at, index=2, task="mind_map", kind="bad_tree", error_message="no map"),
    )
    made = write_report(tmp_path, within_s=0)
    assert (made.videos, made.of) == (1, 1)
    assert count(OutputReader(tmp_path)).unfinished == 0
    with opened(chromium, Path(made.path)) as page:
        assert "1 video analyzed." in page.inner_text("#overview")
        assert page.inner_text(".list button").split("\n")[0].startswith("Dog")
        page.click(".list button")
        page.wait_for_selector("h2:text-is('v')")
        assert "A dog runs." in page.inner_text(".whole")


def test_records_come_in_random_order_and_before_the_statistics(chromium: Browser, small: Path) -> None:
    with opened(chromium, small) as page:
        tops = [page.evaluate(f"document.querySelector('#{part}').offsetTop") for part in ("records", "statistics")]
        assert tops == sorted(tops)
        ids = page.locator(".list .meta span:first-child")
        first = ids.all_inner_texts()
        assert first != sorted(first, key=natural)
        assert page.inner_text("#record h2") == first[0]
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert ids.all_inner_texts() == first, "two people see the same records first"
        page.click("#shuffle")
        assert ids.all_inner_texts() != first
        assert sorted(ids.all_inner_texts()) == sorted(first)
        page.select_option("#sort", "video")
        assert ids.all_inner_texts()[:3] == ["film-0_q0", "film-0_q1", "film-0_q2"]


def test_records_are_sorted_and_filtered_by_score(chromium: Browser, small: Path) -> None:
    with opened(chromium, small) as page:
        page.select_option("#sort", "low:grounding")
        rows = page.locator(".list .meta")
        assert rows.first.inner_text().startswith("film-0_")
        assert "grounding 0" in rows.first.inner_text()
        page.select_option("#sort", "high:grounding")
        assert rows.first.inner_text().startswith("film-18_")
        assert not page.is_visible("#least")
        page.select_option("#by-score", "grounding")
        page.fill("#least", "0.03")
        page.fill("#most", "0.04")
        assert page.inner_text("#count") == "8 of 74"
        assert {text.split("_")[0] for text in rows.all_inner_texts()} == {"film-3", "film-4"}
        page.click("#reset")
        assert page.inner_text("#count") == "74 entries"


def test_selected_records_are_saved(chromium: Browser, small: Path, tmp_path: Path) -> None:
    def saved(button: str) -> list[str]:
        with page.expect_download() as started:
            page.click(button)
        started.value.save_as(tmp_path / "saved")
        return (tmp_path / "saved").read_text(encoding="utf-8").splitlines()

    with opened(chromium, small, accept_downloads=True) as page:
        page.select_option("#sort", "video")
        page.check("[data-select] >> nth=1")
        page.keyboard.press("k")
        page.click(".list button >> nth=0")
        page.keyboard.press("x")
        assert page.inner_text("#chosen") == "2 selected"
        assert saved("#save-ids") == ["film-0_q0", "film-0_q1"]
        page.keyboard.press("x")
        page.select_option("#by-fate", "dropped")
        page.click("#select-shown")
        lines = [json.loads(line) for line in saved("#save-jsonl")]
        assert [line["outcome"] for line in lines] == ["kept", *["dropped"] * (len(lines) - 1)]
        assert lines[0]["id"] == "film-0_q1"
        assert lines[0]["options"]["A"] == "place A"
        assert [step["end"] for step in lines[0]["reasons"]] == [10.0, 30.0, 60.0]
        assert lines[1]["drop"]["reason"] == "too long"
        page.click("#select-none")
        assert page.inner_text("#chosen") == "None selected"


def test_drops_are_listed_with_their_reasons(chromium: Browser, small: Path) -> None:
    with opened(chromium, small) as page:
        row = page.inner_text("#statistics tr:has([data-filter='dropped:structure'])")
        drops = len(list(read_rows(small.parent, "drops")))
        assert row.split("\t")[:3] == ["structure", "structure", str(drops)]
        assert row.endswith("too long")
        page.click("#statistics [data-filter='dropped:structure'] >> nth=-1")
        assert page.locator(".list .why").all_inner_texts() == ["too long"] * drops
        expect(page.locator("#record")).to_contain_text("Dropped by structure: too long")
        page.click("#reset")
        page.fill("#search", "too long")
        assert page.inner_text("#count") == f"{drops} of 74"
        quota = page.inner_text("#statistics article:has(h3:text-is('Questions by category'))")
        assert "requested" in quota
        assert "delivered" in quota


def test_a_filter_by_kind_of_answer(chromium: Browser, tmp_path: Path) -> None:
    folder = make_output(tmp_path / "out", 3)
    columns: dict[TableName, str] = {"data": "kind", "drops": "question_kind"}
    for table, column in columns.items():
        for shard in shards(folder, table):
            rows = read_whole(shard, table)
            kinds = [row | {column: "span" if number < 2 else None} for number, row in enumerate(rows.to_pylist())]
            replace_shard(pa.Table.from_pylist(kinds, rows.schema), shard)
    spans = sum(row["kind"] == "span" for row in read_rows(folder, "data"))
    spans += sum(row["question_kind"] == "span" for row in read_rows(folder, "drops"))
    with opened(chromium, Path(write_report(OutputReader(folder), within_s=0).path)) as page:
        page.select_option("#by-kind", "span")
        assert page.inner_text("#count").startswith(f"{spans} of ")
        assert page.locator(".list .meta:has-text('· span')").count() == spans == page.locator(".list .item").count()
        page.click("#reset")
        assert page.locator("#by-kind").input_value() == ""


def test_one_kind_of_answer_needs_no_filter(chromium: Browser, small: Path) -> None:
    with opened(chromium, small) as page:
        assert page.locator("#by-kind").is_hidden()


def test_filters_keys_and_links(chromium: Browser, small: Path) -> None:
    with opened(chromium, small) as page:
        page.select_option("#sort", "video")
        page.select_option("#by-fate", "dropped")
        page.select_option("#by-category", "plot")
        dropped = page.locator(".list button")
        assert page.inner_text("#count") == f"{dropped.count()} of 74"
        assert dropped.count() > 0
        page.click("#reset")
        page.click("[data-filter='failed:not_a_video']")
        page.wait_for_selector("h2:text-is('film-9')")
        assert "This is no video." in page.inner_text("#record")
        page.keyboard.press("j")
        page.wait_for_selector("h2:text-is('film-19')")
        assert page.evaluate("location.hash") == "#film-19"
        page.keyboard.press("k")
        page.wait_for_selector("h2:text-is('film-9')")
        page.click("[data-filter='check:grounding']")
        marked = page.locator(".list .chip.warn")
        assert marked.count() == page.locator(".list button .chip.warn").count() > 0
        page.goto(page.url.partition("#")[0] + "#film-7_q0")
        page.reload()
        page.wait_for_selector("h2:text-is('film-7_q0')")


def test_it_can_be_read_in_the_dark_and_on_a_phone(chromium: Browser, small: Path) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    with opened(chromium, small, **phone) as page:
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 23)"
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert not page.is_visible("#record")
        page.select_option("#sort", "video")
        page.tap(".list button >> nth=2")
        page.wait_for_selector("h2:text-is('film-0_q2')")
        assert not page.is_visible("#list")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.tap(".steps > li:nth-child(1)")  # the browser clicks a moment after a tap
        page.wait_for_selector(".time.lit")
        page.tap(".back")
        expect(page.locator("#list")).to_be_visible()
        page.tap("#theme")
        expect(page.locator("body")).to_have_css("background-color", "rgb(247, 246, 243)")


def test_texts_of_models_and_files_do_nothing(chromium: Browser, tmp_path: Path) -> None:
    """Script tags in every text that comes from elsewhere: nothing runs, and they are there to be read."""
    folder = make_output(tmp_path / "out", 10, say=lambda text: text + NAUGHTY, prefix=f"f{NAUGHTY[:-15]}")
    with opened(chromium, Path(write_report(folder, within_s=0).path)) as page:
        count_ = page.locator(".list button").count()
        assert count_ == 37
        for _ in range(count_):
            page.evaluate("document.querySelectorAll('#record details').forEach((one) => { one.open = true; })")
            page.keyboard.press("j")
        assert page.evaluate("window.harmed") is None
        assert page.evaluate("document.querySelectorAll('main img, main script:not([id]), iframe').length") == 0
        page.fill("#search", "film")
        page.click("#reset")
        page.click(".list button >> nth=0")
        expect(page.locator("#record h2")).to_have_text(page.inner_text(".list .meta span >> nth=0"))
        shown = page.inner_text("#record")
        assert shown.count("<script>window.harmed = 1</script>") > 10
        assert "{{ 7 * 7 }}" in shown
        assert "<script>" in page.inner_text("#overview .lead")
        assert page.evaluate("window.harmed") is None


def test_of_100_000_records_it_shows_a_sample(chromium: Browser, tmp_path: Path) -> None:
    folder = make_output(tmp_path / "out", 310)
    many(folder, 100)
    made = write_report(folder, within_s=0)
    numbers = count(OutputReader(folder))
    assert numbers.questions.kept >= 99_000
    assert made.bytes == Path(made.path).stat().st_size < PAGE_BYTES
    assert (made.videos, made.of) == (250, 31_000)
    with opened(chromium, Path(made.path)) as page:
        assert "A sample: 250 of 31,000 videos" in page.inner_text("#records .lead")
        assert f"{numbers.questions.kept:,}" in page.inner_text(".tiles")
        for select in ("#by-fate", "#by-category", "#by-check", "#by-failure"):
            assert len(page.query_selector_all(f"{select} option")) > 1
        assert len(page.query_selector_all("#by-category option")) == 5


def test_an_output_without_records_has_a_report(tmp_path: Path) -> None:
    folder = make_output(tmp_path / "out", 0)
    turns = '[["human", "What happens?"]]'
    pq.write_table(pa.table({"id": ["film"], "conversation": [turns]}), folder / "manifest.parquet")
    made = write_report(folder, within_s=30)
    assert made.path.endswith("report.html")


def test_what_is_no_output_and_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no output"):
        write_report(tmp_path)
    folder = make_output(tmp_path / "out", 1)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(folder, folder / "run.json" / "report.html", within_s=0)
    (folder / "data" / "part-2.parquet").write_bytes(b"torn")
    with pytest.raises(ConfigError, match="is not a readable shard"):
        write_report(folder, within_s=0)
