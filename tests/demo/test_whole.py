"""What the embedded endpoint tells of a film as a whole is taken from what it is given, and can be read."""

from __future__ import annotations

from typing import Any

from lvqa_ray.demo import chat
from lvqa_ray.qa.formats.analysis_replies import read_fields, read_list, read_tags, read_tree
from lvqa_ray.stages.analysis.mind_map import PROMPT as MAP
from lvqa_ray.stages.analysis.summary import FIELDS, PROMPTS
from lvqa_ray.stages.analysis.titles import PROMPT as TITLES
from tests.demo.test_compose import long_film, merged


def reply(prompt: str, **values: str) -> str:
    for name, value in values.items():
        prompt = prompt.replace(f"{{{name}}}", value)
    body = {"model": chat.MODEL, "messages": [{"role": "user", "content": prompt}]}
    completion: Any = chat.complete(body)
    return str(completion["choices"][0]["message"]["content"])


def test_each_style_titles_and_a_map_come_from_what_was_seen_and_said() -> None:
    captions = merged(long_film(1))
    seen = {"video_analysis_text": captions, "video_asr_text": "From 3 to 5, Look at that!"}
    plot = reply(PROMPTS["plot_detail"], **seen)
    assert "“Look at that!”" in plot
    tags = read_tags(reply(PROMPTS["tags"], **seen))
    assert tags
    assert all(tag in captions for tag in tags)
    assert read_list(reply(PROMPTS["highlights"], **seen))[0].startswith("From ")
    assert "Look at that!" in reply(PROMPTS["summary"], **seen)
    fields = read_fields(reply(f"{PROMPTS['multi_task']} {FIELDS}", **seen))
    assert fields["tags"] == tags
    titles = read_list(reply(TITLES, summary=plot, count="3"))
    assert len(titles) == 3
    assert all(title in plot for title in titles)
    tree: Any = read_tree(reply(MAP, summary=plot))
    assert tree["name"] in plot
    assert [child["name"] for child in tree["children"]] == ["Beginning", "Middle", "End"]
    assert reply("Say hello.") == chat.ABOUT
