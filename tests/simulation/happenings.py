"""What each happening of a script does to a world."""

from dataclasses import asdict

from magister.simulator.market.contracts import Contract
from magister.simulator.runtime.faults import LISTING
from magister.simulator.runtime.incidents import befall
from magister.simulator.runtime.simulation import DEFAULT_KEY, OTHER_KEY
from magister.store import bans
from magister.store.db.engine import Sessions
from tests.simulation.purse import Caps
from tests.simulation.script import CREATE_CODES, JUMPS, TEMPLATES, Happening
from tests.simulation.tales import WORDS
from tests.simulation.world import World

BODIES = ("html", "empty", "plain_text", "truncated")
WRONG_LISTINGS = tuple(name for name in LISTING if name != "no_instances")
"""Those that can be told from the truth: a well-formed page of nothing is that of an empty account."""

MOST_LOST = 3
"""So many creates at most a fault strikes: what each rented may be good for nothing."""

BOX_FAILURES = ("exit", "unknown", "vanish", "worker_dies", "stop")
HOURS = (60.0, 600.0, 3600.0, 7200.0)
LONGEST_LAG = 120.0
"""Seconds: Magister takes it that listings lag by less than its grace."""


class Happenings:
    """Let things happen to a world by name."""

    def __init__(self, world: World) -> None:
        self.world = world

    def happen(self, happening: Happening) -> None:
        """Let one thing happen now."""
        self.world.journal.note(f"* {happening.what} {happening.which} {happening.secs:g}")
        self.world.laws.waste.excuse(MOST_LOST if happening.what.startswith("create_") else 1)
        getattr(self, happening.what)(happening)

    def nothing(self, it: Happening) -> None:
        """Let time pass."""

    def create_reset(self, it: Happening) -> None:
        self._fault("reset", "create", it, when=_when(it))

    def create_status(self, it: Happening) -> None:
        self._fault("status", "create", it, when=_when(it), code=CREATE_CODES[it.which % len(CREATE_CODES)])

    def create_unreadable(self, it: Happening) -> None:
        self._fault(BODIES[it.which % len(BODIES)], "create", it, when=_when(it))

    def create_hangs(self, it: Happening) -> None:
        self._fault("hang", "create", it, when=_when(it), secs=it.secs)

    def create_arrives_late(self, it: Happening) -> None:
        self.world.network.late.append(it.secs)

    def create_unreachable(self, it: Happening) -> None:
        self.world.network.unreachable["create"] = 1 + it.which % 3

    def create_refused(self, it: Happening) -> None:
        self._fault(("offer_gone", "no_credit", "bad_key")[it.which % 3], "create", it)

    def create_throttled(self, it: Happening) -> None:
        self._fault("throttle", "create", it, secs=(0.0, 5.0, 30.0)[it.which % 3])

    def create_throttled_then_refused(self, it: Happening) -> None:
        self.world.fault("throttle", route="create", count=1)
        self._fault("offer_gone", "create", it)

    def create_without_contract(self, it: Happening) -> None:
        self._fault("no_contract", "create", it)

    def create_stopped(self, it: Happening) -> None:
        self._fault("stopped_box", "create", it)

    def create_lags(self, it: Happening) -> None:
        self._fault("lag_create", "create", it, secs=min(it.secs, LONGEST_LAG))

    def listing_wrong(self, it: Happening) -> None:
        name = WRONG_LISTINGS[it.which % len(WRONG_LISTINGS)]
        self.world.fault(name, route="list", count=(1, 2, 3, 7)[it.which % 4])

    def listing_fails(self, it: Happening) -> None:
        name, more = _broken(it)
        self.world.fault(name, route="list", count=1 + it.which % 9, **more)

    def reads_fail(self, it: Happening) -> None:
        name, more = _broken(it)
        self._fault(name, ("search", "show", "account")[it.which % 3], it, **more)

    def key_unknown(self, it: Happening) -> None:
        self.world.fault("bad_key", lasts=30.0 + it.share * 300)

    def destroy_refused(self, it: Happening) -> None:
        self.world.fault(
            "destroy_refused",
            route="destroy",
            lasts=HOURS[it.which % len(HOURS)],
            code=(200, 500)[it.which % 2],
        )

    def destroy_fails(self, it: Happening) -> None:
        name, more = _broken(it)
        self._fault(name, "destroy", it, **more)

    def destroy_lags(self, it: Happening) -> None:
        self._fault("lag_destroy", "destroy", it, secs=it.secs)

    def destroyed_comes_back(self, it: Happening) -> None:
        self._fault("resurrect", "destroy", it, secs=it.secs)

    def box_fails(self, it: Happening) -> None:
        box = self._box(it)
        if box is not None:
            self._befall(BOX_FAILURES[it.which % len(BOX_FAILURES)], instance=box.id)

    def host_offline(self, it: Happening) -> None:
        box = self._box(it)
        if box is not None:
            self._befall("offline", instance=box.id, secs=it.secs * 3)

    def console_delete(self, it: Happening) -> None:
        box = self._box(it)
        if box is not None:
            self._befall("console_delete", instance=box.id)

    def price_change(self, it: Happening) -> None:
        self._befall("price_rise", factor=0.5 + it.share)

    def host_raises_price(self, it: Happening) -> None:
        box = self._box(it)
        if box is not None:
            box.gpu_price *= 1 + 2 * it.share

    def caps_lowered(self, it: Happening) -> None:
        """Start the service anew with caps of which some are lower by up to a half."""
        caps, factor = self.world.laws.purse.caps, 1 - it.share / 2
        lowered = {name: cap and cap * factor for name, cap in asdict(caps).items()}
        self.world.afford(Caps(**lowered))

    def no_credit(self, it: Happening) -> None:
        """Spend all the credit; more is paid in a while later."""
        market = self.world.market

        def pay() -> None:
            market.credit = 1000.0

        market.credit = 0.0
        market.settle()
        self.world.time.at(self.world.time.now + it.secs, pay)

    def outage(self, it: Happening) -> None:
        self.world.fault("outage", lasts=HOURS[it.which % 3], code=(0, 503)[it.which % 2])

    def coordinator_drop(self, it: Happening) -> None:
        box = self._box(it)
        if box is not None and box.drop_endpoint is not None:
            self._befall("coordinator_drop", instance=box.id)

    def coordinator_restart(self, it: Happening) -> None:
        self._befall("coordinator_restart")

    def coordinator_away(self, it: Happening) -> None:
        """Let its lists be unreadable for a while."""
        hierophant = self.world.sim.hierophant

        def back() -> None:
            hierophant.away = None

        hierophant.away = (0, 200, 503)[it.which % 3]
        self.world.time.at(self.world.time.now + it.secs, back)

    def coordinator_drop_lost(self, it: Happening) -> None:
        """Lose the coordinator's one DELETE on its way."""
        box = self._box(it)
        if box is not None and box.drop_endpoint is not None:
            self._befall("coordinator_drop_lost", instance=box.id)

    def worker_dies_unheard(self, it: Happening) -> None:
        """Let the next workers die right after they have verified, before their first heartbeat."""
        self.world.workers.doomed += 1 + it.which % 3

    def heartbeats_lost(self, it: Happening) -> None:
        """Let no call arrive for a while: of one instance, or of all."""
        for box in self._one_or_all(it):
            self.world.workers.cut_off[box.id] = self.world.time.now + it.secs

    def web_away(self, it: Happening) -> None:
        """Let the web side take no connection for a while, nor say that it hears."""
        self.world.workers.down_until = self.world.time.now + it.secs

    def status_unknown(self, it: Happening) -> None:
        """Let Vast call the status of one instance, or of all, by a word that nobody knows."""
        word, until = WORDS[it.which // 2 % len(WORDS)], self.world.time.now + 4 * it.secs
        for box in self._one_or_all(it):
            self.world.tales.words[box.id] = (word, until)

    def odd_values(self, it: Happening) -> None:
        """Let the next listings and searches hold a value that no field should have."""
        self.world.tales.odd.extend([it.which] * (1 + it.which % 4))

    def listing_empty(self, it: Happening) -> None:
        """Let listings say in good order that there is nothing at all."""
        self.world.fault("no_instances", route="list", count=1 + it.which % 3)

    def look_lies(self, it: Happening) -> None:
        self._fault("show_null", "show", it)

    def market_empty(self, it: Happening) -> None:
        self.world.fault("empty_market", route="search", lasts=HOURS[it.which % len(HOURS)])

    def machine_banned(self, it: Happening) -> None:
        """Ban the machine, or the host, of one instance; earlier bans are taken back."""
        box, sessions = self._box(it), self.world.web_sessions
        with Sessions.write(sessions) as session:
            for one in bans.read(session):
                bans.unban(session, "machine" if one.kind == "machine" else "host", one.id)
            if box is None:
                return
            machine, at = self.world.market.estate.under(box), self.world.time.wall()
            if it.which // 8 % 2:
                bans.ban(session, "host", machine.host_id, why="a person says so", at=at)
            else:
                bans.ban(session, "machine", machine.id, why="a person says so", at=at)

    def template_changed(self, it: Happening) -> None:
        """Reload with another template."""
        self.world.reload(template_hash=TEMPLATES[it.which % 2])

    def settings_changed(self, it: Happening) -> None:
        """Reload with other settings that matter to what is there."""
        self.world.reload(beats=(0, 60, 90)[it.which % 3], roster=(0, 60)[it.which // 3 % 2])

    def other_account(self, it: Happening) -> None:
        """Reload with the key of another account, and with the right one a while later."""
        self.world.reload(vast_api_key=OTHER_KEY)
        self.world.run(it.secs)
        self.world.reload(vast_api_key=DEFAULT_KEY)

    def database_lost(self, it: Happening) -> None:
        self.world.lose_database()

    def backup_taken(self, it: Happening) -> None:
        self.world.back_up()

    def backup_put_back(self, it: Happening) -> None:
        self.world.restore()

    def rival_begins(self, it: Happening) -> None:
        """Let another service with the same settings act on the account, on an empty database."""
        self.world.begin_rival()

    def rival_ends(self, it: Happening) -> None:
        self.world.end_rival()

    def target_change(self, it: Happening) -> None:
        self.world.retarget(it.which % max(5, self.world.settings.number_instances + 2))

    def restart(self, it: Happening) -> None:
        self.world.service.stop()
        self.world.time.sleep(it.share * 30)

    def clock_jump(self, it: Happening) -> None:
        self.world.time.skew += JUMPS[it.which % len(JUMPS)]

    def database_trouble(self, it: Happening) -> None:
        sessions = (self.world.loop_sessions, self.world.web_sessions)[it.which % 2]
        where = ("begins", "commits", "answers")[it.which % 3]
        setattr(sessions.trouble, where, 1 + it.which % 5)

    def web_death(self, it: Happening) -> None:
        self.world.web_sessions.death.after = it.which % 2

    def _fault(self, name: str, route: str, it: Happening, **more: object) -> None:
        self.world.fault(name, route=route, count=1 + it.which % 3, **more)

    def _befall(self, kind: str, **details: object) -> None:
        befall(self.world.sim, kind, details)

    def _one_or_all(self, it: Happening) -> list[Contract]:
        box = self._box(it)
        return self.world.laws.ours() if it.which % 2 else [box] if box is not None else []

    def _box(self, it: Happening) -> Contract | None:
        """Choose a box of ours, if there is any."""
        boxes = self.world.laws.ours()
        return boxes[it.which % len(boxes)] if boxes else None


def _when(it: Happening) -> str:
    return ("before", "after")[it.which // 8 % 2]


def _broken(it: Happening) -> tuple[str, dict[str, object]]:
    """Choose how a call that may be made again fails."""
    kinds: tuple[tuple[str, dict[str, object]], ...] = (
        ("reset", {"when": _when(it)}),
        ("status", {"code": (500, 502, 408)[it.which % 3], "when": _when(it)}),
        ("html", {"when": _when(it)}),
        ("empty", {"when": _when(it)}),
        ("truncated", {"when": _when(it)}),
        ("throttle", {"secs": it.secs / 4}),
        ("hang", {"secs": it.secs, "when": _when(it)}),
    )
    return kinds[it.which % len(kinds)]
