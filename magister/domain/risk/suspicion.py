"""Pure: whether it is the template that fails, and not the machines it was tried on."""

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol, TypeVar

from magister.states import BOOT_FAILURES, Failure

HOSTS = 3
"""On so many hosts the same failure is no accident, as long as the template never worked anywhere."""

Kind = tuple[str, Failure]
"""A template and a way to fail."""


class Tried(Protocol):
    """Name what is asked of a rental; `failure` None = its worker verified."""

    @property
    def host_id(self) -> int | None:
        """Return the host; None = not known."""

    @property
    def template_hash(self) -> str | None:
        """Return the template; None = not known."""

    @property
    def failure(self) -> Failure | None:
        """Return how it failed."""


T = TypeVar("T", bound=Tried)


def suspects(tried: Iterable[Tried]) -> Mapping[Kind, int]:
    """Return on how many hosts each template failed in each way, if on HOSTS of them or more.

    A template of which one of `tried` verified is no suspect.
    """
    hosts: dict[Kind, set[int]] = {}
    worked: set[str] = set()
    for one in tried:
        if one.template_hash is None:
            continue
        if one.failure is None:
            worked.add(one.template_hash)
        elif one.failure in BOOT_FAILURES and one.host_id is not None:
            hosts.setdefault((one.template_hash, one.failure), set()).add(one.host_id)
    return {
        kind: len(found) for kind, found in hosts.items() if len(found) >= HOSTS and kind[0] not in worked
    }


def without(tried: Iterable[T], blamed: Collection[Kind]) -> tuple[T, ...]:
    """Return what says something about machines: all but the failures of the templates that are `blamed`."""
    return tuple(
        one
        for one in tried
        if one.template_hash is None or one.failure is None or (one.template_hash, one.failure) not in blamed
    )
