"""Phantom patients: four films each, drawn independently of every other patient.

Design of the classes. Density, lesion and centre are drawn from separate shuffled blocks, so that

- each class keeps its share even in small sets (density A/B/C/D 20/30/30/20 %, lesion 45/30/25 %, centres 50/30/20 %);
- centre, density and lesion are independent of each other by design, and so are breast size, contrast, tone and noise: no
  shortcut leads from a centre's look to a class.

A patient is a function of (seed, index) alone: the same in a set of 4 films and of 4,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from mammo_core.data.phantom.anatomy import Mask, View, draw_anatomy, draw_shape
from mammo_core.data.phantom.centers import CENTERS, Center, expose
from mammo_core.data.phantom.lesions import Lesion, LesionClass, add_lesion, draw_lesion
from mammo_core.data.phantom.markers import draw_markers
from mammo_core.errors import ConfigError

Laterality = Literal["L", "R"]
Density = Literal["A", "B", "C", "D"]
Item = TypeVar("Item")

DEFAULT_HEIGHT = 520
"""Film height in pixels; the width is four fifths of it."""
MIN_HEIGHT = 160
"""Below this, strands and calcifications are thinner than a pixel."""

SHARES: dict[Density, tuple[float, float]] = {"A": (0.02, 0.08), "B": (0.18, 0.28), "C": (0.42, 0.54), "D": (0.70, 0.88)}
"""Glandular share of the breast area for each density, without overlap. Fractions."""

VIEWS: tuple[tuple[Laterality, View], ...] = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))

_DENSITY_BLOCK: tuple[Density, ...] = ("A",) * 2 + ("B",) * 3 + ("C",) * 3 + ("D",) * 2
_LESION_BLOCK: tuple[LesionClass, ...] = ("Normal",) * 9 + ("Benign",) * 6 + ("Malignant",) * 5
_CENTER_BLOCK = ("1",) * 5 + ("2",) * 3 + ("3",) * 2
_DENSITY_STREAM, _LESION_STREAM, _CENTER_STREAM, _PATIENT_STREAM, _FILM_STREAM = range(5)


@dataclass(frozen=True)
class PhantomFilm:
    """One synthetic film with everything that is true about it."""

    pixels: npt.NDArray[np.uint16]
    """(H, W), 0 is black, as displayed: chest wall on the left in films of a left breast, on the right of a right one."""
    breast_mask: Mask
    """(H, W), breast with nipple and pectoral muscle."""
    lesion_mask: Mask
    """(H, W), true outline of the lesion; all False if there is none."""
    patient_id: str
    exam_id: str
    laterality: Laterality
    view: View
    center: str
    vendor: str
    density: Density
    lesion: LesionClass
    """Of this film: the films of the other breast are Normal."""
    glandular_share: float
    """Glandular part of the breast area without the muscle, a fraction."""

    @property
    def name(self) -> str:
        """File name without suffix; it says that the film is synthetic."""
        return f"phantom_{self.patient_id}_{self.laterality}_{self.view}"


@dataclass(frozen=True)
class Patient:
    """What the four films of one patient have in common."""

    patient_id: str
    center: Center
    density: Density
    lesion_class: LesionClass
    lesion: Lesion | None
    share: float
    size: float


def make_patient(seed: int, index: int, height: int = DEFAULT_HEIGHT) -> list[PhantomFilm]:
    """The four films of one patient: L-CC, L-MLO, R-CC, R-MLO.

    Parameters
    ----------
    seed, index : not negative; together they decide every pixel
    height : film height in pixels, a multiple of 10 and at least 160; the width is four fifths of it

    Raises
    ------
    ConfigError
        A height that cannot work.
    """
    if height < MIN_HEIGHT or height % 10:
        raise ConfigError(f"The phantom film height is {height}; expected a multiple of 10 and at least {MIN_HEIGHT} pixels.")
    patient = draw_patient(seed, index)
    return [_draw_film(_generator(seed, _FILM_STREAM, index, number), patient, *VIEWS[number], height) for number in range(4)]


def slot(seed: int, stream: int, number: int, block: Sequence[Item]) -> Item:
    """Item ``number`` of an endless sequence of shuffled copies of ``block``: exact shares, random order, random access."""
    order = _generator(seed, stream, number // len(block)).permutation(len(block))
    return block[int(order[number % len(block)])]


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, *key]))


def draw_patient(seed: int, index: int) -> Patient:
    """The patient without films: classes, centre, lesion and size."""
    rng = _generator(seed, _PATIENT_STREAM, index)
    density = slot(seed, _DENSITY_STREAM, index, _DENSITY_BLOCK)
    lesion = slot(seed, _LESION_STREAM, index, _LESION_BLOCK)
    return Patient(
        patient_id=f"P{index + 1:04d}",
        center=CENTERS[slot(seed, _CENTER_STREAM, index, _CENTER_BLOCK)],
        density=density,
        lesion_class=lesion,
        lesion=draw_lesion(rng, lesion),
        share=float(rng.uniform(*SHARES[density])),
        size=float(rng.uniform(0, 1)),
    )


def _draw_film(rng: np.random.Generator, patient: Patient, laterality: Laterality, view: View, height: int) -> PhantomFilm:
    share = float(np.clip(patient.share * rng.normal(1.0, 0.03), *SHARES[patient.density]))
    width = height * 4 // 5
    anatomy = draw_anatomy(rng, draw_shape(rng, view, patient.size), share, (height, width))
    attenuation, lesion_mask = anatomy.attenuation, np.zeros(anatomy.breast.shape, dtype=np.bool_)
    has_lesion = patient.lesion is not None and patient.lesion.laterality == laterality
    if patient.lesion is not None and has_lesion:
        attenuation, lesion_mask = add_lesion(rng, anatomy, patient.lesion, view)
    film = expose(rng, anatomy, attenuation, patient.center, width)
    breast, lesion_mask = (np.pad(mask, ((0, 0), (0, width - mask.shape[1]))) for mask in (anatomy.breast, lesion_mask))
    if laterality == "R":
        film, breast, lesion_mask = (np.ascontiguousarray(image[:, ::-1]) for image in (film, breast, lesion_mask))
    draw_markers(film, f"{laterality}-{view}", patient.center.marker, chest_wall_left=laterality == "L")
    return PhantomFilm(
        pixels=np.rint(film * 65535).astype(np.uint16),
        breast_mask=breast,
        lesion_mask=lesion_mask,
        patient_id=patient.patient_id,
        exam_id=f"{patient.patient_id}_E1",
        laterality=laterality,
        view=view,
        center=patient.center.name,
        vendor=patient.center.vendor,
        density=patient.density,
        lesion=patient.lesion_class if has_lesion else "Normal",
        glandular_share=float((anatomy.gland[anatomy.tissue] > 0.5).mean()),
    )
