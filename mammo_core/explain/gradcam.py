"""Class activation maps: which coarse cells of a film influenced a model's score, for one class or one question.

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
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction
from torch import nn

from mammo_core.data.preprocess import Geometry, to_original
from mammo_core.errors import ConfigError, DataError
from mammo_core.explain.layers import target_layer
from mammo_core.explain.methods import FINE_METHODS, FINE_STRIDE, METHOD_TITLES
from mammo_core.explain.targets import MapTarget, class_target
from mammo_core.training.models import Normalisation, normalise, to_float

Values = npt.NDArray[np.float32]

FLAT_SHARE = 1e-5
"""A map whose cells differ by less than this share of its largest value shows nothing: that is rounding of float32."""


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
    "layercam_fine": LayerCAM,
    "hirescam_fine": HiResCAM,
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
    """Name of the class or question whose score is explained: ``MapTarget.name``."""
    method: str
    layer: str
    """Name of the layer in the model."""
    subject: str = ""
    """What was influenced, within a sentence; the score for ``class_name`` if left out."""

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the layer's grid: the true resolution."""
        return self.grid.shape[0], self.grid.shape[1]

    @property
    def statement(self) -> str:
        """What the map is, in one sentence for the user."""
        subject = self.subject or f"the score for {self.class_name}"
        if self.empty:
            return f"No positive evidence: no part of the film raised {subject}."
        rows, columns = self.cells
        title = METHOD_TITLES[self.method].replace(" (", ", ").rstrip(")")
        return f"What influenced {subject} ({title}, {rows} x {columns} cells, upsampled)."


def explain(
    model: nn.Module,
    normalisation: Normalisation,
    pixels: npt.NDArray[np.uint8],
    target: int | MapTarget,
    method: str = "gradcam",
    class_name: str | None = None,
) -> CamMap:
    """Make the map of one prepared film for one class or question.

    The model is put into eval mode; neither its weights nor its gradients are changed. Not for two threads on one model.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (h, w)
        ``PreparedFilm.pixels``.
    target : what is explained; an index stands for the logit of that class
    method : one of ``METHODS``
    class_name : text for the class of an index; ``class <index>`` if left out

    Raises
    ------
    ConfigError
        Unknown method or class, or an architecture without a layer for it that yields a grid.
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
    asked = target if isinstance(target, MapTarget) else class_target(target, class_name)
    cells, layer = _cells(model, normalisation, pixels, asked, method)
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
        class_name=asked.name,
        method=method,
        layer=layer,
        subject=asked.subject,
    )


def _cells(
    model: nn.Module, normalisation: Normalisation, pixels: npt.NDArray[np.uint8], asked: MapTarget, method: str
) -> tuple[Values, str]:
    """The map as the method computes it, ``(rows, columns)`` float32 with its sign, and the layer's name."""
    device = next(model.parameters()).device
    layer = target_layer(model, (pixels.shape[0], pixels.shape[1]), FINE_STRIDE if method in FINE_METHODS else None)
    hooks = [layer.module.register_forward_hook(_cut)]
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            _recording(METHODS[method])(model, [layer.module], layer.reshape) as cam,
        ):
            hooks.append(layer.module.register_forward_hook(_shield))  # after those of the library, so that it acts after them
            batch = normalise(to_float(torch.from_numpy(np.ascontiguousarray(pixels))[None, None], device), normalisation)
            # The library swallows an IndexError that leaves its block; none may reach it.
            try:
                cam(batch, [asked])
            except (IndexError, ValueError, RuntimeError, AttributeError) as error:
                raise ConfigError(_unusable(model, asked, error)) from error
            cells: Values = np.asarray(cam.cells[0], dtype=np.float32)
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad(set_to_none=True)  # the head behind the layer received gradients
    if cells.ndim != 2:
        raise ConfigError(_unusable(model, asked, f"a map with {cells.ndim} axes"))
    return cells, layer.name


def _cut(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """Let gradients begin at this layer: the backbone before it then needs no backward pass, frozen or not."""
    return output.detach().requires_grad_()


def _shield(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """A copy for what follows: an activation that works in place would change the activations that the library keeps."""
    return output.clone()


def _recording(method: type[BaseCAM]) -> type[BaseCAM]:
    """The method, keeping its map before the library cuts negative values off and stretches the rest to [0, 1]."""

    class Recording(method):  # type: ignore[misc]
        def get_cam_image(self, *args: Any, **kwargs: Any) -> Any:
            self.cells = super().get_cam_image(*args, **kwargs)
            return self.cells

    return Recording


def _unusable(model: nn.Module, asked: MapTarget, reason: Exception | str) -> str:
    return (
        f"No map could be made for {asked.name} of {type(model).__name__} ({str(reason).strip()[:120]}); expected a class "
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
