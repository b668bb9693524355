"""The tables of docs/serve.md name every parameter and every field of the vendor's SDK."""

from __future__ import annotations

from lvqa_ray.serve.quanmiao import envelope
from lvqa_ray.serve.quanmiao.quanmiao_request import UNSUPPORTED
from tests.serve.reference import PAGE, REQUESTS, fields, page, parameters, sent


def test_the_page_has_the_tables_of_the_program() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run: python -m tests.serve.reference"


def test_every_parameter_is_known_and_none_is_invented() -> None:
    for name, model in REQUESTS.items():
        ours = {str(field.alias) for field in model.model_fields.values()}
        theirs = set(parameters(name))
        assert ours <= theirs, f"{name} takes parameters that its SDK does not send"
        assert theirs - ours <= UNSUPPORTED.keys(), f"{name}: neither supported nor refused with a reason"


def test_every_field_that_is_sent_is_read_by_the_sdk() -> None:
    theirs = set(fields("RunVideoAnalysisResponseBody"))
    assert set(sent(envelope.Response)) <= theirs
