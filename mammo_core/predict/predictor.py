"""One film, one or several trained runs, one answer - with everything that is needed to doubt it.

A film is prepared by the function that prepared the training films, with the canvas each checkpoint was trained on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from mammo_core.analysis.backing import Backing, no_backing
from mammo_core.data.decode_worker import pixel_sha256
from mammo_core.data.film import Film
from mammo_core.data.preprocess import PreparedFilm, prepare
from mammo_core.data.sandbox import DecodePool, Job
from mammo_core.errors import ConfigError, DataError, FilmUnreadable, MammoError
from mammo_core.predict.ensemble import combine, combine_unfamiliar
from mammo_core.predict.explaining import Explanation, explain_film
from mammo_core.predict.members import Member, backing_of_runs, check_alike, known_films, load_member, origin_of, other_view
from mammo_core.predict.model_file import load_model_file
from mammo_core.predict.model_record import REFERENCE_PREFIX, model_id_of, model_path
from mammo_core.predict.unfamiliar import Unfamiliar
from mammo_core.runs.run_dir import RunDir, find_run
from mammo_core.settings import Workspace
from mammo_core.training.models import choose_device, features_and_logits, normalise, to_float

PHANTOM_VENDOR = "MammoTrace phantom"
"""Begins the manufacturer of the app's own synthetic films."""
UNKNOWN = no_backing("nothing is known of its validation")
ID_DIGITS = 12
"""Of a film's content hash, used in place of its name: one in 10^14 pairs of films shares them."""


@dataclass(frozen=True)
class Prediction:
    """What the runs say about one film. It holds no file name and nothing about a patient."""

    film_id: str
    """First digits of the SHA-256 of the film's display values."""
    predicted: str
    probabilities: dict[str, float]
    """Mean over the runs, after the temperature of ``backing``; sums to 1."""
    per_run: dict[str, dict[str, float]]
    """Of each run, as it answered: before any temperature."""
    spread: float | None
    """SD (n-1) of the predicted class's probability over the runs, before any temperature; ``None`` for one run."""
    agreement: str
    unfamiliar: Unfamiliar
    warnings: tuple[str, ...]
    steps: tuple[str, ...]
    """What was read and done to the film, one sentence each."""
    runs: tuple[str, ...]
    task: str
    origins: tuple[dict[str, Any], ...]
    """Of each run: architecture, epoch, data set, split hash, training films and patients, date."""
    made_at: str
    """Local date and time, ISO 8601 without zone."""
    raw_probabilities: dict[str, float] = field(default_factory=dict)
    """Mean over the runs as they answered, before any temperature."""
    backing: Backing = field(default=UNKNOWN, repr=False)
    """What the validation films say of such scores."""

    @property
    def model_id(self) -> str:
        """The same for the same weights, wherever they are kept; 12 digits."""
        return model_id_of([str(origin["weights_sha256"]) for origin in self.origins])


