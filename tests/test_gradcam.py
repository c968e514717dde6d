import numpy as np
import pytest
import torch
from torch import nn

from make_films import drawn_film
from make_models import HALF, small_model
from mammo_core.data.film import Film, FilmFacts
from mammo_core.data.preprocess import prepare
from mammo_core.errors import ConfigError
from mammo_core.explain.gradcam import METHODS, CamMap, cell_pixels, explain, to_film
from mammo_core.explain.layers import target_layer
from mammo_core.explain.methods import FINE_METHODS, METHOD_TITLES, methods_of
from mammo_core.explain.targets import targets_of
from mammo_core.training.models import normalise

SIZE = (96, 64)
NOISE = np.random.default_rng(5).integers(0, 256, SIZE, dtype=np.uint8)
LAYERS = {
    "efficientnet": ("bn2", (3, 2)),
    "efficientnet_lite": ("bn2", (3, 2)),
    "resnet": ("layer4.1", (3, 2)),
    "convnext": ("stages.3", (3, 2)),
    "densenet": ("features.norm5", (3, 2)),
    "vit": ("blocks.5.norm1", (6, 4)),
    "vit_registers": ("blocks.5.norm1", (6, 4)),
    "vit_pooled": ("blocks.7", (6, 4)),
    "swin": ("norm", (3, 2)),
}
"""By hand: 96 x 64 pixels at stride 32, or patches of 16."""
FINE_LAYERS = {
    "efficientnet": "blocks.3",
    "efficientnet_lite": "blocks.4",
    "resnet": "layer3",
    "convnext": "stages.2",
    "densenet": "features.transition3.norm",
    "swin": "layers.2",
}
"""Of stride 16, by hand: 96 x 64 pixels make 6 x 4 cells."""


class Planted(nn.Module):
    """Stands for the last layer and yields a map made by hand, whatever comes in."""

    def __init__(self, maps: np.ndarray) -> None:
        super().__init__()
        self.maps = torch.from_numpy(maps.astype(np.float32))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.maps[None] + 0 * features.sum()


def planted_model(maps: np.ndarray, weights: np.ndarray) -> nn.Module:
    """A model whose last maps ``(C, rows, columns)`` and linear head ``(classes, C)`` are given."""
    model = small_model("efficientnet", n_classes=len(weights))
    model.bn2 = Planted(maps)
    model.classifier = nn.Linear(len(maps), len(weights))
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(weights.astype(np.float32)))
        model.classifier.bias.zero_()
    return model.eval()


def blob(row: int, column: int, value: float = 2.0, shape: tuple[int, int] = (3, 2)) -> np.ndarray:
    maps = np.zeros(shape)
    maps[row, column] = value
    return maps


def film_of(pixels: np.ndarray) -> Film:
    height, width = pixels.shape
    facts = FilmFacts(kind="PNG", height=height, width=width, bits=8, window="as stored", inverted=False, decoder="none")
    return Film(pixels.astype(np.float32), facts)


def model_input(pixels: np.ndarray) -> torch.Tensor:
    return normalise(torch.from_numpy(pixels)[None, None].float() / 255, HALF)


@pytest.mark.parametrize("family", LAYERS)
def test_each_family_has_its_layer_and_the_grid_of_this_input(family):
    cam = explain(small_model(family), HALF, NOISE, 1, "hirescam")
    assert (cam.layer, cam.cells) == LAYERS[family]
    assert cam.values.shape == SIZE
    assert cam.values.dtype == np.float32


@pytest.mark.parametrize("method", sorted(FINE_METHODS))
@pytest.mark.parametrize("family", FINE_LAYERS)
def test_the_finer_layer_of_each_family_has_stride_16(family, method):
    cam = explain(small_model(family), HALF, NOISE, 1, method)
    assert (cam.layer, cam.cells) == (FINE_LAYERS[family], (6, 4))
    assert cam.raw_max > cam.raw_min
    assert "6 x 4 cells" in cam.statement or cam.empty


@pytest.mark.parametrize("family", FINE_LAYERS)
def test_the_finer_maps_equal_their_formulas(family):
    model = small_model(family)
    layer = target_layer(model, SIZE, 16)
    kept = []

    def keep(module, inputs, output):
        output.retain_grad()
        kept.append(output)

    handle = layer.module.register_forward_hook(keep)
    model(model_input(NOISE))[0, 2].backward()
    handle.remove()
    model.zero_grad()
    maps, gradients = (layer.reshape(one) if layer.reshape else one for one in (kept[0].detach(), kept[0].grad))
    expected = {"hirescam_fine": (gradients * maps)[0].sum(0), "layercam_fine": (gradients.clamp_min(0) * maps)[0].sum(0)}
    for method, cells in expected.items():
        cam = explain(model, HALF, NOISE, 2, method)
        assert (cam.raw_min, cam.raw_max) == pytest.approx((float(cells.min()), float(cells.max())), rel=1e-3)
        if not cam.empty:
            np.testing.assert_allclose(cam.grid, np.maximum(cells.numpy(), 0) / float(cells.max()), atol=1e-3)


