"""Cases of service requests with the names of the vendor's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lvqa_ray.llm.prompt_template import fill, placeholders
from lvqa_ray.serve.quanmiao.client_template import ASR, SHOTS
from lvqa_ray.serve.quanmiao.quanmiao_request import RunVideoAnalysis
from tests.cases import Row, case, folder

VALUES = {"video_analysis_text": "(shots)", "video_asr_text": "(speech)", "video_extra_info": "(more)"}


@case("22", "templates of clients")
def templates(_: Path) -> Iterator[Row]:
    """Braces in a template are text, and a custom template makes prose whatever kind the request names."""
    for file in sorted(folder("22").glob("*.json")):
        given = json.loads(file.read_text())
        wanted = RunVideoAnalysis.read(file.read_bytes(), "application/json").wanted
        template = given["modelCustomPromptTemplate"]
        sent = template.replace(SHOTS, "(shots)").replace(ASR, "(speech)")
        yield f"{file.stem}: sent", sent, fill(wanted.summary_prompt or "", VALUES)
        yield f"{file.stem}: read as", ("plot_detail",), wanted.styles
    form = "videoUrl=http%3A%2F%2Fh%2Ff.mp4&videoModelCustomPromptTemplate=%7BvideoAsrText%7D+%7B%22a%22%3A+%7B%7D%7D"
    prompt = RunVideoAnalysis.read(form.encode(), "application/x-www-form-urlencoded").wanted.caption_prompt or ""
    yield "braces in a template for shots", '(speech) {"a": {}}', fill(prompt, {"asr": "(speech)"})
    yield "its variables", {"asr"}, placeholders(prompt)
