"""A pytest plugin for runs in two processes: the files that take longest come first.

xdist gives out whole files, so that what a file makes is made once. A long one that comes last keeps one process at work while
the other has nothing left to do.
"""

from __future__ import annotations

import pytest

LONGEST = (
    "test_supervisor", "test_probe", "test_train_run", "test_compare", "test_report_pack", "test_train_page", "test_slurm",
    "test_train_ranks", "test_cli", "test_map_jobs", "test_canary", "test_evaluate_page", "test_engine", "test_second_run",
    "test_audit", "test_predict_page", "test_ranks", "test_batches",
)  # fmt: skip
"""Names of files, by the processor's time that they took when this was last measured."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    others = {"reliability": -1}
    items.sort(key=lambda item: places.get(item.path.stem, others.get(item.path.parent.name, len(LONGEST))))
