"""Pickled histories: plain numbers are read at every protocol; everything else is refused without running a line of it."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from mammo_core.errors import DataError
from mammo_core.runs.importers import read_foreign_history

LOSS, VAL = [2.0, 1.5, 1.2, 1.0], [1.9, 1.6, 1.3, 1.4]


class Command:
    """What an attacker would write: unpickling it runs a command."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def dump(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol_are_read(tmp_path, protocol):
    value = {
        "epochs": np.arange(1, 5),
        "train_losses": np.array(LOSS),
        "val_losses": np.float32(VAL),
        "val_accs": [np.float64(0.5)] * 4,
    }
    (history,) = read_foreign_history(dump(tmp_path / "train_history.pkl", value, protocol))
    assert [record.train_loss for record in history.records] == LOSS
    assert [record.val_loss for record in history.records] == pytest.approx(VAL)
    assert history.source_epochs == [1, 2, 3, 4]


def test_a_command_is_refused_and_never_runs(tmp_path):
    target = tmp_path / "ran"
    path = dump(tmp_path / "train_history.pkl", {"train_losses": LOSS, "val_losses": VAL, "note": Command(target)})
    with pytest.raises(DataError, match="cannot be read safely .*posix.system"):
        read_foreign_history(path)
    assert not target.exists()


def test_object_arrays_and_foreign_classes_are_refused(tmp_path):
    for name, value in (
        ("object.pkl", {"loss": np.array([1.0, None])}),
        ("range.pkl", {"loss": range(5)}),
        ("text.pkl", {"loss": {1, 2}}),
    ):
        with pytest.raises(DataError, match=f"^{name}"):
            read_foreign_history(dump(tmp_path / name, value))


def test_a_memory_bomb_dies_in_its_child(tmp_path):
    bomb = [0.0] * 10
    for _ in range(60):
        bomb = [bomb, bomb]
    with pytest.raises(DataError, match="too many values"):
        read_foreign_history(dump(tmp_path / "bomb.pkl", {"train_losses": bomb}))


def test_a_large_pickle_is_refused_before_it_is_opened(tmp_path):
    path = tmp_path / "large.pkl"
    with path.open("wb") as file:
        file.seek(17 * 2**20)
        file.write(b".")
    with pytest.raises(DataError, match="above 16 MB"):
        read_foreign_history(path)
