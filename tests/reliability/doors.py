"""Every way by which a file of somebody else comes in: what a sound file there looks like, and the code that opens it.

A door is opened with any bytes. It may return anything or raise a ``MammoError``; everything else is a fault.
"""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save as save_tensors

from make_map_checks import localisation_record, sanity_record
from make_models import ARCH, write_drawn_dataset, write_model
from make_runs import write_run
from mammo_core.data import fetch
from mammo_core.data.adapters import understand
from mammo_core.data.adapters.table_files import read_cells, read_table
from mammo_core.data.manifest import list_datasets
from mammo_core.data.split_import import read_split_table
from mammo_core.data.splits import SplitPlan, import_split, list_splits, save_split, split_dataset
from mammo_core.errors import MammoError
from mammo_core.predict.model_record import SUFFIX, read_card
from mammo_core.predict.unfamiliar import load_guard
from mammo_core.presets import load_preset, parse_overrides
from mammo_core.reading import read_text_table
from mammo_core.report.charts import HistoryView, history_chart
from mammo_core.runs.history import history_frame
from mammo_core.runs.importers import import_history, read_foreign_history
from mammo_core.runs.listing import list_cards
from mammo_core.runs.map_checks import LocalisationRecord, SanityRecord, read_check
from mammo_core.runs.queue import list_requests
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import Request
from mammo_core.settings import Workspace
from mammo_core.storage import write_json, write_table
from mammo_core.training import weights
from mammo_core.training.checkpoint import load_checkpoint, load_tensors
from mammo_core.workflows.batch_files import batches_folder, list_batches, load_batch
from mammo_core.workflows.diagnose import diagnose_run
from mammo_core.workflows.foreign_preview import preview_history
from mammo_core.workflows.made_packs import list_packs
from mammo_core.workflows.model_shelf import import_model, keep_model, kept_models
from mammo_core.workflows.overview import experiment_rows
from mammo_core.workflows.queue_view import finish_clock, job_progress, queue_view, run_progress, seconds_left
from mammo_core.workflows.shelf import shelf, shelf_of_runs
from reliability.hostile_bytes import LOSSES, scalar

Open = Callable[[bytes], object]


@dataclass(frozen=True)
class Door:
    """One way in."""

    name: str
    sound: tuple[bytes, ...]
    open: Open
    kinds: tuple[str, ...] = ()
    """Words of the hand-made files that belong here beside all others: none means every one."""
    share: float = 1.0
    """How often it is tried, beside the others: doors that start a process are slow."""


@dataclass(frozen=True)
class House:
    """A workspace in which everything is sound, and a folder for what comes from outside."""

    workspace: Workspace
    run: RunDir
    outside: Path


def build_house(folder: Path) -> House:
    """A workspace with a run, its checkpoint, a data set with films, a split, a kept model, a batch and a request."""
    workspace = Workspace(folder / "home")
    outside = folder / "incoming"
    outside.mkdir(parents=True)
    run = write_run(
        workspace.experiments / "density" / "seed_42", seed=42, class_names=("A", "B", "C"), epochs=4, replicates=5, patients=30
    )
    write_model(run, run.config().replace(arch=ARCH, image_size=(96, 96)), 42)
    table = run.predictions("val")
    np.save(run.embeddings, np.random.default_rng(1).random((len(table), 256), dtype=np.float32))
    torch.save({"epoch": 3, "model": load_tensors(run.best_model)["model_state"], "rng": [1, 2, 3]}, run.resume_file)
    write_drawn_dataset(workspace, dict(zip(table["image_id"], table["y_true"], strict=True)), ("A", "B", "C"), "phantoms")
    paths = workspace.dataset("phantoms") / "paths.csv"
    write_table(paths, read_text_table(paths).assign(sha256=table["image_id"].to_list()))  # else all films are one
    save_split(workspace, "by_patient", split_dataset(list_datasets(workspace)[0][0], SplitPlan(seed=1)))
    keep_model(workspace, [run.id], "kept", "For the tests.")
    request = Request(id="1-abc", kind="evaluate", arguments={"run": run.id}, title="Evaluate", state="failed", message="No.")
    workspace.queue.mkdir(parents=True)
    write_json(workspace.queue / "1-abc.json", request.to_json())
    batch = batches_folder(workspace) / "batch"
    batch.mkdir(parents=True)
    summary = {
        "name": "batch",
        "state": "finished",
        "made_at": "2026-01-02",
        "task": "density",
        "runs": [run.id],
        "counts": {"films": 1},
    }
    write_json(batch / "batch.json", summary | {"class_names": ["A", "B", "C"]})
    film = {"film": 1, "predicted": "A", "probabilities": {"A": 0.5, "B": 0.3, "C": 0.2}, "error": None, "warnings": []}
    film |= {"unfamiliar": {"flagged": None, "score": None, "threshold": None, "reason": "No."}}
    write_json(batch / "predictions.json", {"films": [film], "exams": [], "models": []})
    return House(workspace, run, outside)


