"""SQL for people: the views, which say the same on SQLite and PostgreSQL.

Money is in whole micro-dollars (`micros`), exact as in `rates`, and beside it in dollars (`usd`). It is that
of GPUs and disk; traffic has columns of its own. What still costs is counted to the moment of the query.
Times are UTC.
"""

from collections.abc import Callable
from dataclasses import dataclass

from magister.domain.risk.suspicion import HOSTS
from magister.domain.traffic import KB_PER_GB
from magister.states import BLAMELESS, BOOT_FAILURES, Failure

HISTORY = """
    SELECT t.id AS move, t.at, t.instance_id, i.offer_id, i.contract_id, i.machine_id, i.host_id,
           i.gpu_name, t.from_state, t.to_state, t.reason, t.actor, t.detail,
           i.price / 1000000.0 AS usd_per_hour
    FROM transitions t JOIN instances i ON i.id = t.instance_id
"""


NEWEST_TEMPLATE = """(
        SELECT newest.template_hash FROM instances newest
        WHERE newest.template_hash IS NOT NULL AND newest.sends > 0 ORDER BY newest.id DESC LIMIT 1
    )"""
"""The template that was rented with last."""

BLAMED = f"""
    SELECT template_hash, failure, hosts
    FROM (
        SELECT template_hash, failure, COUNT(DISTINCT host_id) AS hosts FROM instances
        WHERE failure IS NOT NULL AND failure IN ({", ".join(f"'{kind}'" for kind in sorted(BOOT_FAILURES))})
          AND NOT excused AND host_id IS NOT NULL AND template_hash IS NOT NULL
        GROUP BY template_hash, failure
    ) tried
    WHERE hosts >= {HOSTS} AND NOT EXISTS (
        SELECT 1 FROM instances worked
        WHERE worked.template_hash = tried.template_hash AND worked.verified_at IS NOT NULL
    )
"""
"""The templates that never worked, in which way they fail and on how many hosts: see `suspicion`."""

GIVEN_UP = f"SELECT * FROM ({BLAMED}) blamed WHERE template_hash <> {NEWEST_TEMPLATE}"
"""Those of them that are not in use any more: only then it is sure that the machines are not to blame."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Hold what the two engines say differently; seconds are whole ones since 1970."""

    now: str
    secs: Callable[[str], str]
    date: Callable[[str], str]
    moment: Callable[[str], str]
    least: str
    greatest: str


SQLITE = Dialect(
    now="CAST(strftime('%s', 'now') AS BIGINT)",
    secs=lambda column: f"CAST(strftime('%s', substr({column}, 1, 19)) AS BIGINT)",
    date=lambda days: f"date({days} * 86400, 'unixepoch')",
    moment=lambda secs: f"datetime({secs}, 'unixepoch')",
    least="MIN",
    greatest="MAX",
)
POSTGRESQL = Dialect(
    now="CAST(floor(extract(epoch FROM now())) AS BIGINT)",
    secs=lambda column: f"CAST(floor(extract(epoch FROM {column})) AS BIGINT)",
    date=lambda days: f"DATE '1970-01-01' + CAST({days} AS INTEGER)",
    moment=lambda secs: f"to_timestamp({secs}) AT TIME ZONE 'UTC'",
    least="LEAST",
    greatest="GREATEST",
)


def views(dialect: str) -> dict[str, str]:
    """Return the query of each view by its name; `dialect` is sqlite or postgresql.

    A changed view comes with a migration, which makes all of them anew. No view reads another, so that
    they can be dropped in any order.
    """
    said = POSTGRESQL if dialect == "postgresql" else SQLITE
    return {
        "instance_history": HISTORY,
        "instance_cost": _instance_cost(said),
        "daily_cost": _daily_cost(said),
        "machine_record": _machine_record(said),
        "pool_hourly": _pool_hourly(said),
    }


LIVE = "i.state <> 'destroyed'"
"""What is not settled; in these words the partial index answers to it."""


