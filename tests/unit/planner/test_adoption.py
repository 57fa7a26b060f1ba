"""Which boxes are ours although no row knows them, and as what they come in."""

import pytest

from magister.domain.observed import Adoptable, Sighting, Stranger
from magister.planner.adoption import adopt, adoptable
from magister.states import Reason, State
from tests.builders import ADDRESS, NOW, a_fleet, a_sighting, ago

KEY = "0123456789abcdef" * 2
FLEET = a_fleet()
HOST = ADDRESS.rpartition(":")[0]


def ours(**facts: object) -> Sighting:
    return a_sighting(9, **{"label": f"magister:{KEY}", "onstart": f'X="{ADDRESS}/drop/77"', **facts})


def read(box: Sighting) -> Adoptable | None:
    return adoptable(Stranger(box), FLEET)


def test_our_label_and_our_drop_address_make_a_box_ours() -> None:
    assert read(ours()) == Adoptable(ours(), 77, KEY)


@pytest.mark.parametrize("key", ["0f" * 16, "0f" * 24])
def test_the_callback_key_in_the_drop_address_stays_that_of_the_instance(key: str) -> None:
    box = read(ours(onstart=f'X="{ADDRESS}/drop/77?key={key}"\n'))
    assert box is not None
    assert box.callback_key == key


def test_a_box_of_the_older_tool_is_ours_and_gets_a_new_key() -> None:
    box = read(ours(label="magister"))
    assert box is not None
    assert (box.offer_id, box.key) == (77, None)


@pytest.mark.parametrize(
    "facts",
    [
        {"label": None},
        {"label": "magister-training"},
        {"label": "magister:not a key"},
        {"label": f"other:{KEY}"},
        {"onstart": None},
        {"onstart": "http://198.51.100.1:8555/drop/77"},
        {"onstart": f"{ADDRESS}/verify/77"},
        {"onstart": f"{HOST}:9999/drop/77"},
        {"onstart": f"{HOST}/drop/77"},
        {"onstart": f"{ADDRESS}1/drop/77"},
        {"onstart": f"{ADDRESS}/pool/drop/77"},
        {"onstart": f"{ADDRESS.replace('http', 'https')}/drop/77"},
    ],
)
def test_anything_else_is_left_alone(facts: dict[str, object]) -> None:
    assert read(ours(**facts)) is None


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"actual_status": "running", "start_date": ago(minutes=10)}, State.VERIFIED),
        ({"actual_status": "offline", "start_date": ago(minutes=10)}, State.VERIFIED),
        ({"actual_status": "running", "start_date": ago(minutes=1)}, State.CREATED),
        ({"actual_status": "loading", "start_date": ago(minutes=10)}, State.CREATED),
        ({"actual_status": None, "start_date": None}, State.CREATED),
        ({"actual_status": "exited", "start_date": ago(minutes=1)}, State.DROPPING),
        ({"actual_status": "stopped", "start_date": ago(hours=10)}, State.DROPPING),
    ],
)
def test_it_comes_in_by_its_status_and_age(facts: dict[str, object], state: State) -> None:
    box = read(ours(**facts))
    assert box is not None
    action = adopt(box, twin=False, fleet=FLEET, now=NOW)
    assert (action.state, action.reason) == (state, Reason.ADOPTED)


def test_a_second_box_under_one_key_is_a_twin_and_goes() -> None:
    box = adoptable(Stranger(ours(onstart=None), twin=True), FLEET)
    assert box is not None
    assert box.key is None
    action = adopt(box, twin=True, fleet=FLEET, now=NOW)
    assert (action.state, action.reason) == (State.DROPPING, Reason.TWIN)
