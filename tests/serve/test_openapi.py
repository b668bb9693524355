"""The service does what its OpenAPI description says, whatever it is sent."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serve.service import Service

TRIES = 5
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_route_keeps_to_its_description(service: Service, mode: str) -> None:
    """Bodies and parameters that are as described, and such that are not; no video can be had of them."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    tried = []
    operations: Any = schema.get_all_operations()
    for operation in operations:
        route = operation.ok()
        if mode == "negative" and route.path == "/v1/settings":
            continue  # it takes nothing that could be wrong
        strategy = route.as_strategy(generation_mode=schemathesis.GenerationMode(mode))

        @settings(max_examples=TRIES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=strategy)
        def keeps(case: Case[Any]) -> None:
            case.call_and_validate(checks=CHECKS, timeout=30)

        keeps()
        tried.append((route.method, route.path))
    assert len(tried) == (10 if mode == "positive" else 9)
