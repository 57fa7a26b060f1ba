"""Which part of the loop gets which setting."""

import threading
from datetime import timedelta

import pytest

from magister.domain.observed import Route
from magister.errors import Stopping
from magister.service import startup, wiring
from magister.settings import spec
from magister.settings.model import Settings
from magister.states import State
from tests.builders import held

TOKEN = "a-token-of-sixteen-characters"


def settings(**given: object) -> Settings:
    required = {
        "this_magister_addr": "http://magister.example",
        "hierophant_ip": "hierophant.example",
        "hierophant_http_port": 9010,
        "vast_api_key": "key-of-the-account",
        "template_hash": "819fdf2e42fc8ceb32f295465b5bb21e",
        "number_instances": 4,
    }
    return Settings.model_validate(required | given)


def test_the_fleet_is_counted_in_micro_dollars_megabytes_and_spans_of_time() -> None:
    fleet = spec.fleet(
        settings(
            vast_query={
                "cost_per_hour": 0.6,
                "gpu_ram": 24,
                "disk_space": 100,
                "reliability": 0.99,
                "min_cuda_version": 12.8,
                "duration": 192679,
                "gpu_name": ["RTX 4090"],
                "num_gpus": 1,
            },
            pace={"destroy_retry_secs": [1, 2]},
            task_polling_interval_secs=7,
            bad_hosts=[3],
        )
    )
    assert (fleet.target, fleet.drop_prefix) == (4, "http://magister.example:8555/drop/")
    assert (fleet.max_price, fleet.min_gpu_ram, fleet.min_disk_space) == (600_000, 24_000, 100)
    assert (fleet.min_reliability, fleet.min_cuda, fleet.min_duration) == (0.99, 12.8, 192679)
    assert (fleet.gpu_names, fleet.num_gpus, fleet.bad_hosts) == (frozenset({"RTX 4090"}), 1, frozenset({3}))
    assert fleet.listing_every == timedelta(seconds=7)
    assert fleet.destroy_waits == (timedelta(seconds=1), timedelta(seconds=2))


def test_what_is_not_set_is_no_floor_but_the_disk_that_is_rented() -> None:
    fleet = spec.fleet(settings())
    assert (fleet.max_price, fleet.min_gpu_ram, fleet.min_reliability) == (None, None, None)
    assert fleet.min_disk_space == 16


def test_a_box_may_always_leave_out_a_beat_or_two() -> None:
    assert spec.fleet(settings()).beat_timeout == timedelta(seconds=300)
    slow = settings(contemplant={"beat_secs": 600})
    assert spec.fleet(slow).beat_timeout == timedelta(seconds=1800)


def test_hierophant_is_asked_only_if_that_is_set() -> None:
    assert spec.fleet(settings()).roster_every is None
    assert spec.fleet(settings(hierophant={"poll_secs": 60})).roster_every == timedelta(seconds=60)


def test_an_order_bears_the_key_of_its_row() -> None:
    row = held(State.REQUESTED, offer_id=77)
    order = wiring.order(settings(instance_label="pool"), row)
    assert order.label == f"pool:{row.key}"
    assert (order.template_hash, order.disk) == ("819fdf2e42fc8ceb32f295465b5bb21e", 16)
    assert '"http://magister.example:8555/drop/77"' in order.onstart


def test_an_order_carries_the_callback_key_of_its_row() -> None:
    row = held(State.REQUESTED, offer_id=77, callback_key="0f" * 24)
    assert f'/drop/77?key={"0f" * 24}"' in wiring.order(settings(), row).onstart
    assert "?key=" not in wiring.order(settings(api_token=TOKEN), held(State.REQUESTED)).onstart


def test_the_loop_shows_itself_often_enough_for_its_lease_and_for_readyz() -> None:
    assert wiring.rhythm(settings()).heartbeat == 5
    assert wiring.rhythm(settings(lease={"lease_secs": 3, "renew_secs": 1})).heartbeat == 1
    assert wiring.rhythm(settings(web={"heartbeat_stale_secs": 6})).heartbeat == 2


def test_the_client_keeps_the_pace_of_the_settings() -> None:
    client = wiring.vast(settings(), nap=lambda secs: None)
    assert [client.wait_secs(route) for route in Route] == [0] * len(Route)


def test_a_nap_ends_at_once_when_the_loop_is_to_stop() -> None:
    stop = threading.Event()
    nap = wiring.nap_until(stop)
    nap(0)
    stop.set()
    with pytest.raises(Stopping):
        nap(3600)


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("sqlite:///magister.db", []),
        ("postgresql+psycopg://user@host/name", []),
        ("postgresql+psycopg://user:p@ss%2Fword@host:5432/name", ["p@ss/word"]),
        ("postgresql+psycopg://host/name?user=me&password=s3cret&sslmode=require", ["s3cret"]),
    ],
)
def test_every_secret_is_known_to_the_log(url: str, hidden: list[str]) -> None:
    found = startup.secrets(settings(api_token=TOKEN, database_url=url))
    assert [secret.get_secret_value() for secret in found] == ["key-of-the-account", TOKEN, *hidden]
