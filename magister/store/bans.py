"""The machines and hosts that a person will not have any more, beside those of the settings."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from magister.domain.spec import Fleet
from magister.store.db.models_accounting import Ban

Kind = Literal["machine", "host"]


@dataclass(frozen=True, slots=True)
class Banned:
    """Show one ban."""

    kind: str
    id: int
    at: datetime
    why: str


def read(session: Session) -> tuple[Banned, ...]:
    """Return the bans, the oldest first."""
    rows = session.scalars(select(Ban).order_by(Ban.at, Ban.kind, Ban.banned_id))
    return tuple(Banned(row.kind, row.banned_id, row.at, row.why) for row in rows)


def ban(session: Session, kind: Kind, banned_id: int, *, why: str, at: datetime) -> None:
    """Rent nothing there any more; boxes that run there go on. Again replaces the reason."""
    session.merge(Ban(kind=kind, banned_id=banned_id, at=at, why=why))


def unban(session: Session, kind: Kind, banned_id: int) -> bool:
    """Take a ban back, and return whether there was one."""
    gone = delete(Ban).where(Ban.kind == kind, Ban.banned_id == banned_id).returning(Ban.banned_id)
    return session.scalar(gone) is not None


def under(fleet: Fleet, found: tuple[Banned, ...]) -> Fleet:
    """Return what is wanted, less what is banned."""
    if not found:
        return fleet
    machines = fleet.bad_machines | {one.id for one in found if one.kind == "machine"}
    hosts = fleet.bad_hosts | {one.id for one in found if one.kind == "host"}
    return replace(fleet, bad_machines=machines, bad_hosts=hosts)
