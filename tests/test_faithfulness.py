import json

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import nn

from make_films import drawn_film
from make_models import HALF, small_model
from mammo_core.errors import DataError
from mammo_core.explain import faithfulness
from mammo_core.explain.faithfulness import (
    BASELINES,
    PERCENTILES,
    baseline_maps,
    faithfulness_test,
    fill,
    pixel_order,
    road,
)
from mammo_core.explain.sanity import StudiedFilm
from mammo_core.runs.schema import MetricValue
from mammo_core.training.models import normalise

SIDE = 64
LIBRARY_IS_BEHIND_NUMPY = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")


def smooth_map(seed: int, cells: int = 4) -> np.ndarray:
    grid = torch.from_numpy(np.random.default_rng(seed).random((1, 1, cells, cells), dtype=np.float32))
    return nn.functional.interpolate(grid, size=(SIDE, SIDE), mode="bilinear", align_corners=False)[0, 0].numpy()


def film(number: int = 0, class_index: int = 0) -> StudiedFilm:
    pixels = np.rint(drawn_film((SIDE, SIDE), seed=number) * 255).astype(np.uint8)
    return StudiedFilm(f"i{number}", f"p{number}", pixels, class_index, "ABC"[class_index])


def spot_film(number: int) -> StudiedFilm:
    """A bright spot with a place of its own on textured ground."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(60, 120, (SIDE, SIDE), dtype=np.uint8)
    row, column = 8 * rng.integers(0, 7, 2)
    pixels[row : row + 8, column : column + 8] = 255
    return StudiedFilm(f"i{number}", f"p{number}", pixels, 0, "A")


class SpotModel(nn.Module):
    """Class A for films with a bright spot: the score is the brightness above 0.75, summed."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
            self.head.bias.zero_()

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        grey = (films[:, 0] + 1) / 2
        return self.head((grey - 0.75).clamp_min(0).sum(dim=(1, 2))[:, None] / 8 - 0.8)


# ---- filling -----------------------------------------------------------------------------------------------------------------


@LIBRARY_IS_BEHIND_NUMPY
@pytest.mark.parametrize("shape", [(64, 64), (70, 51), (33, 100)])
@pytest.mark.parametrize("percentile", [10, 50, 90])
def test_filled_pixels_are_those_of_the_librarys_exact_solver(shape, percentile):
    picture = torch.from_numpy(drawn_film(shape))
    map_ = np.add.outer(np.sin(np.arange(shape[0]) / 9), np.cos(np.arange(shape[1]) / 7))
    kept = torch.from_numpy(map_ < np.percentile(map_, percentile))
    expected = NoisyLinearImputer(noise=0.0)(picture[None], kept.float())[0]
    found = fill(picture, kept[None])[0]
    assert torch.equal(found[kept], picture[kept])
    assert (found - expected).abs().max() < 0.01
    assert (found - expected).abs().mean() < 0.002


def test_a_hole_in_an_even_film_cannot_be_seen():
    kept = torch.ones((1, 50, 40), dtype=torch.bool)
    kept[0, 10:45, 5:30] = False
    assert (fill(torch.full((50, 40), 0.3), kept) - 0.3).abs().max() < 1e-4


def test_films_of_a_batch_are_filled_independently():
    picture = torch.from_numpy(drawn_film((SIDE, SIDE)))
    kept = torch.from_numpy(np.stack([smooth_map(seed) < 0.5 for seed in range(3)]))
    together = fill(picture, kept)
    for one, mask in zip(together, kept, strict=True):
        torch.testing.assert_close(one, fill(picture, mask[None])[0], atol=1e-6, rtol=0)


# ---- order of pixels ---------------------------------------------------------------------------------------------------------


def test_tied_pixels_take_the_order_of_the_other_map():
    map_, ties = np.array([[0, 1], [0, 0]], np.float32), np.array([[0.3, 0.0], [0.1, 0.2]], np.float32)
    np.testing.assert_array_equal(pixel_order(map_, ties), [[2, 3], [0, 1]])
    np.testing.assert_array_equal(pixel_order(np.zeros_like(map_), ties), pixel_order(ties, map_))


