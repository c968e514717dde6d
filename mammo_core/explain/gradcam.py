"""Class activation maps: which coarse cells of a film influenced a model's score for one class.

The arithmetic is pytorch-grad-cam's. Around it: the right layer, float32, gradients that start at that layer, the map before
the library scales it (so that an empty one is known as empty), and the way back to the film.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction
from torch import nn

from mammo_core.data.preprocess import Geometry, PreparedFilm, to_original
from mammo_core.errors import ConfigError, DataError
from mammo_core.explain.layers import target_layer
from mammo_core.explain.methods import METHOD_TITLES
from mammo_core.training.batches import to_float
from mammo_core.training.models import Normalisation, normalise

Values = npt.NDArray[np.float32]

FLAT_SHARE = 1e-5
"""A map whose cells differ by less than this share of its largest value shows nothing: that is rounding of float32."""
MAX_OUTSIDE_BREAST = 0.20
MAX_ON_BORDER = 0.15
BORDER_SHARE = 0.05
"""Width of the border, as a share of the side."""


class _SignedEigenCAM(EigenCAM):  # type: ignore[misc]
    """The first principal component with its sign fixed; the library leaves it to chance, so half the maps are negatives."""

    def get_cam_image(self, *args: Any, **kwargs: Any) -> npt.NDArray[Any]:
        activations = kwargs.get("activations", args[3] if len(args) > 3 else None)
        projection: npt.NDArray[Any] = get_2d_projection_with_sign_correction(activations)
        return projection


METHODS: dict[str, type[BaseCAM]] = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "layercam": LayerCAM,
    "eigencam": _SignedEigenCAM,
    "hirescam": HiResCAM,
}


@dataclass(frozen=True, eq=False)
class CamMap:
    """One map on the model's input canvas."""

    values: Values
    """``(h, w)`` in [0, 1]: positive influence relative to this map's own maximum; comparable with no other map."""
    grid: Values
    """``(rows, columns)``, the same before it was upsampled."""
    raw_min: float
    raw_max: float
    """Range of the cells before scaling and before negative ones are cut off, in units of the logit times activation."""
    empty: bool
    """Whether nothing stands out: no cell is positive, or all are equal."""
    class_name: str
    method: str
    layer: str
    """Name of the layer in the model."""

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the layer's grid: the true resolution."""
        return self.grid.shape[0], self.grid.shape[1]

    @property
    def statement(self) -> str:
        """What the map is, in one sentence for the user."""
        rows, columns = self.cells
        if self.empty:
            return f"No positive evidence: no part of the film raised the score for {self.class_name}."
        how = f"{METHOD_TITLES[self.method]}, {rows} x {columns} cells, upsampled"
        return f"What influenced the score for {self.class_name} ({how})."


def explain(
    model: nn.Module,
    normalisation: Normalisation,
    pixels: npt.NDArray[np.uint8],
    class_index: int,
    method: str = "gradcam",
    class_name: str | None = None,
) -> CamMap:
    """Make the map of one prepared film for one class.

    The model is put into eval mode; neither its weights nor its gradients are changed. Not for two threads on one model.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (h, w)
        ``PreparedFilm.pixels``.
    class_index : index of the class whose logit is explained, on the model's scale
    method : one of ``METHODS``
    class_name : text for the class; ``class <index>`` if left out

    Raises
    ------
    ConfigError
        Unknown method or class, or an architecture whose layer yields no grid.
    DataError
        The map holds values that are not finite.

    Source
    ------
    Grad-CAM: Selvaraju et al. (2017), doi:10.1109/ICCV.2017.74; Grad-CAM++: Chattopadhay et al. (2018),
    doi:10.1109/WACV.2018.00097; LayerCAM: Jiang et al. (2021), doi:10.1109/TIP.2021.3089943; Eigen-CAM: Muhammad and Yeasin
    (2020), doi:10.1109/IJCNN48605.2020.9206626; HiResCAM: Draelos and Carin (2020), arXiv:2011.08891.
    """
    if method not in METHODS:
        raise ConfigError(f"There is no map method {method!r}; expected one of {', '.join(METHODS)}. Choose one of these.")
    cells, layer = _cells(model, normalisation, pixels, class_index, method)
    if not np.isfinite(cells).all():
        raise DataError("The map holds values that are not finite numbers, so the weights are damaged. Choose another run.")
    low, high = float(cells.min()), float(cells.max())
    empty = high <= 0 or high - low <= FLAT_SHARE * max(abs(low), abs(high))
    scaled = np.zeros_like(cells) if empty else (np.maximum(cells, 0) / high).astype(np.float32)
    return CamMap(
        values=_upsampled(scaled, (pixels.shape[0], pixels.shape[1])),
        grid=scaled,
        raw_min=low,
        raw_max=high,
        empty=empty,
        class_name=class_name or f"class {class_index}",
        method=method,
        layer=layer,
    )


