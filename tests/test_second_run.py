"""Films are decoded once: a second run opens no film, and training, prediction and maps give a model the same pixels."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from make_films import drawn_film, write_dicom
from mammo_core.data.adapters import understand
from mammo_core.data.cache import SETTLED_SECONDS
from mammo_core.data.manifest import Dataset
from mammo_core.data.preprocess import prepare
from mammo_core.data.reader import read_film
from mammo_core.data.sandbox import read_film_safely
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.predict.predictor import Predictor
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.workflows.evaluation import evaluate_run
from mammo_core.workflows.films import PreparedSplit, prepare_split
from mammo_core.workflows.gallery import ChosenFilms, make_maps
from mammo_core.workflows.ingest import import_dataset
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs
from mammo_core.workflows.train_run import DONE, train

SETTINGS = {
    "arch": "test_efficientnet", "weights": "none", "image_size": 48, "epochs": 1, "warmup_epochs": 0, "batch_size": 8,
    "threads": 1, "augment": "none",
}  # fmt: skip


class Watch:
    """Sees every file that this process opens and every process that it starts, below Python's own ``open``."""

    def __init__(self) -> None:
        self.folder = ""
        self.forbidden = False
        self.opened: list[str] = []
        self.workers = 0
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder:
            return
        if event == "open" and str(arguments[0]).startswith(self.folder):
            self.opened.append(str(arguments[0]))
            if self.forbidden:
                raise PermissionError(13, "no film may be opened", arguments[0])
        elif event == "subprocess.Popen" and "mammo_core.data.decode_worker" in map(str, arguments[1]):
            self.workers += 1
            if self.forbidden:
                raise PermissionError(13, "no film may be decoded")

    @contextmanager
    def over(self, folder: Path, forbidden: bool) -> Iterator[Watch]:
        self.folder, self.forbidden, self.opened, self.workers = str(folder), forbidden, [], 0
        try:
            yield self
        finally:
            self.folder = ""


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()  # an audit hook cannot be taken away again


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Dataset]:
    """Sixteen women with two DICOM films each, imported and split, and the files at rest."""
    root = tmp_path_factory.mktemp("films")
    rows = []
    for number in range(32):
        stored = (drawn_film((120, 96), reach=0.4 + 0.01 * (number % 16), seed=number) * 4095).astype(np.uint16)
        write_dicom(root / f"{number}.dcm", stored, WindowCenter=2048, WindowWidth=4096)
        rows.append({"file": f"{number}.dcm", "patient": number // 2, "density": "AB"[number // 2 % 2]})
    pd.DataFrame(rows).to_csv(root / "films.csv", index=False)
    written = time.time()
    workspace = open_workspace(tmp_path_factory.mktemp("home") / "runs")
    dataset = import_dataset(workspace, understand(root), "drawn", readers=1)
    save_split(workspace, "parts", split_dataset(dataset, SplitPlan(scheme="kfold", folds=2)))
    # A file that has just changed is hashed again the next time; see SETTLED_SECONDS.
    time.sleep(max(0.0, written + SETTLED_SECONDS + 0.1 - time.time()))
    return workspace, dataset


def new_run(workspace: Workspace, seed: int, fold: int = 1, **settings: Any) -> RunDir:
    plan = LaunchPlan(dataset="drawn", splits=["parts"], experiment="e", settings={**SETTINGS, **settings}, seeds=[seed])
    return create_run(workspace, plan_runs(workspace, plan)[fold - 1])


@pytest.fixture(scope="module")
def first(home: tuple[Workspace, Dataset], watch: Watch) -> RunDir:
    """The run that fills the cache."""
    workspace, dataset = home
    run = new_run(workspace, seed=1)
    with watch.over(Path(dataset.record.root), forbidden=False):
        assert train(workspace, run) == DONE
    parts = pd.read_csv(run.split_table, dtype=str)
    used = parts.loc[parts["split"] != "test", "image_id"]
    # So the watch sees what is opened, and what it does not see later is not opened.
    assert set(watch.opened) == {str(dataset.film_path(image_id)) for image_id in used}
    assert watch.workers
    return run


@pytest.mark.parametrize(("seed", "fold"), [(2, 1), (1, 2)])
def test_another_seed_or_fold_trains_although_no_film_can_be_opened_and_no_decoder_started(home, first, watch, seed, fold):
    workspace, dataset = home
    run = new_run(workspace, seed, fold)
    with watch.over(Path(dataset.record.root), forbidden=True):
        assert train(workspace, run) == DONE
    assert (watch.opened, watch.workers) == ([], 0)
    assert "Left out" not in run.log_file.read_text()
    assert run.config().fold == fold
    same_fold = set(run.predictions("val")["image_id"]) == set(first.predictions("val")["image_id"])
    assert same_fold == (fold == 1)


def prepared(workspace: Workspace, run: RunDir) -> PreparedSplit:
    return prepare_split(workspace, run, run.config(), lambda done, total: None)


def test_the_films_of_every_run_are_the_same_to_the_bit(home, first, watch):
    workspace, dataset = home
    second = new_run(workspace, seed=3)
    with watch.over(Path(dataset.record.root), forbidden=True):
        one, other = prepared(workspace, first), prepared(workspace, second)
    assert one.content_sha256() == other.content_sha256()
    paths = dataset.film_paths()
    for image_id in one.table["image_id"]:
        decoded = prepare(read_film(paths[image_id]), first.config().image_size).pixels
        np.testing.assert_array_equal(one.load(image_id), decoded)
        np.testing.assert_array_equal(other.load(image_id), decoded)


def test_another_size_is_another_film_and_is_decoded(home, first, watch):
    workspace, dataset = home
    larger = new_run(workspace, seed=4, image_size=64)
    with watch.over(Path(dataset.record.root), forbidden=False):
        films = prepared(workspace, larger)
    assert watch.workers
    assert not set(films.load.keys.values()) & set(prepared(workspace, first).load.keys.values())


@contextmanager
def seen_by_models() -> Iterator[list[bytes]]:
    """The bytes of each film that any model is given, in order."""
    films: list[bytes] = []

    def keep(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if (
            isinstance(module, torch.nn.Conv2d) and module.in_channels == 3
        ):  # the first layer, whoever calls which part of the model
            films.extend(film.detach().float().contiguous().numpy().tobytes() for film in arguments[0])

    handle = torch.nn.modules.module.register_module_forward_pre_hook(keep)
    try:
        yield films
    finally:
        handle.remove()


def test_training_evaluation_prediction_and_maps_give_a_model_the_same_film_to_the_bit(home, first, tmp_path):
    workspace, dataset = home
    with seen_by_models() as in_training:
        run = new_run(workspace, seed=5)
        assert train(workspace, run) == DONE
    with seen_by_models() as in_evaluation:
        evaluate_run(workspace, run, "val", lambda done, total, message="": None)
    table = pd.read_csv(run.split_table, dtype=str).set_index("split")["image_id"]
    predictor = Predictor.load(workspace, [run.id])
    seen = {}
    for part in ("train", "val"):
        film = dataset.film_path(table[part].iloc[0])
        with seen_by_models() as in_prediction:
            answer = predictor.predict(read_film_safely(film))
        assert len(set(in_prediction)) == 1
        seen[part] = in_prediction[0]
    assert seen["train"] in in_training
    assert seen["val"] in in_training and seen["val"] in in_evaluation
    assert len(set(in_evaluation)) == len(table["val"])
    with seen_by_models() as in_maps:
        make_maps(workspace, run, ChosenFilms([table["val"].iloc[0]], "val"), tmp_path)
    assert set(in_maps) == {seen["val"]}
    told = run.predictions("val").set_index("image_id").loc[table["val"].iloc[0]]
    assert answer.raw_probabilities["A"] == pytest.approx(told["prob_A"], abs=1e-6)