def _spans(said: Dialect) -> str:
    """Select the intervals of what is not settled, in seconds, and when their instances were at work.

    SQLite reads what stands left of CROSS JOIN first; it would rather look at every rate that was ever kept.
    """
    left = f"COALESCE({said.secs('i.dropped_at')}, {said.now})"
    return f"""
        SELECT r.instance_id, r.line, r.micros, {said.secs("r.begins_at")} AS since,
               COALESCE({said.secs("r.ends_at")}, {said.now}) AS until,
               {said.secs("i.verified_at")} AS verified, {left} AS given_up
        FROM instances i CROSS JOIN rates r WHERE r.instance_id = i.id AND {LIVE}
    """


def _unsettled(said: Dialect) -> str:
    """Select what each instance came to so far that is not settled.

    Paid is every second in which its disk cost; it worked from its verification until it left the pool,
    as far as its GPUs cost.
    """
    secs = f"{said.greatest}(s.until - s.since, 0)"
    worked = f"{said.least}(s.until, s.given_up) - {said.greatest}(s.since, s.verified)"
    return f"""
        SELECT s.instance_id,
               CAST(SUM(s.micros * {secs}) AS BIGINT) / 3600 AS micros,
               CAST(SUM(CASE WHEN s.line = 'gpu' THEN s.micros * {secs} ELSE 0 END) AS BIGINT) / 3600
               AS gpu_micros,
               CAST(SUM(CASE WHEN s.line = 'disk' THEN {secs} ELSE 0 END) AS BIGINT) AS paid_seconds,
               CAST(SUM(CASE WHEN s.line = 'gpu' AND s.verified IS NOT NULL
                        THEN {said.greatest}({worked}, 0) ELSE 0 END) AS BIGINT) AS worked_seconds
        FROM ({_spans(said)}) s GROUP BY s.instance_id
    """


def _instance_cost(said: Dialect) -> str:
    """Each instance: what it cost in all, for how long it was paid, and for how long of that it worked.

    Of one that is settled this was stored.
    """
    left = """(SELECT t.reason FROM transitions t
               WHERE t.instance_id = i.id AND t.to_state = 'dropping' ORDER BY t.id DESC LIMIT 1)"""
    numbers = ", ".join(
        f"COALESCE(t.{name}, c.{name}, 0) AS {name}"
        for name in ("paid_seconds", "worked_seconds", "gpu_micros", "micros")
    )
    return f"""
    SELECT i.id AS instance_id, i.contract_id, i.offer_id, i.machine_id, i.host_id, i.gpu_name, i.num_gpus,
           i.state, CASE WHEN i.state IN ('dropping', 'destroyed') THEN COALESCE(t.reason, {left}, i.reason)
           END AS reason, i.requested_at, i.created_at, i.verified_at, i.dropped_at, i.destroyed_at,
           {numbers}, COALESCE(t.micros, c.micros, 0) / 1000000.0 AS usd,
           COALESCE(m.down_kb, 0) / {KB_PER_GB}.0 AS down_gb, COALESCE(m.up_kb, 0) / {KB_PER_GB}.0 AS up_gb,
           COALESCE(m.micros, 0) AS traffic_micros, COALESCE(m.micros, 0) / 1000000.0 AS traffic_usd
    FROM instances i
    LEFT JOIN instance_totals t ON t.instance_id = i.id
    LEFT JOIN ({_unsettled(said)}) c ON c.instance_id = i.id
    LEFT JOIN (
        SELECT instance_id, CAST(SUM(down_kb) AS BIGINT) AS down_kb, CAST(SUM(up_kb) AS BIGINT) AS up_kb,
               CAST(SUM(fractions) AS BIGINT) / {KB_PER_GB} AS micros
        FROM day_traffic GROUP BY instance_id
    ) m ON m.instance_id = i.id
    """


