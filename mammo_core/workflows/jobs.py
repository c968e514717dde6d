"""Long work that is not training: each kind of request and the function that does it.

The supervisor starts ``python -m mammo_core job --request ID``, a child process, so that a crash of a decoder or a full memory
ends that job and nothing else. A handler reports its progress, returns what it made, and raises ``MammoError`` for what went
wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mammo_core.errors import MammoError, Stopped
from mammo_core.runs import queue
from mammo_core.runs.run_dir import find_run
from mammo_core.settings import Workspace
from mammo_core.workflows.exit_codes import STOPPED

PROGRESS_SECONDS = 0.5
"""Least time between two writings of a request's progress."""

Result = dict[str, Any]


class JobProgress:
    """Writes ``done`` of ``total`` and a message into the request's file, at most twice a second.

    Raises
    ------
    Stopped
        A person asked that the work stops; not where all is done, since the result may be written by then.
    """

    def __init__(self, workspace: Workspace, request_id: str) -> None:
        self._workspace, self._id, self._written_at = workspace, request_id, 0.0

    def __call__(self, done: int, total: int, message: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self._written_at >= PROGRESS_SECONDS:
            self._written_at = now
            said = {"message": message} if message else {}
            request = queue.update(self._workspace, self._id, done=done, total=total, **said)
            if request.asked_to_stop is not None and done < total:
                raise Stopped


def _demo_data(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.demo_data import make_demo_data

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


def _fetch(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.data.fetch import fetch

    return {"folder": str(fetch(arguments["name"], Path(arguments["out"]), progress))}


def _audit(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.audit import audit_dataset

    audit = audit_dataset(workspace, arguments["dataset"], arguments.get("near_duplicates", True), progress)
    return {"dataset": arguments["dataset"], "warnings": sum(item["severity"] == "warning" for item in audit["findings"])}


def _embed(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.embed import EmbedPlan, embed_dataset

    size = tuple(arguments["image_size"])
    plan = EmbedPlan(dataset=arguments["dataset"], arch=arguments["arch"], image_size=(int(size[0]), int(size[1])))
    folder, record = embed_dataset(workspace, plan, _counting(progress, "Films"))
    return {"name": folder.name, "films": record.films, "features": record.features}


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


def _counting(progress: JobProgress, what: str) -> Callable[[int, int], None]:
    """``progress`` with a word for what is counted."""
    return lambda done, total: progress(done, total, what)


def _gallery(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.gallery import make_gallery

    return make_gallery(workspace, progress=_counting(progress, "Films"), **arguments)


def _localisation(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.localise import localise_run

    record = localise_run(workspace, progress=_counting(progress, "Films"), **arguments)
    return {key: record[key] for key in ("run", "on", "method", "n", "words", "failures")}


def _sanity(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.runs.map_checks import Test
    from mammo_core.workflows.sanity_check import SanityPlan, check_sanity

    plan = {key: value for key, value in arguments.items() if key not in ("run", "on")}
    record = check_sanity(workspace, arguments["run"], arguments["on"], SanityPlan(**plan), _counting(progress, "Steps"))
    outcomes = {name: Test.model_validate(test).outcome for name, test in record["tests"].items()}
    return {"run": record["run"], "on": record["on"], "method": record["plan"]["method"], "outcomes": outcomes} | {
        "failures": record["failures"]
    }


def _predict(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.prediction_batches import run_batch

    return run_batch(workspace, arguments, progress)


def _keep_model(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.model_shelf import keep_model

    record = keep_model(workspace, arguments["runs"], arguments["name"], arguments.get("description", ""))
    return {"name": record.name, "model_id": record.model_id}


def _import_model(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.model_shelf import import_upload

    record = import_upload(workspace, Path(arguments["source"]), arguments.get("name"), arguments.get("shown"))
    return {"name": record.name, "model_id": record.model_id}


def _doctor(workspace: Workspace, arguments: dict[str, Any], progress: JobProgress) -> Result:
    from mammo_core.workflows.doctor import thorough_checks

    return {"checks": [check.to_json() for check in thorough_checks(progress)]}


HANDLERS: dict[str, Callable[[Workspace, dict[str, Any], JobProgress], Result]] = {
    "demo": _demo_data,
    "import": _import,
    "fetch": _fetch,
    "audit": _audit,
    "embed": _embed,
    "evaluate": _evaluate,
    "report": _report,
    "gallery": _gallery,
    "localisation": _localisation,
    "sanity": _sanity,
    "predict": _predict,
    "keep_model": _keep_model,
    "import_model": _import_model,
    "doctor": _doctor,
}


def run_job(workspace: Workspace, request_id: str) -> int:
    """Do the work of one request and record how it ended; returns the exit code.

    Work of which a part failed has failed, as on the command line: what could be made is kept, and the message says what could
    not.
    """
    request = queue.find_request(workspace, request_id)
    if request is None or request.kind not in HANDLERS:
        return 2
    try:
        result = HANDLERS[request.kind](workspace, request.arguments, JobProgress(workspace, request_id))
    except Stopped:
        queue.update(workspace, request_id, state="cancelled", message=queue.STOPPED_WORDS, finished_at=time.time())
        return STOPPED
    except MammoError as error:
        queue.update(workspace, request_id, state="failed", message=str(error), finished_at=time.time())
        return 1
    missed = result.get("failures") or ()
    ended = {"state": "failed", "message": _partly(missed)} if missed else {"state": "done", "message": "Done"}
    queue.update(workspace, request_id, finished_at=time.time(), result=result, **ended)
    return 1 if missed else 0


def _partly(failures: Sequence[Mapping[str, Any]]) -> str:
    first, others = failures[0], len(failures) - 1
    more = f", and {others} more" if others else ""
    return f"Not all of it could be made; the rest is kept. {first['image']}{more}: {first['error']}"
