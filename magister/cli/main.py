"""The command line: words only. What a command needs is imported when it runs, so that help is quick."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from magister import __version__
from magister.cli import maintenance
from magister.cli.costs import cost, history, machines
from magister.cli.options import configured, indifferent, leashed
from magister.service import environment
from magister.service.exit import complain

INTERRUPTED = 130
BROKEN_PIPE = 141
"""What shells make of SIGINT and SIGPIPE."""


class Magister(click.Group):
    """End every command with the exit code that the manual promises, and never with a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that `args` names, and exit; None = the arguments of this process."""
        environment.prepare()
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            code = error.exit_code
        except click.ClickException as error:
            click.echo(f"magister: {_line(error)}", err=True)
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        except BrokenPipeError:
            # else the interpreter would complain when it closes the stream
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = BROKEN_PIPE
        except Exception as error:
            code = complain(error)
        sys.exit(code if isinstance(code, int) else 0)


def _line(error: click.ClickException) -> str:
    """Say in one line what is wrong with the command line, and where it is explained."""
    said = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    return said if context is None else f"{said} See `{context.command_path} --help`."


@click.group(cls=Magister, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings file instead of ./magister.toml.",
)
@click.version_option(__version__, message="magister %(version)s")
def main(config: Path | None) -> None:
    """Keep a constant number of Vast.ai GPU boxes of one template alive.

    Settings come from the environment, .env and magister.toml, in this order; `magister check` shows them and
    tests them without renting anything, `magister demo` needs none. MAGISTER_LOG is debug, info, warning or
    error.

    Exit codes: 0 asked to stop, or all well; 1 unexpected, or not well; 2 something has to be changed first.
    """


@main.command(short_help="Run the whole service.")
@configured
@leashed
def serve(config: Path | None, parent: int | None) -> int:
    """Run the whole service: migrate the database, answer HTTP, keep the pool.

    SIGTERM or Ctrl-C ends it within 10 seconds. The rented boxes go on, and the next start takes them over.
    SIGHUP reads the settings again: good ones hold at once, and bad ones change nothing.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it ends nothing, and the settings are still to be read
    from magister.service import serve as service

    return service.serve(config, parent=parent)


@main.command(short_help="Answer HTTP only.")
@configured
@click.option("--fd", "descriptor", type=int, hidden=True)
@click.option("--ready-fd", "ready", type=int, hidden=True)
@leashed
def web(config: Path | None, descriptor: int | None, ready: int | None, parent: int | None) -> int:
    """Answer HTTP only; the loop runs elsewhere, as `magister worker`."""
    from magister.service import web_process

    return web_process.run(config, descriptor=descriptor, parent=parent, ready=ready)


@main.command(short_help="Keep the pool only.")
@configured
@leashed
def worker(config: Path | None, parent: int | None) -> None:
    """Keep the pool only; HTTP is answered elsewhere, by `magister web`.

    Of several on one database one acts, and the others wait to take its place.
    """
    from magister.service import loop_process

    loop_process.run(config, parent=parent)


@main.command(short_help="Bring the database up to date.")
@configured
@click.option("--quiet", is_flag=True, help="Say nothing if all goes well.")
@leashed
def migrate(config: Path | None, quiet: bool, parent: int | None) -> None:
    """Bring the database to the revision of this version; `magister serve` does so by itself."""
    from magister.cli.commands import migrate as migrating

    said = migrating.migrate(config, parent=parent)
    if not quiet:
        click.echo(said)


@main.command(short_help="Show the settings and test them.")
@configured
@click.option("--all", "everything", is_flag=True, help="Show the settings at their defaults as well.")
def check(config: Path | None, everything: bool) -> int:
    """Show the settings that are set and test them all, without renting anything.

    Exit code 0: the pool can run; 1: something would keep it from running; 2: the settings cannot be used.
    """
    from magister.cli.commands import check as checking

    return checking.run(config, everything=everything)


@main.command(short_help="Show the pool on one screen.")
@configured
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def status(config: Path | None, as_json: bool) -> int:
    """Show the pool on one screen, from the database, whether or not the service runs.

    Exit code 0: all is well; 1: it is not, and why; 2: there is no database that can be read.
    """
    from magister.cli.commands import status as showing

    return showing.run(config, as_json=as_json)


@main.command(short_help="Ask whether the service answers.")
@configured
def health(config: Path | None) -> int:
    """Ask the service that runs here whether it answers, as the health check of a container does.

    Exit code 0: it does; 1: it does not; 2: the settings cannot be used.
    """
    from magister.cli.commands import health as asking

    return asking.run(config)


@main.command(short_help="Stand in for Vast.ai on loopback.")
@indifferent
@click.option(
    "--port", default=8556, show_default=True, help="Port of the simulated Vast; 0 takes a free one."
)
@click.option("--hierophant-port", default=8557, show_default=True, help="Port of the simulated Hierophant.")
@click.option("--speed", default=1.0, show_default=True, help="How much faster than life time passes.")
@click.option("--seed", default=1, show_default=True, help="Number the market is drawn by.")
@click.option("--state", type=click.Path(path_type=Path), metavar="FILE", help="File to keep the market in.")
@click.option("--key", metavar="KEY", help="API key to accept.  [default: simulated-key]")
@click.option("--any-key", is_flag=True, help="Accept every API key.")
@click.option("--template", multiple=True, metavar="HASH", help="Template it knows; may be repeated.")
@click.option("--machines", type=click.IntRange(0), help="Machines in the market.")
@click.option(
    "--dud-share", type=click.FloatRange(0, 1), help="Share of machines on which nothing works for long."
)
@click.option(
    "--dud-kind",
    multiple=True,
    metavar="KIND",
    help="How duds fail: stuck_created, stuck_loading, mute, dies_soon.",
)
@click.option("--mean-life-secs", type=click.FloatRange(0), help="Mean life of a box; 0 = they do not die.")
@click.option("--boot-secs", type=(float, float), metavar="LEAST MOST", help="From the create to running.")
@click.option("--credit", type=float, help="Credit of the account, USD.")
@click.option(
    "--rate-scale", default=1.0, show_default=True, help="How strict the rate limits are; 0 = none."
)
@click.option(
    "--beats/--no-beats",
    default=True,
    show_default=True,
    help="Whether boxes keep running, with real beats; needs processes for each box.",
)
@leashed
def simulate(parent: int | None, **options: Any) -> None:
    """Stand in for Vast.ai and Hierophant on loopback, with boxes whose workers really call back.

    It prints what to export so that Magister rents there. It needs no settings and costs nothing.
    """
    from magister.cli.commands import simulate as simulating

    simulating.run(simulating.Wishes(**options), parent=parent)


@main.command(short_help="Show a pool at work, without an account.")
@indifferent
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".demo"),
    show_default=True,
    help="Where its state and logs are kept; started again there, it goes on.",
)
@click.option("--once", is_flag=True, help="End when the story is told.")
@click.option(
    "--timeout", default=120.0, show_default=True, help="Seconds that the story may take, with --once."
)
def demo(directory: Path, once: bool, timeout: float) -> int:
    """Show a pool of five at work in a simulated market: no account, no settings, no cost.

    It fills, meets a machine that never works, and loses a box in each of three ways; every loss is replaced.
    """
    from magister import demo as showing

    return showing.run(directory, once=once, timeout=timeout)


for command in (cost, history, machines, *maintenance.COMMANDS):
    main.add_command(command)
