"""Histories of other tools, in this app's schema.

Read are: Keras CSVLogger and history JSON, Lightning CSVLogger, Ultralytics ``results.csv``, Hugging Face
``trainer_state.json``, fastai, timm ``summary.csv``, nnU-Net logs, TensorBoard event files, ``train_history.json`` / ``.pkl``
and ``training_log.csv`` of the density and lesion reference setups, Markdown tables, JSON lines, plain text logs, and any CSV,
TSV or JSON whose columns are recognised or named by a mapping. Nothing in a file is ever executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mammo_core.errors import DataError
from mammo_core.runs.importers.files import read_file
from mammo_core.runs.importers.folders import read_folder
from mammo_core.runs.importers.imported_runs import import_history
from mammo_core.runs.importers.model import BROKEN, SEGMENT, SOURCE_EPOCH, ForeignHistory, Known

__all__ = ["BROKEN", "SEGMENT", "SOURCE_EPOCH", "ForeignHistory", "Known", "import_history", "read_foreign_history"]


def read_foreign_history(path: Path, mapping: Mapping[str, str] | None = None) -> list[ForeignHistory]:
    """Every history in a file or results folder, in the order in which it stands there.

    Parameters
    ----------
    path
        File or folder.
    mapping
        Our names (``epoch, train_loss, val_loss, train_acc, val_acc, lr``) to the file's, where names alone do not tell.

    Raises
    ------
    DataError
        Nothing there is a training history; one sentence says what was found and what to do.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path, mapping)
    if not path.is_file():
        raise DataError(f"There is no file or folder {path.name}; expected a training history. Check the path.")
    return read_file(path, mapping)
