"""Build the values that tests are about; each takes only what its test cares for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from pydantic import SecretStr
from sqlalchemy import update
from sqlalchemy.orm import Session

from magister.domain.instance import Held, Learned
from magister.domain.observed import Offer, Sighting
from magister.domain.spec import Fleet, View
from magister.settings.model import Settings
from magister.states import Reason, State
from magister.store import instances, transitions
from magister.store.db.engine import Sessions
from magister.store.db.models import Pool
from magister.store.db.models_accounting import Rate

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ADDRESS = "http://127.0.0.1:8555"
_numbers = count(1)


def ago(*, seconds: float = 0, minutes: float = 0, hours: float = 0) -> datetime:
    """Return a moment before NOW."""
    return NOW - timedelta(seconds=seconds, minutes=minutes, hours=hours)


def a_fleet(**wanted: object) -> Fleet:
    """Return what an operator wants, with the published defaults and a target of 3."""
    return replace(
        Fleet(target=3, drop_prefix=f"{ADDRESS}/drop/", label_tag="magister"),
        **wanted,  # type: ignore[arg-type] # names and types are Fleet's; replace checks the names
    )


def some_settings(**chosen: object) -> Settings:
    """Return the settings that have no default, and those that a test is about."""
    required = {
        "this_magister_addr": "http://203.0.113.7",
        "hierophant_ip": "203.0.113.8",
        "hierophant_http_port": 9010,
        "vast_api_key": SecretStr("key-of-the-account"),
        "template_hash": "819fdf2e42fc8ceb32f295465b5bb21e",
        "number_instances": 3,
    }
    return Settings(**required | chosen)  # type: ignore[arg-type] # names and types are Settings'


def an_offer(**facts: object) -> Offer:
    """Return a good offer on a machine of its own."""
    number = next(_numbers)
    plain = Offer(
        id=5000 + number,
        machine_id=100 + number,
        host_id=10 + number,
        price=500_000,
        disk_price=20_000,
        gpu_name="RTX 4090",
        num_gpus=1,
        gpu_ram=24_564.0,
        disk_space=800.0,
        reliability=0.99,
        cuda_max_good=12.8,
        duration=2_592_000.0,
        geolocation="Oslo, NO",
        verification="verified",
        rentable=True,
        resource_type="gpu",
    )
    return replace(plain, **facts)  # type: ignore[arg-type] # names and types are Offer's


def a_sighting(contract_id: int, **facts: object) -> Sighting:
    """Return a running box."""
    plain = Sighting(contract_id=contract_id, actual_status="running", intended_status="running")
    return replace(plain, **facts)  # type: ignore[arg-type] # names and types are Sighting's


def held(state: State = State.VERIFIED, **facts: object) -> Held:
    """Return a row as the planner sees it: settled, seen and healthy unless said otherwise."""
    number = next(_numbers)
    known = state is not State.REQUESTED
    plain = Held(
        id=number,
        key=f"{number:032x}",
        offer_id=5000 + number,
        state=state,
        reason=Reason.RENTED if known else Reason.SHORT,
        requested_at=ago(hours=1) if known else ago(seconds=5),
        moved_at=ago(hours=1) if known else ago(seconds=5),
        contract_id=9000 + number if known else None,
        machine_id=100 + number,
        host_id=10 + number,
        price=500_000,
        disk_price=20_000,
        sends=1 if known else 0,
        sent_at=ago(hours=1) if known else None,
        created_at=ago(hours=1) if known else None,
        verified_at=ago(minutes=55) if state is State.VERIFIED else None,
        verify_by=ago(minutes=57) if state is State.VERIFIED else None,
        judge_from=ago(minutes=59) if known else None,
        first_seen_at=ago(minutes=59) if known else None,
        last_seen_at=ago(seconds=1) if known else None,
        actual_status="running" if known else None,
    )
    return replace(plain, **facts)  # type: ignore[arg-type] # names and types are Held's


def a_view(**facts: object) -> View:
    """Return what the loop knows just after a complete listing, with the account checked."""
    plain = View(
        listed_at=ago(seconds=1),
        account_at=ago(seconds=1),
        credit_at=ago(seconds=1),
        hearing_since=ago(hours=2),
    )
    return replace(plain, **facts)  # type: ignore[arg-type] # names and types are View's


PATHS: dict[State, tuple[tuple[State, Reason], ...]] = {
    State.REQUESTED: (),
    State.CREATED: ((State.CREATED, Reason.RENTED),),
    State.VERIFIED: ((State.CREATED, Reason.RENTED), (State.VERIFIED, Reason.CALLED)),
    State.DROPPING: ((State.CREATED, Reason.RENTED), (State.DROPPING, Reason.COORDINATOR)),
    State.DESTROYED: (
        (State.CREATED, Reason.RENTED),
        (State.DROPPING, Reason.COORDINATOR),
        (State.DESTROYED, Reason.PROVED_GONE),
    ),
}


def a_row(
    session: Session,
    *,
    state: State = State.VERIFIED,
    offer: Offer | None = None,
    contract_id: int | None = None,
    callback_key: str | None = None,
    at: datetime = NOW,
    sent: bool = True,
    learned: Learned | None = None,
) -> Held:
    """Write a row that came to `state` by the usual moves, all at `at`, and return it.

    `sent` = its create was sent and is unanswered, for a requested one.
    """
    row = transitions.open_row(
        session, offer or an_offer(), callback_key=callback_key, actor="test", why="a test", at=at
    )
    if sent or state is not State.REQUESTED:
        row = transitions.claim_send(session, row, fence=1, at=at)
    if state is not State.REQUESTED:
        facts = Learned(
            contract_id=contract_id or 9000 + row.id,
            unanswered=0,
            judge_from=at,
            first_seen_at=at,
            last_seen_at=at,
            actual_status="running",
        )
        transitions.learn(session, row, **facts)
    for to, reason in PATHS[state]:
        transitions.move(session, _fresh(session, row), to, reason, actor="test", why="a test", at=at)
    transitions.learn(session, row, **(learned or Learned()))
    return _fresh(session, row)


def state_of(sessions: Sessions, row: Held) -> State:
    """Return the state that a row has by now."""
    with sessions.read() as session:
        found = instances.one(session, row.id)
    assert found is not None
    return found.state


def forget_instances(session: Session) -> None:
    """Delete all that is known of instances and of their owner, as a database that was lost leaves it."""
    for table in reversed(Rate.metadata.sorted_tables):
        if table.name not in {"lease", "pool"}:
            session.execute(table.delete())
    session.execute(update(Pool).values(owner_id=None, acting_since=None, heartbeat_at=None))


def _fresh(session: Session, row: Held) -> Held:
    found = instances.one(session, row.id)
    assert found is not None
    return found


def public_key(longer: int = 0) -> str:
    """Return a line of authorized_keys, `longer` characters longer than the shortest."""
    return "ssh-ed25519 AAAAC" + "A" * longer
