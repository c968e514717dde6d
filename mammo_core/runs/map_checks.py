"""The records of the two checks of a run's maps, as they lie in ``reports/gradcam/``: who shows them needs no torch.

Written by ``workflows/localise`` (do the maps point at the lesions?) and ``workflows/sanity_check`` (do they depend on what the
model has learnt?).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from mammo_core.errors import CorruptRunFile
from mammo_core.reading import read_json_bytes
from mammo_core.runs.schema import MetricValue

MAP = "map"
"""Name of the model's own map beside those that need no model."""
SHORT_MAPS = {"breast": "Whole breast", "centre": "Centre point", "gaussian": "Blur round the centre"}
"""Names of the maps that need no model that fit a table's head."""
TESTS = ("randomisation", "repeatability", "faithfulness")

Outcome = Literal["passed", "failed", "not decided", "not tested"]
Scores = dict[str, dict[str, MetricValue]]
"""Map -> measure -> mean over films."""


def films_of_patients(films: int, patients: int) -> str:
    """``18 films of 9 patients``."""
    return f"{films} film{'' if films == 1 else 's'} of {patients} patient{'' if patients == 1 else 's'}"


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow")


class Failure(_Record):
    image: str
    error: str


class Group(_Record):
    """Means over the films of one size of lesion, or of all."""

    n: int
    patients: int
    empty: int = 0
    scores: Scores
    gains: Scores
    """Map minus baseline, on the same films."""


class Sizes(_Record):
    unit: Literal["mm2", "pixels"]
    limits: tuple[float, float]
    """Upper ends of small and medium."""
    groups: dict[str, Group] = Field(default_factory=dict)
    """``small, medium, large``; empty where there are too few films."""


class MeasuredFilm(_Record):
    image_id: str
    patient_id: str
    class_name: str
    area_pixels: int
    area_mm2: float | None = None
    empty: bool = False
    breast_found: bool = True
    scores: dict[str, dict[str, float]]


class Titles(_Record):
    maps: dict[str, str]


class LocalisationRecord(_Record):
    """What :func:`mammo_core.workflows.localise.localise_run` writes."""

    run: str
    on: str
    method: str
    epoch: int | None = None
    """Of the checkpoint; ``None`` in records of versions that did not say."""
    n: int
    patients: int
    without_outline: dict[str, int] = Field(default_factory=dict)
    failures: list[Failure] = Field(default_factory=list)
    all: Group
    sizes: Sizes
    words: list[str]
    titles: Titles
    films: list[MeasuredFilm]
    disclaimer: str


class Stage(_Record):
    """The maps after the weights up to this part of the model were made random."""

    stage: str
    ssim: MetricValue
    spearman: MetricValue
    empty: int = 0


class Test(_Record):
    """One test of three; the numbers are there only where it was made."""

    __test__ = False  # no test of pytest's

    passed: bool | None
    words: str
    n: int | None = None
    patients: int | None = None
    left_out: int = 0
    empty: int = 0
    stages: list[Stage] = Field(default_factory=list)
    runs: list[str] = Field(default_factory=list)
    ssim: MetricValue | None = None
    spearman: MetricValue | None = None
    different_films: MetricValue | None = None
    difference: MetricValue | None = None
    scores: dict[str, MetricValue] = Field(default_factory=dict)
    gains: dict[str, MetricValue] = Field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        if self.passed is not None:
            return "passed" if self.passed else "failed"
        return "not tested" if self.n is None else "not decided"


class SanityRecord(_Record):
    """What :func:`mammo_core.workflows.sanity_check.check_sanity` writes."""

    run: str
    on: str
    epoch: int | None = None
    plan: dict[str, Any]
    tests: dict[str, Test]
    failures: list[Failure] = Field(default_factory=list)
    unusable_runs: list[dict[str, str]] = Field(default_factory=list)
    titles: Titles
    disclaimer: str

    @pydantic.model_validator(mode="after")
    def _has_three_tests(self) -> SanityRecord:
        missing = [name for name in TESTS if name not in self.tests]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}")
        return self


Record = TypeVar("Record", bound=_Record)


def read_check(path: Path, model: type[Record]) -> Record | None:
    """The record at ``path``; ``None`` where there is none.

    Raises
    ------
    CorruptRunFile
        It does not hold what it should.
    """
    try:
        return model.model_validate_json(read_json_bytes(path))
    except FileNotFoundError:
        return None
    except pydantic.ValidationError as error:
        raise CorruptRunFile(
            f"The record {path.name} does not hold what it should ({error.error_count()} fault(s)). Make the check again; "
            "nothing else is affected."
        ) from error
