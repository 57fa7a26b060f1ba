"""Rows as Vast should not send them: prices without the disk, and values that fit nowhere."""

from magister.simulator.runtime.faults import Faults

Row = dict[str, object]

ODD: Row = {
    "num_gpus": 2**40,
    "host_id": 2**62,
    "end_date": 253_402_300_700.0,  # in the last minutes of the year 9999
    "start_date": -62_135_596_800.0,  # the year 1
    "dph_total": 1e300,
    "dph_base": float("nan"),
    "storage_total_cost": -1.0,
    "search": {"totalHour": float("inf"), "diskHour": "much"},
    "duration": 1e300,
    "gpu_ram": -1,
    "gpu_name": "RTX \0\ud800" + "x" * 1_000_000,
    "geolocation": "x" * 1_000_000,
    "inet_down_billed": 1e300,
    "inet_down_cost": 1e300,
}
"""What no column, calendar or page has room for."""


def offers(faults: Faults, rows: list[Row], now: float) -> list[Row]:
    """Let the faults that are set strike the offers of a search."""
    if faults.strike(("disk_unpriced",), "search", now):
        rows = [row | {"dph_total": row["dph_base"]} for row in rows]
    if rows and faults.strike(("odd_offer",), "search", now):
        rows = [*rows, rows[0] | ODD | {"id": 1, "ask_contract_id": 1}]
    return rows


def instances(faults: Faults, rows: list[Row], now: float) -> list[Row]:
    """Let the faults that are set strike a page of the listing."""
    if rows and faults.strike(("odd_instance",), "list", now):
        return [rows[0] | ODD, *rows[1:]]
    return rows
