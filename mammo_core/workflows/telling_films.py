"""Which films of a run are worth a map, reading them, and what their pictures are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from mammo_core.data.film import Film
from mammo_core.data.foreign_file import without_name
from mammo_core.data.manifest import Dataset
from mammo_core.data.sandbox import DecodePool, Job
from mammo_core.errors import DataError, FilmUnreadable, MammoError
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace

Progress = Callable[[int, int], None]
Kind = Literal["right", "missed", "wrongly called"]

KINDS: tuple[Kind, ...] = ("right", "missed", "wrongly called")
"""Every class has its own three; ``report.map_tables.KIND_TITLES`` says them in words."""


@dataclass(frozen=True)
class Pick:
    """A film of a class and what the run made of it."""

    image_id: str
    true: str
    predicted: str
    score: float
    """Probability of the predicted class."""
    kind: Kind
    class_name: str
    """The class under which it is listed and whose map is shown first."""

    @property
    def shown_classes(self) -> tuple[str, ...]:
        """For a missed film the map of its true class and of the one it was taken for."""
        return (self.class_name, self.predicted) if self.kind == "missed" else (self.class_name,)

    @property
    def caption(self) -> str:
        verdict = "right" if self.true == self.predicted else f"truly {self.true}"
        return f"Called {self.predicted} ({self.score:.2f}), {verdict}."


def predictions_of(run: RunDir, on: str) -> pd.DataFrame:
    """The run's predictions of a part.

    Raises
    ------
    DataError
        There are none yet.
    """
    table = run.predictions(on)
    if table is None or table.empty:
        raise DataError(f"{run.id} has no predictions on {on!r}; evaluate the run there first, then make the maps.")
    return table


def pick_films(predictions: pd.DataFrame, class_names: Sequence[str], per_class: int) -> list[Pick]:
    """The most confident films of each class and kind, in the order of classes and kinds."""
    table = predictions.assign(score=[row[f"prob_{row['y_pred']}"] for _, row in predictions.iterrows()])
    table = table.sort_values(["score", "image_id"], ascending=[False, True])
    picks: list[Pick] = []
    for name in class_names:
        is_true, is_called = table["y_true"] == name, table["y_pred"] == name
        for kind, rows in zip(KINDS, (is_true & is_called, is_true & ~is_called, ~is_true & is_called), strict=True):
            for row in table[rows].head(per_class).to_dict("records"):
                picks.append(Pick(row["image_id"], row["y_true"], row["y_pred"], float(row["score"]), kind, name))
    return picks


def telling_films(run: RunDir, class_names: Sequence[str], on: str = "val") -> list[str]:
    """The most confident right and missed film of each class.

    Raises
    ------
    DataError
        There are no predictions of that part, or none of them is of a class of the model.
    """
    picks = pick_films(predictions_of(run, on), class_names, 1)
    if not picks:
        raise DataError(
            f"No prediction of {run.id} on {on!r} is of one of its classes ({', '.join(class_names)}), so there is no film to "
            "choose. Evaluate the run there again."
        )
    return list(dict.fromkeys(pick.image_id for pick in picks if pick.kind != "wrongly called"))


def read_films(
    dataset: Dataset, image_ids: Sequence[str], progress: Progress | None = None
) -> Iterator[tuple[str, Film | MammoError]]:
    """Read films of a data set in a child process, in order; a failure is a result, not an exception.

    Side and view come from the manifest where a film's own file states none.
    """
    places = {row["image_id"]: (row["laterality"], row["view"]) for row in dataset.manifest().to_dict("records")}
    jobs: list[Job] = []
    missing: dict[str, MammoError] = {}
    for image_id in image_ids:
        try:
            jobs.append(Job("film", dataset.film_path(image_id), tag=image_id))
        except MammoError as error:
            missing[image_id] = error
    with DecodePool(1) as pool:
        results = pool.map(jobs)
        for number, image_id in enumerate(image_ids, start=1):
            if image_id in missing:
                yield image_id, missing[image_id]
            else:
                job, result = next(results)
                if isinstance(result, Film):
                    yield image_id, result.known_as(*places.get(image_id, ("", "")))
                elif isinstance(result, FilmUnreadable):
                    yield image_id, FilmUnreadable(without_name(result, job.path.as_posix()))
            if progress is not None:
                progress(number, len(image_ids))


def gallery_folder(workspace: Workspace, run: RunDir, on: str, method: str) -> Path:
    """Where ``make_gallery`` writes ``gallery.json``, ``gallery.png`` and a picture for each map."""
    return workspace.reports / "gradcam" / safe_name(run.experiment) / safe_name(run.name) / safe_name(f"{on}_{method}")


def map_caption(class_name: str, empty: bool) -> str:
    return f"Map for {class_name}: no positive evidence." if empty else f"Map for {class_name}."


def map_file_name(image_id: str, class_name: str) -> str:
    return f"{safe_name(image_id)}_{safe_name(class_name)}.png"


def safe_name(text: str) -> str:
    """``text`` with everything but letters, digits, ``.``, ``_`` and ``-`` replaced, so that it can be part of a file's name."""
    return re.sub(r"[^\w.-]", "_", text).lstrip(".")[:80] or "_"
