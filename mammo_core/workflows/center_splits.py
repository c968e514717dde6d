"""Leaving out each centre in turn: one saved split a centre, all or none."""

from __future__ import annotations

import re

from mammo_core.data.manifest import Dataset
from mammo_core.data.splits import Split, SplitPlan, leave_one_center_out, save_split
from mammo_core.errors import SplitError
from mammo_core.settings import Workspace


def center_split_names(workspace: Workspace, name: str, centers: list[str], check: bool = True) -> dict[str, str]:
    """Centre -> the name of its split: ``name_without_CENTRE``; with ``check`` also whether they can be used.

    Raises
    ------
    SplitError
        A name is taken, or two centres would share one.
    NameNotAllowed
    """
    names = {center: f"{name}_without_{re.sub(r'[^A-Za-z0-9]+', '-', center).strip('-') or 'x'}" for center in centers}
    if not check:
        return names
    if len({text.lower() for text in names.values()}) < len(names):
        raise SplitError(f"The centres {', '.join(centers)} cannot be told apart in file names; rename them at import.")
    taken = [text for text in names.values() if workspace.split(text).exists()]
    if taken:
        raise SplitError(f"There already is a split {taken[0]!r}, and nothing is overwritten; choose another name.")
    return names


def save_center_splits(workspace: Workspace, dataset: Dataset, name: str, plan: SplitPlan) -> list[Split]:
    """Make and save the split of every centre; see :func:`mammo_core.data.splits.leave_one_center_out`.

    Raises
    ------
    SplitError
        Any of them cannot be made or saved; none is saved then.
    """
    splits = leave_one_center_out(dataset, plan)
    names = center_split_names(workspace, name, list(splits))
    return [save_split(workspace, names[center], split) for center, split in splits.items()]
