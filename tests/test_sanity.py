import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from make_models import CLASSES, HALF, small_model, write_drawn_dataset, write_model_run
from mammo_core.data.manifest import load_dataset
from mammo_core.errors import ConfigError, DataError
from mammo_core.explain.gradcam import explain
from mammo_core.explain.layers import target_layer
from mammo_core.explain.randomise import INPUT_STAGE, cascade, stages
from mammo_core.explain.sanity import StudiedFilm, maps_of, randomisation_test, rank_correlation, repeatability, ssim
from mammo_core.storage import write_table
from mammo_core.workflows.map_records import sanity_file
from mammo_core.workflows.sanity_check import SanityPlan, check_sanity, chosen_rows, sibling_runs

SIZE = (96, 64)
BATCH = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(2))


def studied(count: int) -> list[StudiedFilm]:
    """Films with one bright spot each, at places of their own."""
    films = []
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 40, SIZE, dtype=np.uint8)
        row, column = rng.integers(0, 72), rng.integers(0, 48)
        pixels[row : row + 24, column : column + 16] += 200
        films.append(StudiedFilm(f"i{number:02d}", f"p{number // 2}", pixels, number % 3, "ABC"[number % 3]))
    return films


class Spots(nn.Module):
    """Maps that follow the film's brightness whatever the weights are: the failure that the test is there to find."""

    def forward(self, films: torch.Tensor) -> torch.Tensor:
        bright = nn.functional.avg_pool2d((films[:, :1] + 1) / 2, 8)
        return bright.repeat(1, 4, 1, 1)


def brightness_model() -> nn.Module:
    """An EfficientNet whose last maps are the film's brightness; its head has weights alone."""
    model = small_model("efficientnet")
    for name in ("conv_stem", "bn1", "blocks", "conv_head"):
        setattr(model, name, nn.Identity())
    model.blocks = nn.Sequential()
    model.bn2 = Spots()
    model.classifier = nn.Linear(4, 3)
    with torch.no_grad():
        # A wide spread around a high mean: redrawn, the weights of each class still sum to a positive number.
        model.classifier.weight.copy_(torch.tensor([[5.0, 5.1, 5.2, 5.3]] * 3))
    return model.eval()


def grids(*seeds: int, shape: tuple[int, int] = (6, 5)) -> list[np.ndarray]:
    return [np.random.default_rng(seed).random(shape, dtype=np.float32) for seed in seeds]


# ---- comparing maps ----------------------------------------------------------------------------------------------------------


def test_ssim_is_scikit_images_on_the_maps_at_eight_pixels_a_cell():
    one, other = grids(1, 2)

    def enlarged(grid):
        tensor = torch.from_numpy(grid)[None, None]
        return nn.functional.interpolate(tensor, scale_factor=8, mode="bilinear", align_corners=False)[0, 0].double().numpy()

    expected = structural_similarity(
        enlarged(one), enlarged(other), data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(one, other) == pytest.approx(expected, abs=1e-5)
    assert ssim(one, other) == pytest.approx(ssim(other, one))
    assert ssim(one, one) == pytest.approx(1)


def test_a_single_cell_can_be_compared():
    assert ssim(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)) == pytest.approx(1)


def test_rank_correlation_is_spearmans_and_undefined_for_an_even_map():
    one, other = grids(1, 2)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)
    assert rank_correlation(one, one**3) == pytest.approx(1)
    assert np.isnan(rank_correlation(one, np.zeros_like(one)))


# ---- randomisation -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["efficientnet", "resnet", "convnext", "densenet", "vit", "vit_registers", "swin"])
def test_the_stages_go_from_the_head_to_the_input_and_hold_every_weight(family):
    model = small_model(family)
    names = stages(model)
    head = {"resnet": "fc", "convnext": "head", "vit": "head", "vit_registers": "head", "swin": "head"}
    assert names[0] == head.get(family, "classifier")
    assert names[-1] in (INPUT_STAGE, "conv_stem", "conv1", "stem.0", "stem.1", "features.conv0", "patch_embed")
    held = {id(p) for name in names if name != INPUT_STAGE for p in model.get_submodule(name).parameters()}
    held |= {id(p) for p in model.parameters(recurse=False)} if INPUT_STAGE in names else set()
    assert held == {id(p) for p in model.parameters()}
    layer = target_layer(model, SIZE).name
    assert any(layer == name or layer.startswith(f"{name}.") or name.startswith(f"{layer}.") for name in names)


@pytest.mark.parametrize("family", ["efficientnet", "densenet", "vit", "swin"])
def test_each_stage_changes_its_own_weights_and_keeps_the_earlier_ones_random(family):
    model = small_model(family)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)  # as after training: no vector holds one value only
    before = {name: value.clone() for name, value in model.state_dict().items()}
    previous = {name: value.clone() for name, value in before.items()}
    for stage, changed in cascade(model, 0, BATCH):
        now = changed.state_dict()
        new = {n for n, p in changed.named_parameters() if not torch.equal(now[n], previous[n])}
        if stage == INPUT_STAGE:
            assert all("." not in name for name in new)
        else:
            assert new
            assert all(name.startswith(f"{stage}.") for name in new)
        previous = {name: value.clone() for name, value in now.items()}
    several = [name for name, parameter in model.named_parameters() if parameter.numel() > 4]
    assert not any(torch.equal(previous[name], before[name]) for name in several)


