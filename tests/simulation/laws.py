"""What must hold whatever happens; each law that is broken says so in one line."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests
from sqlalchemy import Engine

from magister.simulator.market.contracts import Contract
from magister.simulator.runtime.simulation import Simulation
from magister.states import MOVES, WANTED, State
from tests.simulation.books import Books
from tests.simulation.claims import Claims
from tests.simulation.clock import VirtualTime
from tests.simulation.purse import PROMPT, ROUNDING, UNSEEN, Caps, Purse, counted
from tests.simulation.waste import ALIVE, TRIES, Waste

GRACE = 30.0
"""Seconds that a process which lives has to take in a box that a complete listing showed it."""

NOT_CARRIED_OUT = frozenset({"429", "unreachable"})
"""Ends of a create after which the same row may be sent again."""

ROWS = "SELECT id, key, state, contract_id FROM instances ORDER BY id"
RATES = "SELECT coalesce(sum(price), 0) FROM instances WHERE state <> 'destroyed'"
HISTORY = "SELECT id, instance_id, from_state, to_state, reason, at FROM transitions WHERE id >"

UNHEARD = frozenset({"silent", "unverified"})
"""Reasons to give up an instance of which nothing was heard."""

FRESH = 20.0
"""Seconds: less than any two heartbeats are apart."""


class Broken(BaseException):
    """A law was broken: nothing in the program under test may catch it."""


@dataclass(frozen=True, slots=True)
class Row:
    """Hold what the laws need of a row."""

    id: int
    key: str
    state: State
    contract_id: int | None

    @property
    def live(self) -> bool:
        """Say whether it may still cost money."""
        return self.state is not State.DESTROYED


@dataclass(slots=True)
class Account:
    """Hold of one box how many seconds were paid, how many of them no row knew, and since when.

    `revenant` = it came to be, or came back, when its row had rightly ended: it may exceed the target, and
    must be found.
    """

    paid: float = 0.0
    unattributed: float = 0.0
    revenant: bool = False
    unknown_since: float | None = None
    shown_at: float | None = None
    lived: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Hold when a listing began, and what it says of the traffic of each box in USD."""

    began: float = 0.0
    traffic: Mapping[int, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Laws:
    """Watch one run; `bound` is the most boxes and rows there may be, the target and the surge.

    `sworn` are the only laws that count; None = all of them.
    """

    sim: Simulation
    engine: Engine
    time: VirtualTime
    drop_prefix: str
    bound: int
    foreign: frozenset[int]
    sworn: frozenset[str] | None = None
    allowed: int = 0
    checks: Counter[str] = field(default_factory=Counter)
    accounts: dict[int, Account] = field(default_factory=dict)
    sends: dict[str, list[str]] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    last_move: int = 0
    look: Look = field(default_factory=Look)
    listed_at: object = None
    rows: list[Row] = field(default_factory=list)
    purse: Purse = field(init=False)
    books: Books = field(init=False)
    waste: Waste = field(init=False)
    claims: Claims = field(default_factory=Claims)
    deaf_until: float = 0.0
    heard_at: dict[int, float] = field(default_factory=dict)
    paging: bool = False

    def __post_init__(self) -> None:
        """Begin with nothing, of which so much is allowed as is wanted."""
        self.allowed = self.bound
        self.purse = Purse(self.time)
        self.books = Books(self.engine)
        self.waste = Waste(sim=self.sim, time=self.time)

    def ours(self) -> list[Contract]:
        """Give the boxes that are ours and live."""
        return [box for box in self.sim.market.live() if self._is_ours(box)]

    def _is_ours(self, box: Contract) -> bool:
        return self.drop_prefix in (box.onstart or "") and not self.claims.are_its(box)

    def retarget(self, bound: int) -> None:
        """Let another number be wanted: what there is may stay until it is gone."""
        self.rows = self._read()
        self.waste.excuse(max(bound, self.bound))
        self.allowed = max(bound, sum(row.live for row in self.rows))
        self.bound = bound

    def afford(self, caps: Caps) -> None:
        """Let other caps hold from now on."""
        self.purse.set(caps, self._mine())

    def begin_anew(self) -> None:
        """Judge by what a database says that took the place of another: what it does not know came back."""
        self.rows = self._read()
        self.states = {row.id: row.state for row in self.rows}
        ((self.last_move,),) = self._asked("SELECT coalesce(max(id), 0) FROM transitions")
        live = [row for row in self.rows if row.live]
        self.allowed = max(self.bound, len(live))
        self.waste.excuse(2 * self.bound)
        for box in self.ours():
            account = self._account(box.id)
            account.revenant = account.revenant or not any(_knows(row, box) for row in live)

    def restarted(self) -> None:
        """Give a new process the time of a new one to take in what it does not know."""
        self.paging = False
        for account in self.accounts.values():
            account.shown_at = None

    def leaving(self, route: str, request: requests.PreparedRequest, open_sessions: int) -> None:
        """Judge a request before it leaves."""
        if self.claims.acts:
            self._judge_rival(route, request)
            return
        self.hold("no session is open during a call", open_sessions == 0, route)
        if route == "list" and "after_token" not in (request.url or ""):
            listed = {box.id: counted(box) for box in self.sim.market.listed()}
            self.look = Look(self.time.now, listed)
        if route == "create":
            self.hold("no create is sent between the pages of a listing", not self.paging)
            self._judge_create(request)
        if route == "destroy":
            self._judge_destroy(_contract(request))

    def _judge_rival(self, route: str, request: requests.PreparedRequest) -> None:
        """Judge what another Magister on the account sends."""
        if route == "create":
            self.claims.keys.add(_key(request))
            law = "another Magister rents no more than its own number"
            self.hold(law, len(self.claims.keys) <= self.bound + TRIES, f"{len(self.claims.keys)} creates")
        if route == "destroy":
            self._judge_claim(self.sim.market.contracts[_contract(request)])

    def _judge_claim(self, box: Contract) -> None:
        law = "what another Magister rented is never touched"
        works = box.worker in ALIVE and self.sim.market.actual_status(box) not in {"exited", "stopped"}
        self.hold(law, self.claims.may_end(box, works=works), f"destroy of {box.id}, {box.label}")

    def ended(self, route: str, request: requests.PreparedRequest, outcome: str, *, more_pages: bool) -> None:
        """Take in how a request ended, as its sender sees it; `more_pages` = the listing goes on."""
        if self.claims.acts:
            return
        if route == "list":
            self.paging = outcome == "200" and more_pages
        if route == "create":
            self.sends[_key(request)].append(outcome)

    def census(self) -> None:
        """Take in the boxes that came to be or came back; one that no live row knows is a revenant."""
        born = [box for box in self.ours() if not self._account(box.id).lived]
        for account in self.accounts.values():
            account.lived = False
        if born:
            rows = [row for row in self._read() if row.live]
        for box in born:
            account = self._account(box.id)
            # once its place was rightly given to another, each further return is one too many as well
            account.revenant = account.revenant or not any(_knows(row, box) for row in rows)
        for box in self.ours():
            self._account(box.id).lived = True
        self._judge_number()

    def check(self) -> None:
        """Judge what there is between two steps."""
        self.rows = self._read()
        self.allowed = max(self.bound, min(self.allowed, sum(row.live for row in self.rows)))
        theirs = {box.id for box in self.sim.market.live() if self.claims.are_its(box)}
        strange = {row.contract_id for row in self.rows} & (self.foreign | theirs)
        self.hold("only our own have rows", not strange, str(strange))
        self._judge_history()
        self._judge_number()
        self._judge_knowledge()
        mine = self._mine()
        self._judge_money(mine)
        self._judge_waste(mine)

    def _judge_waste(self, mine: list[Contract]) -> None:
        """Judge what is paid for dead workers, and how often something is rented."""
        going = {row.contract_id for row in self.rows if row.contract_id and row.state is State.DROPPING}
        empty = any(fault["name"] == "empty_market" for fault in self.sim.faults.active(self.time.now))
        fair = self.time.now - self.purse.listed < UNSEEN and self.sim.market.credit > 0
        self.waste.watch(mine, going, fair=fair and not empty and self.time.now >= self.deaf_until)
        late = self.waste.kept_too_long()
        self.hold("no dead worker is paid for longer than an hour", not late, late)
        often = self.waste.rented_too_often(self.bound)
        self.hold("no more is rented in an hour than ends and failures account for", not often, often)

    def _judge_money(self, mine: list[Contract]) -> None:
        live = [row for row in self.rows if row.live]
        going = {box.id: row.state is State.DROPPING for box in mine for row in live if _knows(row, box)}
        self.purse.bare |= {number for number, account in self.accounts.items() if account.revenant}
        self.purse.watch(mine, going)
        passed = self.purse.passed(mine)
        self.hold("what Vast bills passes no cap", not passed, passed)
        since = self.purse.over_total_since
        late = since is not None and self.time.now - since > PROMPT and not self.purse.wrong_clock
        kept = [row.id for row in live if row.state in WANTED] if late else []
        law = "nothing is kept once what is known to be spent passes a cap"
        self.hold(law, not kept, f"{kept} since {since}")

    def _mine(self) -> list[Contract]:
        """Give the boxes that are or were ours."""
        contracts = self.sim.market.contracts.values()
        return [box for box in contracts if self._is_ours(box)]

    def _judge_create(self, request: requests.PreparedRequest) -> None:
        key = _key(request)
        earlier = self.sends.setdefault(key, [])
        undecided = [end for end in earlier if end not in NOT_CARRIED_OUT]
        self.hold("no create is sent while an earlier one is undecided", not undecided, f"{key} {earlier}")
        live = [row for row in self._read() if row.live]
        self.hold("no create is sent beyond target and surge", len(live) <= self.bound, f"{len(live)} rows")
        mine = any(row.key == key and row.state is State.REQUESTED for row in live)
        self.hold("each create has its row", mine, key)
        ((micros,),) = self._asked(RATES)
        most = self.purse.caps.per_hour
        afforded = most is None or micros / 1e6 <= most + ROUNDING
        self.hold("no create is sent beyond the cap per hour", afforded, f"{micros} micro-dollars per hour")

    def judge_fence(self, fence: int | None) -> None:
        """Judge who has just written that it asks for a destroy."""
        ((current,),) = self._asked("SELECT fence FROM lease")
        law = "no destroy is asked for by a loop that has lost the lease"
        self.hold(law, fence == current, f"fence {fence} of {current}")

    def _judge_destroy(self, contract_id: int) -> None:
        box = self.sim.market.contracts[contract_id]
        self._judge_claim(box)
        ours = self.drop_prefix in (box.onstart or "")
        self.hold("only our own are touched", ours, f"destroy of {contract_id}, {box.label}")
        rows = [row for row in self._read() if row.contract_id == contract_id]
        # a process that stood still may ask for the end of what was proved gone meanwhile
        going = any(row.state in {State.DROPPING, State.DESTROYED} for row in rows)
        self.hold("only what is to go is destroyed", going, str(contract_id))

    def close(self) -> None:
        """Judge what people are shown of all that was."""
        wrong = self.books.shown_wrong(self.time.wall())
        self.hold("what is shown of money is what the intervals say", not wrong, wrong)

    def _judge_history(self) -> None:
        settled = False
        for number, instance_id, old, to, reason, at in self._asked(
            f"{HISTORY} {self.last_move} ORDER BY id"
        ):
            words = f"instance {instance_id}: {old} -> {to} ({reason})"
            before, after = State(old) if old else None, State(to)
            self.hold("no move is illegal", after in MOVES[before], words)
            self._judge_intent(before, after, words)
            self.hold("history is without a gap", before is self.states.get(instance_id), words)
            self.states[instance_id] = after
            self.last_move = number
            settled = settled or State.DESTROYED in {before, after}
            if after is State.DESTROYED:
                self._judge_end(instance_id, words)
            if after is State.DROPPING and reason in UNHEARD:
                self._judge_silence(instance_id, at, words)
        now = {row.id: row.state for row in self.rows}
        self.hold("history replays to the rows", now == self.states, "")
        if settled:
            wrong = self.books.stored_wrong()
            self.hold("what is stored of money is what the intervals say", not wrong, wrong)

    def _judge_intent(self, before: State | None, after: State, words: str) -> None:
        if before is None and after is State.REQUESTED:
            law = "nothing is rented once what is known to be spent passes a cap"
            self.hold(law, self.purse.over_total_since is None or self.purse.wrong_clock, words)

    def _judge_end(self, instance_id: int, words: str) -> None:
        """Judge a row that ended: its box must not live, unless it came back since."""
        row = next(row for row in self.rows if row.id == instance_id)
        left = [box for box in self.ours() if _names(row, box) and not self._account(box.id).revenant]
        self.hold("what is called destroyed is gone", not left, words)

    def _judge_silence(self, instance_id: int, at: str, words: str) -> None:
        """Judge one that was given up as silent: it must not have been heard a moment before."""
        contract_id = next(row.contract_id for row in self.rows if row.id == instance_id)
        moved_at = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() - self.time.skew
        heard_at = self.heard_at.get(contract_id or 0, 0.0)
        law = "nothing is given up as silent right after it was heard"
        self.hold(law, not moved_at - FRESH < heard_at <= moved_at + 1, words)

    def _judge_number(self) -> None:
        counted = [box.id for box in self.ours() if not self._account(box.id).revenant]
        words = f"{len(counted)} boxes, {self.allowed} allowed"
        self.hold("never more boxes than target and surge", len(counted) <= self.allowed, words)

    def _judge_knowledge(self) -> None:
        """Attribute every paid second to a row, and see that an unknown box is found by the next listing."""
        listed = self._newly_listed()
        live = [row for row in self.rows if row.live]
        known = {box.id for box in self.ours() if any(_knows(row, box) for row in live)}
        for contract in self.sim.market.contracts.values():
            if not self._is_ours(contract):
                continue
            account = self._account(contract.id)
            paid = sum(entry[2] for entry in contract.bill.values())
            new, account.paid = paid - account.paid, paid
            if not contract.live or contract.id in known:
                account.unknown_since = account.shown_at = None
                continue
            words = f"contract {contract.id} ({contract.label})"
            self.hold("every paid second has a row", account.revenant or new == 0, words)
            account.unattributed += new
            self._judge_unknown(contract, account, listed, words)

    def _judge_unknown(self, contract: Contract, account: Account, listed: float | None, words: str) -> None:
        now = self.time.now
        if account.unknown_since is None:
            account.unknown_since = now
        visible = max(account.unknown_since, contract.listed_from)
        if listed is not None and listed >= visible and account.shown_at is None:
            account.shown_at = now
        late = account.shown_at is not None and now - account.shown_at > GRACE
        self.hold("no box is unknown for longer than a listing and the grace", not late, words)

    def _newly_listed(self) -> float | None:
        """Say when the listing began that was completed since the last check; None = none was."""
        ((listed_at,),) = self._asked("SELECT listed_at FROM pool")
        before, self.listed_at = self.listed_at, listed_at
        if listed_at == before:
            return None
        self.purse.listed = self.time.now
        self.purse.counted |= self.look.traffic
        return self.look.began

    def _read(self) -> list[Row]:
        return [
            Row(number, key, State(state), contract) for number, key, state, contract in self._asked(ROWS)
        ]

    def _asked(self, sql: str) -> Sequence[Any]:
        """Ask in plain SQL, which is many times as fast: this is done at every step."""
        with self.engine.connect() as connection:
            return connection.exec_driver_sql(sql).all()

    def _account(self, contract_id: int) -> Account:
        return self.accounts.setdefault(contract_id, Account())

    def hold(self, law: str, holds: bool, words: str = "") -> None:
        """Count that a law was judged; raise Broken if it does not hold."""
        self.checks[law] += 1
        if not holds and (self.sworn is None or law in self.sworn):
            raise Broken(f"{law}: {words}" if words else law)


def _names(row: Row, box: Contract) -> bool:
    """Say whether a box bears the contract or the key of a row."""
    return row.contract_id == box.id or (box.label or "").partition(":")[2] == row.key


def _knows(row: Row, box: Contract) -> bool:
    """Say whether a row that lives answers for a box: by its contract, or by its key while it has none."""
    return row.contract_id == box.id or (row.contract_id is None and _names(row, box))


def _contract(request: requests.PreparedRequest) -> int:
    return int((request.url or "").rstrip("/").rpartition("/")[2])


def _key(request: requests.PreparedRequest) -> str:
    return str(json.loads(request.body or b"{}")["label"]).partition(":")[2]
