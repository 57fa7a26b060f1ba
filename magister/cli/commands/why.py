"""Tell why, from the database, whether the service runs or not: the pool is as it is, or one instance."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from magister.domain.observed import LARGEST_ID
from magister.domain.sentences import clock, written
from magister.errors import BadUsage
from magister.reports import overview, queries
from magister.reports.instance_story import Life, jsonable, told
from magister.reports.pool_story import explained
from magister.reports.queries import Meant
from magister.service import wiring
from magister.settings import spec
from magister.settings.model import Settings, load
from magister.store.db.migrations import existing

HEADINGS = {
    "choice": "Why it was chosen",
    "life": "What it did",
    "cost": "What it cost",
    "end": "Why it went",
    "autopsy": "How it failed",
}


def run(config: Path | None, which: str | None, *, as_json: bool) -> str:
    """Return the story of the instance that `which` names, None = of the pool.

    Raises Unusable, also if nothing of ours bears that number.
    """
    row, number = (False, None) if which is None else _number(which)
    settings = load(config).settings
    if number is None:
        return _of_the_pool(settings, as_json=as_json)
    return _of_an_instance(settings, number, only_row=row, as_json=as_json)


def _number(which: str) -> tuple[bool, int]:
    """Read an id, and whether it is one of a row and of nothing else. Raises BadUsage."""
    if not re.fullmatch(r"#?[0-9]{1,19}", which) or int(which.lstrip("#")) > LARGEST_ID:
        raise BadUsage(f"{which!r} is no id: give the number of a row (as #7), of a contract or of an offer")
    return which.startswith("#"), int(which.lstrip("#"))


def _of_the_pool(settings: Settings, *, as_json: bool) -> str:
    now, stale = wiring.now(), timedelta(seconds=settings.web.heartbeat_stale_secs)
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    with existing(url, busy_timeout=patience) as sessions, sessions.read() as session:
        sentences = explained(
            queries.standing(session, spec.fleet(settings), overview.glance(session, now), stale)
        )
    if as_json:
        moment = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return _json({"at": moment, "story": [written(sentence) for sentence in sentences]})
    return "\n".join(sentence.said for sentence in sentences)


def _of_an_instance(settings: Settings, number: int, *, only_row: bool, as_json: bool) -> str:
    now = wiring.now()
    url, patience = settings.database_url.get_secret_value(), settings.web.busy_timeout_secs
    with existing(url, busy_timeout=patience) as sessions, sessions.read() as session:
        found = queries.meant(session, number)
        found = tuple(one for one in found if not only_row or one.kind == "row")
        life = queries.life(session, found[0].id, now) if found else None
    if life is None:
        what = "row" if only_row else "row, contract or offer"
        raise BadUsage(f"no instance of ours has {number} as its {what}")
    if as_json:
        return _json({"meant": [{"id": one.id, "by": one.kind} for one in found], **jsonable(life)})
    return "\n".join(_lines(life, found, number))


def _lines(life: Life, found: Sequence[Meant], number: int) -> Iterator[str]:
    contract = "" if life.contract_id is None else f", contract {life.contract_id}"
    yield f"#{life.id}{contract}, on offer {life.offer_id}: {life.state}"
    for other in found[1:]:
        first, second = _article(found[0].kind), _article(other.kind)
        yield f"({number} is taken for the id of {first}; that of {second} is #{other.id}'s)"
    heading = ""
    for sentence in told(life):
        if HEADINGS[sentence.about] != heading:
            heading = HEADINGS[sentence.about]
            yield f"\n{heading}"
        at = "" if sentence.at is None else f"{clock(sentence.at)}  "
        yield f"  {at}{sentence.said}"
    yield from (f"  | {line}" for line in (life.autopsy or "").splitlines())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "offer" else f"a {kind}"
