"""The commands about money and the past: words only, as in `cli`."""

from pathlib import Path

import click

from magister.cli.options import NUMBER, RowId, configured

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


@click.command(short_help="Show what was spent.")
@configured
@click.option("--from", "first", metavar="DAY", help="First UTC day, such as 2026-11-01.  [default: the 1st]")
@click.option("--to", "last", metavar="DAY", help="Last UTC day.  [default: today]")
@click.option("--by", metavar="WHAT", help="day, machine, host, gpu, reason or state.  [default: day]")
@click.option("--bill", is_flag=True, help="Beside what Vast charged, by instance.")
@AS_JSON
def cost(
    config: Path | None, first: str | None, last: str | None, by: str | None, bill: bool, as_json: bool
) -> None:
    """Show what was spent on some days, from the database, whether or not the service runs.

    It is estimated from Vast's listings to this moment, traffic apart. By reason: why an instance left the
    pool.
    """
    from magister.cli.commands import costs as receipts

    if bill and by is not None:
        raise click.UsageError("--bill is by instance; leave --by out.")
    if bill:
        receipts.bill(config, first=first, last=last, as_json=as_json)
    else:
        receipts.cost(config, first=first, last=last, by=by, as_json=as_json)


@click.command(short_help="Tell what happened.")
@configured
@click.option("--instance", type=RowId(), metavar="ID", help="Only of one instance, by the id of its row.")
@click.option(
    "--since", metavar="WHEN", help="Not before a moment in UTC, such as 2026-11-24 or with T12:00."
)
@click.option("--limit", type=NUMBER, default=50, show_default=True, help="The last moves, so many at most.")
@AS_JSON
def history(config: Path | None, instance: int | None, since: str | None, limit: int, as_json: bool) -> None:
    """Tell the moves of the instances, each with its why, the newest last."""
    from magister.cli.commands import costs as receipts

    receipts.history(config, instance=instance, since=since, limit=limit, as_json=as_json)


@click.command(short_help="Show what each machine did for us.")
@configured
@click.option("--limit", type=NUMBER, default=50, show_default=True, help="Machines at most.")
@AS_JSON
def machines(config: Path | None, limit: int, as_json: bool) -> None:
    """Show what each machine did for us, the dearest first: rentals, failures, hours paid, cost.

    One that is in quarantine is tried last, until when and why is shown beside it.
    """
    from magister.cli.commands import costs as receipts

    receipts.machines(config, limit=limit, as_json=as_json)
