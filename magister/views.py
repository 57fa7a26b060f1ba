"""SQL for people: the views, which say the same on SQLite and PostgreSQL."""

HISTORY = """
    SELECT t.id AS move, t.at, t.instance_id, i.offer_id, i.contract_id, i.machine_id, i.host_id,
           i.gpu_name, t.from_state, t.to_state, t.reason, t.actor, t.detail,
           i.price / 1000000.0 AS usd_per_hour
    FROM transitions t JOIN instances i ON i.id = t.instance_id
"""


def views(dialect: str) -> dict[str, str]:
    """Return the query of each view by its name; `dialect` is sqlite or postgresql.

    A changed view comes with a migration, which makes all of them anew.
    """
    return {"instance_history": HISTORY}
