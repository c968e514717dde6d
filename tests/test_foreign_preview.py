"""Histories of other tools before they are kept: uploads laid out harmlessly, columns mapped, contents told."""

from __future__ import annotations

import pytest

from mammo_core.errors import DataError
from mammo_core.workflows.foreign_preview import lay_out_files, lay_out_folder, parse_mapping, preview_history

KERAS = "epoch,loss,val_loss\n" + "".join(f"{e},{1 / (e + 1)},{1.1 / (e + 1)}\n" for e in range(12))
NAMES = ["../../evil.csv", "/etc/passwd", "C:\\windows\\x.csv", "..", "", "a/../../b.csv", "x\x00y.csv", "." * 50, "é" * 300]


def test_an_uploaded_name_never_leaves_its_folder(tmp_path):
    paths = lay_out_files(tmp_path / "up", [(name, b"x") for name in NAMES])
    assert len(set(paths)) == len(NAMES)
    assert all(path.resolve().is_relative_to(tmp_path / "up") and path.is_file() for path in paths)
    top = lay_out_folder(tmp_path / "folder", [(name, b"x") for name in NAMES])
    assert top.resolve().is_relative_to(tmp_path / "folder")
    assert sum(path.is_file() for path in (tmp_path / "folder").rglob("*")) == len(NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "up"]


def test_an_uploaded_folder_keeps_its_shape(tmp_path):
    files = [(f"results 1/fold_{fold}/metrics.csv", KERAS.encode()) for fold in (1, 2)]
    top = lay_out_folder(tmp_path, files)
    assert [history.label for history in preview_history(top).histories] == ["fold_1", "fold_2"]


def test_an_endless_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="501 files, more than 500"):
        lay_out_folder(tmp_path, [(f"d/{number}.csv", b"") for number in range(501)])


def test_the_preview_says_which_column_was_read_as_what(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(KERAS)
    found = preview_history(path)
    assert found.columns == ("epoch", "loss", "val_loss")
    assert found.reading == {"epoch": ("epoch",), "train_loss": ("loss",), "val_loss": ("val_loss",)}
    assert found.summary == "Keras CSVLogger: one history of 12 rows."
    assert found.judged[0].best_row == 12


def test_a_mapping_changes_what_is_read(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(KERAS)
    found = preview_history(path, {"val_loss": "loss"})
    assert found.reading["val_loss"] == ("loss",)
    assert found.histories[0].records[1].val_loss == 0.5


def test_what_is_no_history_is_one_sentence(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk.\n")
    found = preview_history(path)
    assert not found.histories
    assert found.summary == found.problem
    assert "notes.txt is no training history" in found.problem
    assert str(tmp_path) not in found.problem


def test_pairs_of_the_command_line_become_a_mapping():
    assert parse_mapping(["val_loss=my column", "lr = rate=x"]) == {"val_loss": "my column", "lr": "rate=x"}


@pytest.mark.parametrize("pair", ["val_loss", "loss=a", "val_loss=", "=x", ""])
def test_a_pair_that_says_nothing_is_refused(pair):
    with pytest.raises(DataError, match="expected NAME=COLUMN"):
        parse_mapping([pair])


def test_a_folder_of_several_kinds_of_logs_names_them(tmp_path):
    for name, text in (
        ("a", KERAS),
        ("b", KERAS),
        ("c", "| epoch | train_loss |\n|---|---|\n| 1 | 0.5 |\n| 2 | 0.4 |\n| 3 | 0.3 |\n"),
    ):
        (tmp_path / "logs" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "log.md").write_text(text) if name == "c" else (
            tmp_path / "logs" / name / "log.csv"
        ).write_text(text)
    found = preview_history(tmp_path / "logs")
    assert len({history.source for history in found.histories}) == 2
    assert all(history.source in found.summary for history in found.histories)
    assert "3 histories" in found.summary
    assert ": 2 " in found.summary
