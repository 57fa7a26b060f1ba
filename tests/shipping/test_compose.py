"""compose.yaml: which services come up together, and that no two keep two pools on one account."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
import yaml

from magister.errors import BadSettings
from magister.settings.model import load
from magister.simulator.market.config import KNOWN_TEMPLATE
from tests.shipping.checkout import OUTSIDE, ROOT

Service = dict[str, object]

TEXT = (ROOT / "compose.yaml").read_text()
SERVICES = cast("dict[str, Service]", yaml.safe_load(TEXT)["services"])
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = [name for name in SERVICES if name != "postgres"]
KEEPERS = ("magister", "magister-2")

PROGRAMS = (("docker", "compose"), ("docker-compose",), ("podman-compose",))
PROFILES = ("--profile", "postgres", "--profile", "demo")
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^${}]*))?\}")
"""All that the weakest of them expands: a name, and what is taken in its place if that is unset or empty."""

URL = "postgresql+psycopg://magister@postgres/magister"
WITH_POSTGRES = {"DATABASE_URL": URL, "MAGISTER_POSTGRES_PASSWORD": "c0ffee"}
REQUIRED = {
    "THIS_MAGISTER_ADDR": "http://203.0.113.7",
    "HIEROPHANT_IP": "203.0.113.8",
    "HIEROPHANT_HTTP_PORT": "9010",
    "VAST_API_KEY": "key",
    "VAST_TEMPLATE_HASH": KNOWN_TEMPLATE,
    "NUMBER_INSTANCES": "1",
}


def expanded(variables: Mapping[str, str]) -> dict[str, Service]:
    """Return the services as the weakest program reads them; fails on what that does not know."""

    def read(value: object) -> object:
        match value:
            case str():
                text = VARIABLE.sub(lambda found: variables.get(found[1]) or found[2] or "", value)
                assert "$" not in text, f"not every program expands {value!r}"
                return text
            case list():
                return [read(each) for each in value]
            case dict():
                return {name: read(each) for name, each in value.items()}
            case _:
                return value

    return cast("dict[str, Service]", read(SERVICES))


def given(name: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a Magister gets: what .env says, and over it what the service sets."""
    return {**REQUIRED, **variables, **cast("dict[str, str]", expanded(variables)[name]["environment"])}


def up(profile: str | None = None) -> set[str]:
    """Return the services that come up by themselves."""
    return {
        name
        for name, each in SERVICES.items()
        if profile in cast("list[str]", each.get("profiles", [profile]))
    }


def environment(name: str) -> dict[str, str]:
    return cast("dict[str, str]", SERVICES[name]["environment"])


def test_one_magister_comes_up_by_itself() -> None:
    assert up() == {"magister"}


def test_with_postgres_two_come_up_and_a_server() -> None:
    assert up("postgres") == {"magister", "magister-2", "postgres"}


def test_the_weakest_program_can_expand_every_variable() -> None:
    assert expanded({}).keys() == SERVICES.keys()


@pytest.mark.parametrize("text", ["${A:-${B}}", "${A:+b}", "${A:?b}", "$A"])
def test_what_only_some_programs_expand_would_be_noticed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVICES, "more", {"image": text})
    with pytest.raises(AssertionError, match="not every program expands"):
        expanded({"A": "a"})


def test_one_magister_keeps_its_pool_in_sqlite_unless_told_otherwise(tmp_path: Path) -> None:
    loaded = load(None, given("magister", {"DATABASE_URL": ""}), dotenv=tmp_path / "none")
    assert loaded.settings.database_url.get_secret_value() == "sqlite:///magister.db"


@pytest.mark.parametrize("name", KEEPERS)
def test_two_lines_of_the_env_file_name_the_database_of_both(name: str, tmp_path: Path) -> None:
    shown = re.findall(r"^# {7}([A-Z_]+)=(\S*)", TEXT, re.MULTILINE)
    assert [name for name, _ in shown] == list(WITH_POSTGRES)
    assert dict(shown)["DATABASE_URL"] == URL
    environment = given(name, WITH_POSTGRES)
    loaded = load(None, environment, dotenv=tmp_path / "none")
    assert loaded.settings.database_url.get_secret_value() == URL
    assert environment["PGPASSWORD"] == WITH_POSTGRES["MAGISTER_POSTGRES_PASSWORD"]


