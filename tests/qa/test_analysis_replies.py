"""Lists, fields and trees are read with what stands around them taken off, and are never guessed at."""

from __future__ import annotations

import pytest

from lvqa_ray.errors import ParseError
from lvqa_ray.qa.formats.analysis_replies import read_fields, read_list, read_tags, read_text, read_tree

DEEP = '{"name": "1", "children": [{"name": "2", "children": [{"name": "3", "children": [%s]}]}]}'


def test_lists_lose_bullets_numbers_quotes_and_what_announces_them() -> None:
    said = 'Here are some titles:\n1. "A dog runs"\n2) **3.5 million dogs**\n- -5 degrees\n\n• A dog runs\n2001: a film'
    assert read_list(said) == ["A dog runs", "3.5 million dogs", "-5 degrees", "2001: a film"]
    assert read_list("Only this:") == ["Only this:"]
    assert read_tags("#dog\n#running fast") == ["dog", "running fast"]
    assert read_tags("dog, running\uff0c\u516c\u56ed\u3001sun") == ["dog", "running", "\u516c\u56ed", "sun"]
    assert read_text("  Prose. ") == "Prose."


@pytest.mark.parametrize("around", ["%s", "```json\n%s\n```", "Here it is: %s I hope it helps.", "[%s]"])
def test_a_tree_is_found_whatever_stands_around_it(around: str) -> None:
    tree = '{"name": " A  day ", "id": 7, "childNodes": ["dawn", {"name": "noon", "children": [{"name": "sun"}]}]}'
    assert read_tree(around % tree) == {
        "name": "A day",
        "children": [{"name": "dawn"}, {"name": "noon", "children": [{"name": "sun"}]}],
    }


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        ("", "bad_json", "holds no JSON"),
        ("A day.", "bad_json", "holds no JSON"),
        ('{"name": "a", "children": [{"name": "b"}', "bad_json", "line 1"),
        ("[" * 100_000, "bad_json", "nested too deeply"),
        ('[{"name": "a"}, {"name": "b"}]', "bad_tree", "the root is no object"),
        ('{"name": "a"}', "bad_tree", "root of the mind map has no children"),
        ('{"name": "a", "children": "b"}', "bad_tree", '"children" of "a" is no list'),
        ('{"name": "a", "children": [{"title": "b"}]}', "bad_tree", 'child 1 of "a" is no object'),
        ('{"name": "a", "children": [{"name": ""}]}', "bad_tree", 'child 1 of "a" is no object'),
        ('{"name": "a", "children": [' * 400 + '"z"' + "]}" * 400, "bad_json", "nested too deeply"),
    ],
)
def test_what_is_no_tree_says_where(reply: str, kind: str, says: str) -> None:
    with pytest.raises(ParseError, match=says) as caught:
        read_tree(reply)
    assert caught.value.kind == kind
    assert read_tree(DEEP % '{"name": "4", "children": []}')["name"] == "1"


def test_levels_below_the_fourth_are_folded_and_nothing_is_lost() -> None:
    tree = read_tree(DEEP % '{"name": "4", "children": ["5", {"name": "6", "children": ["7", "8"]}]}')
    for _ in range(3):
        (tree,) = tree["children"]  # type: ignore[misc, assignment]
    assert tree == {"name": "4 (5; 6 (7; 8))"}


def test_fields_are_all_there_or_it_is_said_which_is_not() -> None:
    whole = {"title": "T", "tags": ["a", "b"], "highlights": ["c"]}
    assert read_fields('{"title": " T ", "tags": ["a", " b", "a", ""], "highlights": ["c"], "more": 1}') == whole
    for reply, field in [
        ('{"title": "", "tags": ["a"], "highlights": ["c"]}', "title"),
        ('{"title": "T", "tags": "a, b", "highlights": ["c"]}', "tags"),
        ('{"title": "T", "tags": ["a"], "highlights": [{"text": "c"}]}', "highlights"),
        ('{"title": "T", "tags": ["a"]}', "highlights"),
    ]:
        with pytest.raises(ParseError, match=f'"{field}"'):
            read_fields(reply)
    for read in (read_list, read_tags, read_text):
        with pytest.raises(ParseError, match=r"empty|no line"):
            read(" \n ")
