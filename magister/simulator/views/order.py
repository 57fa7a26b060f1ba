"""The body of a create, checked as Vast checks it."""

from collections.abc import Mapping

from magister.simulator.market.config import MarketPlan
from magister.simulator.market.contracts import Order
from magister.simulator.market.errors import Refused, invalid_args

LONGEST_LABEL = 256
LONGEST_ONSTART = 4048
LONGEST_COMBINED = 4096
LONGEST_IMAGE = 1024
LONGEST_ENV = 32_768
LEAST_DISK = 8.0
DEFAULT_DISK = 16.0
BIDS = (0.001, 128.0)
RUNTYPES = frozenset(
    {"ssh", "jupyter", "args", "ssh_proxy", "ssh_direct", "jupyter_proxy", "jupyter_direct"}
    | {"ssh_direc", "jupyter_direc"}  # the command line sends these, several in one string
)
TEMPLATE_IMAGE = "unattendedbackpack/contemplant:latest"


def order_from(body: object, plan: MarketPlan) -> Order:
    """Read an order out of the body of `PUT /asks/{id}/`.

    Raises `Refused` with 400 and `invalid_args` or `invalid_price`. The limits on lengths are those of Vast's
    x-input-validation.
    """
    if not isinstance(body, dict):
        raise invalid_args("error 400/3467: Invalid args: body must be a JSON object")
    if body.get("vm") is True:
        raise Refused(400, "no_ssh_key_for_vm", "error 400/3467: no_ssh_key_for_vm")
    args = _args(body)
    onstart = _text(body, "onstart", LONGEST_ONSTART)
    if len(onstart or "") + sum(map(len, args)) > LONGEST_COMBINED:
        raise invalid_args(f"error 400/3467: args, args_str and onstart exceed {LONGEST_COMBINED} characters")
    template = _template(body, plan)
    image = _text(body, "image", LONGEST_IMAGE)
    if image is None and template is None:
        raise invalid_args("error 400/3467: Invalid args: image is required")
    bid = _bid(body)
    state = body.get("target_state") or "running"
    if state not in ("running", "stopped"):
        raise invalid_args("error 400/3467: Invalid target state")
    cancel = body.get("cancel_unavail")
    return Order(
        label=_text(body, "label", LONGEST_LABEL),
        image=image or TEMPLATE_IMAGE,
        template=template,
        onstart=onstart,
        env=_env(body),
        disk=_disk(body),
        runtype=_runtype(body, args),
        args=args,
        bid=bid,
        running=state == "running",
        cancel_unavail=cancel if isinstance(cancel, bool) else bid is None and state == "running",
    )


def _text(body: Mapping[str, object], name: str, longest: int) -> str | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise invalid_args(f"error 400/3467: {name} must be a string")
    if len(value) > longest:
        raise invalid_args(f"error 400/3467: {name} exceeds {longest} characters")
    return value


def _template(body: Mapping[str, object], plan: MarketPlan) -> str | None:
    template = _text(body, "template_hash_id", 64)
    if template is not None and plan.templates and template not in plan.templates:
        raise invalid_args(f"error 400/3467: Invalid template hash or id: {template}")
    return template


def _args(body: Mapping[str, object]) -> tuple[str, ...]:
    given = body.get("args")
    if given is None or given == "":
        extra = _text(body, "args_str", LONGEST_COMBINED)
        return () if extra is None else (extra,)
    if not isinstance(given, list):
        raise invalid_args("error 400/3467: args must be an array of strings")
    return tuple(str(part) for part in given)


def _runtype(body: Mapping[str, object], args: tuple[str, ...]) -> str:
    runtype = _text(body, "runtype", 64)
    if runtype is None:
        return "args" if args else "ssh"
    if not RUNTYPES.issuperset(runtype.split()):
        raise invalid_args(f"error 400/3467: Invalid runtype: {runtype}")
    if body.get("use_ssh") is not None:
        raise invalid_args("error 400/3467: runtype and use_ssh cannot both be set")
    return runtype


def _disk(body: Mapping[str, object]) -> float:
    disk = body.get("disk")
    if disk is None:
        return DEFAULT_DISK
    if isinstance(disk, bool) or not isinstance(disk, (int, float)) or disk < LEAST_DISK:
        raise invalid_args(f"error 400/3467: disk must be a number of at least {LEAST_DISK:g}")
    return float(disk)


def _bid(body: Mapping[str, object]) -> float | None:
    price = body.get("price")
    if price is None:
        return None
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not BIDS[0] <= price <= BIDS[1]:
        raise Refused(400, "invalid_price", f"error 400/3467: price must be from {BIDS[0]} to {BIDS[1]}")
    return float(price)


def _env(body: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Take `env` as an object only: Vast's guide says that a string does not apply."""
    env = body.get("env")
    if not isinstance(env, dict):
        return ()
    pairs = tuple((str(name), str(value)) for name, value in env.items())
    if sum(len(name) + len(value) for name, value in pairs) > LONGEST_ENV:
        raise invalid_args(f"error 400/3467: env exceeds {LONGEST_ENV} characters")
    return pairs