@pytest.mark.parametrize("family", FINE_LAYERS)
def test_a_spot_of_one_fine_cell_changes_that_cell_of_the_finer_layer_most(family):
    model = small_model(family)
    layer = target_layer(model, SIZE, 16)
    spot = np.zeros(SIZE, np.uint8)
    spot[64:80, 16:32] = 255
    changed = np.abs(_grid(model, layer, spot) - _grid(model, layer, np.zeros(SIZE, np.uint8))).sum(axis=0)
    assert changed.shape == (6, 4)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    # Convolutions of stride 2 may shift what they see by one of the four cells that a cell of the last layer covers.
    assert max(abs(int(row) - 4), abs(int(column) - 1)) <= 1


@pytest.mark.parametrize("method", sorted(FINE_METHODS))
def test_planted_evidence_is_seen_at_the_finer_resolution(method):
    """Two cells apart at stride 16 that fall into one cell at stride 32."""
    model = small_model("resnet", n_classes=2)
    maps = np.stack([blob(2, 0, shape=(6, 4)), blob(3, 1, shape=(6, 4))])
    model.layer3, model.layer4, model.fc = Planted(maps), nn.AvgPool2d(2), nn.Linear(2, 2)
    with torch.no_grad():
        model.fc.weight.copy_(torch.eye(2))
    for class_index, place in enumerate([(2, 0), (3, 1)]):
        cam = explain(model.eval(), HALF, NOISE, class_index, method)
        expected = np.zeros((6, 4))
        expected[place] = 1
        np.testing.assert_allclose(cam.grid, expected, atol=1e-6)


@pytest.mark.parametrize("family", ["vit", "vit_registers", "vit_pooled"])
def test_a_vit_has_no_finer_layer_and_says_so(family):
    with pytest.raises(ConfigError, match="no layer of stride 16 before its last one .its last layer has stride 16 already"):
        explain(small_model(family), HALF, NOISE, 0, "layercam_fine")


def test_what_an_architecture_cannot_do_is_not_offered():
    assert set(methods_of("vit_small_patch16_224")) == set(METHODS) - FINE_METHODS
    for arch in ("efficientnet_b0", "swin_tiny_patch4_window7_224", "vitamin_small_224", None):
        assert methods_of(arch) == METHOD_TITLES