def _daily_cost(said: Dialect) -> str:
    """Each instance and UTC day: what is settled as it was stored, and the rest from its rates.

    Of the fractions of a micro-dollar each day takes what is whole by its end, so that days add up.
    """
    secs = f"{said.least}(until, (day + 1) * 86400) - {said.greatest}(since, day * 86400)"
    return f"""
    WITH RECURSIVE pieces(instance_id, micros, since, until, day) AS (
        SELECT instance_id, micros, since, until, since / 86400 FROM ({_spans(said)}) s WHERE until > since
        UNION ALL
        SELECT instance_id, micros, since, until, day + 1 FROM pieces WHERE (day + 1) * 86400 < until
    ), days AS (
        SELECT instance_id, day, CAST(SUM(micros * ({secs})) AS BIGINT) AS fractions
        FROM pieces GROUP BY instance_id, day
    ), sums AS (
        SELECT instance_id, day, fractions,
               CAST(SUM(fractions) OVER (PARTITION BY instance_id ORDER BY day) AS BIGINT) AS total
        FROM days
    )
    SELECT d.day, d.instance_id, i.machine_id, i.host_id, i.gpu_name,
           CASE WHEN i.state = 'dropping' THEN i.reason END AS reason, i.state, d.micros,
           d.micros / 1000000.0 AS usd, d.traffic_micros, d.traffic_micros / 1000000.0 AS traffic_usd
    FROM (
        SELECT day, instance_id, CAST(SUM(micros) AS BIGINT) AS micros,
               CAST(SUM(traffic_micros) AS BIGINT) AS traffic_micros
        FROM (
            SELECT {said.date("day")} AS day, instance_id,
                   total / 3600 - (total - fractions) / 3600 AS micros, 0 AS traffic_micros
            FROM sums
            UNION ALL
            SELECT day, instance_id, 0, total / {KB_PER_GB} - (total - fractions) / {KB_PER_GB}
            FROM (
                SELECT m.day, m.instance_id, m.fractions,
                       CAST(SUM(m.fractions) OVER (PARTITION BY m.instance_id ORDER BY m.day) AS BIGINT)
                       AS total
                FROM day_traffic m JOIN instances i ON i.id = m.instance_id WHERE i.state <> 'destroyed'
            ) moved
        ) parts GROUP BY day, instance_id
    ) d JOIN instances i ON i.id = d.instance_id
    UNION ALL
    SELECT c.day, c.instance_id, c.machine_id, c.host_id, c.gpu_name, c.reason, 'destroyed', c.micros,
           c.micros / 1000000.0, c.traffic_micros, c.traffic_micros / 1000000.0
    FROM day_costs c
    """


def _machine_record(said: Dialect) -> str:
    """Each machine: what our own rentals showed of it.

    Of its failures those count apart that are held against nobody: they were excused, or a former
    template is to blame.
    """
    mine = "NOT f.excused AND b.failure IS NULL"
    counted = ", ".join(
        f"SUM(CASE WHEN {mine} AND f.failure = '{kind}' THEN 1 ELSE 0 END) AS {kind}" for kind in Failure
    )
    shown = ", ".join(f"CAST(COALESCE(f.{kind}, 0) AS BIGINT) AS {kind}" for kind in (*Failure, "excused"))
    # COALESCE, or SQLite would go through all instances by their machine instead of the index of failures
    return f"""
    SELECT m.machine_id, m.host_id, m.gpu_name, m.rentals, m.adopted, m.verified,
           m.boot_seconds / NULLIF(m.verified, 0) AS mean_seconds_to_verify, {shown},
           {", ".join(f"m.{word}" for word in _ENDS)}, m.worked_seconds,
           m.paid_seconds - m.worked_seconds AS idle_seconds, m.micros, m.micros / 1000000.0 AS usd
    FROM ({_boxes_of_machines(said)}) m LEFT JOIN (
        SELECT COALESCE(f.machine_id, 0) AS machine_id, {counted},
               SUM(CASE WHEN {mine} THEN 0 ELSE 1 END) AS excused
        FROM instances f
        LEFT JOIN ({GIVEN_UP}) b ON b.template_hash = f.template_hash AND b.failure = f.failure
        WHERE f.failure IS NOT NULL GROUP BY COALESCE(f.machine_id, 0)
    ) f ON f.machine_id = m.machine_id
    """


_ENDS = {
    word: ", ".join(f"'{reason}'" for reason in BLAMELESS if BLAMELESS[reason] == word)
    for word in dict.fromkeys(BLAMELESS.values())
}
"""The columns of ends that speak against no machine, and the reasons that each counts."""

