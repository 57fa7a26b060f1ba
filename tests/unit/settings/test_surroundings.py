"""What settings take from files and variables that other programs share, and what they doubt of addresses."""

import pytest

from magister.settings.model import load
from magister.settings.sources import level_of_rust
from tests.unit.settings.test_model import REQUIRED, _elsewhere, loaded, refused

__all__ = ["_elsewhere"]  # a fixture


@pytest.mark.parametrize("value", ["'a${PATH}b'", '"a${PATH}b"', "a${PATH}b"])
def test_a_value_of_the_dotenv_is_taken_as_it_is_written(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PATH", "/secret/of/this/host")
    read = loaded(dotenv=f"VAST_API_KEY={value}\n", without="VAST_API_KEY")
    assert read.settings.vast_api_key.get_secret_value() == "a${PATH}b"


def test_the_level_of_the_log_may_stand_in_each_place_and_the_environment_wins() -> None:
    assert loaded().settings.log_level == "info"
    assert loaded(toml='log_level = "error"').settings.log_level == "error"
    assert loaded(dotenv="MAGISTER_LOG=warning\n").settings.log_level == "warning"
    assert loaded(MAGISTER_LOG=" DEBUG ").settings.log_level == "debug"


def test_the_level_that_rust_programs_are_given_holds_unless_magister_has_its_own() -> None:
    assert loaded(RUST_LOG="warn").settings.log_level == "warning"
    assert loaded(RUST_LOG="warn", MAGISTER_LOG="debug").settings.log_level == "debug"
    assert loaded(RUST_LOG="hyper=trace,[{}]=;").settings.log_level == "info"


@pytest.mark.parametrize(
    ("directives", "level"),
    [
        ("debug", "debug"),
        ("TRACE", "trace"),
        ("info,magister=debug", "debug"),
        ("magister=debug,info", "debug"),
        ("magister::vast=debug,warn", "debug"),
        ("hyper=trace,warn", "warn"),
        ("hierophant=debug", ""),
        ("magister", ""),
        ("info,magister[span]=debug", "info"),
        ("loud", ""),
        ("", ""),
    ],
)
def test_of_the_forms_of_rust_log_those_count_that_are_about_magister(directives: str, level: str) -> None:
    assert level_of_rust(directives) == level


def test_a_level_that_is_none_is_refused_with_what_is_allowed() -> None:
    assert refused(MAGISTER_LOG="loud") == (
        'log_level = "loud" from environment MAGISTER_LOG: must be debug, info, warning or error',
    )


def doubts(**addresses: str) -> str:
    return "\n".join(load(None, REQUIRED | addresses).warnings)


@pytest.mark.parametrize("host", ["203.0.113.300", "203.0.113", "1.2.3.4.5", "203.0.113.7."])
def test_numbers_that_are_no_address_are_doubted_in_words(host: str) -> None:
    assert f"this_magister_addr = {host} is no IPv4 address" in doubts(THIS_MAGISTER_ADDR=f"http://{host}")


def test_the_coordinators_address_is_doubted_in_the_same_words() -> None:
    assert "hierophant_ip = 203.0.113.300 is no IPv4 address" in doubts(HIEROPHANT_IP="203.0.113.300")


@pytest.mark.parametrize("address", ["https://pool.example.com", "https://pool.example.com:8555"])
def test_https_on_the_port_that_speaks_plain_http_is_doubted_with_what_would_be_right(address: str) -> None:
    assert doubts(THIS_MAGISTER_ADDR=address).startswith(
        "this_magister_addr = https://pool.example.com:8555 makes workers speak HTTPS to port 8555, where "
        "Magister answers plain HTTP: name the port of the proxy that has the certificate, such as "
        "https://pool.example.com:443"
    )


def test_callbacks_that_need_no_key_are_doubted() -> None:
    line = "web.open_callbacks = true: whoever reaches http_port can drop every instance"
    assert line in loaded(WEB_OPEN_CALLBACKS="true").warnings
    assert line not in loaded().warnings


@pytest.mark.parametrize(
    "address", ["https://pool.example.com:443", "http://203.0.113.7", "http://[2001:db8::7]"]
)
def test_other_addresses_are_not_doubted(address: str) -> None:
    assert "this_magister_addr" not in doubts(THIS_MAGISTER_ADDR=address)