def test_an_activation_in_place_behind_the_layer_does_not_change_the_map():
    class Activated(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            self.feature_info = [{"module": "last", "reduction": 32}]
            self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 32, 32)
            self.head = nn.Sequential(nn.ReLU(inplace=inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

        def forward(self, films: torch.Tensor) -> torch.Tensor:
            return self.head(self.last(self.first(films)))

    cams = []
    for inplace in (False, True):
        torch.manual_seed(1)
        model = Activated(inplace)
        cams.append(explain(model, HALF, NOISE, 0, "gradcam"))
    assert (model.last(model.first(model_input(NOISE))) < 0).any()
    assert (cams[0].raw_min, cams[0].raw_max) == (cams[1].raw_min, cams[1].raw_max)


def test_swin_on_a_canvas_that_is_not_its_own_has_the_grid_of_that_canvas():
    model = small_model("swin", (128, 96))
    assert explain(model, HALF, np.zeros((128, 96), np.uint8), 0).cells == (4, 3)
    assert explain(model, HALF, np.zeros((128, 96), np.uint8), 0, "layercam_fine").cells == (8, 6)


@pytest.mark.parametrize("family", ["vit", "vit_registers", "vit_pooled", "swin", "convnext", "densenet"])
def test_a_spot_in_the_film_changes_the_cell_above_it_most(family):
    model = small_model(family)
    layer = target_layer(model, SIZE)
    rows, columns = LAYERS[family][1]
    row, column = rows - 1, 0  # away from every symmetry of the grid
    spot = np.zeros(SIZE, np.uint8)
    height, width = SIZE[0] // rows, SIZE[1] // columns
    spot[row * height : (row + 1) * height, column * width : (column + 1) * width] = 255
    changed = np.abs(_grid(model, layer, spot) - _grid(model, layer, np.zeros(SIZE, np.uint8))).sum(axis=0)
    assert np.unravel_index(changed.argmax(), changed.shape) == (row, column)


def _grid(model, layer, pixels):
    seen = []
    handle = layer.module.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    with torch.no_grad():
        model(model_input(pixels))
    handle.remove()
    return (layer.reshape(seen[0]) if layer.reshape else seen[0])[0].numpy()


@pytest.mark.parametrize("family", ["efficientnet", "resnet", "convnext", "densenet"])
def test_gradcam_equals_its_formula(family):
    model = small_model(family)
    layer = target_layer(model, SIZE)
    kept = []

    def keep(module, inputs, output):
        output.retain_grad()
        kept.append(output)

    handle = layer.module.register_forward_hook(keep)
    model(model_input(NOISE))[0, 2].backward()
    handle.remove()
    weights = kept[0].grad[0].mean(dim=(1, 2))
    expected = (weights[:, None, None] * kept[0][0]).sum(0).detach().numpy()
    model.zero_grad()
    cam = explain(model, HALF, NOISE, 2)
    assert (cam.raw_min, cam.raw_max) == pytest.approx((expected.min(), expected.max()), rel=1e-4)
    if not cam.empty:
        np.testing.assert_allclose(cam.grid, np.maximum(expected, 0) / expected.max(), atol=1e-4)


def test_hirescam_of_a_pooled_linear_head_sums_to_the_logit():
    rng = np.random.default_rng(0)
    maps, weights = rng.random((5, 3, 2)), rng.normal(size=(3, 5))
    model = planted_model(maps, weights)
    cam = explain(model, HALF, NOISE, 1, "hirescam")
    cells = (weights[1][:, None, None] * maps).sum(0) / 6  # the mean of six cells times the weight
    assert cam.raw_min == pytest.approx(cells.min(), rel=1e-5)
    assert cam.raw_max == pytest.approx(cells.max(), rel=1e-5)
    np.testing.assert_allclose(cam.grid, np.maximum(cells, 0) / cells.max(), atol=1e-6)
    with torch.no_grad():
        logit = model(model_input(NOISE))[0, 1]
    assert float(logit) == pytest.approx(cells.sum(), rel=1e-5)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"eigencam"} - FINE_METHODS))
def test_each_class_is_shown_where_its_own_evidence_was_planted(method):
    model = planted_model(np.stack([blob(0, 0), blob(2, 1)]), np.eye(2))
    for class_index, place in enumerate([(0, 0), (2, 1)]):
        cam = explain(model, HALF, NOISE, class_index, method, "AB"[class_index])
        expected = np.zeros((3, 2))
        expected[place] = 1
        np.testing.assert_allclose(cam.grid, expected, atol=1e-6)
        assert cam.class_name == "AB"[class_index]


def test_eigencam_shows_the_strong_cell_bright_whatever_the_sign_of_the_component():
    for sign in (1, -1):
        maps = np.random.default_rng(1).normal(0, 0.01, (4, 3, 2))
        maps[0, 2, 0] = sign * 5.0
        cam = explain(planted_model(maps, np.zeros((2, 4))), HALF, NOISE, 0, "eigencam")
        assert np.unravel_index(cam.grid.argmax(), cam.grid.shape) == (2, 0)


@pytest.mark.parametrize("maps, weight", [(blob(0, 0), -1.0), (np.full((3, 2), 3.0), 1.0), (np.zeros((3, 2)), 1.0)])
def test_a_map_without_anything_to_show_is_called_empty(maps, weight):
    cam = explain(planted_model(maps[None], np.array([[weight], [0.0]])), HALF, NOISE, 0, class_name="C")
    assert cam.empty
    assert not cam.values.any()
    assert cam.statement.startswith("No positive evidence")


def test_the_range_before_scaling_is_kept():
    cam = explain(planted_model((blob(1, 1, 6.0) - blob(0, 0, 12.0))[None], np.ones((2, 1))), HALF, NOISE, 0)
    assert (cam.raw_min, cam.raw_max) == pytest.approx((-2.0, 1.0))  # one sixth of the sum for each unit


