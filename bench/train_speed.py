"""How quickly a model trains, against the plain loop and against compute alone, on the same machine in the same run.

    python -m bench.train_speed [--device cpu] [--settings 224x16 512x16] [--films 96] [--epochs 2]
    python -m bench.train_speed --device cuda --settings 512x16 224x32 --films 3000 --epochs 4
    torchrun --nproc-per-node 2 -m bench.train_speed --part ours --device cuda --settings 512x16 ...

The plain loop is what scripts do: a DataLoader that decodes PNG files, torchvision's augmentation, float32, the default memory
format, ``loss.item()`` at each step. Ours is the engine that every run uses, on films as the cache holds them, with augmentation,
metrics of each epoch and a checkpoint written after it. Compute alone is the same step on one batch that never changes: the plain
one, and ours (channels last, on CUDA bfloat16 and a graph). Training steps are compared with training steps; validation, the
loss on training films and the writing of checkpoints are printed apart. Every part runs in a process of its own, whose highest
memory is printed; the first epoch of ours, in which graphs are captured and films are read, is printed and left out of its rate.

Goals: on two CPU cores 1.35 times the plain loop at 224 px and 1.8 times at 512 px, and 0.95 of our compute alone, with at most
6 GB at 512 px in batches of 16; on an H100 2.7 times the plain loop and 0.90 of the graph alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from mammo_core.config import TrainConfig
from mammo_core.training.augment import DRAWS
from mammo_core.training.batches import FilmSet
from mammo_core.training.engine import Engine
from mammo_core.training.models import Normalisation, new_model, normalisation_of
from mammo_core.training.planning import plan_steps
from mammo_core.training.ranks import join_ranks
from mammo_core.training.steps import StepInput

CLASSES = ("A", "B", "C", "D")
FILES = 200
"""Different films on disk; larger sets name each several times."""
GOALS = {"cpu": {224: (1.35, 0.95), 512: (1.8, 0.95)}, "cuda": {224: (2.7, 0.90), 512: (2.7, 0.90)}}
PARTS = ("plain", "plain_compute", "ceiling", "ours")
COMPUTE_STEPS = {"cpu": 6, "cuda": 150}


@dataclass(frozen=True)
class Films:
    """Reads a film of the bench as the cache holds films."""

    folder: Path

    def __call__(self, image_id: str) -> npt.NDArray[np.uint8]:
        film: npt.NDArray[np.uint8] = np.load(self.folder / f"{int(image_id) % FILES}.npy")
        return film


class PlainFilms(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, folder: Path, films: int, scale: Normalisation) -> None:
        self._folder, self._films = folder, films
        self._change = transforms.Compose(
            [
                transforms.RandomAffine(10, translate=(0.05, 0.05), scale=(0.92, 1.08)),
                transforms.ColorJitter(brightness=0.1, contrast=0.15),
                transforms.ToTensor(),
                transforms.Normalize(scale.mean, scale.std),
            ]
        )

    def __len__(self) -> int:
        return self._films

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self._folder / f"{index % FILES}.png") as picture:
            return self._change(picture.convert("RGB")), index % len(CLASSES)


def write_films(folder: Path, size: int) -> None:
    """A bright half disc with smooth structure and grain on black, as PNG and as the cache writes films."""
    folder.mkdir(parents=True)
    down, right = np.mgrid[0:size, 0:size] / size
    for number in range(FILES):
        rng = np.random.default_rng(number)
        inside = right**2 / 0.7**2 + (down - 0.5) ** 2 / 0.45**2 < 1
        tissue = Image.fromarray(rng.random((12, 12)).astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
        values = np.clip(60 + 140 * np.asarray(tissue) + rng.normal(0, 6, (size, size)), 0, 255) * inside
        film = values.astype(np.uint8)
        np.save(folder / f"{number}.npy", film)
        Image.fromarray(film).save(folder / f"{number}.png")


def config_of(chosen: argparse.Namespace, size: int, batch: int) -> TrainConfig:
    return TrainConfig(
        arch=chosen.arch,
        weights="none",
        image_size=(size, size),
        batch_size=batch,
        epochs=chosen.epochs + 1,
        warmup_epochs=0.5,
        class_names=CLASSES,
        class_weights="none",
        early_stopping_patience=None,
        device=chosen.device,
        graphs=chosen.graphs,
        threads=chosen.threads,
    )


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def plain(chosen: argparse.Namespace, folder: Path, size: int, batch: int) -> dict[str, Any]:
    """Films a second of the plain loop, from files."""
    device = torch.device(chosen.device)
    model = timm.create_model(chosen.arch, num_classes=len(CLASSES), drop_rate=0.2).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.01)
    loss_of = torch.nn.CrossEntropyLoss()
    workers = 8 if device.type == "cuda" else 0
    films = PlainFilms(folder, chosen.films, normalisation_of(model))
    loader = DataLoader(films, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0, pin_memory=workers > 0)
    rates = []
    for _ in range(2 if device.type == "cuda" else 1):
        start = time.perf_counter()
        for inputs, labels in loader:
            inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            logits = model(inputs)
            loss = loss_of(logits, labels)
            loss.backward()
            optimizer.step()
            loss.item()
            (logits.argmax(1) == labels).sum().item()
        wait(device)
        rates.append(chosen.films / (time.perf_counter() - start))
    return {"films_per_second": rates[-1]}


def plain_compute(chosen: argparse.Namespace, folder: Path, size: int, batch: int) -> dict[str, Any]:
    """Films a second of the plain step on one batch."""
    device = torch.device(chosen.device)
    model = timm.create_model(chosen.arch, num_classes=len(CLASSES), drop_rate=0.2).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.01)
    inputs = torch.randn(batch, 3, size, size, device=device)
    labels = torch.arange(batch, device=device) % len(CLASSES)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return {"films_per_second": rate_of(step, batch, device)}


def rate_of(step: Any, batch: int, device: torch.device) -> float:
    for _ in range(2 if device.type == "cpu" else 10):
        step()
    wait(device)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        steps = COMPUTE_STEPS[device.type] // 3
        for _ in range(steps):
            step()
        wait(device)
        times.append((time.perf_counter() - start) / steps)
    return batch / statistics.median(times)


def engine_of(chosen: argparse.Namespace, folder: Path, size: int, batch: int, ranks: Any, augment: bool = True) -> Engine:
    config = config_of(chosen, size, batch * ranks.count).replace(augment="light" if augment else "none")
    model = new_model(config)
    device = torch.device(chosen.device)

    def films(first: int, count: int) -> FilmSet:
        return FilmSet([str(first + n) for n in range(count)], np.arange(count, dtype=np.int64) % len(CLASSES), Films(folder))

    parts = (films(0, chosen.films), films(0, max(8, chosen.films // 8)))
    plan = plan_steps(config, model, device, chosen.films, batch, torch.get_num_threads())
    return Engine(config, model, normalisation_of(model), *parts, device, ranks=ranks, plan=plan)


def ceiling(chosen: argparse.Namespace, folder: Path, size: int, batch: int) -> dict[str, Any]:
    """Films a second of our step on one batch, without augmentation."""
    with join_ranks(chosen.device) as ranks:
        engine = engine_of(chosen, folder, size, batch, ranks, augment=False)
        device = engine.device
        films = torch.randint(0, 255, (batch, 1, size, size), dtype=torch.uint8, device=device)
        scalar = torch.tensor(1 / batch, device=device)
        labels, draws = torch.arange(batch, device=device) % len(CLASSES), torch.zeros(batch, DRAWS, device=device)
        given = StepInput(films, labels, torch.ones(batch, device=device), draws, scalar, torch.ones((), device=device))
        engine.model.train()
        return {"films_per_second": rate_of(lambda: engine._stepper.step(given), batch, device)}


def ours(chosen: argparse.Namespace, folder: Path, size: int, batch: int) -> dict[str, Any]:
    """The engine's own rate over whole epochs, and what else an epoch takes."""
    with join_ranks(chosen.device) as ranks, tempfile.TemporaryDirectory() as place:
        engine = engine_of(chosen, folder, size, batch, ranks)
        rates, others, checkpoints = [], [], []
        start = time.perf_counter()
        next(iter(engine.train_loader.batches()))
        reading = time.perf_counter() - start
        for outcome in engine.fit():
            record = outcome.record
            rates.append(record.images_per_second or 0.0)
            others.append((record.seconds or 0.0) - chosen.films / rates[-1])
            start = time.perf_counter()
            if ranks.first:
                torch.save(engine.state(), Path(place) / "resume.pt")
            checkpoints.append(time.perf_counter() - start)
        engine.close()
        return {
            "films_per_second": statistics.median(rates[1:]),
            "first_epoch": rates[0],
            "first_batch_seconds": reading,
            "validation_seconds": statistics.median(others),
            "checkpoint_seconds": statistics.median(checkpoints),
            "plan": engine.plan_in_use.to_dict(),
            "processes": ranks.count,
            "first": ranks.first,
        }