def test_the_baselines_have_the_resolution_of_the_map():
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[:, 32:] = 200
    maps = baseline_maps(pixels, (4, 4), seed=1)
    assert set(maps) == set(BASELINES)
    assert all(map_.shape == (SIDE, SIDE) and map_.dtype == np.float32 for map_ in maps.values())
    cells = {name: map_[8::16, 8::16] for name, map_ in maps.items()}
    assert (cells["brightness"][:, :2] < cells["brightness"][:, 2:]).all()
    assert cells["edges"][:, 1:3].min() > cells["edges"][:, [0, 3]].max()
    assert len(np.unique(cells["random"])) == 16
    np.testing.assert_array_equal(maps["random"], baseline_maps(pixels, (4, 4), seed=1)["random"])
    assert not np.array_equal(maps["random"], baseline_maps(pixels, (4, 4), seed=2)["random"])


# ---- ROAD --------------------------------------------------------------------------------------------------------------------


@LIBRARY_IS_BEHIND_NUMPY
@pytest.mark.parametrize("class_index", [0, 1])
def test_road_is_the_librarys_on_a_map_without_ties(monkeypatch, class_index):
    monkeypatch.setattr(faithfulness, "NOISE", 0.0)
    model, spot = SpotModel(), spot_film(3)
    one = StudiedFilm(spot.image_id, spot.patient_id, spot.pixels, class_index, "A")
    ranks = pixel_order(smooth_map(3) + 0.4 * (spot.pixels == 255), smooth_map(4))
    inputs = normalise(torch.from_numpy(one.pixels)[None, None].float() / 255, HALF)
    scaled = (ranks / ranks.max())[None]
    targets = [ClassifierOutputSoftmaxTarget(class_index)]
    means = [
        np.mean(
            [
                PerturbationConfidenceMetric(remove(percentile, NoisyLinearImputer(noise=0.0)))(inputs, scaled, targets, model)[0]
                for percentile in PERCENTILES
            ]
        )
        for remove in (RemoveLeastRelevantFirst, RemoveMostRelevantFirst)
    ]
    expected = (means[0] - means[1]) / 2
    assert abs(expected) > 0.01
    assert road(model, HALF, one, ranks) == pytest.approx(expected, abs=2e-3)


def test_the_order_of_what_matters_scores_high_and_its_reverse_low():
    one = spot_film(0)
    spot = pixel_order(one.pixels.astype(np.float32), smooth_map(1))
    good, bad = (road(SpotModel(), HALF, one, ranks) for ranks in (spot, spot.max() - spot))
    assert good > 0.2
    assert bad == pytest.approx(-good, abs=0.02)