class Predictor:
    """Trained runs, loaded and ready. Threads may share one: a lock lets one of them use the models at a time."""

    def __init__(
        self,
        members: Sequence[Member],
        device: torch.device,
        known_films: Mapping[str, Mapping[str, list[str]]],
        make_backing: Callable[[], Backing] = lambda: UNKNOWN,
    ) -> None:
        self.members = tuple(members)
        self.device = device
        self._known_films = known_films
        self._make_backing = make_backing
        self._lock = threading.Lock()
        self._ready: WeakKeyDictionary[Film, dict[tuple[int, int], PreparedFilm]] = WeakKeyDictionary()

    @classmethod
    def load(cls, workspace: Workspace, runs: Sequence[str | RunDir], device: str = "auto") -> Predictor:
        """Load the best checkpoint of each run, or one kept model, named ``model:<name>``.

        Raises
        ------
        RunNotFound, ConfigError
            No such run; no run at all.
        CheckpointMismatch
            A checkpoint is missing or broken, was trained with another preprocessing, or is of another task or other classes
            than the first.
        """
        kept = [run.removeprefix(REFERENCE_PREFIX) for run in runs if isinstance(run, str) and run.startswith(REFERENCE_PREFIX)]
        if kept:
            if len(runs) > 1:
                raise ConfigError("A kept model predicts alone; expected one model, or one or several runs. Name one of them.")
            return cls.from_file(model_path(workspace, kept[0]), device)
        found = [run if isinstance(run, RunDir) else find_run(workspace, run) for run in runs]
        distinct = list({run.path.resolve(): run for run in found}.values())
        if not distinct:
            raise ConfigError("No run was named; a prediction needs at least one that has finished an epoch. Choose a run.")
        target = choose_device(device)
        members = [load_member(run, target) for run in distinct]
        check_alike(members)
        return cls(members, target, known_films(workspace, members), lambda: backing_of_runs(workspace, members))

    @classmethod
    def from_file(cls, path: Path, device: str = "auto") -> Predictor:
        """Load a model file; it cannot know its own training films again.

        Raises
        ------
        CheckpointMismatch
            As :func:`mammo_core.predict.model_file.load_model_file`.
        """
        loaded = load_model_file(path, choose_device(device))
        return cls(loaded.members, choose_device(device), {}, lambda: loaded.record.backing)

    @cached_property
    def backing(self) -> Backing:
        """Temperature and thresholds from the validation films, computed when first asked for."""
        return self._make_backing()

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.members[0].checkpoint.class_names

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(member.id for member in self.members)

    def predict(self, film: Film) -> Prediction:
        """Probabilities, spread, whether the film is unfamiliar, and what was done to it.

        Raises
        ------
        DataError
            A model answers with numbers that are not finite.
        """
        with ThreadPoolExecutor(1) as beside:  # hashing needs no model, and lets go of the interpreter
            hashed = beside.submit(pixel_sha256, film.pixels)
            return self._judged(film, self._prepared(film), hashed)

    def _judged(self, film: Film, prepared: dict[tuple[int, int], PreparedFilm], hashed: Future[str]) -> Prediction:
        """The answer on a film that is prepared and, by the time it is needed, hashed."""
        per_run: dict[str, dict[str, float]] = {}
        verdicts: dict[str, Unfamiliar | str] = {}
        with self._lock:
            for member in self.members:
                features, probabilities = self._forward(member, prepared[member.checkpoint.config.image_size])
                per_run[member.id] = dict(zip(self.class_names, probabilities.tolist(), strict=True))
                guard = member.guard
                verdicts[member.id] = guard if isinstance(guard, str) else guard.judge(features)
        opinion, backing = combine(per_run), self.backing
        first = prepared[self.members[0].checkpoint.config.image_size]
        unfamiliar = combine_unfamiliar(verdicts)
        digest = hashed.result()
        own_warnings = self._warnings(film, digest, unfamiliar, "" if opinion.is_unanimous else opinion.agreement)
        return Prediction(
            film_id=digest[:ID_DIGITS],
            predicted=opinion.predicted,
            probabilities=backing.scaled(opinion.probabilities),
            per_run=per_run,
            spread=opinion.spread,
            agreement=opinion.agreement,
            unfamiliar=unfamiliar,
            warnings=(*own_warnings, *first.warnings),
            steps=first.steps,
            runs=self.runs,
            task=self.members[0].checkpoint.config.task,
            origins=tuple(origin_of(member) for member in self.members),
            made_at=time.strftime("%Y-%m-%d %H:%M"),
            raw_probabilities=opinion.probabilities,
            backing=backing,
        )

    def explain(self, film: Film, class_name: str, method: str = "gradcam") -> Explanation:
        """Which parts of the film influenced the score for ``class_name``, or for another target of that name or key (see
        :func:`mammo_core.explain.targets.targets_of`).

        Raises
        ------
        ConfigError
            Unknown class, question or method, or an architecture without a layer to take such a map from.
        """
        prepared = self._prepared(film)
        with self._lock:
            return explain_film(self.members, prepared, film, class_name, method)

    def _prepared(self, film: Film) -> dict[tuple[int, int], PreparedFilm]:
        if film not in self._ready:  # a map follows its prediction, on the same film
            sizes = {member.checkpoint.config.image_size for member in self.members}
            self._ready[film] = {size: prepare(film, size) for size in sizes}
        return self._ready[film]

    def _forward(self, member: Member, prepared: PreparedFilm) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Pooled features ``(F,)`` and probabilities ``(K,)``."""
        films = to_float(torch.from_numpy(prepared.pixels.copy())[None, None], self.device)
        with torch.inference_mode():
            features, logits = features_and_logits(member.model, normalise(films, member.checkpoint.normalisation))
            probabilities = logits[0].cpu().double().softmax(0).numpy()  # MPS has no float64
        if not np.isfinite(probabilities).all():
            raise DataError(f"{member.id} answers with numbers that are not finite, so its weights are damaged. Use another run.")
        return features[0].float().cpu().numpy(), probabilities

    def _warnings(self, film: Film, digest: str, unfamiliar: Unfamiliar, disagreement: str) -> list[str]:
        found = []
        if unfamiliar.flagged:
            found.append(f"This film is unlike those the model knows, so its probabilities mean little. {unfamiliar.reason}")
        if disagreement:
            found.append(disagreement)
        if strange_view := other_view(self.members, film.facts.view):
            found.append(strange_view)
        synthetic = any(member.checkpoint.origin.get("synthetic") for member in self.members)
        if synthetic and not (film.facts.vendor or "").startswith(PHANTOM_VENDOR):
            found.append(
                "The model was trained on synthetic phantom films only: what it says about a film of a patient means nothing."
            )
        doubts = [f"{member.id}: {member.doubt}" for member in self.members if member.doubt]
        if doubts:
            found.insert(0, f"The model's own training is in doubt. {' '.join(doubts)}")
        known = self._known_films.get(digest, {})
        if "train" in known:
            runs = ", ".join(known["train"])
            found.append(
                f"This film was among the training films of {runs}, so the answer says nothing about how good the model is."
            )
        elif "val" in known:
            runs = ", ".join(known["val"])
            found.append(
                f"This film was among the validation films of {runs}, which chose the epoch, the temperature and the thresholds: "
                "the answer flatters the model, and the film is familiar by nature."
            )
        return found


def predict_each(
    predictor: Predictor, paths: Sequence[Path], progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[Path, Film | None, Prediction | MammoError]]:
    """Read foreign files in a disposable child process and predict them, in order; an error is a result, not an exception."""
    with DecodePool(1) as pool:
        for number, (job, result) in enumerate(pool.map(Job("film", path) for path in paths), start=1):
            if isinstance(result, Film):
                yield job.path, result, _predicted(predictor, result)
            elif isinstance(result, FilmUnreadable):
                yield job.path, None, result
            if progress is not None:
                progress(number, len(paths))


def _predicted(predictor: Predictor, film: Film) -> Prediction | MammoError:
    try:
        return predictor.predict(film)
    except MammoError as error:
        return error


def as_row(image: str, result: Prediction | MammoError, runs: Sequence[str]) -> dict[str, Any]:
    """One entry of ``predict --json``."""
    if isinstance(result, Prediction):
        return {
            "image": image,
            "predicted": result.predicted,
            "probabilities": result.probabilities,
            "raw_probabilities": result.raw_probabilities,
            "temperature": result.backing.temperature,
            "spread": result.spread,
            "unfamiliar": result.unfamiliar.to_json(),
            "warnings": list(result.warnings),
            "runs": list(result.runs),
            "error": None,
            "film_id": result.film_id,
            "model_id": result.model_id,
            "per_run": result.per_run,
            "agreement": result.agreement,
            "steps": list(result.steps),
        }
    return {
        "image": image,
        "predicted": None,
        "probabilities": {},
        "spread": None,
        "unfamiliar": Unfamiliar(None, None, None, "The film was not read.").to_json(),
        "warnings": [],
        "runs": list(runs),
        "error": str(result),
    }