def run_part(chosen: argparse.Namespace) -> None:
    size, batch = read_setting(chosen.settings[0])
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    found = globals()[chosen.part](chosen, Path(chosen.folder), size, batch)
    if not found.pop("first", True):
        return
    found["memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if chosen.device == "cuda":
        found["gpu_memory_gb"] = torch.cuda.max_memory_reserved() / 2**30
    print(json.dumps(found), flush=True)


def read_setting(text: str) -> tuple[int, int]:
    size, _, batch = text.partition("x")
    return int(size), int(batch)


def measure(chosen: argparse.Namespace, part: str, setting: str, folder: Path) -> dict[str, Any]:
    keep = ["--films", str(chosen.films), "--epochs", str(chosen.epochs), "--arch", chosen.arch, "--graphs", chosen.graphs]
    command = [sys.executable, "-m", "bench.train_speed", "--part", part, "--device", chosen.device, "--settings", setting]
    command += ["--folder", str(folder), "--threads", str(chosen.threads), *keep]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{part} at {setting} failed: {done.stderr[-1500:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  {part:14s} {found['films_per_second']:9.2f} films/s   {json.dumps(found)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--settings", nargs="+", default=["224x16", "512x16"])
    parser.add_argument("--films", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--arch", default="efficientnet_b0")
    parser.add_argument("--graphs", default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--folder")
    chosen = parser.parse_args()
    if chosen.part:
        run_part(chosen)
        return
    machine = torch.cuda.get_device_name() if chosen.device == "cuda" else f"{os.cpu_count()} processors"
    print(f"{machine}, torch {torch.__version__}, timm {timm.__version__}, load {os.getloadavg()[0]:.1f}", flush=True)
    for setting in chosen.settings:
        size, _ = read_setting(setting)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "films"
            write_films(folder, size)
            print(f"{chosen.arch}, {setting}, {chosen.films} films", flush=True)
            found = {part: measure(chosen, part, setting, folder)["films_per_second"] for part in PARTS}
        goals = GOALS[chosen.device].get(size, (0.0, 0.0))
        for name, value, goal in (
            ("ours against the plain loop", found["ours"] / found["plain"], goals[0]),
            ("ours against our compute alone", found["ours"] / found["ceiling"], goals[1]),
            ("our compute against the plain one's", found["ceiling"] / found["plain_compute"], 0.0),
        ):
            verdict = f"goal {goal:g} {'reached' if value >= goal else 'MISSED'}" if goal else ""
            print(f"  {name:36s} {value:6.2f} x   {verdict}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
