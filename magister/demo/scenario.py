"""The story a demo tells: one thing after the other befalls the pool, each once the last is made good."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from magister.reports.overview import Event, Overview
from magister.states import Reason, State


@dataclass(frozen=True, slots=True)
class Chapter:
    """Hold one thing that happens; no `incident` = by itself, no `sign` = a pool that was full is it."""

    title: str
    sign: Reason | None = None
    incident: str | None = None


CHAPTERS = (
    Chapter("the pool fills"),
    Chapter("a machine never works: its worker does not call", Reason.UNVERIFIED),
    Chapter("the coordinator drops a worker", Reason.COORDINATOR, "coordinator_drop"),
    Chapter("a box dies", Reason.EXITED, "exit"),
    Chapter("somebody deletes a box in the console", Reason.VANISHED, "console_delete"),
)


class Stage(Enum):
    """Say how far a chapter is."""

    AHEAD = "ahead"
    NOW = "now"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Story:
    """Hold how far each chapter is."""

    stages: tuple[Stage, ...]

    @property
    def complete(self) -> bool:
        """Say whether everything has happened and been made good."""
        return all(stage is Stage.DONE for stage in self.stages)

    @property
    def current(self) -> Chapter | None:
        """Return the chapter that is being told; None = all are."""
        told = zip(CHAPTERS, self.stages, strict=True)
        return next((chapter for chapter, stage in told if stage is Stage.NOW), None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the titles of the chapters that are not done."""
        told = zip(CHAPTERS, self.stages, strict=True)
        return tuple(chapter.title for chapter, stage in told if stage is not Stage.DONE)


def story(overview: Overview, events: Iterable[Event]) -> Story:
    """Tell from the history how far the story is, whoever began it.

    A chapter is done once its sign is in the history and the pool is whole again; the first one that is not
    is the one being told.
    """
    seen = {event.reason for event in events}
    verified_once = sum(event.to_state is State.VERIFIED for event in events) >= overview.target
    happened = [verified_once if chapter.sign is None else chapter.sign in seen for chapter in CHAPTERS]
    at = next((index for index, done in enumerate(happened) if not done), len(CHAPTERS))
    if not whole(overview) and at > 0:
        at -= 1  # the last thing that happened is not made good yet
    return Story(
        tuple(
            Stage.DONE if index < at else Stage.NOW if index == at else Stage.AHEAD
            for index in range(len(CHAPTERS))
        )
    )


def whole(overview: Overview) -> bool:
    """Say whether all that is wanted is verified, and nothing else is left."""
    states = overview.states
    others = sum(count for state, count in states.items() if state is not State.VERIFIED)
    return states[State.VERIFIED] == overview.target > 0 and others == 0
