"""Whether a film looks like those the model was validated on; a score for a film that does not is worth little.

A film is compared with the validation films, which the model has not learnt, in the model's own pooled features: the mean
cosine distance to its nearest neighbours. The limit comes from the validation films themselves, each compared with those of
other patients.

Before the cosine each feature is replaced by its (signed) square root, so that a few strong channels do not decide alone.
``python -m bench.unfamiliar`` measures it on test films and on 137 readable pictures that are no mammogram (photographs, other
DICOM pictures, noise and test patterns). On four runs trained on phantoms, each with 60 or 64 validation films, the AUROC was
0.997 to 1.000 for each kind, 533 of 548 such pictures were flagged, and 1 of 328 test films. On two of these runs the plain
Euclidean distance had an AUROC of 0.90 and 0.94 and flagged 27 and 58 of 137, the Mahalanobis distance 0.96 and 0.97 with 46
and 84. One, five or ten neighbours, with the square root or without, come to nearly the same.

What it does not see: a model of phantoms flags only some films of patients (2 to 7 of 8 here), and films upside down or with
strong noise mostly pass.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammo_core.errors import CorruptRunFile
from mammo_core.runs.run_dir import RunDir

Features = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]

ARRAY_FAULTS = (
    ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile,
)  # fmt: skip
"""What NumPy raises on a file that is no plain array: its header is a Python literal."""
NEIGHBOURS = 5
QUANTILE = 0.99
MIN_FILMS = 8
"""Below this the largest of the validation distances says next to nothing about the next film's."""
FAMILIARITY = {True: "unlike", False: "familiar", None: "not judged"}
"""What the tables say of ``Unfamiliar.flagged``."""


@dataclass(frozen=True)
class Unfamiliar:
    """The verdict on one film."""

    flagged: bool | None
    """``None`` where it could not be judged."""
    score: float | None
    """Distance from the validation films; larger is stranger."""
    threshold: float | None
    """Flagged above this."""
    reason: str
    """One sentence for the user."""

    def to_json(self) -> dict[str, object]:
        return {"flagged": self.flagged, "score": self.score, "threshold": self.threshold, "reason": self.reason}


@dataclass(frozen=True, eq=False)
class FeatureGuard:
    """Compares a film's features with those of a run's validation films."""

    reference: Distances
    """``(n, F)``, square roots of the features, rows of unit length."""
    threshold: float

    @classmethod
    def fit(cls, features: Features, patients: npt.NDArray[np.str_] | None = None) -> FeatureGuard | None:
        """Learn what is usual; ``None`` where there are fewer than ``MIN_FILMS`` films or only one patient.

        Parameters
        ----------
        features : float32 ndarray of shape (n, F)
            Pooled features of the validation films.
        patients : str ndarray of shape (n,) or None
            A film's own and its patient's other films say nothing about how near a stranger is, so they do not count as its
            neighbours. Without them each film stands for a patient.
        """
        groups = np.arange(len(features)) if patients is None else np.unique(patients, return_inverse=True)[1]
        if len(features) < MIN_FILMS or len(np.unique(groups)) < 2:
            return None
        reference = _unit_rows(features)
        distances = 1 - reference @ reference.T
        distances[groups[:, None] == groups[None, :]] = np.inf
        return cls(reference, float(np.quantile(_mean_of_nearest(distances), QUANTILE, method="higher")))

    def score(self, features: Features) -> Distances:
        """Mean cosine distance of each row of ``features`` ``(m, F)`` to its nearest validation films, ``(m,)`` in [0, 2]."""
        return _mean_of_nearest(1 - _unit_rows(features) @ self.reference.T)

    def judge(self, features: Features) -> Unfamiliar:
        """The verdict on one film with pooled features ``(F,)``."""
        score = float(self.score(features[None])[0])
        flagged = not score <= self.threshold  # NaN is strange too
        where = "farther from them than" if flagged else "as near to them as"
        reason = (
            f"Compared with {len(self.reference)} validation films in the model's own features, this film is {where} "
            f"{QUANTILE:.0%} of those films are to each other."
        )
        return Unfamiliar(flagged, score, self.threshold, reason)


def load_guard(run: RunDir) -> FeatureGuard | str:
    """The guard of a run, or a sentence that says why there is none.

    Raises
    ------
    CorruptRunFile
        The features are not a table of finite numbers.
    """
    try:
        features = np.load(run.embeddings, allow_pickle=False)
    except FileNotFoundError:
        return f"{run.id} keeps no features of its validation films, so nobody can say whether this film is like them."
    except ARRAY_FAULTS as error:
        raise CorruptRunFile(_broken(run)) from error
    is_table = isinstance(features, np.ndarray) and features.ndim == 2  # of a ZIP, NumPy makes something else
    if not is_table or not np.issubdtype(features.dtype, np.floating) or not np.isfinite(features).all():
        raise CorruptRunFile(_broken(run))
    table = run.predictions("val")
    patients = table["patient_id"].to_numpy(dtype=np.str_) if table is not None and len(table) == len(features) else None
    guard = FeatureGuard.fit(features.astype(np.float32), patients)
    if guard is None:
        return (
            f"{run.id} was validated on {len(features)} films of too few patients to say what is usual; expected at least "
            f"{MIN_FILMS} films of two patients."
        )
    return guard


def _broken(run: RunDir) -> str:
    return (
        f"{run.id}/{run.embeddings.name} is not a table of finite numbers, so unfamiliar films could not be recognised. "
        "Restore the file, or delete it to predict without that check."
    )


def _unit_rows(features: Features) -> Distances:
    rows = np.sign(features) * np.sqrt(np.abs(features.astype(np.float64)))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def _mean_of_nearest(distances: Distances) -> Distances:
    """Mean of the finite smallest ``NEIGHBOURS`` entries of each row; fewer where a row has fewer."""
    nearest = np.sort(distances, axis=1)[:, :NEIGHBOURS]
    counted = ~np.isinf(nearest)
    means: Distances = np.where(counted, nearest, 0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    return means
