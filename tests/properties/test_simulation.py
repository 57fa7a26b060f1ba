"""Whatever operators, time, faults and crashes do: nothing is lost, nothing doubled, and the pool heals."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from sqlalchemy.orm import Session

from magister.control.executor import Executor, Outcome
from magister.control.launcher import Renter
from magister.domain.actions import Destroy, Move, Plan, Rent, Send
from magister.domain.cost import Hour
from magister.domain.instance import Held, Learned
from magister.domain.observed import Adoptable, Order, Sighting, Stranger
from magister.domain.spec import Fleet, View
from magister.money import Outlay
from magister.planner import adoption, budget, evidence
from magister.planner import plan as planner
from magister.service import wiring
from magister.settings.model import Settings
from magister.states import Reason, State
from magister.store import cost_ledger, transitions
from magister.store.accounting import spending
from magister.store.db import views
from magister.store.db.views import Dialect
from tests.simulation.kinds import drawn
from tests.simulation.purse import Caps
from tests.simulation.run import Result, run, shrunk
from tests.simulation.script import MIDNIGHT, MONTH_END, Freeze, Ground, Happening, Script, Traffic, poor
from tests.table import SEEDS
from tests.tally import tally

FIXED = (
    *(("faults", seed) for seed in range(10)),
    *(("disaster", seed) for seed in range(2)),
    ("coordinator", 3),
    ("life", 0),
)
"""The seeds that every run of the tests goes through; `make soak` draws others."""


@pytest.mark.parametrize(("kind", "seed"), FIXED)
def test_no_law_is_broken_under_seed(kind: str, seed: int) -> None:
    result = run(drawn(seed, kind))
    tally(SEEDS, "", "sqlite", violations=bool(result.broken))
    for boundary, fault in sorted(result.cells):
        tally(boundary, fault, "sqlite")
    again = f".venv/bin/python -m tests.simulation --kind {kind} --seed {seed}"
    assert not result.broken, "\n".join([*result.lines[-40:], f"to see all of it again: {again}"])
    assert result.checks > 100


@pytest.mark.parametrize(("seed", "ends"), [(0, None), (5, MONTH_END)], ids=["in all", "in a month"])
def test_two_loops_on_one_database_pass_no_cap(seed: int, ends: float | None) -> None:
    result = run(poor(seed, ends))
    tally(SEEDS, "", "sqlite", violations=bool(result.broken))
    assert not result.broken, "\n".join(result.lines[-40:])
    assert any("reason=budget" in line for line in result.lines), "it came to the cap"
    assert result.freezes > 1
    assert result.deaths > 0


def test_the_law_finds_two_loops_that_do_not_know_what_was_spent() -> None:
    law = "what Vast bills passes no cap"
    with (
        patch("magister.control.observer.outlay", lambda session, now: Outlay()),
        patch("magister.control.launcher.outlay", lambda session, now: Outlay()),
    ):
        assert run(poor(6, MONTH_END), sworn=frozenset({law})).broken.startswith(law)


def test_a_seed_is_the_same_run_byte_for_byte() -> None:
    first, second = run(drawn(5, "faults")), run(drawn(5, "faults"))
    assert first.lines == second.lines
    assert first.deaths > 0
    assert run(drawn(6, "faults")).digest != first.digest
    assert _elsewhere(5) == first.digest[:16]


def _elsewhere(seed: int) -> str:
    """Run a seed in another process, where hashes of words are others, and return its trace."""
    command = [sys.executable, "-m", "tests.simulation", "--kind", "faults", "--seed", str(seed)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].partition("trace ")[2].partition(",")[0]


def happening(
    what: str,
    *,
    which: int = 0,
    share: float = 0.5,
    secs: float = 1.0,
    pause: float = 60.0,
    freeze: Freeze | None = None,
) -> Happening:
    """Let one thing happen, and no death."""
    return Happening(what, which=which, share=share, secs=secs, pause=pause, freeze=freeze)


@dataclass(frozen=True, slots=True)
class Mistake:
    """Plant a mistake, in the circumstances under which each of the `laws` must find it by itself."""

    name: str
    laws: tuple[str, ...]
    circumstances: tuple[Happening, ...]
    plant: Callable[[ExitStack], None]
    caps: Caps = field(default_factory=Caps)
    begins: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)
    other: Callable[[Script], Script] = lambda script: script

    @property
    def script(self) -> Script:
        """Return what happens, with what is `other` than usual in these circumstances."""
        usual = Script(
            seed=3,
            target=2,
            surge=0,
            poll=10,
            deaths_of_boxes=0.0,
            caps=self.caps,
            begins=self.begins,
            traffic=self.traffic,
            happenings=self.circumstances,
        )
        return self.other(usual)

    def found_by(self, law: str) -> Result:
        """Run with the mistake, with one law only to find it."""
        with ExitStack() as stack:
            self.plant(stack)
            return run(self.script, sworn=frozenset({law}))


def _put(target: str, value: object) -> Callable[[ExitStack], None]:
    def plant(stack: ExitStack) -> None:
        stack.enter_context(patch(target, value))

    return plant


def _all(*plants: Callable[[ExitStack], None]) -> Callable[[ExitStack], None]:
    def plant(stack: ExitStack) -> None:
        for one in plants:
            one(stack)

    return plant


def counts_only_what_is_wanted(fleet: Fleet, held: tuple[Held, ...]) -> int:
    return max(fleet.target - sum(row.wanted for row in held), 0)


def sends_again(self: Renter, session: object, row: Held, error: Exception, now: datetime) -> None:
    learned = Learned(unanswered=0, due_at=now)
    transitions.learn(session, row, **learned)  # type: ignore[arg-type] # a session


def adopts_whatever_bears_a_label(stranger: Stranger, fleet: Fleet) -> Adoptable | None:
    return Adoptable(stranger.sighting, 1, None) if stranger.sighting.label else None


def destroys_what_is_wanted(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
    plan = PLAN(fleet, held, view, now)
    extra = [Destroy(row, row.contract_id, "") for row in held if row.contract_id and row.wanted]
    return replace(plan, actions=(*plan.actions, *extra[:1]))


def believes_the_answer(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
    plan = PLAN(fleet, held, view, now)
    asked = [row for row in held if row.state is State.DROPPING and row.destroys]
    gone = [Move(row, State.DESTROYED, Reason.PROVED_GONE, "it was asked for") for row in asked]
    others = [action for action in plan.actions if getattr(action, "row", None) not in asked]
    return replace(plan, actions=(*gone, *others))


def takes_back(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
    plan = PLAN(fleet, held, view, now)
    verified = [row for row in held if row.state is State.VERIFIED]
    back = [Move(row, State.CREATED, Reason.FOUND, "once more") for row in verified]
    return replace(plan, actions=(*plan.actions, *back))


def rents_nothing_more(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
    plan = PLAN(fleet, held, view, now)
    return replace(plan, actions=tuple(act for act in plan.actions if not isinstance(act, Rent | Send)))


def forgets_the_dead(row: Held, sighting: Sighting, begun_at: datetime, fleet: Fleet) -> Learned:
    learned = SEEN(row, sighting, begun_at, fleet)
    if row.state is State.DESTROYED:
        learned.pop("due_at", None)
    return learned


def calls_within_a_session(self: Executor, action: object) -> Outcome:
    with self._sessions.read():
        return CALL(self, action)  # type: ignore[arg-type] # an action


def records_no_verification(*args: object, **words: object) -> None:
    if args[3] is not State.VERIFIED:
        RECORD(*args, **words)  # type: ignore[arg-type] # as it was called


def orders_without_the_key(settings: Settings, row: Held) -> Order:
    return replace(ORDER(settings, row), label=f"magister:{'0' * 32}")


def raises(self: Executor, action: object) -> Outcome:
    raise ZeroDivisionError("nobody thought of it")


def plans_nothing_at_all(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
    raise ZeroDivisionError("nobody thought of it")


def gives_up_what_works(fleet: Fleet, held: tuple[Held, ...], view: View, now: datetime) -> Plan:
    plan = PLAN(fleet, held, view, now)
    old = [row for row in held if row.verified_at and now - row.verified_at > TIRED_AFTER and row.wanted]
    given_up = [Move(row, State.DROPPING, Reason.SURPLUS, "it is old") for row in old]
    return replace(plan, actions=(*plan.actions, *given_up))


def adds_hours_only(session: Session, hours: Mapping[int, Hour], sign: int) -> None:
    if sign > 0:
        ADD_HOURS(session, hours, sign)


def shows_a_little_more(said: Dialect) -> str:
    return SPANS(said).replace("r.micros", "r.micros + 1000 AS micros")


def sets_nothing_aside_for_what_is_gone(row: Held, to: State, at: datetime) -> dict[str, object]:
    return {**ENTER(row, to, at), **({"traffic_reserve": 0} if to is State.DESTROYED else {})}


def believes_one_listing(row: Held, begun_at: datetime, fleet: Fleet) -> Learned:
    learned = MISSING(row, begun_at, fleet)
    if learned.get("absences"):
        learned |= Learned(absences=2, looked_gone_at=begun_at)
    return learned


def adopts_on_any_port(stranger: Stranger, fleet: Fleet) -> Adoptable | None:
    ours = fleet.drop_prefix.removesuffix("/drop/")
    host, box = ours.rpartition(":")[0], stranger.sighting
    onstart = re.sub(re.escape(host) + ":[0-9]+", ours, box.onstart or "")
    return ADOPTABLE(replace(stranger, sighting=replace(box, onstart=onstart)), fleet)


class AnyLease:
    """Take whoever asks for the holder of the lease."""

    def require(self, session: Session, now: datetime) -> int:
        """Object to nobody."""
        return 0


def claims_without_the_lease(self: Executor, row: Held) -> Held:
    lease = self._lease
    self._lease = AnyLease()  # type: ignore[assignment] # all that is asked of it
    try:
        return CLAIM_DESTROY(self, row)
    finally:
        self._lease = lease


def keeps_whatever_looks_lost(
    fleet: Fleet,
    held: tuple[Held, ...],
    free: Iterable[Held],
    view: View,
    now: datetime,
    *,
    doubtful: Collection[int] = (),
) -> Iterator[Move]:
    return OVER_BUDGET(fleet, held, [row for row in free if row.id not in doubtful], view, now)


def forgets_the_first_of_a_month(since: date) -> object:
    return SET_ASIDE(since + timedelta(days=1) if since.day == 1 else since)


def many(script: Script) -> Script:
    """Let there be so many that a listing has two pages, and calls be under way at the same time."""
    ground = Ground(machines=80, dud_share=0.0)
    return replace(script, target=36, poll=10, ground=ground, overlapping=True, beats=0)


TIRED_AFTER = timedelta(seconds=90)
PLAN, SEEN, CALL, RECORD, ORDER = (
    planner.plan,
    evidence.seen,
    Executor.call,
    transitions._record,
    wiring.order,
)
MISSING, ADOPTABLE, OVER_BUDGET = evidence.missing, adoption.adoptable, budget.over_budget
SET_ASIDE, CLAIM_DESTROY = spending._set_aside, Executor._claim_destroy
ADD_HOURS, SPANS, ENTER = cost_ledger._add_hours, views._spans, transitions._on_entering

DROP_REFUSED = (
    happening("destroy_refused", which=2, pause=1),
    happening("coordinator_drop", pause=200),
)
MISTAKES = [
    Mistake(
        "a slot is free before its box is proved gone",
        ("never more boxes than target and surge", "no create is sent beyond target and surge"),
        DROP_REFUSED,
        _put("magister.planner.provisioning.shortage", counts_only_what_is_wanted),
    ),
    Mistake(
        "an ambiguous create is sent again",
        ("no create is sent while an earlier one is undecided",),
        (happening("create_reset", which=8, pause=1), happening("console_delete", pause=200)),
        _put("magister.control.launcher.Renter._write_doubt", sends_again),
    ),
    Mistake(
        "boxes bear a label that no row has",
        ("each create has its row",),
        (),
        _put("magister.service.wiring.order", orders_without_the_key),
    ),
    Mistake(
        "whatever bears a label is taken for ours",
        ("only our own are touched",),
        (),
        _put("magister.planner.adoption.adoptable", adopts_whatever_bears_a_label),
    ),
    Mistake(
        "what is wanted is destroyed",
        ("only what is to go is destroyed",),
        (),
        _all(
            _put("magister.control.reconciler.plan", destroys_what_is_wanted),
            _put("magister.control.executor.Executor._claim_destroy", lambda self, row: row),
        ),
    ),
    Mistake(
        "what is verified is taken back",
        ("no move is illegal",),
        (),
        _all(
            _put("magister.control.reconciler.plan", takes_back),
            _put("magister.store.transitions.legal", lambda old, new: True),
        ),
    ),
    Mistake(
        "a move is not written into the history",
        ("history is without a gap", "history replays to the rows"),
        (happening("coordinator_drop"),),
        _put("magister.store.transitions._record", records_no_verification),
    ),
    Mistake(
        "a box is believed gone because it was asked for",
        ("what is called destroyed is gone", "every paid second has a row"),
        DROP_REFUSED,
        _put("magister.control.reconciler.plan", believes_the_answer),
    ),
    Mistake(
        "a box that comes back is not looked for",
        ("no box is unknown for longer than a listing and the grace",),
        (happening("destroyed_comes_back", secs=100, pause=1), happening("coordinator_drop", pause=400)),
        _put("magister.planner.evidence.seen", forgets_the_dead),
    ),
    Mistake(
        "a session is open during a call",
        ("no session is open during a call",),
        (),
        _put("magister.control.executor.Executor.call", calls_within_a_session),
    ),
    Mistake(
        "nothing is ever rented",
        ("the pool heals when faults stop",),
        (),
        _all(
            _put("magister.control.reconciler.plan", rents_nothing_more),
            _put("tests.simulation.health.HEALED_WITHIN", 300.0),
        ),
    ),
    Mistake(
        "what works is given up",
        ("the pool stays healed",),
        (),
        _put("magister.control.reconciler.plan", gives_up_what_works),
    ),
    Mistake(
        "the plan raises",
        ("no error ends the loop",),
        (),
        _put("magister.control.reconciler.plan", plans_nothing_at_all),
    ),
    Mistake(
        "nothing is reserved for a new box",
        ("no create is sent beyond the cap per hour",),
        (),
        _all(
            _put("magister.planner.provisioning.objection", lambda *money: None),
            _put("magister.control.launcher.objection", lambda *money: None),
        ),
        Caps(per_hour=0.2),
    ),
    *(
        Mistake(
            f"nothing goes before the cap on {what} is passed",
            ("what Vast bills passes no cap",),
            (happening("nothing", pause=900),),
            _all(
                _put("magister.planner.provisioning.objection", lambda *money: None),
                _put("magister.control.launcher.objection", lambda *money: None),
                _put("magister.planner.plan.over_budget", lambda *money, **doubts: ()),
            ),
            caps,
            begins,
        )
        for what, caps, begins in (
            ("all time", Caps(total=0.05), 0.0),
            ("a day", Caps(per_day=0.05), MIDNIGHT - 200),
            ("a month", Caps(per_month=0.05), MONTH_END - 200),
        )
    ),
    Mistake(
        "nothing is set aside for traffic",
        ("what Vast bills passes no cap",),
        (happening("nothing", pause=100),),
        _put("magister.control.launcher.traffic", lambda gb, price: 0),
        Caps(total=1.2),
        traffic=Traffic(image_gb=300, reserve_gb=310, uncounted=1.0),
    ),
    Mistake(
        "nothing stays set aside for the traffic of boxes that are gone",
        ("what Vast bills passes no cap",),
        (happening("coordinator_drop", pause=100), happening("coordinator_drop", pause=100)),
        _put("magister.store.transitions._on_entering", sets_nothing_aside_for_what_is_gone),
        Caps(total=1.5),
        traffic=Traffic(image_gb=200, reserve_gb=205, uncounted=1.0),
    ),
    Mistake(
        "what listings count of traffic is not taken for spent",
        (
            "nothing is rented once what is known to be spent passes a cap",
            "nothing is kept once what is known to be spent passes a cap",
        ),
        (happening("nothing", pause=1), happening("coordinator_drop", pause=200)),
        _all(
            _put("magister.domain.traffic.grown", lambda *seen: None),
            _put("tests.simulation.laws.PROMPT", 100.0),
        ),
        Caps(total=1.2),
        traffic=Traffic(image_gb=400),
    ),
    Mistake(
        "what a box cost by the hour is not taken back when it reappears",
        ("what is stored of money is what the intervals say",),
        (happening("destroyed_comes_back", secs=100, pause=1), happening("coordinator_drop", pause=400)),
        _put("magister.store.cost_ledger._add_hours", adds_hours_only),
    ),
    Mistake(
        "a view shows a little more than the intervals say",
        ("what is shown of money is what the intervals say",),
        (),
        _put("magister.store.db.views._spans", shows_a_little_more),
    ),
    Mistake(
        "a process that stood still sends what another took back",
        ("each create has its row",),
        (
            happening(
                "coordinator_drop",
                pause=100,
                freeze=Freeze("after the commit of Renter._claim", 400),
            ),
        ),
        _put("magister.control.launcher.Renter._require_prompt", lambda self, row: None),
    ),
    Mistake(
        "one listing without it proves that an instance is gone",
        ("what is called destroyed is gone", "every paid second has a row"),
        (happening("listing_empty", which=0, pause=100),),
        _put("magister.planner.evidence.missing", believes_one_listing),
        other=lambda script: replace(script, target=1),  # of several that are lost at once all are kept
    ),
    Mistake(
        "the port of the own address is not compared",
        ("only our own have rows",),
        (),
        _put("magister.planner.adoption.adoptable", adopts_on_any_port),
    ),
    Mistake(
        "a create goes out between the pages of a listing",
        ("no create is sent between the pages of a listing",),
        (),
        _put("magister.control.executor.threading", SimpleNamespace(Lock=nullcontext)),
        other=many,
    ),
    Mistake(
        "what looks lost is kept beyond a cap",
        ("what Vast bills passes no cap",),
        (
            happening("nothing", pause=240),
            happening("market_empty", which=3, pause=1),
            happening("coordinator_restart", pause=280),
            *(happening("host_raises_price", which=n, share=1.0, pause=1) for n in range(3)),
            happening("nothing", pause=1300),
        ),
        _put("magister.planner.plan.over_budget", keeps_whatever_looks_lost),
        Caps(per_hour=1.0),
        other=lambda script: replace(script, target=4, tick=30, poll=30),
    ),
    Mistake(
        "what was there on the first day of a month is not counted in it",
        ("what Vast bills passes no cap",),
        (happening("coordinator_drop", pause=100), happening("coordinator_drop", pause=100)),
        _put("magister.store.accounting.spending._set_aside", forgets_the_first_of_a_month),
        Caps(per_month=1.5),
        MONTH_END + 100,
        traffic=Traffic(image_gb=200, reserve_gb=205, uncounted=1.0),
    ),
    Mistake(
        "dead workers are kept for as long as nothing else fails",
        ("no dead worker is paid for longer than an hour",),
        (happening("nothing", pause=120), happening("coordinator_drop_lost", pause=900)),
        _all(
            _put("magister.planner.lifecycle._silent", lambda *known: None),
            _put("tests.simulation.waste.DEAD_WITHIN", 600.0),
        ),
        other=lambda script: replace(script, tick=30, poll=30),
    ),
    Mistake(
        "rentals are not slowed down when they fail",
        ("no more is rented in an hour than ends and failures account for",),
        (happening("nothing", pause=3500),),
        _all(
            _put("magister.domain.risk.launch_breaker.Outlook.rent_from", lambda self, caution: None),
            _put("magister.domain.risk.launch_breaker.Outlook.unverified_at_once", lambda self, *known: None),
        ),
        other=lambda script: replace(
            script, target=6, tick=30, poll=30, ground=Ground(dud_share=1.0, duds=("stuck_created",))
        ),
    ),
    Mistake(
        "a loop that has lost the lease asks for a destroy",
        ("no destroy is asked for by a loop that has lost the lease",),
        (
            happening("destroy_refused", which=2, pause=1),
            *(
                happening("coordinator_drop", which=n, pause=30, freeze=Freeze("during the list", 50))
                for n in range(8)
            ),
        ),
        _put("magister.control.executor.Executor._claim_destroy", claims_without_the_lease),
        other=lambda script: replace(script, target=4, overlapping=True),
    ),
    Mistake(
        "a planned move is made whatever was heard meanwhile",
        ("nothing is given up as silent right after it was heard",),
        (happening("nothing", pause=120), happening("heartbeats_lost", secs=400, pause=500)),
        _put("magister.domain.actions.Move.rests_on", ()),
        other=lambda script: replace(script, meddling=100),
    ),
    Mistake(
        "an error that nobody thought of",
        ("no error is unforeseen",),
        (),
        _put("magister.control.executor.Executor._check_account", raises),
    ),
]
CAUGHT = [
    pytest.param(mistake, law, id=f"{law}: {mistake.name}") for mistake in MISTAKES for law in mistake.laws
]


@pytest.mark.parametrize(("mistake", "law"), CAUGHT)
def test_each_law_finds_a_mistake_that_was_planted(mistake: Mistake, law: str) -> None:
    found = mistake.found_by(law)
    assert found.broken.startswith(law), "\n".join(found.lines[-30:])


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_the_circumstances_of_a_mistake_break_no_law_by_themselves(mistake: Mistake) -> None:
    assert run(mistake.script).broken == ""


def test_a_failing_script_is_shrunk_to_what_it_needs() -> None:
    script = drawn(5, "faults")
    needed = script.happenings[3]
    shorter = shrunk(script, lambda script: needed in script.happenings)
    assert shorter.happenings == (needed,)