def doors_of(house: House) -> list[Door]:
    """All doors of a house."""
    return [*_run_files(house), *_histories(house), *_data(house), *_models(house), *_other(house)]


# ---- files of a run -------------------------------------------------------------------------------------------------------


@contextmanager
def _in_place(path: Path, content: bytes) -> Iterator[None]:
    """The file holds these bytes for a moment."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    try:
        yield
    finally:
        path.unlink(missing_ok=True) if before is None else path.write_bytes(before)


def attempt(*calls: Callable[[], object]) -> None:
    """Make all calls, and raise the first refusal afterwards: one refusal must not hide what comes after it."""
    refusals: list[MammoError] = []
    for call in calls:
        try:
            call()
        except MammoError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _run_files(house: House) -> list[Door]:  # noqa: C901  it is a list
    run, workspace = house.run, house.workspace

    def look_at_run() -> None:
        def lists() -> None:
            cards = list_cards(workspace, archived=True)
            view = queue_view(workspace, cards)
            experiment_rows(cards)
            shelf(cards)
            shelf_of_runs(cards)
            for card in cards:
                if card.problem:
                    raise MammoError(card.problem)
                if card.status is not None:
                    run_progress(card.status)
                    finish_clock(seconds_left(card.status))
            for request in view.jobs:
                job_progress(request)

        def curves() -> None:
            frame = history_frame(run.history())
            if len(frame):
                history_chart(frame, HistoryView(title="x"))

        attempt(
            run.config,
            run.status,
            run.state,
            run.summary,
            run.split_info,
            run.notes,
            run.test_looks,
            run.import_record,
            lists,
            curves,
            lambda: diagnose_run(run),
            lambda: run.metrics("val"),
            lambda: run.predictions("val"),
            run.log_tail,
        )

    def door(path: Path, share: float = 1.0) -> Door:
        def open_(content: bytes) -> None:
            with _in_place(path, content):
                look_at_run()

        sound = path.read_bytes() if path.exists() else b'{"schema_version": 1, "text": "a", "tags": ["b"], "facts": ["c"]}'
        return Door(f"{path.name} of a run", (sound,), open_, share=share)

    return [
        door(run.config_file, 3),
        door(run.status_file, 3),
        door(run.history_file, 2),
        door(run.summary_file, 2),
        door(run.notes_file),
        door(run.import_file),
        door(run.split_record),
        door(run.test_looks_file),
        door(run.metrics_file("val")),
        door(run.predictions_file("val"), 2),
        door(run.environment_file, 0.5),
        Door("embeddings_val.npy of a run", (run.embeddings.read_bytes(),), _placed(run.embeddings, lambda: load_guard(run))),
    ]


def _placed(path: Path, call: Callable[[], object]) -> Open:
    def open_(content: bytes) -> None:
        with _in_place(path, content):
            call()

    return open_


# ---- histories ------------------------------------------------------------------------------------------------------------


KERAS = "epoch,loss,accuracy,val_loss,val_accuracy\n" + "".join(
    f"{n},{1 / (n + 1):.3f},0.5,{1.1 / (n + 1):.3f},0.4\n" for n in range(9)
)
JSON_HISTORY = json.dumps([{"epoch": n, "train_loss": 1 / n, "val_loss": 1.2 / n, "val_acc": 0.5} for n in range(1, 9)], indent=1)
LOG = "".join(f"Epoch {n}/9 - train loss: {1 / n:.3f}, acc: 0.5 | val loss: {1.2 / n:.3f}\n" for n in range(1, 9))
EVENTS = b"".join(
    (lambda payload: len(payload).to_bytes(8, "little") + bytes(4) + payload + bytes(4))(
        b"\x10%c" % n + scalar("train_loss", 1 / n)
    )
    for n in range(1, 9)
)


def _histories(house: House) -> list[Door]:
    numbers = iter(range(10**9))

    def door(name: str, sound: bytes, share: float = 1.0) -> Door:
        def open_(content: bytes) -> None:
            place = house.outside / f"history_{next(numbers)}"
            place.mkdir()
            (place / name).write_bytes(content)
            try:
                attempt(lambda: preview_history(place / name), lambda: preview_history(place / name, {"val_loss": "loss"}))
                attempt(lambda: read_foreign_history(place), lambda: import_history(house.workspace, place / name, "taken"))
            finally:
                shutil.rmtree(place)
                shutil.rmtree(house.workspace.imported / "taken", ignore_errors=True)

        return Door(f"{name} as a history", (sound,), open_, share=share)

    pickled = pickle.dumps({name: np.array(values) for name, values in LOSSES.items()})
    return [
        door("log.csv", KERAS.encode(), 2),
        door("history.json", JSON_HISTORY.encode(), 2),
        door("metrics.jsonl", JSON_HISTORY.encode()),
        door("train.log", LOG.encode(), 2),
        door("table.md", KERAS.replace(",", "|").encode()),
        door("events.out.tfevents.1.host", EVENTS, 2),
        door("train_history.pkl", pickled, 0.1),
    ]


LESIONS = b"image_id,top,left,height,width,pathology\nfilm,1,2,3,4,benign\n"


# ---- data sets, tables, splits --------------------------------------------------------------------------------------------


def _data(house: House) -> list[Door]:
    workspace = house.workspace
    dataset = list_datasets(workspace)[0][0]

    def sets() -> None:
        found, problems = list_datasets(workspace)
        for problem in problems.values():
            raise MammoError(problem)
        for one in found:
            attempt(one.manifest, one.paths, one.audit, one.lesions, one.film_paths)

    def splits() -> None:
        _, problems = list_splits(workspace)
        for problem in problems.values():
            raise MammoError(problem)

    def take_over(content: bytes) -> None:
        import_split(read_split_table(content), dataset)

    def table_door(name: str, sound: bytes, share: float = 1.0) -> Door:
        path = house.outside / "set" / name
        without_names = [lambda: read_cells(path)] if path.suffix != ".parquet" else []

        def open_(content: bytes) -> None:
            path.write_bytes(content)
            try:
                attempt(lambda: read_table(path), *without_names, lambda: understand(path.parent))
            finally:
                path.unlink()

        return Door(f"{name} of films to import", (sound,), open_, share=share)

    manifest = dataset.manifest()
    (house.outside / "set").mkdir(exist_ok=True)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(house.outside / "set" / "a.png")
    films = pd.DataFrame({"file": ["a.png", "b.png"], "patient": ["1", "2"], "density": ["A", "B"]})
    excel, parquet = io.BytesIO(), io.BytesIO()
    films.to_excel(excel, index=False)
    foreign = manifest[["image_id"]].assign(
        split=["train", "val", "test"] * (len(manifest) // 3) + ["train"] * (len(manifest) % 3)
    )
    doors = [
        Door(f"{name} of a data set", ((dataset.directory / name).read_bytes(),), _placed(dataset.directory / name, sets))
        for name in ("dataset.json", "manifest.csv", "paths.csv")
    ]
    doors += [
        Door(f"{name} of a data set", (sound,), _placed(dataset.directory / name, sets))
        for name, sound in (("audit.json", b'{"a": [1], "b": {"c": 2}}'), ("lesions.csv", LESIONS))
    ]
    folder = workspace.splits / "by_patient"
    doors += [
        Door(f"{path.name} of a split", (path.read_bytes(),), _placed(path, splits)) for path in sorted(folder.glob("split.*"))
    ]
    with suppress(ImportError):
        films.to_parquet(parquet)
        doors.append(table_door("films.parquet", parquet.getvalue(), 0.5))
    return [
        *doors,
        Door("a split to import", (foreign.to_csv(index=False).encode(),), take_over, share=2),
        table_door("films.csv", films.to_csv(index=False).encode(), 2),
        table_door("films.xlsx", excel.getvalue(), 0.3),
    ]


# ---- models ---------------------------------------------------------------------------------------------------------------


def _models(house: House) -> list[Door]:
    workspace, run = house.workspace, house.run
    kept = workspace.models / f"kept{SUFFIX}"
    state = load_checkpoint(run.best_model).weights
    incoming = house.outside / f"incoming{SUFFIX}"

    def checkpoint() -> None:
        attempt(lambda: load_checkpoint(run.best_model).build_model())

    def take_model(content: bytes) -> None:
        incoming.write_bytes(content)
        try:
            import_model(workspace, incoming, "taken")
        finally:
            incoming.unlink()
            (workspace.models / f"taken{SUFFIX}").unlink(missing_ok=True)

    def shelf_model() -> None:
        for model in kept_models(workspace):
            if model.problem:
                raise MammoError(model.problem)
            read_card(model.path)

    def weights_door(name: str, sound: bytes) -> Door:
        path = house.outside / name

        def open_(content: bytes) -> None:
            path.write_bytes(content)
            try:
                weights.load_into(load_checkpoint(run.best_model).build_model(), ARCH, weights.find_weights(ARCH, str(path)))
            finally:
                path.unlink()

        return Door(f"{name} as weights", (sound,), open_)

    legacy, plain = io.BytesIO(), io.BytesIO()
    torch.save(state, legacy, _use_new_zipfile_serialization=False)
    torch.save(state, plain)
    return [
        Door("best_model.pth of a run", (run.best_model.read_bytes(),), _placed(run.best_model, checkpoint), share=2),
        Door(
            "resume.pt of a run",
            (run.resume_file.read_bytes(), legacy.getvalue()),
            _placed(run.resume_file, lambda: load_tensors(run.resume_file)),
            share=2,
        ),
        Door("a model file to import", (kept.read_bytes(),), take_model, share=2),
        Door("a kept model", (kept.read_bytes(),), _placed(kept, shelf_model)),
        weights_door("weights.pth", plain.getvalue()),
        weights_door("weights.safetensors", save_tensors(dict(state))),
    ]


# ---- the rest -------------------------------------------------------------------------------------------------------------


def _other(house: House) -> list[Door]:  # noqa: C901  it is a list
    workspace, run = house.workspace, house.run

    def queue() -> None:
        view = queue_view(workspace, list_cards(workspace))
        for request in list_requests(workspace):
            job_progress(request)
        str(view.signature)

    def preset(content: bytes) -> None:
        path = house.outside / "preset.yaml"
        path.write_bytes(content)
        try:
            load_preset(path)
        finally:
            path.unlink()

    def override(content: bytes) -> None:
        parse_overrides([f"lr={content[:20_000].decode(errors='replace')}"])

    def check_door(name: str, model: type[LocalisationRecord] | type[SanityRecord], record: object) -> Door:
        path = house.outside / f"{name}.json"
        return Door(f"a record of {name}", (json.dumps(record).encode(),), _placed(path, lambda: read_check(path, model)))

    def batches() -> None:
        list_batches(workspace)
        for batch in list_batches(workspace):
            found = load_batch(workspace, batch.name)
            if batch.problem or found.problem:
                raise MammoError(batch.problem or found.problem)

    def archive(name: str) -> Open:
        def open_(content: bytes) -> None:
            path, target = house.outside / name, house.outside / "unpacked"
            path.write_bytes(content)
            try:
                fetch._unpack(next(iter(fetch.DOWNLOADS.values())), path, target, lambda *_: None)
            finally:
                path.unlink(missing_ok=True)
                shutil.rmtree(target, ignore_errors=True)

        return open_

    pack = io.BytesIO()
    with zipfile.ZipFile(pack, "w") as packed:
        packed.writestr("a/b.txt", "x" * 300)
        packed.writestr("c.txt", "y")
    batch = batches_folder(workspace) / "batch"
    return [
        Door(
            "a request of the queue",
            ((workspace.queue / "1-abc.json").read_bytes(),),
            _placed(workspace.queue / "2-def.json", queue),
            share=2,
        ),
        Door(
            "a preset",
            (b"title: x\nsummary: y\nepochs: 5\nlr: 1e-4\nimage_size: [64, 64]\nclass_weights: none\n",),
            preset,
            share=2,
        ),
        Door("a setting of the command line", (b"[1e-4, 2]",), override),
        check_door("localisation", LocalisationRecord, localisation_record()),
        check_door("sanity", SanityRecord, sanity_record()),
        *(
            Door(f"{name} of predictions", ((batch / name).read_bytes(),), _placed(batch / name, batches))
            for name in ("batch.json", "predictions.json")
        ),
        Door("files.csv of predictions", (b"# note\r\nfilm,path\r\n1,a.png\r\n",), _placed(batch / "files.csv", batches)),
        Door(
            "a report pack",
            (pack.getvalue(),),
            _placed(workspace.reports / "pack" / "report_pack.zip", lambda: list_packs(workspace)),
        ),
        Door("an archive of a public set", (pack.getvalue(),), archive("set.zip"), share=0.5),
        Door(
            "its notes",
            (run.notes_file.read_bytes() if run.notes_file.exists() else b'{"text": "a"}',),
            _placed(run.notes_file, run.notes),
            share=0.2,
        ),
    ]
