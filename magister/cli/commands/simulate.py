"""The simulator as a command: what was wished for on the command line, and what to export."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import click

from magister.errors import PortTaken, Unusable
from magister.service import signals
from magister.simulator.market.config import KNOWN_TEMPLATE, MarketPlan
from magister.simulator.run import SimulatorOptions, SimulatorServer
from magister.simulator.runtime.simulation import DEFAULT_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Hold the command line; None or empty = as the simulator has it."""

    port: int
    hierophant_port: int
    speed: float
    seed: int
    state: Path | None = None
    key: str | None = None
    any_key: bool = False
    template: tuple[str, ...] = ()
    machines: int | None = None
    dud_share: float | None = None
    dud_kind: tuple[str, ...] = ()
    mean_life_secs: float | None = None
    boot_secs: tuple[float, float] | None = None
    credit: float | None = None
    rate_scale: float = 1.0
    beats: bool = True


def options(wishes: Wishes) -> SimulatorOptions:
    """Return the options of the simulator."""
    return SimulatorOptions(
        port=wishes.port,
        hierophant_port=wishes.hierophant_port,
        api_key=wishes.key or DEFAULT_KEY,
        any_key=wishes.any_key,
        speed=wishes.speed,
        rate_scale=wishes.rate_scale,
        beats=wishes.beats,
        state_file=wishes.state,
        plan=_plan(wishes),
    )


def run(wishes: Wishes, *, parent: int | None = None) -> None:
    """Simulate until SIGTERM, SIGINT or the death of whoever holds the other end of `parent`.

    Raises PortTaken, or Unusable for a bad option or a state file that cannot be read.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        server = SimulatorServer(options(wishes))
    except OSError as error:
        raise PortTaken(f"{error.strerror or error}: choose another --port or --hierophant-port") from error
    except ValueError as error:
        raise Unusable(str(error)) from error
    signals.when_ending(server.stopping.set, parent=parent)
    with server:
        for line in exports(server):
            click.echo(line)
        server.stopping.wait()


def exports(server: SimulatorServer) -> tuple[str, ...]:
    """Return what to export so that Magister rents from `server`."""
    return (
        f"export VAST_API_URL={server.url}",
        f"export VAST_API_KEY={server.options.api_key}",
        f"export VAST_TEMPLATE_HASH={next(iter(server.options.plan.templates), KNOWN_TEMPLATE)}",
        "export THIS_MAGISTER_ADDR=http://127.0.0.1",
        "export HIEROPHANT_IP=127.0.0.1",
        f"export HIEROPHANT_HTTP_PORT={server.hierophant_url.rpartition(':')[2]}",
        "export NUMBER_INSTANCES=3",
        "export DATABASE_URL=sqlite:///rehearsal.db",  # what is rented here must not stay among real rows
    )


def _plan(wishes: Wishes) -> MarketPlan:
    plan = MarketPlan(seed=wishes.seed)
    if wishes.template:
        plan = replace(plan, templates=wishes.template)
    if wishes.machines is not None:
        plan = replace(plan, machines=wishes.machines)
    if wishes.dud_share is not None:
        plan = replace(plan, dud_share=wishes.dud_share)
    if wishes.dud_kind:
        plan = replace(plan, dud_kinds=wishes.dud_kind)
    if wishes.mean_life_secs is not None:
        plan = replace(plan, mean_life_secs=wishes.mean_life_secs)
    if wishes.boot_secs is not None:
        plan = replace(plan, boot_secs=wishes.boot_secs)
    if wishes.credit is not None:
        plan = replace(plan, credit=wishes.credit)
    return plan