def test_the_cascade_is_decided_by_its_seed():
    model = small_model("efficientnet")
    ends = [[changed for _, changed in cascade(model, seed, BATCH)][-1].state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not all(torch.equal(ends[0][name], ends[2][name]) for name in ends[0])


def test_redrawn_weights_keep_their_size_and_activations_stay_usable():
    model = small_model("efficientnet")
    changed = [changed for _, changed in cascade(model, 0, BATCH)][-1]
    for (name, old), new in zip(model.named_parameters(), changed.parameters(), strict=True):
        if old.numel() > 500:
            assert new.std().item() == pytest.approx(old.std().item(), rel=0.2, abs=1e-6), name
    with torch.no_grad():
        spread = changed.forward_features(BATCH).std().item()
    assert 0.05 < spread < 50
    assert not changed.training
    assert not any(module.training for module in changed.modules())


@pytest.mark.parametrize("family", ["efficientnet", "vit"])
def test_the_model_itself_is_never_changed(family):
    model = small_model(family).requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    randomisation_test(model, HALF, studied(3), "layercam")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_map_that_ignores_the_weights_fails():
    found = randomisation_test(brightness_model(), HALF, studied(24), "gradcam")
    assert found["passed"] is False
    assert found["words"].startswith("Failed: the maps depend on the film more than on what the model has learnt.")
    assert found["stages"][-1]["ssim"]["value"] > 0.9
    assert found["difference"]["ci_high"] < 0


def test_a_map_that_is_decided_by_the_weights_alone_passes():
    model = small_model("efficientnet", size=SIZE)
    films = [StudiedFilm(f"i{n}", f"p{n}", f.pixels, 0, "A") for n, f in enumerate([studied(1)[0]] * 20)]
    noisy = [
        StudiedFilm(f.image_id, f.patient_id, np.clip(f.pixels.astype(int) + n % 3, 0, 255).astype(np.uint8), 0, "A")
        for n, f in enumerate(films)
    ]
    found = randomisation_test(model, HALF, noisy, "layercam", seed=1)
    assert found["different_films"]["value"] > 0.9  # nearly the same film each time
    assert found["stages"][-1]["ssim"]["value"] < found["different_films"]["value"]
    assert found["passed"] is True
    assert found["words"].startswith("Passed")


def test_the_numbers_are_means_over_the_films():
    model, films = small_model("efficientnet"), studied(5)
    found = randomisation_test(model, HALF, films, "layercam", seed=4)
    originals = [explain(model, HALF, f.pixels, f.class_index, "layercam").grid for f in films]
    pairs = [ssim(originals[i], originals[j]) for i in range(5) for j in range(5) if i != j]
    assert found["different_films"]["value"] == pytest.approx(np.mean(pairs))
    assert [row["stage"] for row in found["stages"]] == list(stages(model))
    assert (found["n"], found["patients"], found["left_out"]) == (5, 3, 0)
    assert found["passed"] is None
    assert found["words"].startswith("Not decided: 5 films with a map, where at least 20 are needed.")
    assert found == randomisation_test(model, HALF, films, "layercam", seed=4)
    json.dumps(found)


def test_films_without_a_map_are_left_out_and_counted():
    model = brightness_model()
    films = studied(4)
    with torch.no_grad():
        model.classifier.weight[1] = -1  # class 1 has negative evidence only
    found = randomisation_test(model, HALF, films, "gradcam")
    assert (found["n"], found["left_out"]) == (3, 1)
    with torch.no_grad():
        model.classifier.weight[:] = -1
    with pytest.raises(DataError, match="0 of 4 films have a map that shows anything"):
        randomisation_test(model, HALF, films, "gradcam")


# ---- repeatability -----------------------------------------------------------------------------------------------------------


def test_equal_maps_of_two_runs_are_repeatable_and_unrelated_ones_are_not():
    films, maps = studied(22), grids(*range(22))
    same = repeatability({"a": maps, "b": [grid.copy() for grid in maps]}, films)
    assert same["ssim"]["value"] == same["spearman"]["value"] == pytest.approx(1)
    assert same["passed"] is True
    other = repeatability({"a": maps, "b": [np.roll(grid, 3, axis=0) for grid in maps], "c": grids(*range(50, 72))}, films)
    assert abs(other["difference"]["value"]) < 0.1
    assert other["passed"] is False or (other["passed"] is None and "could be chance" in other["words"])


def test_films_that_lack_a_map_in_one_run_are_left_out():
    films, maps = studied(5), grids(*range(5))
    found = repeatability({"a": maps, "b": [None, *maps[1:]]}, films)
    assert (found["n"], found["left_out"], found["passed"]) == (4, 1, None)
    with pytest.raises(DataError, match="expected at least two films and two runs"):
        repeatability({"a": maps}, films)
    with pytest.raises(DataError, match="0 films have a map in each of 2 runs"):
        repeatability({"a": maps, "b": grids(*range(5), shape=(3, 3))}, films)


def test_maps_that_are_empty_or_not_finite_are_none():
    model = brightness_model()
    with torch.no_grad():
        model.classifier.weight[0] = -1
    assert [grid is None for grid in maps_of(model, HALF, studied(3), "gradcam")] == [True, False, False]
    with torch.no_grad():
        model.classifier.weight[2] = float("nan")
    assert maps_of(model, HALF, studied(3), "gradcam") == [None, None, None]


# ---- a whole run -------------------------------------------------------------------------------------------------------------


def write_runs(workspace, count: int = 6, seeds: tuple[int, ...] = (1, 2)):
    truth = {f"i{number}": CLASSES[number % 3] for number in range(count)}
    runs = [write_model_run(workspace, f"exp/seed_{seed}", seed=seed) for seed in seeds]
    for run, seed in zip(runs, seeds, strict=True):
        settings = run.config_file.read_text().splitlines()
        run.config_file.write_text("\n".join(f"seed: {seed}" if line.startswith("seed:") else line for line in settings) + "\n")
    write_drawn_dataset(workspace, truth, CLASSES)
    rows = [[i, f"p_{i}", "1", label, label, 0.8, 0.1, 0.1] for i, label in truth.items()]
    columns = ["image_id", "patient_id", "center", "y_true", "y_pred", *(f"prob_{name}" for name in CLASSES)]
    write_table(runs[0].predictions_file("val"), pd.DataFrame(rows, columns=columns))
    return runs


def test_a_run_gets_a_record_with_three_tests_and_the_same_one_again(workspace):
    run, sibling = write_runs(workspace)
    assert [other.id for other in sibling_runs(workspace, run)] == [sibling.id]
    told = []
    plan = SanityPlan(method="layercam", films=4, road_films=2, seed=3)
    record = check_sanity(workspace, run.id, plan=plan, progress=lambda done, total: told.append((done, total)))
    assert json.loads(sanity_file(workspace, run, "val", "layercam").read_text()) == record
    assert set(record["tests"]) == {"randomisation", "repeatability", "faithfulness"}
    assert [test["passed"] for test in record["tests"].values()] == [None, None, None]  # too few films
    assert all(test["words"].startswith("Not decided") for test in record["tests"].values())
    assert record["tests"]["repeatability"]["runs"] == [run.id, sibling.id]
    assert record["tests"]["faithfulness"]["n"] == 2
    assert told[-1] == (1, 1)
    shares = [done / total for done, total in told]
    assert shares == sorted(shares)
    assert check_sanity(workspace, run.id, plan=plan) == record


def test_a_run_alone_is_not_tested_for_repeatability_and_a_lost_film_is_listed(workspace):
    (run,) = write_runs(workspace, count=5, seeds=(1,))
    load_dataset(workspace, "drawn").film_path("i2").unlink()
    record = check_sanity(workspace, run.id, plan=SanityPlan(method="layercam", films=5, road_films=0))
    assert [failure["image"] for failure in record["failures"]] == ["i2"]
    assert record["tests"]["randomisation"]["n"] == 4
    assert record["tests"]["repeatability"]["words"].startswith("Not tested. No other run of this experiment")
    assert record["tests"]["faithfulness"] == {"passed": None, "words": "Not tested. It was left out of this check."}


def test_without_a_readable_film_the_check_is_an_error_and_writes_nothing(workspace):
    (run,) = write_runs(workspace, count=3, seeds=(1,))
    for image_id in ("i0", "i1", "i2"):
        load_dataset(workspace, "drawn").film_path(image_id).unlink()
    with pytest.raises(DataError, match="0 of 3 films could be read"):
        check_sanity(workspace, run.id)
    assert not sanity_file(workspace, run, "val", "gradcam").exists()


def test_the_choice_of_films_depends_on_the_seed_alone():
    table = pd.DataFrame({"image_id": [f"i{number:02d}" for number in range(30)], "y_pred": "A"})
    first = chosen_rows(table, 10, 1)["image_id"].tolist()
    assert chosen_rows(table.sample(frac=1, random_state=0), 10, 1)["image_id"].tolist() == first
    assert chosen_rows(table, 20, 1)["image_id"].tolist()[:10] == first
    assert chosen_rows(table, 10, 2)["image_id"].tolist() != first
    assert len(chosen_rows(table, 99, 0)) == 30


@pytest.mark.parametrize("plan", [{"method": "scorecam"}, {"films": 1}, {"films": 51}, {"road_films": -1}, {"seed": -1}])
def test_a_plan_that_cannot_work_is_refused(plan):
    with pytest.raises(ConfigError):
        SanityPlan(**plan)
