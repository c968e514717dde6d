"""How far grey values alone get: a logistic regression on four numbers a film.

A network that is not clearly better than this has learnt exposure and processing, not anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mammo_core.analysis.bootstrap import Weights
from mammo_core.analysis.formulas import Floats
from mammo_core.errors import DataError, SplitError, UndefinedMetric

FEATURES = ("mean", "sd", "p10", "p90")


def intensity_features(pixels: npt.ArrayLike) -> Floats:
    """Mean, standard deviation, 10th and 90th percentile of a film's grey values; float64, shape (4,), unit of the pixels."""
    values = np.asarray(pixels, dtype=np.float64)
    return np.array([values.mean(), values.std(), *np.percentile(values, [10, 90])])


def intensity_baseline(features: Floats, labels: npt.ArrayLike, patients: Sequence[str], split: Sequence[str]) -> float:
    """Macro one-vs-rest AUC on the test films of a logistic regression fitted on the training films.

    Parameters
    ----------
    features : ndarray of shape (n, 4)
        As :func:`intensity_features`, one row a film; standardised here on the training films.
    labels : int array of shape (n,)
        Class index of each film.
    patients : sequence of str, length n
        Checked: nobody may be in both parts, or the number flatters.
    split : sequence of {"train", "val", "test"}, length n

    Returns
    -------
    float in [0, 1]
        0.5 is chance; the unweighted mean over the classes that occur in both parts.

    Raises
    ------
    DataError, SplitError, UndefinedMetric
        Lengths that do not agree; a patient in train and test; a part with fewer than two of the classes.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels, dtype=np.intp)
    parts, people = np.asarray(split, dtype=object), np.asarray(patients, dtype=object)
    if not len(x) == len(y) == len(parts) == len(people):
        raise DataError(
            f"The baseline got {len(x)} feature rows, {len(y)} labels, {len(people)} patients and {len(parts)} split entries; "
            "expected one of each a film."
        )
    train, test = parts == "train", parts == "test"
    shared = set(people[train]) & set(people[test])
    if shared:
        raise SplitError(f"{len(shared)} patient(s) are in both train and test; expected none. Make the split again.")
    both = [int(k) for k in np.unique(y[train]) if k in set(y[test])]
    if len(both) < 2:
        raise UndefinedMetric("The intensity baseline needs at least two classes in both train and test; there are fewer.")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[train], y[train])
    scores = model.predict_proba(x[test])
    column = {int(k): index for index, k in enumerate(model.classes_)}
    everyone = Weights(np.ones((1, int(test.sum()))), np.arange(int(test.sum())))
    return float(np.mean([everyone.auc(scores[:, column[k]], y[test] == k)[0] for k in both]))