def test_road_depends_on_its_own_seed_and_leaves_torchs_generator_alone():
    model, ranks = small_model("efficientnet"), pixel_order(smooth_map(1), smooth_map(2))
    state = torch.get_rng_state()
    found = [road(model, HALF, film(), ranks, seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1]


def patched_maps(monkeypatch, make):
    """Let the map of each film be a given one: what is tested here is the judgement, not the map."""
    from mammo_core.explain.gradcam import CamMap

    def explain(model, normalisation, pixels, class_index, method, class_name):
        values = make(pixels).astype(np.float32)
        grid = np.ones((8, 8), np.float32)
        return CamMap(values, grid, 0.0, 1.0, not values.any(), class_name, method, "bn2")

    monkeypatch.setattr(faithfulness, "explain", explain)


def test_a_map_of_what_matters_passes_and_its_reverse_fails(monkeypatch):
    monkeypatch.setattr(faithfulness, "LEAST_FILMS", 10)
    films = [spot_film(number) for number in range(10)]
    patched_maps(monkeypatch, lambda pixels: pixels == 255)
    good = faithfulness_test(SpotModel(), HALF, films)
    assert good["scores"]["map"]["value"] > 0.2
    assert abs(good["scores"]["random"]["value"]) < 0.15
    assert good["gains"]["random"]["ci_low"] > 0
    assert good["n"] == good["patients"] == len(good["films"]) == 10
    assert good["passed"] == (True if min(gain["ci_low"] or 0 for gain in good["gains"].values()) > 0 else None)
    patched_maps(monkeypatch, lambda pixels: pixels < 255)
    bad = faithfulness_test(SpotModel(), HALF, films)
    assert bad["gains"]["random"]["ci_high"] < 0
    assert bad["passed"] is False
    assert bad["words"].startswith("Failed: the maps rank pixels no better than random cells")


def test_an_empty_map_is_as_good_as_chance_counted_and_fails(monkeypatch):
    monkeypatch.setattr(faithfulness, "LEAST_FILMS", 4)
    patched_maps(monkeypatch, np.zeros_like)
    found = faithfulness_test(SpotModel(), HALF, [spot_film(number) for number in range(4)])
    assert found["empty"] == 4
    assert found["scores"]["map"] == found["scores"]["random"]
    assert found["gains"]["random"]["value"] == 0
    assert found["passed"] is False
    assert "4 maps are empty and rank nothing" in found["words"]


@pytest.mark.parametrize(
    ("gains", "passed", "words"),
    [
        ({"random": (0.2, 0.1), "edges": (0.1, 0.05), "brightness": (0.1, 0.01)}, True, "Passed: the maps rank"),
        (
            {"random": (0.2, 0.1), "edges": (0.1, -0.01), "brightness": (0.1, 0.01)},
            None,
            "Not decided: the difference to strength of",
        ),
        (
            {"random": (0.2, 0.1), "edges": (0.1, 0.0), "brightness": (-0.1, -0.2)},
            False,
            "Failed: the maps rank pixels no better",
        ),
        (
            {"random": (0.2, 0.1), "edges": (0.1, 0.01), "brightness": (0.0, -0.2)},
            False,
            "no better than brightness of the film.",
        ),
        ({"random": (0.2, None), "edges": (0.1, 0.01), "brightness": (0.1, 0.1)}, None, "(no interval: 4 patients)"),
    ],
)
def test_a_gain_whose_interval_reaches_0_decides_nothing_and_one_that_is_not_positive_fails(gains, passed, words):
    def metric(value, low):
        method = "mean over films; no interval: 4 patients" if low is None else "mean over films"
        return MetricValue(value=value, ci_low=low, ci_high=None if low is None else 1.0, method=method)

    scores = dict.fromkeys(("map", *BASELINES), metric(0.1, 0.0))
    found = faithfulness._verdict(50, scores, {name: metric(*ends) for name, ends in gains.items()}, 0)
    assert found.passed is passed
    assert words in found.words


@pytest.mark.parametrize("family", ["efficientnet", "vit"])
def test_a_real_model_is_tested_and_left_as_it_was(family):
    model = small_model(family, (SIDE, SIDE))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    films = [film(number, number % 3) for number in range(3)]
    found = faithfulness_test(model, HALF, films, "layercam", seed=5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert found["passed"] is None
    assert found["words"].startswith("Not decided: 3 films, where at least 50 are needed.")
    assert found["gains"]["edges"]["value"] == pytest.approx(np.mean([row["map"] - row["edges"] for row in found["films"]]))
    assert found == faithfulness_test(model, HALF, films, "layercam", seed=5)
    json.dumps(found)


def test_without_a_film_there_is_nothing_to_test():
    with pytest.raises(DataError, match="no film to test"):
        faithfulness_test(SpotModel(), HALF, [])


def test_the_librarys_own_percentiles_remove_everything_where_a_map_has_ties():
    """Why it is not called: the day this fails, the library can be."""
    map_ = torch.zeros(SIDE, SIDE)
    map_[:8, :8] = 1
    kept = []
    RemoveMostRelevantFirst(50, lambda _, mask: kept.append(mask))(torch.zeros(3, SIDE, SIDE), map_)
    assert not kept[0].any()
