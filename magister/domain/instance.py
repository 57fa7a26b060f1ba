"""One row of `instances` as it was read, and what may be learned of it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from magister.states import LIVE, WANTED, Failure, Reason, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Hold one row of `instances` as it was read.

    `judge_from` is when evidence of absence starts to count: a listing begun before it says nothing
    of this row. None = nothing was sent yet, or the answer to a send is still awaited.
    """

    id: int
    key: str
    offer_id: int
    state: State
    reason: Reason
    requested_at: datetime
    moved_at: datetime
    due_at: datetime | None = None
    contract_id: int | None = None
    machine_id: int | None = None
    host_id: int | None = None
    price: int | None = None  # micro-dollars per hour while running, disk included
    disk_price: int | None = None  # micro-dollars per hour, in every state
    mac_required: bool = False
    callback_key: str | None = field(default=None, repr=False)  # None = its callback URL has no key
    sends: int = 0
    unanswered: int = 0
    sent_at: datetime | None = None
    doubted_at: datetime | None = None
    created_at: datetime | None = None
    verified_at: datetime | None = None
    verify_by: datetime | None = None
    destroyed_at: datetime | None = None
    called_at: datetime | None = None  # the last destroy call
    destroys: int = 0
    destroy_acked: bool = False
    judge_from: datetime | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    absences: int = 0
    absent_since: datetime | None = None
    looked_at: datetime | None = None  # the last look by id, whatever came of it
    looked_gone_at: datetime | None = None
    sick_since: datetime | None = None
    actual_status: str | None = None
    intended_status: str | None = None
    cur_state: str | None = None
    status_msg: str | None = None
    announced_at: datetime | None = None  # when its heartbeat loop started; None = it did not say so
    beaten_at: datetime | None = None  # when the box last said that its worker lives
    beat_secs: int | None = None  # how often it does so, by its start text; None = not known, or never
    on_roster_at: datetime | None = None  # the last roster of Hierophant that had its worker
    off_roster_since: datetime | None = None  # the first roster that lacked it since
    roster_deaths: int | None = None  # entries of the dead under its address that are none of its own
    declared_dead_at: datetime | None = None  # the roster that had one more
    autopsy_at: datetime | None = None  # when its logs came, were refused or were given up

    @property
    def live(self) -> bool:
        """Say whether it may still cost money."""
        return self.state in LIVE

    @property
    def wanted(self) -> bool:
        """Say whether it counts towards the target."""
        return self.state in WANTED

    @property
    def keyless(self) -> bool:
        """Say whether a call about it needs no callback key, so that anybody can make it."""
        return self.callback_key is None and not self.mac_required

    @property
    def unsent(self) -> bool:
        """Say whether the intent stands and no create for it is under way or in doubt."""
        return self.state is State.REQUESTED and self.unanswered == 0 and self.contract_id is None

    @property
    def in_flight(self) -> bool:
        """Say whether the answer to a create is still awaited."""
        return self.unanswered > 0 and self.doubted_at is None and self.contract_id is None

    @property
    def silent_since(self) -> datetime | None:
        """Return when the silence of its worker began; None = it is not known to beat.

        One whose heartbeat loop announced itself is silent since it verified. So is one without a history
        here, adopted or in a backup that was put back, if its start text has the loop.
        """
        told = self.beat_secs is not None and (self.sends == 0 or self.reason is Reason.RESTORED)
        return self.beaten_at or (self.verified_at if told or self.announced_at is not None else None)


class Learned(TypedDict, total=False):
    """Name the columns that may be written when a fact is learned, in any state."""

    actual_status: str | None
    absences: int
    absent_since: datetime | None
    announced_at: datetime
    autopsy: str | None
    autopsy_at: datetime | None
    beat_secs: int
    beaten_at: datetime | None
    callback_key: str | None
    called_at: datetime | None
    contract_id: int | None
    created_at: datetime | None
    cur_state: str | None
    declared_dead_at: datetime | None
    destroy_acked: bool
    destroys: int
    disk_price: int | None
    doubted_at: datetime | None
    due_at: datetime | None
    end_date: datetime | None
    excused: bool
    failure: Failure | None
    first_seen_at: datetime | None
    geolocation: str | None
    gpu_name: str | None
    host_id: int | None
    intended_status: str | None
    judge_from: datetime | None
    last_seen_at: datetime | None
    looked_at: datetime | None
    looked_gone_at: datetime | None
    machine_id: int | None
    num_gpus: int | None
    off_roster_since: datetime | None
    on_roster_at: datetime | None
    over_cap: str | None
    over_limit: int | None
    price: int | None
    roster_deaths: int | None
    sick_since: datetime | None
    start_date: datetime | None
    status_msg: str | None
    trouble: str | None
    unanswered: int
    verified_at: datetime | None
    verify_by: datetime | None
