"""One row that the database refuses harms no other: each is written by itself once all at once fails."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from magister.domain.instance import Held, Learned
from magister.domain.observed import Listing
from magister.planner import evidence
from magister.states import State
from magister.store import instances, observations, transitions
from magister.store.accounting import spending
from magister.store.db.engine import Sessions
from tests.builders import NOW, a_fleet, a_row, a_sighting, ago

FLEET = a_fleet()
SECRET = "0123456789abcdef"


def made(sessions: Sessions, state: State = State.VERIFIED, **learned: object) -> Held:
    with sessions.write() as session:
        facts = Learned(callback_key=SECRET, **learned)  # type: ignore[typeddict-item] # names are Learned's
        return a_row(session, state=state, at=ago(hours=1), learned=facts)


def now(sessions: Sessions, row: Held) -> Held:
    with sessions.read() as session:
        found = instances.one(session, row.id)
    assert found is not None
    return found


def listed(sessions: Sessions, odd: Held, others: list[Held], **facts: object) -> list[dict[str, object]]:
    """Write a listing in which `odd` bears `facts`, and return the lines of the log."""
    boxes = [a_sighting(row.contract_id or 0, price=7, actual_status="loading") for row in others]
    boxes.insert(1, a_sighting(odd.contract_id or 0, **facts))
    with capture_logs() as lines, sessions.write() as session:
        observations.note_listing(session, Listing(NOW, tuple(boxes)), fleet=FLEET)
    return [dict(line) for line in lines]


@pytest.mark.parametrize(
    "facts",
    [
        {"price": 2**70},
        {"gpu_name": "\ud800"},
        {"start_date": datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "geolocation": "\udfff"},
        {"end_date": datetime(2026, 1, 1)},  # noqa: DTZ001 # it is naive, which no column takes
    ],
    ids=["number", "text", "year 9999", "naive date"],
)
def test_a_value_that_the_database_refuses_stops_no_other_row(
    sessions: Sessions, facts: dict[str, object]
) -> None:
    odd, others = made(sessions, absences=1, absent_since=ago(minutes=1)), [made(sessions) for _ in range(3)]
    absent = made(sessions)
    (line,) = listed(sessions, odd, others, **facts)
    assert {(now(sessions, row).price, now(sessions, row).actual_status) for row in others} == {
        (7, "loading")
    }
    assert now(sessions, absent).absences == 1
    known = now(sessions, odd)
    assert (known.last_seen_at, known.absences, known.actual_status) == (NOW, 0, "running")
    assert known.price == odd.price, "what was known of it stays"
    assert (line["event"], line["instances"], line["contracts"]) == (
        "listing.rows_not_written",
        [odd.id],
        [odd.contract_id],
    )
    assert line["why"]
    assert SECRET not in str(line), "what the row holds is not for the log"


def test_a_date_that_no_deadline_can_follow_stops_no_other_row(sessions: Sessions) -> None:
    with sessions.write() as session:
        odd = a_row(session, state=State.REQUESTED)
    other = made(sessions)
    boxes = (
        a_sighting(444, label=f"magister:{odd.key}", start_date=datetime.max.replace(tzinfo=UTC)),
        a_sighting(other.contract_id or 0, price=7),
    )
    with sessions.write() as session:
        observations.note_listing(session, Listing(NOW, boxes), fleet=FLEET)
    assert now(sessions, other).price == 7
    assert now(sessions, odd).contract_id == 444, "an instance that Vast lists is known, whatever its date"


def test_a_row_for_which_nothing_can_be_written_is_left_as_it_was(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, others = made(sessions), [made(sessions) for _ in range(2)]
    seen = evidence.seen

    def refused_for_one(row: Held, *args: object) -> Learned:
        learned = seen(row, *args)  # type: ignore[arg-type] # handed on as it came
        return Learned(beat_secs=2**70) if row.id == odd.id else learned

    monkeypatch.setattr(evidence, "seen", refused_for_one)
    (line,) = listed(sessions, odd, others, price=8)
    assert now(sessions, odd) == odd
    assert {now(sessions, row).price for row in others} == {7}
    assert line["instances"] == [odd.id]


def test_what_no_row_can_be_written_for_is_no_odd_value(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(sessions), made(sessions)
    monkeypatch.setattr(evidence, "seen", lambda *_: Learned(beat_secs=2**70))
    with pytest.raises(Exception, match=r"(?i)too large|out of range"):
        listed(sessions, first, [second])
    assert now(sessions, second) == second, "the listing counts for nothing"


def test_trouble_of_the_database_is_no_odd_value(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = made(sessions), made(sessions)
    asked: list[int] = []

    def full(session: object, row: Held, **learned: object) -> None:
        asked.append(row.id)
        raise OperationalError("UPDATE", None, Exception("disk is full"))

    monkeypatch.setattr(transitions, "learn", full)
    with pytest.raises(OperationalError):
        listed(sessions, first, [second])
    assert len(asked) == 1, "it is not tried row by row"


def test_an_odd_row_keeps_its_cost(sessions: Sessions) -> None:
    odd, other = made(sessions, price=3_600_000), made(sessions)
    listed(sessions, odd, [other], price=2**70)
    with sessions.read() as session:
        (cost,) = [one.cost for one in spending.living(session, NOW) if one.id == odd.id]
    assert cost == 3_600_000, "an hour at the price that was known"
