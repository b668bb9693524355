"""Which proxy a URL is reached through, by the environment alone."""

from __future__ import annotations

import pytest

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.transport.certificates import check_store_certificates, own_certificates
from lvqa_ray.llm.transport.proxies import proxy_for

URL = "https://models.example.com/v1"


@pytest.mark.parametrize(
    ("environ", "url", "proxy", "variable"),
    [
        ({}, URL, None, None),
        ({"HTTPS_PROXY": "http://p:3128"}, URL, "http://p:3128", "HTTPS_PROXY"),
        ({"https_proxy": "http://p:3128/"}, URL, "http://p:3128", "https_proxy"),
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://large:1"}, URL, "http://small:1", "https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://large:1"}, URL, None, None),
        ({"https_proxy": "", "ALL_PROXY": "http://all:1"}, URL, "http://all:1", "ALL_PROXY"),
        ({"HTTP_PROXY": "http://p:3128"}, URL, None, None),
        ({"HTTP_PROXY": "http://p:3128"}, "http://models.example.com/v1", "http://p:3128", "HTTP_PROXY"),
        ({"HTTPS_PROXY": "p:3128"}, URL, "http://p:3128", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "https://p:443"}, URL, "https://p:443", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://u:p%40ss@p:3128"}, URL, "http://u:p%40ss@p:3128", "HTTPS_PROXY"),
        # A desktop's settings: the general variable is not read where one for the scheme is set.
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "socks://p:2"}, URL, "http://p:1", "HTTPS_PROXY"),
        ({"ALL_PROXY": "socks://p:2"}, "http://localhost:8000/v1", None, None),
        ({"ALL_PROXY": "socks://p:2"}, "http://[::1]:8000/v1", None, None),
    ],
)
def test_the_variable_that_applies_names_the_proxy(
    environ: dict[str, str], url: str, proxy: str | None, variable: str | None
) -> None:
    found = proxy_for(url, environ)
    assert (found.url if found else None, found.variable if found else None) == (proxy, variable)


@pytest.mark.parametrize(
    ("listed", "url", "direct"),
    [
        ("*", URL, True),
        ("example.com", URL, True),
        (".example.com", URL, True),
        ("*.example.com", URL, True),
        ("EXAMPLE.com", URL, True),
        ("models.example.com", URL, True),
        ("models.example.com.", URL, True),
        ("ample.com", URL, False),
        ("other.com, example.com", URL, True),
        ("other.com example.com", URL, True),
        ("models.example.com:443", URL, True),
        ("models.example.com:8443", URL, False),
        ("https://models.example.com/v1", URL, True),
        ("", URL, False),
        ("10.0.0.0/8", "http://10.1.2.3:8000/v1", True),
        ("10.0.0.0/8", "http://11.1.2.3:8000/v1", False),
        ("10.0.0.0/7", "http://11.1.2.3:8000/v1", True),
        ("10.1.2.3", "http://10.1.2.3:8000/v1", True),
        ("10.1.2.3:8000", "http://10.1.2.3:8000/v1", True),
        ("10.1.2.3:80", "http://10.1.2.3:8000/v1", False),
        ("10.1.*", "http://10.1.2.3:8000/v1", True),
        ("2.3", "http://10.1.2.3:8000/v1", False),
        ("fd00::/8", "http://[fd00::5]:8000/v1", True),
        ("[fd00::5]:8000", "http://[fd00::5]:8000/v1", True),
        ("[fd00::5]", "http://[fd00::5]:8000/v1", True),
        ("FD00:0::5", "http://[fd00::5]:8000/v1", True),
        ("fd00::/8", URL, False),
    ],
)
def test_hosts_in_no_proxy_are_contacted_directly(listed: str, url: str, direct: bool) -> None:
    environ = {"ALL_PROXY": "http://p:1"}
    assert (proxy_for(url, environ | {"NO_PROXY": listed}) is None) == direct
    assert (proxy_for(url, environ | {"no_proxy": listed}) is None) == direct


@pytest.mark.parametrize(
    "value",
    [
        "socks://user:hunter2@127.0.0.1:7890/", "socks5://127.0.0.1:7890", "socks5h://127.0.0.1:7890", "http://proxy",
        "http://user:hun/ter2@p:1", "http://user:hunter2@p:99999", "ftp://p:1", "hunter2://p:1", "http://:80",
        "http://p q:1", "http://[::1:3128", "://", "http://", "user:hunter2@p",
    ],
)  # fmt: skip
def test_a_value_that_is_no_proxy_is_one_sentence_without_the_value(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        proxy_for(URL, {"all_proxy": value})
    said = str(caught.value)
    assert "all_proxy" in said
    assert "models.example.com" in said
    assert "hunter2" not in said
    assert "hun/ter2" not in said
    assert proxy_for(URL, {"all_proxy": value, "no_proxy": "models.example.com"}) is None


def test_certificates_that_cannot_be_read_are_named() -> None:
    assert own_certificates({}) is None
    for environ in ({"SSL_CERT_FILE": "/nonexistent.pem"}, {"SSL_CERT_FILE": "/"}, {"SSL_CERT_FILE": __file__}):
        with pytest.raises(ConfigError, match="SSL_CERT_FILE names"):
            own_certificates(environ)
    with pytest.raises(ConfigError, match="SSL_CERT_DIR names /nonexistent"):
        own_certificates({"SSL_CERT_DIR": "/nonexistent"})
    for variable in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        with pytest.raises(ConfigError, match=f"{variable} names /nonexistent.pem, which does not exist"):
            check_store_certificates({variable: "/nonexistent.pem"})