def test_the_second_refuses_to_keep_a_pool_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="DATABASE_URL"):
        load(None, given("magister-2", {"MAGISTER_POSTGRES_PASSWORD": "c0ffee"}), dotenv=tmp_path / "none")


def test_the_server_takes_the_same_password_and_has_none_by_itself() -> None:
    with_one, without = (
        cast("dict[str, str]", expanded(variables)["postgres"]["environment"])
        for variables in (WITH_POSTGRES, {})
    )
    assert with_one["POSTGRES_PASSWORD"] == WITH_POSTGRES["MAGISTER_POSTGRES_PASSWORD"]
    assert not without["POSTGRES_PASSWORD"]


@pytest.mark.parametrize("port", ["8555", "18755"])
def test_the_port_that_is_published_is_the_one_that_is_listened_on(port: str, tmp_path: Path) -> None:
    """Whatever magister.toml says, which no compose program reads."""
    toml = tmp_path / "magister.toml"
    toml.write_text("http_port = 9999\n")
    variables = {} if port == "8555" else {"HTTP_PORT": port}
    services = expanded(variables)
    for name in KEEPERS:
        listened = load(toml, given(name, variables | WITH_POSTGRES), dotenv=tmp_path / "none")
        (published,) = cast("list[str]", services[name]["ports"])
        assert published.split(":")[1] == str(listened.settings.http_port) == port


def test_the_second_waits_for_the_server_that_they_share() -> None:
    assert SERVICES["magister-2"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_demo_reads_no_settings_and_rents_in_the_simulated_market_only() -> None:
    assert "env_file" not in SERVICES["demo"]
    assert "volumes" not in SERVICES["demo"]
    assert environment("demo")["VAST_API_URL"].startswith("http://127.0.0.1:")
    assert environment("demo")["VAST_TEMPLATE_HASH"] == KNOWN_TEMPLATE
    assert SERVICES["demo"]["network_mode"] == "service:simulator"
    assert SERVICES["demo"]["depends_on"] == {"simulator": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_and_starts_again(name: str) -> None:
    assert cast("Service", SERVICES[name]["healthcheck"])["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_every_service_of_ours_can_write_nothing_but_its_volume(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", KEEPERS)
def test_both_have_one_volume_where_the_image_writes(name: str) -> None:
    """So that even a file of SQLite is one, on which one of them acts."""
    (home,) = re.findall(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE)
    assert SERVICES[name]["volumes"] == [f"./magister.toml:{home}/magister.toml:ro", f"magister:{home}"]
    assert "magister" in cast("Service", yaml.safe_load(TEXT)["volumes"])


def run(program: tuple[str, ...], *arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": OUTSIDE["PATH"], "HOME": str(at)}
    command = [*program, *arguments]
    return subprocess.run(command, cwd=at, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("program", PROGRAMS, ids="-".join)
def test_a_program_that_is_there_reads_it_in_the_same_way(program: tuple[str, ...], tmp_path: Path) -> None:
    if shutil.which(program[0]) is None or run(program, *PROFILES, "version", at=tmp_path).returncode != 0:
        pytest.skip(f"no {' '.join(program)} that knows profiles on this machine")
    (tmp_path / "compose.yaml").write_text(TEXT)
    lines = WITH_POSTGRES | {"HTTP_PORT": "18755"}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    done = run(program, *PROFILES, "config", at=tmp_path)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services.keys() == SERVICES.keys()
    for name in KEEPERS:
        environment = services[name]["environment"]
        own = expanded(lines)[name]["environment"]
        assert {**environment, **cast("dict[str, str]", own)} == environment
