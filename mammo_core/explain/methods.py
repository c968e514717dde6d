"""The methods that make maps, by name, and what every map means; without torch, so that pages can list them."""

from __future__ import annotations

METHOD_TITLES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM (the same for every class)",
    "hirescam": "HiResCAM",
    "layercam_fine": "LayerCAM, finer layer (stride 16)",
    "hirescam_fine": "HiResCAM, finer layer (stride 16)",
}

FINE_STRIDE = 16
"""Pixels of the model's input for each cell, along both axes: half of what the last layer of most architectures has."""
FINE_METHODS = frozenset({"layercam_fine", "hirescam_fine"})
"""Taken from the last layer of this stride.

Only these two weigh each cell by its own gradient. Grad-CAM, Grad-CAM++ and Eigen-CAM give a channel one weight for the whole
film; that holds at the last layer, which is only averaged from there on, but not before further convolutions, where a channel can
speak for the class in one place and against it in another.
"""

MEANING = (
    "The map shows at coarse scale what influenced the score; it does not detect lesions, and its colours are relative to "
    "this map."
)

_ONE_GRID = ("vit_", "test_vit", "deit_", "deit3_", "beit_", "beitv2_", "eva_", "eva02_")
"""Beginnings of the names in timm of transformers whose layers all have the patches' own grid."""


def methods_of(arch: str | None = None) -> dict[str, str]:
    """Titles of the methods by name, without those that this architecture is known, by its name, to have no layer for.

    ``None`` stands for an architecture that is not known; it may refuse a method later, in words.
    """
    if arch is None or not arch.startswith(_ONE_GRID):
        return dict(METHOD_TITLES)
    return {name: title for name, title in METHOD_TITLES.items() if name not in FINE_METHODS}
