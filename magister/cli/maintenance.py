"""The commands that look after a pool and explain it: words only, as in `cli`."""

from pathlib import Path
from typing import Literal

import click

from magister.cli.options import NUMBER, configured

Kind = Literal["machine", "host"]


@click.command(short_help="Show which boxes would be taken in, or take some in.")
@click.argument("contracts", nargs=-1, metavar="[CONTRACT]...", type=NUMBER)
@configured
@click.option("--dry-run", is_flag=True, help="Show what the next start would do; without it, nothing is.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def adopt(config: Path | None, contracts: tuple[int, ...], dry_run: bool, as_json: bool) -> int:
    """Show each row that the next start would make for a box of ours that has none, as after a loss.

    With the contracts of instances that another Magister rented (`magister status` names them), take these in
    at once, also while the service runs. Stop that Magister first, or it goes on ending and replacing them.

    `magister serve` takes such boxes in by itself, before it rents anything. With --dry-run this asks Vast
    for the boxes of the account and says which of them come in, as what and why, and which are left alone.
    It changes nothing.
    """
    from magister.cli.commands import adopt as adopting

    if contracts and (dry_run or as_json):
        raise click.UsageError("give either contracts, or --dry-run with or without --json")
    if contracts:
        click.echo(adopting.take_in(config, contracts))
        return 0
    return adopting.run(config, dry_run=dry_run, as_json=as_json)


@click.command(short_help="Copy the database to a file.")
@click.argument("file", type=click.Path(path_type=Path))
@configured
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def backup(config: Path | None, file: Path, force: bool) -> None:
    """Copy the SQLite database to FILE as it is at one moment; the service may run meanwhile.

    FILE is complete or not there. For PostgreSQL it says which command does so.
    """
    from magister.cli.commands import backup as backups

    click.echo(backups.backup(config, file, force=force))


@click.command(short_help="Put a backup in the place of the database.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@configured
@click.option("--by-hand", is_flag=True, help="It was put back by other means, pg_restore say: no FILE.")
def restore(config: Path | None, file: Path | None, by_hand: bool) -> None:
    """Put the backup FILE in the place of the SQLite database, which is kept beside it under a dated name.

    The service must not run. Started again, it takes in the boxes rented since the backup, and finds gone
    those that are gone, before it rents anything.

    For PostgreSQL it says which command does so. After that, or when a snapshot of any database was put back,
    --by-hand marks what such a database cannot know: workers that may have called, intents that may have been
    sent, boxes that may have been rented since.
    """
    from magister.cli.commands import backup as backups

    if by_hand == (file is not None):
        raise click.UsageError("give either FILE or --by-hand")
    click.echo(backups.put_back(config) if file is None else backups.restore(config, file))


@click.command(short_help="End what holds renting and replacing back.")
@configured
def resume(config: Path | None) -> None:
    """Close the breakers: rent at full pace again, and take losses for what they seem.

    For when the cause is mended, or the losses are known to be real. New failures open them again. Machines
    stay in quarantine.
    """
    from magister.cli.commands import maintenance

    click.echo(maintenance.run(config))


@click.command("accept-account", short_help="Let go of the boxes on another account.")
@configured
def accept_account(config: Path | None) -> None:
    """Take the Vast account of the key for the pool's, and let go of the boxes that are not on it.

    For when the key is of another account than the boxes, and you are done with that one: nothing is
    destroyed there, so what runs there may cost on until you destroy it yourself. The pool is rented anew
    here. Asks Vast whose the key is, and is refused unless it is another account's and `magister status` of
    a running Magister says so.
    """
    from magister.cli.commands import accept_account as accepting

    click.echo(accepting.run(config))


@click.command(short_help="Tell why: the pool, or one instance.")
@click.argument("which", required=False, metavar="[ID]")
@configured
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def why(config: Path | None, which: str | None, as_json: bool) -> None:
    """Tell in sentences why the pool is as it is, or the life of one instance.

    That is why it was chosen, what it did, what it cost, why it went and what its logs said.

    ID is the number of its row, of its contract at Vast, or of its offer; #ID is a row and nothing else.
    """
    from magister.cli.commands import why as telling

    click.echo(telling.run(config, which, as_json=as_json))


@click.command(short_help="Rent nothing on a machine or a host.")
@click.argument("kind", type=click.Choice(["machine", "host"]))
@click.argument("number", metavar="ID", type=NUMBER)
@configured
@click.option("--why", "reason", required=True, metavar="TEXT", help="The reason, for who reads it later.")
def ban(config: Path | None, kind: Kind, number: int, reason: str) -> None:
    """Rent nothing more on a machine or on any machine of a host, from now on; what runs there goes on.

    A second ban of the same replaces the reason. The lists in the settings hold as well.
    """
    from magister.cli.commands import ban as banning

    click.echo(banning.ban(config, kind, number, reason))


@click.command(short_help="Take a ban back.")
@click.argument("kind", type=click.Choice(["machine", "host"]))
@click.argument("number", metavar="ID", type=NUMBER)
@configured
def unban(config: Path | None, kind: Kind, number: int) -> int:
    """Take the ban of a machine or a host back.

    Exit code 1: it was not banned, or it stands in the settings, where only you can take it out.
    """
    from magister.cli.commands import ban as banning

    said, code = banning.unban(config, kind, number)
    click.echo(said)
    return code


@click.command(short_help="Show who is banned.")
@configured
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def bans(config: Path | None, as_json: bool) -> None:
    """Show the machines and hosts that are banned, by a command or by the settings."""
    from magister.cli.commands import ban as banning

    click.echo(banning.listed(config, as_json=as_json))


@click.command(short_help="Drop one instance.")
@click.argument("which", metavar="ID")
@configured
@click.option("--reason", default="", metavar="TEXT", help="The reason, for who reads it later.")
def drop(config: Path | None, which: str, reason: str) -> None:
    """Drop one instance: the loop destroys it, and rents another in its place.

    ID is the number of its row, as `magister status` shows it; offer:ID and contract:ID name it by its offer
    or contract at Vast. It needs no callback key, and an instance that is going already stays as it is.
    """
    from magister.cli.commands import drop as dropping

    click.echo(dropping.run(config, which, reason))


COMMANDS = (accept_account, adopt, backup, ban, bans, drop, restore, resume, unban, why)
