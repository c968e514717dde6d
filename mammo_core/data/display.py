"""From stored values to display values: modality LUT, VOI LUT or window, polarity, in the order that DICOM fixes.

For one film this is a function of the stored value alone, so it is worked out on a table of all values between the smallest
and the largest one, and the film is then looked up in that table.

Source: DICOM PS3.3, C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (MONOCHROME1), C.7.5.1.1.2 (Pixel Padding).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from mammo_core.data.breast import Pixels, breast_percentiles, find_breast, has_bright_background
from mammo_core.data.dicom_facts import TagFault, code_of, text_of
from mammo_core.data.film import Notes, Refusal

Stored = npt.NDArray[np.integer[Any]]
Values = npt.NDArray[np.float64]

PIXELS_AT_ONCE = 2**15
"""NumPy widens an index array to 64 bits; looking up a few rows at a time keeps that copy in the processor's inner cache."""
BLANK_SHARE = 0.99
"""With more of the film than this at one end of the display range, the window did not fit it."""


@dataclass(frozen=True, eq=False)
class Display:
    """Display values (H, W) float32 in [0, 1], and how they came about."""

    pixels: Pixels
    window: str
    inverted: bool


@dataclass(frozen=True, eq=False)
class Lut:
    """A lookup table of a DICOM file: input ``first`` gives ``entries[0]``; inputs beyond either end give the end entry."""

    first: int
    entries: Values
    top: float
    """Largest value that an entry may have."""

    def __call__(self, values: Values) -> Values:
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        found: Values = self.entries[index]
        return found


def to_display(stored: Stored, dataset: Dataset, notes: Notes) -> Display:
    """Apply the whole display pipeline to decoded pixels.

    Parameters
    ----------
    stored : (H, W) integers of at most 16 bits, as decoded
    dataset : the file's tags
    notes : takes a sentence for each thing done or found odd
    """
    inverted = _is_inverted(dataset, notes)
    stored, padding = _without_padding(stored, dataset, inverted, notes)
    low, high = int(stored.min()), int(stored.max())
    values = _modality(np.arange(low, high + 1, dtype=np.float64), dataset, notes)
    shown, window = _voi(values, dataset, notes) or (None, "")
    if shown is None:
        shown = _percentile_window(stored, values, inverted, notes)
        window = "0.5-99.5 percentile"
    if inverted:
        shown = 1 - shown
        notes.steps.append("The file says that low values stand for white: turned over once, after the window.")
    pixels = _look_up(stored, shown.astype(np.float32))
    if padding is not None:
        pixels[padding] = 0
    _check_picture(pixels, notes)
    return Display(pixels, window, inverted)


