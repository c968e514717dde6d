"""How long a film of 4700 x 2600 pixels takes to its probabilities and its map, against the plain way in the same run.

    python -m bench.predict [--rounds 7] [--films 16] [--arch efficientnet_b0] [--size 512]

Goals on two cores, warm: one 16-bit DICOM film to probabilities and Grad-CAM map in at most 2.5 s, of which ours beyond decoding
and the model's own passes at most 0.3 s; a batch at no less than 0.9 of the throughput of a plain loop of decoding and model.

Plain is what a script would do: pydicom decodes and applies the window, Pillow resizes, timm's model answers, pytorch-grad-cam
makes the map and Pillow enlarges it; in this process, without a breast mask, a guard, a hash or a check of anything. Ours is the
app's own path: a film read in a disposable child process, ``Predictor.predict`` and ``Predictor.explain``. The model has random
weights, which cost as much as trained ones. The two ways alternate, so that a busy moment meets both; medians are compared.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import torch
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import RLELossless
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from mammo_core.config import TrainConfig
from mammo_core.data import spare_worker
from mammo_core.data.decode_worker import pixel_sha256
from mammo_core.data.film import Film
from mammo_core.data.phantom import make_patient
from mammo_core.data.preprocess import PREPROCESSING_VERSION, prepare, to_original
from mammo_core.data.reader import read_film
from mammo_core.data.sandbox import DecodePool, Job, expect_uploads, read_film_safely
from mammo_core.explain.gradcam import explain
from mammo_core.explain.targets import targets_of
from mammo_core.predict.predictor import Prediction, Predictor, predict_each
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.training.checkpoint import Checkpoint, cpu_copy, save_checkpoint
from mammo_core.training.models import Normalisation, build_model, features_and_logits, normalisation_of, normalise
from tests.make_films import dicom_of

SHAPE = (4700, 2600)
CLASSES = ("A", "B", "C", "D")
VALIDATION_FILMS = 400
FILM_GOAL = 2.5
OURS_GOAL = 0.3
BATCH_GOAL = 0.9
PARTS = (
    "decoding",
    "forward",
    "map on the canvas",
    "reading in this process",
    "reading through the child",
    "hash",
    "preparing",
    "map to film",
)
PLAIN_ROUNDS = 3
"""pytorch-grad-cam on a model as timm makes it goes back through the whole network, which takes many seconds."""


@dataclass
class Times:
    """Seconds of each step, a list of rounds."""

    found: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, step: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        self.found.setdefault(step, []).append(time.perf_counter() - start)
        return result

    def median(self, step: str) -> float:
        return statistics.median(self.found[step])

    def quietest(self, step: str) -> float:
        return min(self.found[step])


def write_films(folder: Path, count: int) -> dict[str, list[Path]]:
    """Phantoms enlarged to a film's size, with grain, uncompressed and in RLE; 16 bits with a window."""
    made: dict[str, list[Path]] = {"uncompressed": [], "RLE": []}
    phantoms = [film for index in range((count + 3) // 4) for film in make_patient(5, index)][:count]
    for number, film in enumerate(phantoms):
        small = Image.fromarray(film.pixels.astype(np.float32))
        large = np.asarray(small.resize(SHAPE[::-1], Image.Resampling.BICUBIC))
        grain = np.random.default_rng(number).normal(0, 300, SHAPE) * (large > 2000)
        stored = np.clip(large + grain, 0, 65535).astype(np.uint16)
        tags = {"WindowCenter": 32768, "WindowWidth": 65536, "ImageLaterality": film.laterality, "Manufacturer": film.vendor}
        dataset = dicom_of(stored, **tags)
        for kind, paths in made.items():
            if kind == "RLE":
                dataset.compress(RLELossless)
            paths.append(folder / f"{kind}_{number}.dcm")
            dataset.save_as(paths[-1], enforce_file_format=True)
    return made


def make_predictor(workspace: Workspace, arch: str, size: tuple[int, int]) -> Predictor:
    """A run with random weights, and made-up features of validation films for its guard."""
    run = RunDir(workspace.experiments / "bench" / "seed_1")
    run.path.mkdir(parents=True)
    torch.manual_seed(1)
    model = build_model(arch, len(CLASSES))
    config = TrainConfig(arch=arch, image_size=size, class_names=CLASSES, dataset="made", task="density")
    save_checkpoint(
        run.best_model,
        Checkpoint(cpu_copy(model), config, normalisation_of(model), PREPROCESSING_VERSION, epoch=1, metrics={}, origin={}),
    )
    features = np.random.default_rng(0).random((VALIDATION_FILMS, int(model.num_features)))  # type: ignore[arg-type]
    np.save(run.embeddings, features.astype(np.float32))
    return Predictor.load(workspace, [run])


# ---- the plain way ----------------------------------------------------------------------------------------------------------


def plain_decode(path: Path) -> npt.NDArray[np.float32]:
    dataset = pydicom.dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    return (shown / 65535).astype(np.float32)


def plain_input(pixels: npt.NDArray[np.float32], size: tuple[int, int], normalisation: Normalisation) -> torch.Tensor:
    small = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (normalisation.mean, normalisation.std))
    return (torch.from_numpy(small)[None, None] - mean) / std


def plain_map(model: nn.Module, batch: torch.Tensor, class_index: int, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    with GradCAM(model, [model.bn2]) as cam:
        cells = cam(batch, [ClassifierOutputTarget(class_index)])[0]
    return np.asarray(Image.fromarray(cells).resize(shape[::-1], Image.Resampling.BILINEAR))


def plain_film(model: nn.Module, path: Path, config: tuple[tuple[int, int], Normalisation]) -> None:
    pixels = plain_decode(path)
    batch = plain_input(pixels, *config)
    with torch.inference_mode():
        scores = model(batch)[0].softmax(0)
    plain_map(model, batch, int(scores.argmax()), pixels.shape)


# ---- one film ---------------------------------------------------------------------------------------------------------------


def our_film(predictor: Predictor, read: Callable[[], Film]) -> None:
    film = read()
    predictor.explain(film, predictor.predict(film).predicted)


def bench_film(predictor: Predictor, kind: str, path: Path, rounds: int) -> None:
    """One film, and what of it is decoding and the model's own passes, measured alone in the same rounds."""
    times, member = Times(), predictor.members[0]
    size, scale = member.checkpoint.config.image_size, member.checkpoint.normalisation
    target = targets_of(CLASSES, False)[0]
    scripted = copy.deepcopy(member.model).requires_grad_()  # as timm makes it; ours is frozen
    with DecodePool(1) as pool:

        def warm() -> Film:
            film = pool.run(Job("film", path))
            if not isinstance(film, Film):
                raise TypeError("no film came back")
            return film

        film = warm()
        view = prepare(film, size)
        values = explain(member.model, scale, view.pixels, target).values
        batch = normalise(torch.from_numpy(view.pixels[None, None]).float().div_(255), scale)
        for number in range(rounds + 1):
            if number == 1:
                times.found.clear()  # the first round warms
            if number <= PLAIN_ROUNDS:
                times("plain", lambda: plain_film(scripted, path, (size, scale)))
            times("ours", lambda: our_film(predictor, warm))
            times("decoding", lambda: pydicom.dcmread(path).pixel_array)
            with torch.inference_mode():
                times("forward", lambda: features_and_logits(member.model, batch))
            times("map on the canvas", lambda: explain(member.model, scale, view.pixels, target))
            times("reading in this process", lambda: read_film(path))
            times("reading through the child", warm)
            times("hash", lambda: pixel_sha256(film.pixels))
            times("preparing", lambda: prepare(film, size))
            times("map to film", lambda: to_original(values, view.geometry))
    base = times.median("decoding") + times.median("forward") + times.median("map on the canvas")
    say(f"one film, {kind}: probabilities and map", times.median("ours"), FILM_GOAL, times.median("plain"), "see above")
    # Paired by round: a difference of medians would mix busy and quiet rounds.
    steps = ("ours", "decoding", "forward", "map on the canvas")
    parts = zip(*(times.found[step] for step in steps), strict=True)
    beyond = statistics.median(whole - sum(others) for whole, *others in parts)
    say(f"   of it ours, beyond decoding and the model (of {base:.2f} s)", beyond, OURS_GOAL)
    print(f"   quietest round: ours {times.quietest('ours'):.3f} s, plain {times.quietest('plain'):.3f} s")
    print("   parts alone: " + ", ".join(f"{step} {times.median(step):.3f} s" for step in PARTS))


def bench_start(path: Path, rounds: int) -> None:
    """An upload, whose child process serves nothing else: started for it, or kept ready."""
    times = Times()
    for _ in range(rounds):
        times("started", lambda: read_film_safely(path))
        expect_uploads()
        while not any(spare.pid for spare in spare_worker._SPARES.values()):
            time.sleep(0.05)
        times("kept ready", lambda: read_film_safely(path))
        for spare in spare_worker._SPARES.values():
            spare.close()
        spare_worker._SPARES.clear()
    started, ready = times.median("started"), times.median("kept ready")
    say("one upload read, child kept ready", ready, OURS_GOAL, started, "child started for it")


# ---- a batch ----------------------------------------------------------------------------------------------------------------


def bench_batch(predictor: Predictor, kind: str, paths: list[Path], rounds: int) -> None:
    """Films in a row without maps; the plain loop is decoding and model only."""
    times, member = Times(), predictor.members[0]
    size, scale = member.checkpoint.config.image_size, member.checkpoint.normalisation

    def plain() -> None:
        for path in paths:
            batch = plain_input(plain_decode(path), size, scale)
            with torch.inference_mode():
                member.model(batch)[0].softmax(0)

    def ours() -> None:
        results = [result for _, _, result in predict_each(predictor, paths)]
        if not all(isinstance(result, Prediction) for result in results):
            raise TypeError(f"a film was not predicted: {results}")

    for _ in range(rounds):
        times("plain", plain)
        times("ours", ours)
    ratio = statistics.median(a / b for a, b in zip(times.found["plain"], times.found["ours"], strict=True))
    verdict = "reached" if ratio >= BATCH_GOAL else "MISSED"
    rates = {name: len(paths) / times.median(name) for name in ("plain", "ours")}
    beside = f"plain loop {rates['plain']:.2f} films/s   ratio {ratio:.2f}, goal at least {BATCH_GOAL} {verdict}"
    print(f"{f'batch of {len(paths)}, {kind}':58s} {rates['ours']:8.2f} films/s   {beside}", flush=True)


def say(what: str, ours: float, goal: float, plain: float | None = None, how: str = "") -> None:
    """One line of the report: our time, the goal, and the plain way's time as a ratio."""
    verdict = "reached" if ours <= goal else "MISSED"
    ratio = "" if plain is None else f"   plain {plain:8.3f} s   ratio {plain / ours:6.2f}   ({how})"
    print(f"{what:58s} {ours:8.3f} s   goal {goal:g} s {verdict}{ratio}", flush=True)


def load() -> str:
    return f"load {', '.join(f'{value:.1f}' for value in os.getloadavg())}" if hasattr(os, "getloadavg") else "load unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--films", type=int, default=16, help="in the batch; it holds the start of the child too")
    parser.add_argument("--arch", default="efficientnet_b0")
    parser.add_argument("--size", type=int, default=512)
    chosen = parser.parse_args()
    torch.set_num_threads(2)
    print(f"{chosen.arch} at {chosen.size} px, {torch.get_num_threads()} threads, {os.cpu_count()} processors, {load()} at first")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = write_films(folder, chosen.films)
        predictor = make_predictor(open_workspace(folder / "home"), chosen.arch, (chosen.size, chosen.size))
        for kind, paths in films.items():
            bench_film(predictor, kind, paths[0], chosen.rounds)
        bench_start(films["uncompressed"][0], chosen.rounds)
        for kind, paths in films.items():
            bench_batch(predictor, kind, paths, max(2, chosen.rounds // 2))
    print(f"{load()} at the end; with a load above 2 other programs had the processors too, and all times are longer")


if __name__ == "__main__":
    main()
