"""Training slots: one for each graphics card, one where there is none."""

from __future__ import annotations

import pytest

from mammo_core.errors import RunBusy
from mammo_core.storage import lock_of
from mammo_core.workflows.slots import VISIBLE, Slots


@pytest.fixture(autouse=True)
def visible(monkeypatch):
    """What a slot writes into the environment ends with the test."""
    monkeypatch.setenv(VISIBLE, "0,1,2")


def test_a_machine_without_a_card_has_one_slot(workspace):
    first, second = Slots(workspace, ()), Slots(workspace, ())
    assert first.count == 1
    with first.take(), pytest.raises(RunBusy, match="holds this machine's training slot"), second.take():
        pass
    with second.take():
        assert first.taken == 1
    assert first.taken == 0


def test_each_training_takes_a_card_of_its_own_until_there_is_none(workspace, monkeypatch):
    import os

    trainings = [Slots(workspace, ("3", "5")) for _ in range(3)]
    with trainings[0].take():
        assert os.environ[VISIBLE] == "3"
        with trainings[1].take():
            assert os.environ[VISIBLE] == "5"
            assert trainings[2].taken == 2
            with pytest.raises(RunBusy, match="2 graphics cards"), trainings[2].take():
                pass
        with trainings[2].take():
            assert os.environ[VISIBLE] == "5"


def test_a_process_that_trains_again_keeps_its_card(workspace):
    mine, other = Slots(workspace, ("0", "1")), Slots(workspace, ("0", "1"))
    with mine.take():
        pass
    with lock_of(workspace.slot_lock).acquire(), pytest.raises(RunBusy), mine.take():
        pass  # slot 1 is free, but CUDA in this process has card 0
    with other.take():
        assert mine.mine == other.mine == 0


def test_a_training_on_every_card_waits_for_all_and_leaves_none(workspace):
    wide, narrow = Slots(workspace, ("0", "1")), Slots(workspace, ("0", "1"))
    with narrow.take(), pytest.raises(RunBusy), wide.take(every=True):
        pass
    with wide.take(every=True):
        assert wide.taken == 2
    assert wide.taken == 0