_SUMMED = {
    "rentals": "CASE WHEN c.adopted THEN 0 ELSE 1 END",
    "adopted": "CASE WHEN c.adopted THEN 1 ELSE 0 END",
    "verified": "CASE WHEN c.boot_seconds IS NULL THEN 0 ELSE 1 END",
    "boot_seconds": "COALESCE(c.boot_seconds, 0)",
    **{word: f"CASE WHEN c.reason IN ({reasons}) THEN 1 ELSE 0 END" for word, reasons in _ENDS.items()},
    "paid_seconds": "c.paid_seconds",
    "worked_seconds": "c.worked_seconds",
    "micros": "c.micros",
}
"""What one box adds to the record of its machine."""


def _boxes_of_machines(said: Dialect) -> str:
    """Sum up the boxes of each machine: those that are settled from one index, in its order, and the rest."""
    settled = ", ".join(f"SUM({adds}) AS {name}" for name, adds in _SUMMED.items())
    unsettled = ", ".join(f"{adds} AS {name}" for name, adds in _SUMMED.items())
    sums = ", ".join(f"CAST(SUM(b.{name}) AS BIGINT) AS {name}" for name in _SUMMED)
    boot = f"{said.secs('i.verified_at')} - {said.secs('COALESCE(i.created_at, i.requested_at)')}"
    return f"""
    SELECT b.machine_id, MAX(b.host_id) AS host_id, MAX(b.gpu_name) AS gpu_name, {sums} FROM (
        SELECT c.machine_id, MAX(c.host_id) AS host_id, MAX(c.gpu_name) AS gpu_name, {settled}
        FROM instance_totals c WHERE c.machine_id IS NOT NULL GROUP BY c.machine_id
        UNION ALL
        SELECT c.machine_id, c.host_id, c.gpu_name, {unsettled} FROM (
            SELECT i.machine_id, i.host_id, i.gpu_name, i.sends = 0 AS adopted,
                   CASE WHEN i.state = 'dropping' THEN i.reason END AS reason,
                   CASE WHEN i.sends > 0 AND i.verified_at IS NOT NULL THEN {said.greatest}({boot}, 0) END
                   AS boot_seconds, COALESCE(u.paid_seconds, 0) AS paid_seconds,
                   COALESCE(u.worked_seconds, 0) AS worked_seconds, COALESCE(u.micros, 0) AS micros
            FROM instances i LEFT JOIN ({_unsettled(said)}) u ON u.instance_id = i.id
            WHERE {LIVE} AND i.machine_id IS NOT NULL
              AND (i.contract_id IS NOT NULL OR i.verified_at IS NOT NULL)
        ) c
    ) b GROUP BY b.machine_id
    """


def _pool_hourly(said: Dialect) -> str:
    """Each UTC hour: how many instances were paid, how many of them worked, and what all cost.

    What is settled was stored by the hour; the rest is cut into hours from its rates.
    """
    since = f"{said.greatest}(since, hour * 3600)"
    until = f"{said.least}(until, (hour + 1) * 3600)"
    at_work = f"{said.least}({until}, given_up) > {said.greatest}({since}, verified)"
    worked = f"line = 'gpu' AND verified IS NOT NULL AND {at_work}"
    return f"""
    WITH RECURSIVE pieces(instance_id, line, micros, since, until, verified, given_up, hour) AS (
        SELECT instance_id, line, micros, since, until, verified, given_up, since / 3600
        FROM ({_spans(said)}) s WHERE until > since
        UNION ALL
        SELECT instance_id, line, micros, since, until, verified, given_up, hour + 1
        FROM pieces WHERE (hour + 1) * 3600 < until
    ), hours AS (
        SELECT hour, COUNT(DISTINCT instance_id) AS instances,
               COUNT(DISTINCT CASE WHEN {worked} THEN instance_id END) AS verified,
               SUM(micros * ({until} - {since})) AS fractions
        FROM pieces GROUP BY hour
        UNION ALL
        SELECT hour, instances, verified, fractions FROM pool_hours
    )
    SELECT {said.moment("hour * 3600")} AS hour, instances, verified, micros, micros / 1000000.0 AS usd
    FROM (
        SELECT hour, CAST(SUM(instances) AS BIGINT) AS instances, CAST(SUM(verified) AS BIGINT) AS verified,
               CAST(SUM(fractions) AS BIGINT) / 3600 AS micros
        FROM hours GROUP BY hour HAVING SUM(instances) > 0
    ) h
    """
