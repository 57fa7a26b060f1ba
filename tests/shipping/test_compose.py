"""compose.yaml: which services come up together, and that no two keep two pools on one account."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import cast

import pytest
import yaml

from magister.simulator.plan import KNOWN_TEMPLATE
from tests.shipping.checkout import OUTSIDE, ROOT

Service = dict[str, object]

TEXT = (ROOT / "compose.yaml").read_text()
SERVICES = cast("dict[str, Service]", yaml.safe_load(TEXT)["services"])
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = [name for name in SERVICES if name != "postgres"]
KEEPERS = ("magister", "magister-2")


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


def test_the_two_always_use_one_database() -> None:
    first, second = (environment(name)["DATABASE_URL"] for name in KEEPERS)
    assert first == second
    assert "${MAGISTER_POSTGRES_PASSWORD:+postgresql+psycopg://" in first


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
def test_a_magister_that_keeps_a_pool_has_a_volume_where_the_image_writes(name: str) -> None:
    (home,) = re.findall(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE)
    assert SERVICES[name]["volumes"] == [f"./magister.toml:{home}/magister.toml:ro", f"{name}:{home}"]
    assert name in cast("Service", yaml.safe_load(TEXT)["volumes"])


def test_docker_compose_accepts_it_where_there_is_one(tmp_path: Path) -> None:
    command = shutil.which("docker-compose")
    if command is None:
        pytest.skip("no docker-compose on this machine")
    (tmp_path / "compose.yaml").write_text(TEXT)
    (tmp_path / ".env").write_text("MAGISTER_POSTGRES_PASSWORD=secret\nDATABASE_URL=\n")
    done = subprocess.run(
        [command, "--profile", "postgres", "--profile", "demo", "config", "--format", "json"],
        cwd=tmp_path,
        env={"PATH": OUTSIDE["PATH"]},
        check=True,
        capture_output=True,
        text=True,
    )
    services = json.loads(done.stdout)["services"]
    said = {services[name]["environment"]["DATABASE_URL"] for name in KEEPERS}
    assert said == {"postgresql+psycopg://magister:secret@postgres/magister"}
