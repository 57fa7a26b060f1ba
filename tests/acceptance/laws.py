"""What must be true of a pool whatever befell it, and the table in which it is written down."""

from collections.abc import Iterator
from contextlib import contextmanager

from magister.states import State, legal
from tests.acceptance.records import Story
from tests.acceptance.world import Pool
from tests.tally import tally


@contextmanager
def tallied(boundary: str, fault: str, engine: str) -> Iterator[None]:
    """Write a run into the table of results; what leaves it by an error counts as a violation."""
    try:
        yield
    except BaseException:
        tally(boundary, fault, engine, violations=1)
        raise
    tally(boundary, fault, engine)


def assert_nothing_is_lost(pool: Pool) -> None:
    """Compare all that the market ever made with all that the rows say of it."""
    ours, stories = pool.ours(), pool.stories()
    assert len([box for box in ours if box.live]) == pool.target
    assert len(pool.live()) == pool.target + pool.strangers
    assert pool.most_live() <= pool.target + pool.strangers
    assert pool.doubled_labels() == []
    fates = {
        (story.row.contract_id, f"magister:{story.row.key}"): story.row.state
        for story in stories
        if story.row.contract_id is not None
    }
    assert fates == {(box.id, box.label): State.VERIFIED if box.live else State.DESTROYED for box in ours}
    assert not pool.dropped() & pool.live()
    for story in stories:
        assert_history_replays(story)


def assert_no_row_was_sent_twice(pool: Pool) -> None:
    """Compare what the rows say was sent with what the market was asked for."""
    assert {story.row.sends for story in pool.stories()} <= {0, 1}
    asked = [entry.body["label"] for entry in pool.entries("create") if isinstance(entry.body, dict)]
    assert len(asked) == len(set(asked))


def assert_history_replays(story: Story) -> None:
    """Follow the moves of a row, which must be legal and end where the row is."""
    state, reason = None, None
    for step in story.steps:
        assert step.from_state == state
        assert legal(step.from_state, step.to_state)
        state, reason = step.to_state, step.reason
    assert (state, reason) == (story.row.state, story.row.reason)
