"""Run directories of older versions, of other programs, and with files missing or empty (goal R16): each opens or is explained.

Nothing in them is executed: beside the numbers of an old history a command waits that would leave a file.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from make_models import ARCH, write_model
from make_runs import write_run
from mammo_core.errors import MammoError
from mammo_core.predict.unfamiliar import load_guard
from mammo_core.reading import read_json, read_yaml
from mammo_core.runs.history import history_frame
from mammo_core.runs.importers import import_history, read_foreign_history
from mammo_core.runs.listing import list_cards
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace, open_workspace
from mammo_core.storage import write_json
from mammo_core.training.checkpoint import load_checkpoint
from mammo_core.training.models import build_model
from mammo_core.training.weights import find_weights, load_into
from mammo_core.workflows.diagnose import diagnose_run
from mammo_core.workflows.queue_view import queue_view
from mammo_core.workflows.shelf import shelf
from reliability.findings import Finding
from reliability.hostile_bytes import HOWS, Ran
from reliability.sentences import faults_of

LOSS, VAL, ACC = [2.0, 1.5, 1.2, 1.0], [1.9, 1.6, 1.3, 1.4], [0.4, 0.5, 0.6, 0.6]
EPOCHS = 4
MIXTURES = 40
"""Further directories of the full size: several things wrong at once."""


@dataclass(frozen=True)
class Old:
    """One directory or file, and what must come of it."""

    name: str
    open: Callable[[], object]
    must_open: bool = False


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    """Everything old and foreign that there is; ``full`` adds mixtures of several faults."""
    workspace = open_workspace(folder / "runs")
    canary = folder / "ran"
    cases = list(_cases(workspace, folder, canary, MIXTURES if full else 0, seed))
    opened, problems = 0, []
    for case in cases:
        try:
            case.open()
            opened += 1
        except MammoError as error:
            problems += [f"{case.name}: {fault}: {error}" for fault in faults_of(str(error), [str(folder)], ())]
            problems += [f"{case.name} must open, but: {error}"] if case.must_open else []
        except Exception as error:  # noqa: BLE001  whatever it is, it is the finding
            problems.append(f"{case.name}: uncaught {type(error).__name__}: {error}")
        if canary.exists():
            problems.append(f"{case.name}: RAN the code inside")
            canary.unlink()
    found = f"{len(cases)} old or foreign directories and files: {opened} open, {len(cases) - opened} are explained"
    return [Finding("R16", "old and foreign runs open or are explained, and never run", found, not problems, tuple(problems))]


def _cases(workspace: Workspace, folder: Path, canary: Path, mixtures: int, seed: int) -> Iterator[Old]:
    yield from _reference_runs(workspace, folder, canary, mixtures)
    yield from _weights_files(folder, canary)
    sound = write_run(
        workspace.experiments / "old" / "seed_42",
        class_names=("A", "B", "C"),
        epochs=EPOCHS,
        replicates=5,
        patients=20,
        with_test=True,
    )
    write_model(sound, sound.config().replace(arch=ARCH, image_size=(96, 96)), 42)
    shutil.copytree(sound.path, folder / "sound")
    yield Old("a sound run", lambda: _open_run(workspace, sound, everything=True), must_open=True)
    yield from _damaged_runs(workspace, sound, folder / "sound", canary)
    rng = np.random.default_rng(seed)
    files = sorted(path.relative_to(folder / "sound").as_posix() for path in (folder / "sound").rglob("*") if path.is_file())
    for number in range(mixtures):
        chosen = [files[int(index)] for index in rng.choice(len(files), 3, replace=False)]
        contents: dict[str, bytes | None] = {name: [None, b"", b"{}"][int(rng.integers(3))] for name in chosen}
        yield _changed(workspace, sound, folder / "sound", f"mixture {number} {contents}", contents)


# ---- seed-style directories of the reference setups -----------------------------------------------------------------------


def _arrays() -> dict[str, Any]:
    return {
        "epochs": np.arange(1, EPOCHS + 1),
        "train_losses": np.array(LOSS),
        "val_losses": np.float32(VAL),
        "train_accs": np.array(ACC),
        "val_accs": [np.float64(value) for value in ACC],
        "lrs": [1e-3] * EPOCHS,
    }


def pickled(value: object, protocol: int, old_names: bool) -> bytes:
    """A pickle as numpy 1 (``numpy.core``) or numpy 2 (``numpy._core``) writes it."""
    buffer = io.BytesIO()
    pickler = pickle._Pickler(buffer, protocol)  # type: ignore[attr-defined]
    pickler.framer.start_framing = lambda: None  # a frame states its length, which the other names change
    pickler.dump(value)
    if not old_names:
        return buffer.getvalue()
    shorter = re.sub(
        rb"\x8c(.)numpy\._core",
        lambda match: b"\x8c" + bytes([match[1][0] - 1]) + b"numpy.core",
        buffer.getvalue(),
        flags=re.DOTALL,
    )
    return shorter.replace(b"cnumpy._core", b"cnumpy.core")


def _reference_runs(workspace: Workspace, folder: Path, canary: Path, mixtures: int) -> Iterator[Old]:
    """``seed_42/`` with a pickled history, a summary and weights, as the reference setups leave it."""

    def read(place: Path) -> None:
        histories = read_foreign_history(place)
        losses = [record.train_loss for record in histories[0].records]
        values = [record.val_loss for record in histories[0].records]
        if losses != LOSS or not np.allclose(np.array(values, float), VAL):
            raise AssertionError(f"it reads {losses} and {values}")
        for run in import_history(workspace, place, "taken"):
            _open_run(workspace, run)

    for protocol in range(6):
        for old_names in (False, True) if mixtures else (protocol % 2 == 0,):
            place = folder / f"reference_{protocol}_{old_names}" / "seed_42"
            place.mkdir(parents=True)
            (place / "train_history.pkl").write_bytes(pickled(_arrays(), protocol, old_names))
            write_json(place / "summary.json", {"seed": 42, "best_epoch": 3, "classes": ["A", "B"], "val_acc": 0.6})
            yield Old(
                f"pickle of protocol {protocol}, {'numpy.core' if old_names else 'numpy._core'}",
                lambda place=place: read(place),
                True,
            )
    for how in range(HOWS if mixtures else 2):
        place = folder / f"hostile_{how}" / "seed_42"
        place.mkdir(parents=True)
        (place / "train_history.pkl").write_bytes(pickle.dumps(_arrays() | {"note": Ran(str(canary), how)}))
        yield Old(f"pickle with a command {how}", lambda place=place: read(place))
    for name, content in (
        ("lists", {"train_losses": LOSS, "val_losses": VAL, "val_accs": ACC}),
        ("records", [{"epoch": 1, "loss": 1.0}] * 3),
    ):
        place = folder / f"json_{name}"
        place.mkdir()
        write_json(place / "train_history.json", content)
        yield Old(f"history of {name}", lambda place=place: read_foreign_history(place), True)
    yield Old("an empty folder", lambda: read_foreign_history(_made(folder / "empty")))


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


# ---- weights of other programs --------------------------------------------------------------------------------------------


def _weights_files(folder: Path, canary: Path) -> Iterator[Old]:
    torch.manual_seed(1)
    state = build_model(ARCH, 3).state_dict()
    prefixed = {f"module.{name}": value for name, value in state.items()}
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    optimiser = torch.optim.AdamW(build_model(ARCH, 3).parameters()).state_dict()
    contents: dict[str, tuple[Any, bool]] = {
        "plain": (state, True),
        "half": (half, True),
        "under_state_dict": ({"state_dict": state, "epoch": 3, "optimizer": optimiser}, True),
        "under_model": ({"model": state, "args": {"lr": 1e-3}}, True),
        "extra": (state | {"further.weight": torch.zeros(3)}, True),
        "other_head": (build_model(ARCH, 7).state_dict(), True),
        "prefixed": (prefixed, False),
        "missing": (dict(list(state.items())[:5]), False),
        "numpy": ({"state_dict": state, "best": np.float64(0.5)}, False),
        "path": ({"state_dict": state, "at": Path("x")}, False),
        "module": (torch.nn.Linear(2, 2), False),
        "list": ([1, 2], False),
        "nothing": ({}, False),
        "command": ({"state_dict": state, "x": Ran(str(canary))}, False),
        "random": ({"rng": np.random.get_state()}, False),
    }
    place = _made(folder / "weights")
    for name, (content, must_open) in contents.items():
        for is_zip in (True, False):
            path = place / f"{name}_{'zip' if is_zip else 'legacy'}.pth"
            torch.save(content, path, _use_new_zipfile_serialization=is_zip)
            yield Old(f"weights {path.name}", lambda path=path: _load_weights(path), must_open)
            yield Old(f"checkpoint {path.name}", lambda path=path: load_checkpoint(path).build_model())
    save_file(state, place / "plain.safetensors")
    yield Old("weights plain.safetensors", lambda: _load_weights(place / "plain.safetensors"), True)
    for content in (b"", b"x", bytes(5000), (place / "plain_zip.pth").read_bytes()[:3000]):
        for suffix in (".pth", ".safetensors"):
            path = place / f"broken_{len(content)}{suffix}"
            path.write_bytes(content)
            yield Old(f"weights {path.name}", lambda path=path: _load_weights(path))
    yield Old("weights that are not there", lambda: _load_weights(place / "absent.pth"))


def _load_weights(path: Path) -> None:
    load_into(build_model(ARCH, 3), ARCH, find_weights(ARCH, str(path)))


# ---- directories of this app ----------------------------------------------------------------------------------------------


def _open_run(workspace: Workspace, run: RunDir, everything: bool = False) -> None:
    """All that pages read of a run; the first refusal is raised after the rest was read, too."""
    refusals: list[MammoError] = []
    readers = [
        run.config,
        run.status,
        run.state,
        run.history,
        run.summary,
        run.split_info,
        run.notes,
        run.import_record,
        run.test_looks,
        run.log_tail,
        lambda: run.metrics("val"),
        lambda: run.predictions("val"),
        lambda: run.predictions("test"),
        lambda: history_frame(run.history()),
        lambda: diagnose_run(run),
    ]
    readers += [lambda: load_checkpoint(run.best_model).build_model(), lambda: load_guard(run)] if everything else []
    for reader in readers:
        try:
            reader()
        except MammoError as error:
            refusals.append(error)
    cards = list_cards(workspace, archived=True)
    if run.path not in [card.run.path for card in cards] and run.config_file.exists():
        raise AssertionError("it is not listed")
    queue_view(workspace, cards)
    shelf(cards)
    if refusals:
        raise refusals[0]


def _changed(
    workspace: Workspace, run: RunDir, sound: Path, name: str, contents: Mapping[str, bytes | None], must_open: bool = False
) -> Old:
    """The sound run with other contents of some files; ``None`` takes a file away."""

    def open_() -> None:
        shutil.rmtree(run.path)
        shutil.copytree(sound, run.path)
        for file, content in contents.items():
            path = run.path / file
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
        _open_run(workspace, run, everything=True)

    return Old(name, open_, must_open)


def _damaged_runs(workspace: Workspace, run: RunDir, sound: Path, canary: Path) -> Iterator[Old]:
    def changed(name: str, must_open: bool = False, **contents: Any) -> Old:
        written = {
            file.replace("__", "/").replace("_json", ".json").replace("_yaml", ".yaml"): value for file, value in contents.items()
        }
        return _changed(workspace, run, sound, name, {file: _bytes(value) for file, value in written.items()}, must_open)

    optional = {"environment.json", "split.csv", "split.json", "training_log.csv", "run.log", "test_predictions.csv"}
    optional |= {"metrics/test_metrics.json", "metrics/val_metrics.json", "val_predictions.csv", "summary.json", "status.json"}
    for path in sorted(sound.rglob("*")):
        name = path.relative_to(sound).as_posix()
        if path.is_file():
            yield _changed(workspace, run, sound, f"without {name}", {name: None}, name in optional)
            yield _changed(workspace, run, sound, f"empty {name}", {name: b""})
            yield _changed(workspace, run, sound, f"half of {name}", {name: path.read_bytes()[: path.stat().st_size // 2]})
    history, status = read_json(sound / "train_history.json"), read_json(sound / "status.json")
    config, summary = read_yaml(sound / "config.yaml"), read_json(sound / "summary.json")
    yield changed("one epoch behind", True, train_history_json=history[:-1])
    yield changed("one epoch ahead", True, train_history_json=[*history, history[-1] | {"epoch": EPOCHS + 1}])
    least = [{key: record[key] for key in ("epoch", "train_loss", "val_loss")} for record in history]
    yield changed("a history of the first version", True, train_history_json=least)
    yield changed(
        "unknown keys", True, train_history_json=[record | {"further": [1]} for record in history], status_json=status | {"x": 1}
    )
    yield changed("a further key in the summary", True, summary_json=summary | {"further": {"a": 1}})
    yield changed(
        "a summary without a diagnosis",
        True,
        summary_json={k: v for k, v in summary.items() if k not in ("diagnosis", "verdict")},
    )
    yield changed("an unknown setting", config_yaml=config | {"further": 3})
    yield changed("a newer configuration", config_yaml=config | {"schema_version": 99})
    yield changed("a newer status", True, status_json=status | {"schema_version": 99, "further": "x"})
    yield changed("an unknown state", status_json=status | {"state": "paused"})
    early = {key: config[key] for key in ("task", "class_names", "epochs", "seed", "warmup_epochs")}
    yield changed("a configuration of few keys", True, config_yaml=early)
    yield changed("a history of lists", train_history_json={"train_losses": LOSS, "val_losses": VAL})
    yield changed("a mark of byte order", config_yaml="\ufeff" + (sound / "config.yaml").read_text())
    yield changed("Windows line ends", True, config_yaml=(sound / "config.yaml").read_text().replace("\n", "\r\n"))
    files: dict[str, bytes | None] = {"train_history.pkl": pickle.dumps(Ran(str(canary))), "train_history.json": None}
    yield _changed(workspace, run, sound, "only a pickle, with a command", files)
    hostile = io.BytesIO()
    torch.save({"format": "mammotrace-checkpoint", "config": Ran(str(canary))}, hostile)
    yield _changed(workspace, run, sound, "a checkpoint with a command", {"best_model.pth": hostile.getvalue()})
    arrays = io.BytesIO()
    np.save(arrays, np.array([Ran(str(canary))], dtype=object), allow_pickle=True)
    yield _changed(workspace, run, sound, "features with a command", {"embeddings_val.npy": arrays.getvalue()})


def _bytes(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
