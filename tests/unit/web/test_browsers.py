"""No page can make a browser verify or drop anything; programs are heard whatever they send."""

import pytest

from magister.errors import FromBrowser
from magister.web.browsers import refuse_pages

ADDRESS = "http://pool.example.com:8555"
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("GET", {"User-Agent": CHROME, "Host": "203.0.113.7:8555"}, id="an image over HTTP"),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site", "User-Agent": "x"}, id="an image over HTTPS"),
        pytest.param("GET", {"Sec-Fetch-Site": "same-origin"}, id="our own page"),
        pytest.param("DELETE", {"Origin": "http://elsewhere.example"}, id="another page"),
        pytest.param("DELETE", {"Origin": "null", "Host": "203.0.113.7"}, id="a page from a file"),
        pytest.param("DELETE", {"Origin": "http://203.0.113.7:8555", "Host": "203.0.113.7:8555"}, id="same"),
        pytest.param(
            "GET",
            {"Host": "rebound.example:8555", "User-Agent": "curl/8", "Accept-Language": "*"},
            id="a rebound name and a forged User-Agent",
        ),
        pytest.param("GET", {"Host": "[", "Accept-Language": "en"}, id="a Host that is none"),
    ],
)
def test_a_page_can_make_no_browser_verify_or_drop(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(FromBrowser):
        refuse_pages(headers, method=method, address=ADDRESS)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="a worker"),
        pytest.param({"Host": "whatever.example", "Accept": "*/*"}, id="the coordinator"),
        pytest.param({"Host": "a.proxy", "User-Agent": "curl/8.14.1"}, id="curl"),
        pytest.param({"Host": "pool.example.com:8555", "Accept-Language": "*"}, id="Node.js"),
        pytest.param({"Host": "203.0.113.7:8555", "Accept-Language": "*"}, id="Node.js by address"),
        pytest.param({"Host": "[2001:db8::7]:8555", "Accept-Language": "*"}, id="Node.js by IPv6"),
        pytest.param({"Host": "magister:8555", "Accept-Language": "*"}, id="Node.js beside it"),
    ],
)
def test_programs_are_heard(method: str, headers: dict[str, str]) -> None:
    refuse_pages(headers, method=method, address=ADDRESS)


def test_a_program_that_calls_itself_a_browser_may_drop() -> None:
    refuse_pages({"User-Agent": "Mozilla/5.0 WindowsPowerShell/5.1"}, method="DELETE", address=ADDRESS)
