"""Pure: the life of one instance, in sentences."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from magister.domain.sentences import NAMED, About, Sentence, clock, counted, lasting, spaced, written
from magister.domain.traffic import KB_PER_GB, Traffic
from magister.money import MICROS_PER_USD, usd
from magister.money import price as hourly
from magister.planner.decision_record import SHOWN, Candidate
from magister.states import WANTED, Reason, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Hold one move of the history."""

    at: datetime
    old: State | None
    new: State
    reason: Reason
    actor: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """Hold all that is known of one instance; money in micro-dollars, None = not known, or not yet."""

    now: datetime
    id: int
    offer_id: int
    state: State
    reason: Reason
    contract_id: int | None = None
    machine_id: int | None = None
    host_id: int | None = None
    gpu: str | None = None
    price: int | None = None  # per hour while running
    created_at: datetime | None = None
    verified_at: datetime | None = None
    verify_by: datetime | None = None
    dropped_at: datetime | None = None
    destroyed_at: datetime | None = None
    announced_at: datetime | None = None
    beaten_at: datetime | None = None
    on_roster_at: datetime | None = None
    sick_since: datetime | None = None
    last_seen_at: datetime | None = None
    actual_status: str | None = None
    status_msg: str | None = None
    trouble: str | None = None
    destroys: int = 0
    failure: str | None = None
    excused: bool = False
    autopsy: str | None = field(default=None, repr=False)
    autopsy_at: datetime | None = None
    cost: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    moves: tuple[Moved, ...] = ()
    candidates: tuple[Candidate, ...] = ()  # of its choice; empty = none are kept


def told(life: Life) -> tuple[Sentence, ...]:
    """Tell one instance: why it was chosen, what it did, what it cost, why it went, what its logs said."""
    # those of no one moment come last
    lived = sorted((*_moves(life), *_signs(life)), key=lambda one: one.at or life.now)
    return (*_choice(life), *lived, *_cost(life), *_end(life), *_autopsy(life))


def _choice(life: Life) -> Iterator[Sentence]:
    fitting = [one for one in life.candidates if one.rejection is None]
    place = next((n for n, one in enumerate(fitting) if one.offer_id == life.offer_id), None)
    if place is None:
        if life.moves and life.moves[0].reason in {Reason.ADOPTED, Reason.TWIN}:
            yield Sentence(About.CHOICE, "It was not chosen: it was there, and ours, without a row.")
        elif not life.candidates:
            yield Sentence(About.CHOICE, "Why it was chosen is not kept.")
        return
    chosen, rest = fitting[place], fitting[place + 1 :]
    many = f"{SHOWN} or more" if len(fitting) >= SHOWN else str(len(fitting))
    before = f", after {counted(place, 'better one')} that went first" if place else ""
    yield Sentence(About.CHOICE, f"It was the best of {many} offers that fitted{before}: {_numbers(chosen)}.")
    if rest:
        other = rest[0]
        yield Sentence(
            About.CHOICE,
            f"The next best was offer {other.offer_id} on machine {other.machine_id} for "
            f"{hourly(other.price)} USD per hour: {_worse(other, chosen)}.",
        )
    elif place == 0:
        yield Sentence(About.CHOICE, "No other offer fitted.")
    yield from _rejections(life.candidates)


def _numbers(one: Candidate) -> str:
    liked = ", which the settings prefer" if one.liked else ""
    held = f", though its machine is in quarantine ({one.quarantine})" if one.quarantine else ""
    return (
        f"{hourly(one.price)} USD per hour for {one.gpu_name} on machine {one.machine_id} "
        f"of host {one.host_id}{liked}{held}; expected to verify with {one.verify:.0%}, within "
        f"{lasting(one.boot)}, and then to work {lasting(one.life)}{_counting(one)}"
    )


def _counting(one: Candidate) -> str:
    """Say what an offer was compared by, if that is money and not Vast's score."""
    return f"; an hour of its work counted as {hourly(round(one.worth))} USD" if one.worth > 0 else ""


def _worse(other: Candidate, chosen: Candidate) -> str:
    """Say why one offer came after another, by the first thing that tells them apart."""
    if other.quarantine and other.quarantine != chosen.quarantine:
        return f"its machine is in quarantine ({other.quarantine})"
    if chosen.liked and not other.liked:
        return "it is not among good_machines or good_hosts"
    if other.worth <= chosen.worth:
        return "more of our boxes are on its machine or its host already"
    if other.worth <= 0:
        return "Vast scores it lower"
    details = []
    if other.verify < chosen.verify:
        details.append(f"it verifies with {other.verify:.0%} only")
    if other.life < chosen.life:
        details.append(f"it works {lasting(other.life)} only")
    if other.left is not None and other.left < min(other.life, chosen.left or other.life):
        details.append(f"it is offered for {lasting(other.left)} only")
    if other.boot > chosen.boot:
        details.append(f"it takes {lasting(other.boot)} to verify")
    because = f", for {' and '.join(details)}" if details else ""
    return f"an hour of its work counted as {hourly(round(other.worth))} USD{because}"


def _rejections(candidates: tuple[Candidate, ...]) -> Iterator[Sentence]:
    kinds = Counter(
        re.sub(r"\b(machine|host) \d+", r"its \1", one.rejection) for one in candidates if one.rejection
    )
    if not kinds:
        return
    total = sum(kinds.values())
    many = f"{SHOWN} or more offers" if total >= SHOWN else counted(total, "offer")
    listed = "; ".join(f"{why} ({count})" for why, count in kinds.most_common(NAMED))
    others = "; and other reasons" if len(kinds) > NAMED else ""
    yield Sentence(About.CHOICE, f"{many} did not come into question: {listed}{others}.")


