"""Single films out of a table of predictions: how sure the model was of each, and its worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammo_core.analysis.predictions import cases_of


def with_confidence(table: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """The predictions with three further columns.

    Returns
    -------
    DataFrame
        As ``RunDir.predictions``, plus ``right`` (bool), ``confidence`` (probability of the predicted class, in [0, 1]) and
        ``prob_true`` (probability of the true class); rows in their order.

    Raises
    ------
    DataError
        As :func:`cases_of`.
    """
    cases = cases_of(table, class_names, ordinal=False)
    rows = np.arange(len(cases.labels))
    return table.assign(
        right=cases.labels == cases.predicted,
        confidence=cases.probabilities[rows, cases.predicted],
        prob_true=cases.probabilities[rows, cases.labels],
    )


def worst_mistakes(table: pd.DataFrame, class_names: Sequence[str], ordinal: bool, limit: int = 20) -> pd.DataFrame:
    """The wrongly called films, worst first.

    On an ordinal scale those farthest from their class come first (``steps_off``, 1 everywhere on other scales); among equals
    those to whose true class the model gave least.

    Returns
    -------
    DataFrame
        As :func:`with_confidence`, plus ``steps_off`` (int); at most ``limit`` rows.
    """
    judged = with_confidence(table, class_names)
    place = {name: index for index, name in enumerate(class_names)}
    far = (judged["y_true"].map(place) - judged["y_pred"].map(place)).abs()
    wrong = judged.assign(steps_off=far if ordinal else 1)[~judged["right"]]
    order = ["steps_off", "prob_true", "image_id"]
    return wrong.sort_values(order, ascending=[False, True, True], ignore_index=True).head(limit)


def surest_mistakes(table: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """All wrongly called films, those first of whose wrong class the model was surest; columns as :func:`with_confidence`."""
    judged = with_confidence(table, class_names)
    wrong = judged[~judged["right"]]
    return wrong.sort_values(["confidence", "image_id"], ascending=[False, True], ignore_index=True)
