"""Who is let in: signatures, origins behind a reverse proxy, key files; and the forms that curl users send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest
from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest

from lvqa_ray.config import Serve
from lvqa_ray.errors import ConfigError
from lvqa_ray.serve.access.acs_signature import ALGORITHM
from lvqa_ray.serve.access.key_pairs import key_pairs
from lvqa_ray.serve.invalid import RefusedError
from lvqa_ray.serve.quanmiao.quanmiao_request import RunVideoAnalysis
from lvqa_ray.storage.run_lock import run_lock
from tests.fakes.endpoint import FakeEndpoint
from tests.serve.conftest import job_at
from tests.serve.service import Service

KEY_ID, SECRET, TOKEN = "an-id", "planted-secret-0123456789", "planted-0123456789abcdef"
PUBLIC = "https://video.example.com/lvqa"
PATH = "/llm-xxx/quanmiao/lightapp/videoAnalysis/updateVideoAnalysisTask"


def signed(body: bytes, host: str, path: str = PATH, **changed: str) -> dict[str, str]:
    """Headers of a request as the SDK signs it."""
    request = DaraRequest()
    request.method, request.pathname, request.query = "PUT", path, {}
    payload = Utils.hash(body, ALGORITHM).hex()
    request.headers = {
        "host": host,
        "x-acs-date": Utils.get_timestamp(),
        "x-acs-signature-nonce": Utils.get_nonce(),
        "x-acs-content-sha256": payload,
        "content-type": "application/json",
        **changed,
    }
    authorization = Utils.get_authorization(request, ALGORITHM, payload, KEY_ID, SECRET)
    return {**request.headers, "Authorization": authorization}


def test_a_signature_is_good_for_one_request_now(endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    body = json.dumps({"taskId": "nobody", "taskStatus": "CANCELED"}).encode()
    job = job_at(endpoint, tmp_path, films, public_url=PUBLIC)
    with Service(job, keys={KEY_ID: SECRET}) as service:
        host = urlsplit(service.url).netloc

        def code(headers: dict[str, str], sent: bytes = body) -> tuple[int, str]:
            answer = httpx2.put(service.url + PATH, content=sent, headers={**headers, "host": host})
            return answer.status_code, answer.json()["code"]

        good = signed(body, host)
        assert code(good) == (404, "NotFound")
        assert code(good) == (401, "SignatureNonceUsed")
        assert code(signed(body, host), body.replace(b"nobody", b"others")) == (401, "SignatureDoesNotMatch")
        assert code(signed(body, host, path="/other")) == (401, "SignatureDoesNotMatch")
        assert code(signed(body, host) | {"x-acs-date": Utils.get_timestamp()[:-3] + "00Z"})[0] in (401, 404)
        assert code(signed(body, host, **{"x-acs-date": "2024-08-01T00:00:00Z"})) == (401, "InvalidTimeStamp.Expired")
        assert code({**signed(body, host), "Authorization": ALGORITHM}) == (401, "IncompleteSignature")
        assert code({}) == (401, "Unauthorized")
        for end in ("\x85", "\xa0", "\xa0\xa0"):
            altered = {**good, "x-acs-signature-nonce": good["x-acs-signature-nonce"] + end}
            encoded = {name.encode(): value.encode("latin-1") for name, value in altered.items()}
            answer = httpx2.put(service.url + PATH, content=body, headers=encoded)
            assert (answer.status_code, answer.json()["code"]) == (401, "SignatureDoesNotMatch"), repr(end)
        behind = signed(body, "video.example.com", path=f"/lvqa{PATH}")
        assert code(behind) == (404, "NotFound"), "the proxy replaced host and path"


def test_pages_of_the_public_url_may_send_requests(endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    with Service(job_at(endpoint, tmp_path, films, public_url=PUBLIC), TOKEN) as service:
        for origin, status in (
            ("https://video.example.com", 404),
            ("http://video.example.com", 403),
            ("https://video.example.com:8443", 403),
            ("https://evil.example", 403),
            ("null", 403),
            (service.url, 404),
        ):
            headers = {"Origin": origin, "Authorization": f"Bearer {TOKEN}"}
            assert httpx2.get(f"{service.url}/v1/analyses/nobody", headers=headers).status_code == status, origin


def test_key_files_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "AccessKey.csv"
    file.write_text(f"AccessKey ID,AccessKey Secret\n{KEY_ID},{SECRET}\n", encoding="utf-8-sig")
    monkeypatch.setenv("LVQA_ACCESS_KEYS", f"two:{SECRET}2, three:{SECRET}3")
    pairs = key_pairs(Serve(access_keys_file=str(file)))
    assert pairs == {KEY_ID: SECRET, "two": f"{SECRET}2", "three": f"{SECRET}3"}
    for text, says in (("only-an-id", "line 1 .* not an access key"), ("id,short", "fewer than 16")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=says) as caught:
            key_pairs(Serve(access_keys_file=str(file)))
        assert "short" not in str(caught.value).replace("shorter", "")
    with pytest.raises(ConfigError, match="cannot be read"):
        key_pairs(Serve(access_keys_file=str(tmp_path / "none")))


OPTIONS = ["videoAnalysis", "videoTitleGenerate"]
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps({"generateOptions": OPTIONS}), "application/json"),
        (json.dumps({"generateOptions": OPTIONS}), FORM),
        (json.dumps({"generateOptions": json.dumps(OPTIONS)}), "application/json"),
        (json.dumps({"generateOptions": ",".join(OPTIONS)}), "application/json"),
        (urlencode({"generateOptions": json.dumps(OPTIONS)}), FORM),
        (urlencode({"generateOptions": ", ".join(OPTIONS)}), FORM),
        (urlencode([("generateOptions", each) for each in OPTIONS]), FORM),
        (urlencode([("generateOptions[]", each) for each in OPTIONS]), FORM),
        (urlencode([(f"generateOptions.{at}", each) for at, each in enumerate(OPTIONS, 1)]), FORM),
        (urlencode([(f"generateOptions[{at}]", each) for at, each in enumerate(OPTIONS)]), FORM),
        (
            "".join(
                f'--b\r\nContent-Disposition: form-data; name="generateOptions"\r\n\r\n{each}\r\n' for each in OPTIONS
            )
            + "--b--\r\n",
            "multipart/form-data; boundary=b",
        ),
    ],
)
def test_options_in_the_forms_that_curl_users_send(body: str, kind: str) -> None:
    assert RunVideoAnalysis.read(body.encode(), kind).generate_options == OPTIONS


def test_an_address_may_hold_commas() -> None:
    address = "https://example.com/a,b.mp4?x=[1]"
    assert RunVideoAnalysis.read(json.dumps({"videoUrls": [address]}).encode(), "").wanted.video == address
    assert RunVideoAnalysis.read(urlencode({"videoUrls": address}).encode(), FORM).wanted.video == address


def test_the_clients_template_goes_before_the_id() -> None:
    template = 'Answer as {"title": "", "tags": []}: {videoAsrText} {videoAnalysisText} {summary}'

    def wanted(**fields: Any) -> Any:
        return RunVideoAnalysis.read(
            json.dumps({"videoUrl": "http://a/", **fields}).encode(), "application/json"
        ).wanted

    both = wanted(modelCustomPromptTemplate=template, modelCustomPromptTemplateId="MultiTask")
    assert both.styles == ("plot_detail",), "prose stays prose"
    assert both.summary_prompt == (
        'Answer as {{"title": "", "tags": []}}: {video_asr_text} {video_analysis_text} {{summary}}'
    )
    by_id = wanted(modelCustomPromptTemplateId="MultiTask").on({"summary_prompt": "an earlier session's"})
    assert (by_id.styles, by_id.summary_prompt) == (("multi_task",), "")
    with pytest.raises(RefusedError, match="leaves nothing"):
        wanted(generateOptions=["videoGenerate"], excludeGenerateOptions=["videoGenerate"])


def test_health_is_told_before_and_without_a_start(endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    """The output folder is in use: the service cannot start, says so, and refuses everything else."""
    with run_lock(tmp_path), Service(job_at(endpoint, tmp_path, films)) as service:
        health = httpx2.get(f"{service.url}/healthz")
        assert (health.status_code, health.json()) == (500, {"status": "failed"})
        for method, path in (
            ("GET", "/v1/analyses/x"),
            ("PUT", PATH),
            ("POST", "/llm/quanmiao/lightapp/runVideoAnalysis"),
        ):
            refused = httpx2.request(method, service.url + path, json={})
            assert (refused.status_code, refused.json()["code"]) == (503, "ServiceUnavailable")
            assert refused.json()["requestId"]


def test_a_chunked_body_that_is_too_large_is_refused(endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    """Its JSON fits, blanks follow until it does not; the client goes away in the middle of the answer."""
    request = json.dumps({"videoUrl": str(films / "film.mp4")}).encode()

    def chunks() -> Iterator[bytes]:
        yield request
        for _ in range(2 * 2**20 // 2**16):
            yield b" " * 2**16

    endpoint.latency_s = 1
    with Service(job_at(endpoint, tmp_path, films)) as service:
        for path in ("/llm-xxx/quanmiao/lightapp/runVideoAnalysis", "/v1/analyses"):
            with httpx2.stream("POST", service.url + path, content=chunks()) as answer:
                status = answer.status_code
            assert httpx2.get(f"{service.url}/healthz", timeout=10).status_code == 200, "the service is frozen"
            assert status == 413, path