def _moves(life: Life) -> Iterator[Sentence]:
    for move in life.moves:
        by = "" if move.actor == "loop" else f", by {move.actor}"
        name = f"It was {move.new}" if move.old is None else f"It became {move.new}"
        why = move.why.rstrip(".") or "no reason is written"
        yield Sentence(About.LIFE, f"{name} ({spaced(move.reason)}{by}): {why}.", move.at)


def _signs(life: Life) -> Iterator[Sentence]:
    """Tell what it showed between its moves, as far as that is kept."""
    if life.verified_at is not None and life.created_at is not None:
        took = lasting((life.verified_at - life.created_at).total_seconds())
        until = life.dropped_at or life.destroyed_at or life.now
        worked = lasting(max((until - life.verified_at).total_seconds(), 0))
        yield Sentence(About.LIFE, f"Its worker verified {took} after its creation, and was kept {worked}.")
    elif life.state is State.CREATED and life.verify_by is not None:
        yield Sentence(About.LIFE, f"Its worker has until {clock(life.verify_by)} to call.")
    if life.announced_at is not None and life.beaten_at is None:
        yield Sentence(About.LIFE, "Its heartbeat loop began; no heartbeat came.", life.announced_at)
    if life.beaten_at is not None:
        yield Sentence(About.LIFE, "Its box last said that its worker lives.", life.beaten_at)
    if life.on_roster_at is not None:
        yield Sentence(About.LIFE, "Hierophant last listed its worker.", life.on_roster_at)
    if life.sick_since is not None and life.verified_at is not None:
        said = life.actual_status or "nothing"
        yield Sentence(About.LIFE, f"Since then Vast has not called it running, but {said}.", life.sick_since)
    if life.last_seen_at is not None:
        message = _line(life.status_msg)
        words = f": {message}" if message else ""
        status = life.actual_status or "without a status"
        yield Sentence(
            About.LIFE, f"The last listing that showed it has it {status}{words}.", life.last_seen_at
        )
    if life.trouble:
        yield Sentence(About.LIFE, f"The last call about it failed: {_line(life.trouble)}.")


def _cost(life: Life) -> Iterator[Sentence]:
    if life.cost == 0:
        yield Sentence(About.COST, "It is not known to have cost anything.")
        yield from _traffic(life.traffic)
        return
    when = "so far" if life.state is not State.DESTROYED else "in all"
    rate = "" if life.price is None else f", at {usd(life.price)} USD per hour while running"
    yield Sentence(About.COST, f"It cost about {_fine(life.cost)} USD {when}{rate}.")
    yield from _traffic(life.traffic)


def _traffic(moved: Traffic) -> Iterator[Sentence]:
    if moved.down_kb or moved.up_kb:
        down, up = moved.down_kb / KB_PER_GB, moved.up_kb / KB_PER_GB
        said = f"Its traffic cost {_fine(moved.micros)} USD beside that: {down:.1f} GB down, {up:.1f} GB up."
        yield Sentence(About.COST, said)


def _end(life: Life) -> Iterator[Sentence]:
    if life.state in WANTED:
        yield Sentence(About.END, "It is to stay.")
        return
    gone = next(
        (m for m in reversed(life.moves) if m.old in WANTED or (m.old is None and m.new not in WANTED)), None
    )
    if gone is not None:
        yield Sentence(About.END, f"It went for this reason: {spaced(gone.reason)}.", gone.at)
    if life.state is State.DESTROYED and life.moves and life.moves[-1].reason is Reason.LEFT_BEHIND:
        yield Sentence(About.END, "What it cost after that is on the bill of its account, and nowhere here.")
    if life.state is State.DROPPING:
        asked = counted(life.destroys, "time")
        yield Sentence(
            About.END, f"Vast was asked {asked} to destroy it, and it is not proved gone: it may still cost."
        )


def _autopsy(life: Life) -> Iterator[Sentence]:
    if life.failure is not None:
        yield Sentence(About.AUTOPSY, f"It failed in this way: {spaced(life.failure)}; {_blame(life)}.")
    if life.autopsy_at is None:
        return
    lines = len((life.autopsy or "").splitlines())
    found = f"{counted(lines, 'line')} of them kept" if lines else "nothing came"
    yield Sentence(About.AUTOPSY, f"Its logs were asked for before its end: {found}.", life.autopsy_at)


def _blame(life: Life) -> str:
    """Say what its failure means for its machine: only one before its worker verified leads to quarantine."""
    if life.excused:
        return "that is held against nobody"
    if life.verified_at is not None:
        return "that shortens the life expected on its machine"
    return "that counts against its machine"


def jsonable(life: Life) -> dict[str, object]:
    """Return one instance's story as JSON values: dollars, ISO 8601 in UTC, the lines of its logs apart."""
    return {
        "id": life.id,
        "instance_id": life.contract_id,
        "offer_id": life.offer_id,
        "machine_id": life.machine_id,
        "host_id": life.host_id,
        "state": str(life.state),
        "cost": life.cost / MICROS_PER_USD,
        "traffic_cost": life.traffic.micros / MICROS_PER_USD,
        "failure": life.failure,
        "story": [written(sentence) for sentence in told(life)],
        "log": (life.autopsy or "").splitlines(),
    }


def _fine(micros: int) -> str:
    """Return dollars, to the hundredth of a cent where cents would say too little."""
    return usd(micros) if micros >= MICROS_PER_USD else f"{micros / MICROS_PER_USD:.4f}"


def _line(text: str | None) -> str:
    return " ".join((text or "").split()).rstrip(".")