def _cells(
    model: nn.Module, normalisation: Normalisation, pixels: npt.NDArray[np.uint8], class_index: int, method: str
) -> tuple[Values, str]:
    """The map as the method computes it, ``(rows, columns)`` float32 with its sign, and the layer's name."""
    device = next(model.parameters()).device
    target = target_layer(model, (pixels.shape[0], pixels.shape[1]))
    cut = target.module.register_forward_hook(_cut)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            _recording(METHODS[method])(model, [target.module], target.reshape) as cam,
        ):
            batch = normalise(to_float(torch.from_numpy(np.ascontiguousarray(pixels))[None, None], device), normalisation)
            # The library swallows an IndexError that leaves its block; none may reach it.
            try:
                cam(batch, [ClassifierOutputTarget(class_index)])
            except (IndexError, ValueError, RuntimeError, AttributeError) as error:
                raise ConfigError(_unusable(model, class_index, error)) from error
            cells: Values = np.asarray(cam.cells[0], dtype=np.float32)
    finally:
        cut.remove()
        model.zero_grad(set_to_none=True)  # the head behind the layer received gradients
    if cells.ndim != 2:
        raise ConfigError(_unusable(model, class_index, f"a map with {cells.ndim} axes"))
    return cells, target.name


def _cut(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """Let gradients begin at this layer: the backbone before it then needs no backward pass, frozen or not."""
    return output.detach().requires_grad_()


def _recording(method: type[BaseCAM]) -> type[BaseCAM]:
    """The method, keeping its map before the library cuts negative values off and stretches the rest to [0, 1]."""

    class Recording(method):  # type: ignore[misc]
        def get_cam_image(self, *args: Any, **kwargs: Any) -> Any:
            self.cells = super().get_cam_image(*args, **kwargs)
            return self.cells

    return Recording


def _unusable(model: nn.Module, class_index: int, reason: Exception | str) -> str:
    return (
        f"No map could be made for class {class_index} of {type(model).__name__} ({str(reason).strip()[:120]}); expected a class "
        "of the model and a layer with rows and columns. Choose another class, method or run."
    )


def _upsampled(cells: Values, size: tuple[int, int]) -> Values:
    """Bilinear, cell centres kept in place (``align_corners=False``)."""
    grid = torch.from_numpy(np.ascontiguousarray(cells))[None, None]
    values: Values = nn.functional.interpolate(grid, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()
    return values


def to_film(cam: CamMap, geometry: Geometry) -> Values:
    """The map on the film as it was read: ``(H, W)`` float32 in [0, 1], 0 where the film was cropped away."""
    return to_original(cam.values, geometry)


def cell_pixels(cam: CamMap, geometry: Geometry) -> tuple[float, float]:
    """Height and width of one cell of the map, in pixels of the film. Times the pixel spacing it is in millimetres."""
    return (
        geometry.canvas[0] / cam.cells[0] / geometry.scale,
        geometry.canvas[1] / cam.cells[1] / geometry.scale,
    )


@dataclass(frozen=True)
class MapAlarms:
    """Signs that a score rests on something other than the breast. Shares of the map's sum, in [0, 1]."""

    outside_breast: float | None
    """In cells that hold no part of the breast: what a coarse cell beside the skin spreads outside it does not count.
    ``None`` where the breast was not found or the map is empty."""
    on_border: float | None
    """In the outer 5 % of the part of the canvas that holds film. ``None`` where the map is empty."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Whole sentences for the user; empty where nothing is alarming."""
        found = (
            (self.outside_breast, MAX_OUTSIDE_BREAST, "lies outside the breast"),
            (self.on_border, MAX_ON_BORDER, f"lies in the outer {BORDER_SHARE:.0%} of the film"),
        )
        return tuple(
            f"{share:.0%} of the map {where}, where at most {limit:.0%} is expected: the score may rest on something other than "
            "tissue."
            for share, limit, where in found
            if share is not None and share > limit
        )


def alarms(cam: CamMap, prepared: PreparedFilm) -> MapAlarms:
    """How much of a map lies where no evidence can be.

    The limits (0.20 outside the breast, 0.15 on the border) are a rule of thumb, not a validated threshold.
    """
    total = float(cam.values.sum(dtype=np.float64))
    if total == 0:
        return MapAlarms(None, None)
    top, left, height, width = prepared.geometry.placed
    film = np.zeros(cam.values.shape, np.bool_)
    film[top : top + height, left : left + width] = True
    rows, columns = max(1, round(BORDER_SHARE * height)), max(1, round(BORDER_SHARE * width))
    border = film.copy()
    border[top + rows : top + height - rows, left + columns : left + width - columns] = False
    outside = None
    if not np.array_equal(prepared.breast_mask, film):  # else no breast was found
        outside = float(
            cam.grid[~_holds_any(prepared.breast_mask, cam.cells)].sum(dtype=np.float64) / cam.grid.sum(dtype=np.float64)
        )
    return MapAlarms(outside, float(cam.values[border].sum(dtype=np.float64)) / total)


def _holds_any(mask: npt.NDArray[np.bool_], cells: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which cells of a grid over ``mask`` hold a true pixel, ``cells`` bool."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(mask.shape, cells, strict=True))
    found = np.zeros(cells, np.bool_)
    true_rows, true_columns = np.nonzero(mask)
    found[rows[true_rows], columns[true_columns]] = True
    return found
