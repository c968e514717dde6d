"""Light work that a person stops: it hears that when it next tells how far it is, and leaves nothing half-made that is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from make_models import CLASSES, write_drawn_dataset, write_model_run
from mammo_core.data.manifest import load_dataset
from mammo_core.errors import Stopped
from mammo_core.runs import queue
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import Request
from mammo_core.settings import Workspace
from mammo_core.storage import write_table
from mammo_core.workflows.exit_codes import STOPPED
from mammo_core.workflows.jobs import JobProgress, run_job
from mammo_core.workflows.prediction_batches import list_batches, load_batch
from test_gallery import predictions

LABELS = {"i1": "A", "i2": "A", "i3": "B", "i4": "B", "i5": "C", "i6": "C"}


@pytest.fixture
def run(workspace: Workspace) -> RunDir:
    run = write_model_run(workspace)
    write_drawn_dataset(workspace, LABELS, CLASSES)
    write_table(run.predictions_file("val"), predictions())
    return run


def stopped(workspace: Workspace, kind: str, **arguments: object) -> Request:
    """The request after its job, which was asked to stop as soon as it ran."""
    request = queue.enqueue(workspace, kind, arguments, kind)
    assert queue.start(workspace, request.id)
    assert queue.stop(workspace, request.id).state == "running"
    code, found = run_job(workspace, request.id), queue.find_request(workspace, request.id)
    assert found is not None
    assert code == STOPPED, found.message
    return found


def files(workspace: Workspace) -> set[Path]:
    """Everything but the queue and the cache, which is safe to delete."""
    return set(_below(workspace.home, {workspace.queue, workspace.cache}))


def _below(folder: Path, without: set[Path]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path not in without:
            yield from _below(path, without) if path.is_dir() else [path]


@pytest.mark.parametrize("kind", ["import", "embed", "report", "gallery", "evaluate"])
def test_stopped_work_is_cancelled_and_leaves_nothing_that_looks_done(workspace: Workspace, run: RunDir, kind: str) -> None:
    films = load_dataset(workspace, "drawn").film_path("i1").parent
    arguments: dict[str, dict[str, object]] = {
        "import": {"source": str(films), "choices": {}, "name": "again"},
        "embed": {"dataset": "drawn", "arch": "tf_efficientnet_lite0", "image_size": [64, 64]},
        "report": {"runs": [run.id]},
        "gallery": {"run": run.id},
        "evaluate": {"runs": [run.id], "on": "drawn"},
    }
    (films / "films.csv").write_text("file,patient,label\n" + "".join(f"{name}.png,{name},{LABELS[name]}\n" for name in LABELS))
    before = files(workspace)
    request = stopped(workspace, kind, **arguments[kind])
    assert (request.state, request.message) == ("cancelled", queue.STOPPED_WORDS)
    assert {path for path in files(workspace) - before if path.suffix != ".lock" and "gradcam" not in path.parts} == set()


def test_what_is_complete_is_not_called_stopped(workspace: Workspace) -> None:
    request = queue.enqueue(workspace, "audit", {}, "Audit")
    queue.start(workspace, request.id)
    queue.stop(workspace, request.id)
    progress = JobProgress(workspace, request.id)
    progress(5, 5, "Written")
    with pytest.raises(Stopped):
        JobProgress(workspace, request.id)(4, 5)


def test_a_folder_of_predictions_keeps_the_films_judged_before_it_was_stopped(workspace: Workspace, run: RunDir) -> None:
    films = load_dataset(workspace, "drawn").film_path("i1").parent
    request = stopped(workspace, "predict", runs=[run.id], folder=str(films), name="half")
    assert request.state == "cancelled"
    assert [batch.state for batch in list_batches(workspace)] == ["unfinished"]
    assert len(load_batch(workspace, "half").films) == 1