@pytest.mark.parametrize("family", ["efficientnet", "vit", "swin"])
def test_nothing_is_left_in_the_model(family):
    model = small_model(family)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    explain(model, HALF, NOISE, 0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_frozen_model_in_inference_mode_gives_the_same_map():
    model = small_model("efficientnet")
    expected = explain(model, HALF, NOISE, 0)
    model.requires_grad_(False)
    with torch.inference_mode():
        frozen = explain(model, HALF, NOISE, 0)
    np.testing.assert_array_equal(frozen.values, expected.values)


def test_a_class_that_does_not_exist_is_an_error_and_not_silence(capsys):
    with pytest.raises(ConfigError, match="class 7"):
        explain(small_model("efficientnet"), HALF, NOISE, 7)
    assert capsys.readouterr().out == ""


def test_a_map_for_a_question_is_that_of_its_logit_and_says_so():
    """Class maps at three places; for C or D against A or B, A and B weigh against and C and D share what speaks for them."""
    maps = np.stack([blob(0, 0), blob(0, 1), blob(2, 0), blob(2, 1)])
    dense = targets_of("ABCD", ordinal=True)[4]
    cam = explain(planted_model(maps, np.eye(4)), HALF, NOISE, dense, "hirescam")
    # Each logit is 2/6, so each side shares its gradient of 1 in halves: plus or minus 1/2 * 1/6 of a map value of 2.
    assert (cam.raw_min, cam.raw_max) == pytest.approx((-1 / 6, 1 / 6), rel=1e-4)
    np.testing.assert_allclose(cam.grid, [[0, 0], [0, 0], [1, 1]], atol=1e-4)
    assert cam.class_name == "C or D against A or B"
    assert cam.statement == ("What influenced the score for C or D against A or B (HiResCAM, 3 x 2 cells, upsampled).")


def test_the_map_for_the_expected_category_shows_what_speaks_for_high_and_none_of_what_speaks_for_low():
    maps = np.stack([blob(0, 0), blob(1, 0), blob(2, 1)])
    expected = targets_of("ABC", ordinal=True)[-1]
    cam = explain(planted_model(maps, np.eye(3)), HALF, NOISE, expected, "hirescam")
    # p = 1/3 each, so the mean is 1 and the gradients p_k (k - 1) are -1/3, 0, 1/3; times 2 in one of six cells.
    assert (cam.raw_min, cam.raw_max) == pytest.approx((-1 / 9, 1 / 9), rel=1e-4)
    assert np.unravel_index(cam.grid.argmax(), cam.grid.shape) == (2, 1)
    assert "the expected category on the scale from A to C" in cam.statement
    against = explain(planted_model(maps[:1], np.array([[1.0], [0.0], [0.0]])), HALF, NOISE, expected, "hirescam")
    assert against.empty
    assert against.statement == (
        "No positive evidence: no part of the film raised the expected category on the scale from A to C."
    )


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"gradcam\+\+"):
        explain(small_model("efficientnet"), HALF, NOISE, 0, "scorecam")
    assert set(METHOD_TITLES) == set(METHODS)


def test_an_architecture_without_a_grid_says_so():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 96 * 64, 2))
    with pytest.raises(ConfigError, match="no layer for a map is known"):
        explain(model, HALF, NOISE, 0)


def cam_with(grid: np.ndarray, canvas: tuple[int, int]) -> CamMap:
    rows, columns = canvas[0] // grid.shape[0], canvas[1] // grid.shape[1]
    values = np.kron(grid, np.ones((rows, columns))).astype(np.float32)
    return CamMap(values, grid.astype(np.float32), 0.0, 1.0, False, "A", "gradcam", "bn2")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_map_lands_on_the_place_of_the_film_that_it_belongs_to(side):
    film = film_of(drawn_film((400, 320), side))
    geometry = prepare(film, (128, 128)).geometry
    assert geometry.flipped == (side == "right")
    row, column = 230.0, 90.0 if side == "left" else 320 - 90.0
    place = [int(part) for part in geometry.to_canvas(row, column)]
    grid = np.zeros((32, 32))
    grid[place[0] // 4, place[1] // 4] = 1
    on_film = to_film(cam_with(grid, (128, 128)), geometry)
    assert on_film.shape == (400, 320)
    rows, columns = np.nonzero(on_film > 0.5)
    cell = cell_pixels(cam_with(grid, (128, 128)), geometry)
    assert abs(rows.mean() - row) <= cell[0]
    assert abs(columns.mean() - column) <= cell[1]
    assert cell == pytest.approx((4 / geometry.scale, 4 / geometry.scale))


def test_the_map_of_a_mirrored_film_is_the_mirrored_map():
    model = small_model("efficientnet")
    maps = []
    for side in ("left", "right"):
        film = film_of(drawn_film((400, 320), side))
        prepared = prepare(film, (96, 96))
        maps.append(to_film(explain(model, HALF, prepared.pixels, 0, "layercam"), prepared.geometry))
    assert maps[0].any()
    np.testing.assert_allclose(maps[0], maps[1][:, ::-1], atol=0.02)
