"""What costs more than its offer said is not rented again and again."""

from datetime import timedelta

from magister.domain.observed import Order
from magister.money import Budget
from magister.states import Reason
from magister.store.db.engine import Sessions
from tests.builders import a_fleet, an_offer
from tests.controller import Controller


def test_a_box_that_costs_more_than_its_offer_said_is_not_rented_again_and_again(
    sqlite_sessions: Sessions,
) -> None:
    pool = Controller(sqlite_sessions, fleet=a_fleet(target=2, budget=Budget(per_hour=1_150_000)))
    pool.vast.stock(an_offer(price=500_000) for _ in range(30))
    create = pool.vast.create

    def dearer(offer_id: int, order: Order) -> int:
        contract = create(offer_id, order)
        pool.vast.change(contract, price=600_000)
        return contract

    pool.vast.create = dearer  # type: ignore[method-assign] # this Vast asks more than it offered
    for _ in range(60):
        pool.step(60)
        pool.verify_all()
    assert len(pool.vast.created) <= 4
    given_up = [moves for row in pool.rows() if (moves := pool.story(row.id)) and row.destroyed_at]
    assert all(Reason.BUDGET in {reason for _, reason in moves} for moves in given_up)
    pool.step(timedelta(hours=1).total_seconds())
    assert len(pool.vast.boxes) >= 1
