"""Long work that is not training: each kind of request and the function that does it.

The supervisor starts ``python -m mammo_core job --request ID``, a child process, so that a crash of a decoder or a full memory
ends that job and nothing else. A handler reports its progress, returns what it made, and raises ``MammoError`` for what went
wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mammo_core.errors import MammoError
from mammo_core.runs import queue
from mammo_core.runs.run_dir import find_run
from mammo_core.settings import Workspace

PROGRESS_SECONDS = 0.5
"""Least time between two writings of a request's progress."""

Result = dict[str, Any]


class JobProgress:
    """Writes ``done`` of ``total`` and a message into the request's file, at most twice a second."""

    def __init__(self, workspace: Workspace, request_id: str) -> None:
        self._workspace, self._id, self._written_at = workspace, request_id, 0.0

    def __call__(self, done: int, total: int, message: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self._written_at >= PROGRESS_SECONDS:
            self._written_at = now
            queue.update(self._workspace, self._id, done=done, total=total, **({"message": message} if message else {}))


def _demo_data(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.demo import make_demo_data

    dataset, split = make_demo_data(workspace, progress=progress, **arguments)
    return {"dataset": dataset, "split": split}


def _import(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.data.adapters import ImportChoices, understand
    from mammo_core.workflows.ingest import import_dataset

    asked = dict(arguments.get("choices", {}))
    if asked.get("root"):
        asked["root"] = Path(asked["root"])  # JSON knows no paths
    choices = ImportChoices(**asked)
    dataset = import_dataset(workspace, understand(Path(arguments["source"]), choices), arguments["name"], progress)
    return {"dataset": dataset.name}


def _evaluate(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.evaluation import evaluate_run

    for run_id in arguments["runs"]:
        evaluate_run(workspace, find_run(workspace, run_id), arguments["on"], progress)
    return {"runs": arguments["runs"], "on": arguments["on"]}


def _report(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.report.figures import FigureSize
    from mammo_core.workflows.pack import make_pack

    formats, size = arguments.get("formats", ("png", "svg", "pdf")), FigureSize(**arguments.get("size", {}))
    made = make_pack(workspace, arguments["runs"], formats=formats, size=size, progress=progress)
    return {"zip": made.zip_path.name, "folder": made.folder.name, "problems": list(made.problems)}


def _gallery(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.gallery import make_gallery

    return make_gallery(workspace, progress=progress, **arguments)


HANDLERS: dict[str, Callable[[Workspace, dict[str, Any], JobProgress], Result]] = {
    "demo": _demo_data,
    "import": _import,
    "evaluate": _evaluate,
    "report": _report,
    "gallery": _gallery,
}


def run_job(workspace: Workspace, request_id: str) -> int:
    """Do the work of one request and record how it ended; returns the exit code."""
    request = queue.find_request(workspace, request_id)
    if request is None or request.kind not in HANDLERS:
        return 2
    try:
        result = HANDLERS[request.kind](workspace, request.arguments, JobProgress(workspace, request_id))
    except MammoError as error:
        queue.update(workspace, request_id, state="failed", message=str(error), finished_at=time.time())
        return 1
    queue.update(workspace, request_id, state="done", message="Done", finished_at=time.time(), result=result)
    return 0
