"""Results that grow while the endpoint streams them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import STORY, told
from tests.serve.conftest import job_at
from tests.serve.service import Service
from tests.serve.vendor import Vendor


@pytest.fixture
def streaming(films: Path, tmp_path: Path) -> Iterator[tuple[FakeEndpoint, Service]]:
    with FakeEndpoint(answer=told, stream_pause_s=0.2) as fake, Service(job_at(fake, tmp_path, films)) as service:
        yield fake, service


def test_a_summary_grows_and_is_then_finished(streaming: tuple[FakeEndpoint, Service], films: Path) -> None:
    _, service = streaming
    events = list(Vendor(service.url).run(video_url=str(films / "film.mp4"), generate_options=["videoGenerate"]))
    made = [
        event.payload.output.video_generate_result
        for event in events
        if (event.header.event, event.header.event_info) == ("result-generated", "summary")
    ]
    assert len(made) > 3
    assert [each.generate_finished for each in made] == [False] * (len(made) - 1) + [True]
    assert [*map(len, (each.text for each in made))] == sorted(len(each.text) for each in made)
    assert all(STORY.startswith(each.text) for each in made)
    assert made[-1].text == STORY
    assert events[-1].payload.output.video_generate_result.generate_finished
