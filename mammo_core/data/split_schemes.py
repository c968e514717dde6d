"""The schemes: patients at random and balanced, whole centres held out, k folds, by date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.data.groups import Pairs, group_films
from mammo_core.data.split_allocation import Ints, allocate
from mammo_core.data.split_proof import SPLITS
from mammo_core.errors import SplitError

Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """What the user asks for."""

    dataset: str = ""
    scheme: Literal["stratified", "center-holdout", "kfold", "date"] = "stratified"
    seed: int = 42
    """Chooses the patients; separate from the seeds of training, so that those are compared on one split."""
    ratios: tuple[float, float, float] = (0.70, 0.15, 0.15)
    """Shares of train, val and test, as fractions or percent. ``center-holdout`` uses the middle one as share of the training
    centres, ``kfold`` the last one as a test that is fixed before the folds are made (0: no test), ``date`` the last one to
    choose the date where ``after`` is empty, and train to val as they are to each other."""
    holdout: tuple[str, ...] = ()
    """Centres that make the test of ``center-holdout``."""
    folds: int = 5
    after: str = ""
    """First year or day of the test of ``date``; empty takes the one that fits the ratios best."""
    date_column: str = ""
    """Column that says when a film was made; empty takes the first that is known."""
    gap_months: int = 0
    """Films this long before the test of ``date`` stand nowhere."""


@dataclass(frozen=True)
class Groups:
    """The groups of a manifest, in order of their id, which makes a split independent of the order of rows."""

    ids: list[str]
    of_film: Ints
    """Group of each film, shape (n_films,)."""
    films: Ints
    """Films of each class, shape (n_groups, n_classes)."""
    strata: Ints
    """Label of each group."""
    cells: Ints
    """Centre in which each group has its first film, shape (n_groups,)."""

    def subset(self, which: npt.NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
        return self.strata[which], self.cells[which], self.films[which]


def parse_ratios(text: str) -> tuple[float, float, float]:
    """``70/15/15`` or ``0.7/0.15/0.15`` as fractions.

    Raises
    ------
    SplitError
        Not three numbers, or as :func:`make_split`.

    Examples
    --------
    >>> parse_ratios("80/20/0")
    (0.8, 0.2, 0.0)
    """
    try:
        train, val, test = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise SplitError(f"The ratios {text!r} are not three numbers; expected train/val/test such as 70/15/15.") from error
    return fractions((train, val, test))


def fractions(ratios: tuple[float, float, float]) -> tuple[float, float, float]:
    total = sum(ratios)
    if not (abs(total - 1) < 1e-6 or abs(total - 100) < 1e-4) or min(ratios) < 0:
        raise SplitError(f"The ratios {ratios} sum to {total:g}; expected shares of train, val and test that sum to 1 or 100.")
    train, val, test = (ratio / round(total) for ratio in ratios)
    if train == 0 or val == 0:
        raise SplitError(f"The ratios {ratios} leave train or val empty; training needs both, only the test may be 0.")
    return train, val, test


def form_groups(
    manifest: pd.DataFrame, class_names: list[str], ordinal: bool, hashes: Mapping[str, str], near_pairs: Pairs = ()
) -> Groups:
    """Count the films of each class in each group, and give each group its label and centre.

    Raises
    ------
    SplitError
        A strange label, one group only, or a class without films.
    """
    strange = sorted(set(manifest["label"]) - set(class_names))
    if strange:
        raise SplitError(f"The films have the label(s) {', '.join(map(repr, strange[:5]))}, which are no class of the data set.")
    codes = pd.Categorical(manifest["label"], categories=class_names).codes.astype(np.int64)
    of_film, ids = pd.factorize(group_films(manifest, hashes, near_pairs), sort=True)
    if len(ids) < 2:
        raise SplitError("All films belong to one patient; a split needs at least one patient for each part.")
    films = np.zeros((len(ids), len(class_names)), dtype=np.int64)
    np.add.at(films, (of_film, codes), 1)
    empty = [name for name, count in zip(class_names, films.sum(axis=0), strict=True) if count == 0]
    if empty:
        raise SplitError(
            f"The data set has no film of class {', '.join(empty)}, so no model can learn or be tested on it; import it without "
            "that class, or add films."
        )
    last = len(class_names) - 1
    # Of equally common labels the higher one counts, as the worse one does elsewhere.
    strata = last - (films[:, ::-1].argmax(axis=1) if ordinal else (films[:, ::-1] > 0).argmax(axis=1))
    center = pd.Series(pd.factorize(manifest["center"], sort=True)[0]).groupby(of_film).min()
    return Groups(list(ids), of_film.astype(np.int64), films, strata, center.to_numpy(dtype=np.int64))


def place_groups(
    manifest: pd.DataFrame, groups: Groups, class_names: Sequence[str], plan: SplitPlan
) -> tuple[Texts, Texts, list[str]]:
    """The split and the fold (or ``""``) of each group, and sentences on what was decided on the way.

    Raises
    ------
    SplitError
        As :func:`mammo_core.data.splits.make_split`.
    """
    no_fold = np.full(len(groups.ids), "", dtype="<U5")
    if plan.scheme == "center-holdout":
        split, remarks = _hold_out(manifest, groups, class_names, plan)
        return split, no_fold, remarks
    if plan.scheme == "kfold":
        return *_make_folds(groups, class_names, plan), []
    if plan.scheme != "stratified":
        raise SplitError(f"There is no split scheme {plan.scheme!r}; expected stratified, center-holdout, kfold or date.")
    used = [(name, share) for name, share in zip(SPLITS, fractions(plan.ratios), strict=True) if share > 0]
    everyone = np.ones(len(groups.ids), dtype=bool)
    _need_groups(groups, class_names, everyone, len(used))
    parts = allocate(*groups.subset(everyone), tuple(share for _, share in used), plan.seed)
    return np.array([name for name, _ in used])[parts], no_fold, []


def _need_groups(groups: Groups, class_names: Sequence[str], among: npt.NDArray[np.bool_], parts: int) -> None:
    """Raise where a class has fewer groups than there are parts to fill."""
    holders = (groups.films[among] > 0).sum(axis=0)
    for name, count in zip(class_names, holders, strict=True):
        if count < parts:
            raise SplitError(
                f"Class {name} has films of {count} patient(s), but {parts} parts each need one; add films, join the class with "
                "another at import, or ask for fewer parts (fewer folds, or ratios such as 80/20/0)."
            )


def _hold_out(manifest: pd.DataFrame, groups: Groups, class_names: Sequence[str], plan: SplitPlan) -> tuple[Texts, list[str]]:
    """Test = all groups with a film of a held-out centre; val = a share of the others."""
    center_of_film = manifest["center"].replace("", "unknown")
    centers = sorted(set(center_of_film))
    wanted = {name.strip() for name in plan.holdout}
    shown = ", ".join(centers)
    if not wanted or wanted - set(centers):
        raise SplitError(
            f"The centre(s) to hold out are {', '.join(sorted(wanted)) or 'not named'}; the data set has {shown}. "
            "Name one or more of these."
        )
    held_film = center_of_film.isin(wanted).to_numpy()
    held = np.bincount(groups.of_film, weights=held_film) > 0
    if held.all():
        raise SplitError(f"Holding out {', '.join(sorted(wanted))} leaves no patient to train on; the data set has {shown}.")
    straddling = held & (np.bincount(groups.of_film, weights=~held_film) > 0)
    remarks = []
    if straddling.any():
        remarks.append(
            f"{int(straddling.sum())} patient(s) have films in a held-out centre and in another; all their films are in the test."
        )
    return _test_and_val(groups, class_names, held, fractions(plan.ratios)[1], plan.seed), remarks


def place_by_date(groups: Groups, class_names: Sequence[str], test_film: npt.NDArray[np.bool_], plan: SplitPlan) -> Texts:
    """The split of each group where ``test_film`` says which films are late; no group may have both kinds."""
    train, val, _ = fractions(plan.ratios)
    held = np.bincount(groups.of_film, weights=test_film) > 0
    return _test_and_val(groups, class_names, held, val / (train + val), plan.seed)


def _test_and_val(groups: Groups, class_names: Sequence[str], held: npt.NDArray[np.bool_], val: float, seed: int) -> Texts:
    """``held`` groups are the test, and a balanced share of the others is the val."""
    _need_groups(groups, class_names, ~held, 2)
    split = np.full(len(groups.ids), "test", dtype="<U5")
    split[~held] = np.array(["train", "val"])[allocate(*groups.subset(~held), (1 - val, val), seed)]
    return split


def _make_folds(groups: Groups, class_names: Sequence[str], plan: SplitPlan) -> tuple[Texts, Texts]:
    """First the test, never touched again; then folds of the rest."""
    if plan.folds < 2:
        raise SplitError(f"The number of folds is {plan.folds}; expected at least 2.")
    test = fractions(plan.ratios)[2]
    everyone = np.ones(len(groups.ids), dtype=bool)
    _need_groups(groups, class_names, everyone, plan.folds + (test > 0))
    split = np.full(len(groups.ids), "train", dtype="<U5")
    if test > 0:
        split[allocate(*groups.subset(everyone), (1 - test, test), plan.seed) == 1] = "test"
    rest = split == "train"
    _need_groups(groups, class_names, rest, plan.folds)
    fold = np.full(len(groups.ids), "", dtype="<U5")
    fold[rest] = (allocate(*groups.subset(rest), (1 / plan.folds,) * plan.folds, plan.seed) + 1).astype(str)
    return split, fold
