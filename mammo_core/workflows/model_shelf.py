"""Models kept under a name: made from finished runs, exported and imported as one file, listed, thrown away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammo_core.analysis.backing_fit import join_validation
from mammo_core.analysis.metrics import TITLES, evaluate_predictions
from mammo_core.config import TrainConfig
from mammo_core.errors import CheckpointMismatch, CorruptRunFile, MammoError
from mammo_core.predict.model_record import SUFFIX, ModelRecord, model_path, read_record
from mammo_core.reading import read_json
from mammo_core.report.model_card import model_card
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.privacy import cleaned, without_places
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.run_dir import find_run
from mammo_core.settings import RESEARCH_ONLY, Workspace
from mammo_core.storage import lock_of, write_atomic, writing
from mammo_core.workflows.overview import value_text
from mammo_core.workflows.shelf import SHELF_METRICS, metric_over_runs
from mammo_core.workflows.uploads import uploads_folder

if TYPE_CHECKING:
    from mammo_core.predict.members import Member

MAX_DESCRIPTION = 2000
"""Characters."""
COPY_BYTES = 2**20
LOCK = ".models.lock"
"""Of the workspace; held while a model takes its name."""


@dataclass(frozen=True)
class KeptModel:
    """One file of ``runs/models/``."""

    name: str
    path: Path
    record: ModelRecord | None
    """``None`` where ``problem`` says why it cannot be read."""
    problem: str = ""

    @property
    def megabytes(self) -> float:
        return self.path.stat().st_size / 1e6


def kept_models(workspace: Workspace) -> list[KeptModel]:
    """All kept models by name; a file that cannot be read is listed with its problem."""
    found = []
    for path in sorted(workspace.models.glob(f"*{SUFFIX}")) if workspace.models.is_dir() else ():
        try:
            found.append(KeptModel(path.stem, path, read_record(path)))
        except MammoError as error:
            found.append(KeptModel(path.stem, path, None, str(error)))
    return found


def keep_model(workspace: Workspace, runs: Sequence[str], name: str, description: str = "") -> ModelRecord:
    """Freeze the best checkpoints of runs, with everything that backs their scores, into a kept model.

    The runs may go on, be archived or thrown away; the model stays as it was.

    Raises
    ------
    MammoError
        The name is taken or cannot be one; the description is too long.
    CheckpointMismatch
        A checkpoint cannot be used, or the runs do not belong together.
    """
    from mammo_core.predict.model_file import member_record, write_model_file
    from mammo_core.predict.predictor import Predictor

    _free(workspace, name)
    if len(description) > MAX_DESCRIPTION:
        raise MammoError(f"The description has {len(description)} characters; expected at most {MAX_DESCRIPTION}. Shorten it.")
    predictor = Predictor.load(workspace, [find_run(workspace, run) for run in runs], device="cpu")
    cards = _cards(workspace, predictor.runs)
    members = [member_record(member) for member in predictor.members]
    record = ModelRecord(
        name=name,
        description=description.strip(),
        members=tuple(one.model_copy(update={"config": cleaned(one.config)}) for one in members),
        backing=predictor.backing,
        **_facts(predictor.members, cards),
    )
    card = _card(workspace, record, cards)
    with _taken(workspace, name) as path:
        return write_model_file(path, record, predictor.members, card)


def import_model(workspace: Workspace, source: Path, name: str | None = None) -> ModelRecord:
    """Check a model file from elsewhere whole, then keep it; under the name it came with if none is given.

    Raises
    ------
    MammoError
        The name is taken or cannot be one.
    CheckpointMismatch
        The file cannot be used; nothing is kept then.
    """
    import torch

    from mammo_core.predict.model_file import check_answers, load_model_file

    loaded = load_model_file(source, torch.device("cpu"))
    check_answers(loaded, source.name)
    record = loaded.record

    def copy(file: Any) -> None:
        with source.open("rb") as original:
            while block := original.read(COPY_BYTES):
                file.write(block)

    with _taken(workspace, name or record.name) as path:
        write_atomic(path, copy)
    return record.model_copy(update={"name": path.stem})


def import_upload(workspace: Workspace, source: Path, name: str | None = None, shown: str | None = None) -> ModelRecord:
    """:func:`import_model` of a file that came through the browser, which is erased afterwards whatever comes of it.

    ``shown`` is the name that the user knows it by.
    """
    try:
        return import_model(workspace, source, name)
    except CheckpointMismatch as error:
        raise CheckpointMismatch(str(error).replace(source.name, shown or source.name)) from error
    finally:
        if source.resolve().is_relative_to(uploads_folder(workspace).resolve()):
            source.unlink(missing_ok=True)


def export_model(workspace: Workspace, name: str, out: Path) -> Path:
    """Copy a kept model to ``out``, a file or a folder that exists; returns the file.

    Raises
    ------
    MammoError
        There is no such model, or a file stands there already.
    """
    model = find_model(workspace, name)
    target = out / model.path.name if out.is_dir() else out
    if target.exists():
        raise MammoError(f"{target.name} stands there already; expected a new file. Name another one.")
    content = model.path.read_bytes()
    write_atomic(target, lambda file: file.write(content))
    return target


def remove_model(workspace: Workspace, name: str) -> Path:
    """Move a kept model to the trash folder, from which it can be put back; returns where it lies then."""
    model = find_model(workspace, name)
    place = workspace.trash / time.strftime("%Y%m%d-%H%M%S")
    while (place / model.path.name).exists():
        place = place.with_name(f"{place.name}_")
    place.mkdir(parents=True, exist_ok=True)
    return model.path.rename(place / model.path.name)


def trashed_models(workspace: Workspace) -> list[Path]:
    """The models in the trash, ``<when>/<name>.mammotrace``, last deleted first."""
    return sorted(workspace.trash.glob(f"*/*{SUFFIX}"), reverse=True)


def put_back_model(workspace: Workspace, trashed: Path) -> Path:
    """Put a model back on the shelf.

    Raises
    ------
    MammoError
        Its name is taken by now, or that is no model of the trash.
    """
    if trashed not in trashed_models(workspace):
        raise MammoError(f"{trashed.name!r} is not in the trash any more. Reload the page.")
    with _taken(workspace, trashed.stem) as target, writing(target.name):
        return trashed.rename(target)


def find_model(workspace: Workspace, name: str) -> KeptModel:
    """The kept model of that name; ``MammoError`` names those there are."""
    found = {model.name: model for model in kept_models(workspace)}
    if name not in found:
        known = ", ".join(list(found)[:5]) or "none yet"
        raise MammoError(f"There is no kept model {name!r}; expected one of: {known}. Keep or import it first.")
    return found[name]


def _free(workspace: Workspace, name: str) -> Path:
    path = model_path(workspace, name)
    if path.exists():
        raise MammoError(f"There is a model named {name} already; expected a new name. Choose another.")
    return path


@contextlib.contextmanager
def _taken(workspace: Workspace, name: str) -> Iterator[Path]:
    """The place of a new model; until it stands there nobody else, here or on the command line, can take its name."""
    with writing(workspace.models.name):
        workspace.models.mkdir(parents=True, exist_ok=True)
        lock = lock_of(workspace.home / LOCK)
        lock.acquire()
    try:
        yield _free(workspace, name)
    finally:
        lock.release()


def _cards(workspace: Workspace, runs: Sequence[str]) -> list[RunCard]:
    by_id = {card.id: card for card in list_cards(workspace, archived=True)}
    return [by_id[run] for run in runs if run in by_id]


def _facts(members: Sequence[Member], cards: Sequence[RunCard]) -> dict[str, Any]:
    config = members[0].checkpoint.config
    origins = [member.checkpoint.origin for member in members]
    finished = [card for card in cards if card.summary is not None]
    counts = finished[0].summary.counts if finished and finished[0].summary else {}
    return {
        "made_at": time.strftime("%Y-%m-%d"),
        "task": config.task,
        "class_names": config.class_names,
        "ordinal": config.ordinal,
        "dataset": config.dataset,
        "synthetic": any(bool(origin.get("synthetic")) for origin in origins),
        "train_films": origins[0].get("train_films"),
        "train_patients": origins[0].get("train_patients"),
        "val_films": sum(counts["val"].values()) if "val" in counts else None,
        "quality": _quality(cards, config),
        "single_runs": {metric: metric_over_runs(finished, metric) for metric in SHELF_METRICS} if len(finished) > 1 else {},
        "verdicts": tuple(f"{card.id}: {_headline(card)}" for card in finished),
    }


def _quality(cards: Sequence[RunCard], config: TrainConfig) -> dict[str, str]:
    """Validation metrics of the runs together, with intervals over patients; empty for folds and where predictions miss."""
    tables = [table for card in cards if (table := card.run.predictions("val")) is not None]
    if not tables or len(tables) < len(cards):
        return {}
    films, _, are_folds = join_validation(tables)
    if are_folds:
        return {}
    found = evaluate_predictions(films, config.class_names, config.ordinal, epoch=0, split_sha256=None, on="val").metrics
    return {name: value_text(found[name]) for name in SHELF_METRICS if name in found}


def _headline(card: RunCard) -> str:
    from mammo_core.predict.members import sentence_of

    diagnosis = card.summary.diagnosis if card.summary else None
    return sentence_of(str(diagnosis["headline"])) if diagnosis and diagnosis.get("headline") else "not judged"


def record_words(record: ModelRecord) -> list[str]:
    """What a model is, for a clinician: one sentence each."""
    many = len(record.members) > 1
    runs = f"{len(record.members)} runs together (the mean of their probabilities)" if many else "one run"
    films = f"{record.train_films} training films" if record.train_films else "an unknown number of training films"
    patients = f" of {record.train_patients} patients" if record.train_patients else ""
    words = [
        f"It tells {record.task} ({' / '.join(record.class_names)}) from one film; {runs}.",
        f"Trained on {films}{patients} of the data set {record.dataset or 'unknown'}"
        + (", which are synthetic: nothing it says about a film of a patient means anything." if record.synthetic else "."),
    ]
    if record.quality:
        told = ", ".join(f"{TITLES[name]} {text}" for name, text in record.quality.items() if text != "undefined")
        together = " the runs together have" if many else ""
        words.append(f"On {record.val_films or '?'} validation films{together}: {told or 'not evaluated'}.")
    if record.single_runs:
        singles = ", ".join(f"{TITLES[name]} {text}" for name, text in record.single_runs.items() if text != "undefined")
        words.append(f"Each run by itself, mean and SD: {singles}.")
    words += [f"Converged? {verdict}" for verdict in record.verdicts]
    words.append(record.backing.scaling_words)
    return words


def _card(workspace: Workspace, record: ModelRecord, cards: Sequence[RunCard]) -> str:
    listed = "\n".join(f"- {plain_in_file(sentence)}" for sentence in record_words(record))
    head = (
        f"# {record.name}\n\n**{RESEARCH_ONLY}**\n\n{plain_in_file(record.description)}\n\n{listed}\n\n"
        f"Model id `{record.model_id}`, made "
        f"{record.made_at}. Preprocessing version {record.members[0].preprocessing_version}.\n"
    )
    bodies = [model_card(card.run, _dataset(workspace, record.dataset)).replace("# Model card", "# Run", 1) for card in cards]
    return without_places(head) + "\n---\n\n" + "\n---\n\n".join(bodies)


def _dataset(workspace: Workspace, name: str) -> dict[str, Any]:
    try:
        raw = read_json(workspace.dataset(name) / "dataset.json")
    except (FileNotFoundError, CorruptRunFile, MammoError):
        return {}
    return raw if isinstance(raw, dict) else {}
