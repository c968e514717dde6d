"""From a path to its verdict: a run of this app, an imported one, or a file or folder of another tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mammo_core.analysis.diagnosis import Diagnosis, context_of_run, diagnose, foreign_context
from mammo_core.errors import MammoError
from mammo_core.runs.importers import ForeignHistory, read_foreign_history
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import EpochRecord

NOTHING: dict[str, Any] = {
    "verdict": None,
    "confidence": None,
    "best_epoch": None,
    "best_row": None,
    "phases": [],
    "findings": [],
}


def diagnose_run(run: RunDir, ended: bool = False) -> Diagnosis:
    """The verdict on a run directory as it stands now; provisional while the run trains.

    Parameters
    ----------
    ended : bool
        No epoch will follow, although the run's status does not say so yet.

    Raises
    ------
    MammoError
        The history is damaged.
    """
    context = context_of_run(run)
    return diagnose(run.history(), replace(context, finished=True) if ended else context)


def diagnose_foreign(history: ForeignHistory) -> Diagnosis:
    """The verdict on a history of another tool."""
    return diagnose(history.records, foreign_context(history.known.to_json(), history.score_name))


def diagnose_path(path: str | Path, mapping: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One element of ``diagnose --json``. It never raises for a bad file: ``error`` then holds one sentence and the rest is null.

    A file with several histories (models, folds) is judged by its longest; all of them stand under ``histories``.
    """
    element: dict[str, Any] = {"path": str(path), **NOTHING, "error": None}
    try:
        return element | _judged(Path(path).expanduser(), mapping)
    except MammoError as error:
        return element | {"error": str(error)}
    except OSError as error:
        return element | {"error": f"{Path(path).name} cannot be read ({error.strerror}); expected a readable file or folder."}


def _judged(path: Path, mapping: Mapping[str, str] | None) -> dict[str, Any]:
    if is_run(path):
        records = RunDir(path).history()
        if not records:
            raise MammoError(
                f"{path.name} has no finished epoch yet; expected at least one. Wait for the first epoch, or name another run."
            )
        return diagnose(records, context_of_run(RunDir(path))).to_json()
    histories = read_foreign_history(path, mapping)
    judged = [diagnose_foreign(history) for history in histories]
    main = max(range(len(histories)), key=lambda index: (_weight(histories[index].records), -index))
    element = judged[main].to_json() | {
        "source": histories[main].source,
        "label": histories[main].label,
        "facts": list(histories[main].facts),
    }
    if len(histories) > 1:
        element["histories"] = [
            {"label": history.label, "rows": len(history.records), "verdict": diagnosis.verdict, "headline": diagnosis.headline}
            for history, diagnosis in zip(histories, judged, strict=True)
        ]
    return element


def _weight(records: list[EpochRecord]) -> int:
    """Rows, with those of a validation loss counted twice."""
    return len(records) + sum(record.val_loss is not None for record in records)


def is_run(path: Path) -> bool:
    """Whether a folder is a run of this app (a config with our schema version) and not a results folder of another tool."""
    config = path / "config.yaml"
    if not config.is_file():
        return False
    try:
        with config.open(encoding="utf-8") as file:
            return "schema_version" in file.read(4096)
    except (OSError, UnicodeDecodeError):
        return False