def _look_up(stored: Stored, table: Pixels) -> Pixels:
    """``table[stored - stored.min()]``; ``table`` reaches from the smallest to the largest stored value."""
    pixels = np.empty(stored.shape, np.float32)
    low = int(stored.min())
    high = low + len(table) - 1
    # One entry for each value from the smallest or 0 to the largest or 0: then the values themselves are indices, negative ones
    # too, which saves a pass over the film.
    whole = np.zeros(max(high, 0) - min(low, 0) + 1, np.float32)
    whole[np.arange(low, high + 1)] = table
    step = max(1, PIXELS_AT_ONCE // stored.shape[1])
    index = np.empty((step, stored.shape[1]), np.intp)
    for top in range(0, len(stored), step):
        rows = stored[top : top + step]
        part = index[: len(rows)]
        np.copyto(part, rows)
        # "wrap" asks nothing of an index but where it is negative; none is out of range.
        np.take(whole, part, out=pixels[top : top + step], mode="wrap")
    return pixels


def _is_inverted(dataset: Dataset, notes: Notes) -> bool:
    """Whether low values stand for white. Photometric Interpretation decides; the LUT shape only where it is absent."""
    photometric = text_of(dataset, "PhotometricInterpretation")
    shape = text_of(dataset, "PresentationLUTShape")
    if _tag(dataset, "PresentationLUTSequence", notes):
        notes.warnings.append("The file holds a presentation LUT table, which is not applied here.")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return bool(shape == "INVERSE")
    inverted = bool(photometric == "MONOCHROME1")
    if shape in ("IDENTITY", "INVERSE") and (shape == "INVERSE") != inverted:
        notes.warnings.append(f"Presentation LUT shape {shape} contradicts {photometric}; {photometric} was followed.")
    return inverted


def _without_padding(
    stored: Stored, dataset: Dataset, inverted: bool, notes: Notes
) -> tuple[Stored, npt.NDArray[np.bool_] | None]:
    """Replace padding by the darkest value of the film proper, so that it does not stretch any range; and where it was."""
    value = _tag(dataset, "PixelPaddingValue", notes)
    if not isinstance(value, int):
        return stored, None
    limit = _tag(dataset, "PixelPaddingRangeLimit", notes)
    ends = (value, limit if isinstance(limit, int) else value)
    padding = (stored >= min(ends)) & (stored <= max(ends))
    count = int(np.count_nonzero(padding))
    if count == 0:
        return stored, None
    if count == stored.size:
        raise Refusal("every pixel has the padding value, so there is no picture in it. Export the film again.")
    notes.steps.append(f"{count} padding pixels (stored value {value}) were set to background.")
    proper = stored[~padding]
    return np.where(padding, proper.max() if inverted else proper.min(), stored), padding


def _modality(values: Values, dataset: Dataset, notes: Notes) -> Values:
    """Modality LUT (PS3.3 C.11.1): a table, or slope and intercept."""
    sequence = _tag(dataset, "ModalityLUTSequence", notes)
    if sequence:
        notes.steps.append("The modality LUT of the file was applied.")
        return _read_lut(sequence[0], dataset, float(values[0]))(values)
    slope = (_numbers(_tag(dataset, "RescaleSlope", notes)) or [1.0])[0]
    intercept = (_numbers(_tag(dataset, "RescaleIntercept", notes)) or [0.0])[0]
    if slope == 0:
        raise Refusal("its rescale slope is 0, which makes every pixel equal. Export the film again.")
    if (slope, intercept) != (1.0, 0.0):
        notes.steps.append(f"Stored values were rescaled: value x {slope:g} + {intercept:g}.")
    return values * slope + intercept


def _voi(values: Values, dataset: Dataset, notes: Notes) -> tuple[Values, str] | None:
    """The table or window of the file in [0, 1] and its name, or ``None`` where it has none that can be used."""
    sequence = _tag(dataset, "VOILUTSequence", notes)
    if sequence:
        try:
            lut = _read_lut(sequence[0], dataset, float(values.min()))
        except Refusal as refusal:
            notes.warnings.append(f"The VOI LUT was not applied: {refusal}")
        else:
            choice = f"the first of {len(sequence)}" if len(sequence) > 1 else "from the file"
            notes.steps.append(f"VOI LUT applied ({choice}).")
            return np.clip(lut(values) / _used_top(lut, notes), 0, 1), "VOI LUT"
    return _window(values, dataset, notes)


def _used_top(lut: Lut, notes: Notes) -> float:
    """The declared top of the output range; the largest entry where a file declares at least twice what it uses."""
    largest = float(lut.entries.max())
    if 0 < largest < lut.top / 2:
        notes.warnings.append(f"The VOI LUT declares values up to {lut.top:g} but uses only {largest:g}, by which it was scaled.")
        return largest
    return lut.top


def _window(values: Values, dataset: Dataset, notes: Notes) -> tuple[Values, str] | None:
    centers, widths = (_numbers(_tag(dataset, keyword, notes)) for keyword in ("WindowCenter", "WindowWidth"))
    if not centers or not widths:
        return None
    center, width = centers[0], widths[0]
    function = (text_of(dataset, "VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        code = code_of(dataset, "VOILUTFunction")
        named = f" {code[:16]!r}" if code else ""
        notes.warnings.append(f"The VOI LUT function{named} is unknown; LINEAR was used.")
        function = "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        notes.warnings.append(f"The window of the file was not applied: width {width:g} is not allowed with {function}.")
        return None
    count = min(len(centers), len(widths))
    choice = f" (the first of {count})" if count > 1 else ""
    notes.steps.append(f"Window applied{choice}: centre {center:g}, width {width:g}, {function}.")
    return apply_window(values, center, width, function), f"window {center:g}/{width:g} {function}"


def apply_window(values: Values, center: float, width: float, function: str) -> Values:
    """Map values to [0, 1] by a window.

    ``LINEAR`` (width >= 1): ``(x - (c - 0.5)) / (w - 1) + 0.5``; ``LINEAR_EXACT`` (width > 0): ``(x - c) / w + 0.5``; both
    clipped. ``SIGMOID``: ``1 / (1 + exp(-4 (x - c) / w))``.

    Source: PS3.3 C.11.2.1.2.1, C.11.2.1.3.2, C.11.2.1.3.1. Equals ``pydicom.pixels.apply_windowing`` scaled to [0, 1]
    where the rescale slope is positive; with a negative slope that function turns the picture over.
    """
    if function == "SIGMOID":
        # Beyond +-80 the exponential changes nothing in float32, but would overflow.
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -80, 80)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _percentile_window(stored: Stored, values: Values, inverted: bool, notes: Notes) -> Values:
    """For a file without window: the 0.5 and 99.5 percentiles inside the breast become 0 and 1."""
    low, high = float(values.min()), float(values.max())
    whole = (values - low) / ((high - low) or 1)
    picture = _look_up(stored, (1 - whole if inverted else whole).astype(np.float32))
    breast = find_breast(picture)
    bottom, top = breast_percentiles(picture, breast)
    if inverted:
        bottom, top = 1 - top, 1 - bottom
    where = "inside the breast" if breast.problem is None else "of the whole film"
    notes.steps.append(f"The file holds no window: the 0.5 and 99.5 percentiles {where} became black and white.")
    return np.clip((whole - bottom) / ((top - bottom) or 1), 0, 1)


def _check_picture(pixels: Pixels, notes: Notes) -> None:
    """Say what a reader would see at once: an empty picture, or a bright background. Nothing is changed."""
    # Few films need the second look, at all pixels.
    if float(np.ptp(pixels[::16, ::16])) == 0 == float(np.ptp(pixels)):
        notes.warnings.append("All pixels of this film have the same value; it shows nothing.")
    elif max(float(np.mean(pixels[::4, ::4] <= 0)), float(np.mean(pixels[::4, ::4] >= 1))) > BLANK_SHARE:
        notes.warnings.append("More than 99 % of the film is all black or all white: the window of the file does not fit it.")
    elif has_bright_background(pixels):
        notes.warnings.append(
            "The background of this film is bright although the file's polarity was followed; nothing was changed. "
            "Compare it with the original: its Photometric Interpretation may be wrong."
        )


def _read_lut(item: Dataset, dataset: Dataset, smallest_input: float) -> Lut:
    """Read one item of a LUT sequence (PS3.3 C.11.1.1.1, C.11.2.1.1).

    pydicom's own ``apply_voi`` is not used because it indexes with the type of the *output*: a table of 4,096 entries of 8
    bits then wraps around.
    """
    descriptor, data = _numbers(item.get("LUTDescriptor")), item.get("LUTData")
    if len(descriptor) != 3 or data is None:
        raise Refusal("a lookup table has no data or a descriptor that is not three numbers. Export the film again.")
    count, first, bits = int(descriptor[0]) or 2**16, int(descriptor[1]), int(descriptor[2])
    if not 1 <= bits <= 16:
        raise Refusal(f"a lookup table declares entries of {bits} bits, expected 1 to 16. Export the film again.")
    entries = _lut_entries(data, count, bits, dataset)
    if len(entries) < count:
        raise Refusal(f"a lookup table holds {len(entries)} of its {count} entries. Export the film again.")
    if first > 2**15 - 1 and smallest_input < 0:
        first -= 2**16  # the tag's type follows Pixel Representation, though rescaled inputs can be negative all the same
    return Lut(first, entries, float(2**bits - 1))


def _lut_entries(data: Any, count: int, bits: int, dataset: Dataset) -> Values:
    if not isinstance(data, bytes):
        return np.asarray(_numbers(data)[:count], np.float64)
    packed = bits <= 8 and len(data) < 2 * count  # 8-bit entries: two in each 16-bit word, or one
    kind = np.dtype(np.uint8) if packed else np.dtype(">u2" if dataset.original_encoding[1] is False else "<u2")
    return np.frombuffer(data, kind, count=min(count, len(data) // kind.itemsize)).astype(np.float64)


def _tag(dataset: Dataset, keyword: str, notes: Notes) -> Any:
    """A tag's value, or ``None`` where it is absent. One that cannot be read is told, because it could change the picture."""
    try:
        return dataset.get(keyword)
    except TagFault:
        notes.warnings.append(f"The tag {keyword} of the file cannot be read and was ignored.")
        return None


def _numbers(value: Any) -> list[float]:
    """The numbers of a tag that holds none, one or several; none where any of them is not finite."""
    if value is None or isinstance(value, str | bytes):
        return []
    try:
        numbers = [float(part) for part in (value if isinstance(value, Iterable) else [value])]
    except (TypeError, ValueError):
        return []
    return numbers if all(np.isfinite(numbers)) else []
