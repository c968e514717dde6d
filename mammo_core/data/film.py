"""What reading a film yields: its display values, and the facts that its file states about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mammo_core.data.breast import Breast


class Refusal(Exception):
    """Why a file is not accepted, without its name; :func:`mammo_core.data.reader.read_film` adds that.

    The text continues the sentence "NAME cannot be used: ...".
    """


@dataclass
class Notes:
    """Collects, while a film is read, what was done to it and what looked wrong. Both lists hold whole sentences."""

    steps: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FilmFacts:
    """What a file says about its film, and what was done to read it. ``dataclasses.asdict`` of it is JSON-able.

    ``None`` means that the file does not say. ``patient_key``, ``study_key``, ``study_date`` and ``series_description`` can
    identify a person: they serve to group films while importing, and are neither shown nor exported.
    """

    kind: str
    """``DICOM``, ``PNG``, ``JPEG``, ``TIFF`` or ``PGM``: found by content, not by the file's suffix."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    bits: int
    """Bits that carry the value of one pixel."""
    window: str
    """How stored values became display values: ``window 2047/4095 LINEAR``, ``VOI LUT``, ``0.5-99.5 percentile``,
    ``as stored``."""
    inverted: bool
    """Whether the values were turned over so that air is dark."""
    decoder: str
    """Name and version of what decoded the pixels; lossy decoders differ by a few grey levels."""
    photometric: str | None = None
    transfer_syntax: str | None = None
    sop_class: str | None = None
    modality: str | None = None
    image_type: str | None = None
    """Parts joined by a backslash, such as ``DERIVED\\PRIMARY``."""
    presentation_intent: str | None = None
    burned_in_annotation: str | None = None
    laterality: str | None = None
    """``L`` or ``R``."""
    view: str | None = None
    """``CC``, ``MLO``, ``ML``, ...: the abbreviations of DICOM's View Position."""
    view_modifiers: tuple[str, ...] = ()
    """``magnification``, ``spot compression``, ...; a standard view has none."""
    patient_orientation: str | None = None
    """Direction of rows and columns, such as ``A\\FR``."""
    implant: bool | None = None
    vendor: str | None = None
    model: str | None = None
    center: None = None
    """Always ``None``: no tag names the centre reliably; the importer asks for it."""
    pixel_spacing_mm: tuple[float, float] | None = None
    """Distance of rows and of columns in the breast, millimetres (detector spacing divided by the magnification)."""
    patient_key: str | None = None
    """Raw Patient ID. In some public sets it differs for each film of one woman."""
    study_key: str | None = None
    """Raw Study Instance UID."""
    study_date: str | None = None
    series_description: str | None = None
    warnings: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    """What was read and done, in order, one sentence each."""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> FilmFacts:
        """The inverse of ``dataclasses.asdict``, also after JSON has made lists of the tuples."""
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Film:
    """One film, ready to be shown: ``pixels`` of shape (H, W), float32, display values in [0, 1] with a dark background."""

    pixels: npt.NDArray[np.float32]
    facts: FilmFacts

    @cached_property
    def small(self) -> npt.NDArray[np.float32]:
        """The film averaged over blocks, see :func:`mammo_core.data.breast.reduced`; kept, since several ask for it."""
        from mammo_core.data.breast import reduced  # loads scipy, which a list of films does not need

        return reduced(self.pixels)[0]

    @cached_property
    def breast(self) -> Breast:
        """Where the breast lies, on ``small``; kept likewise."""
        from mammo_core.data.breast import find_breast_in, reduction_factor

        return find_breast_in(self.small, reduction_factor(self.pixels.shape))

    def known_as(self, laterality: str, view: str) -> Film:
        """The film with a side and a view from elsewhere (a manifest) where its file states none; empty text is unknown."""
        facts = self.facts
        return Film(
            self.pixels, replace(facts, laterality=facts.laterality or laterality or None, view=facts.view or view or None)
        )
