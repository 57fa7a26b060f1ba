"""A template that fails alike on three hosts, and never worked, is to blame for it."""

from magister.domain.risk.quarantine import Trial
from magister.domain.risk.suspicion import suspects, without
from magister.states import Failure
from tests.builders import NOW

PULL = Failure.IMAGE_PULL


def tried(host: int | None, failure: Failure | None = PULL, template: str | None = "t") -> Trial:
    return Trial(at=NOW, machine_id=1, host_id=host, failure=failure, template_hash=template)


def test_the_same_failure_on_three_hosts_speaks_against_the_template() -> None:
    assert suspects([tried(1), tried(2), tried(3), tried(3)]) == {("t", PULL): 3}


def test_two_hosts_are_too_few_however_often_they_fail() -> None:
    assert suspects([tried(1), tried(2), tried(2), tried(None)]) == {}


def test_failures_of_different_kinds_or_templates_do_not_add_up() -> None:
    assert suspects([tried(1), tried(2), tried(3, Failure.DRIVER_OCI)]) == {}
    assert suspects([tried(1), tried(2), tried(3, template="u")]) == {}
    assert suspects([tried(1, template=None), tried(2, template=None), tried(3, template=None)]) == {}


def test_a_template_that_worked_somewhere_is_not_to_blame() -> None:
    assert suspects([tried(1), tried(2), tried(3), tried(4, None)]) == {}


def test_boxes_that_died_after_they_worked_say_nothing_of_the_template() -> None:
    assert suspects([tried(host, Failure.DIED) for host in range(1, 5)]) == {}


def test_only_the_failures_that_the_template_is_blamed_for_are_left_out() -> None:
    other, unknown, good = tried(1, Failure.NEVER_BOOTED), tried(2, template=None), tried(3, None)
    assert without([tried(1), other, unknown, good], {("t", PULL)}) == (other, unknown, good)
