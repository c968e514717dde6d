"""The methods that make maps, by name, and what every map means; without torch, so that pages can list them."""

from __future__ import annotations

METHOD_TITLES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "LayerCAM",
    "eigencam": "Eigen-CAM (the same for every class)",
    "hirescam": "HiResCAM",
}

MEANING = (
    "The map shows at coarse scale what influenced the score; it does not detect lesions, and its colours are relative to "
    "this map."
)
