"""Settings and presets: what cannot work is refused where it is written."""

from __future__ import annotations

import pytest

from mammo_core.config import TrainConfig, load_config
from mammo_core.errors import ConfigError
from mammo_core.presets import list_presets, load_preset, parse_overrides
from mammo_core.storage import write_yaml

TWINS = {
    "density_efficientnet_b0": "density_lite0",
    "lesion_efficientnet_b0": "lesion_lite0",
    "lesion_efficientnet_b0_300": "lesion_lite0_300",
    "recommended_density": "recommended_density_offline",
    "recommended_lesion": "recommended_lesion_offline",
}
"""Preset -> the same with weights that are installed with the app."""
CLASSES = {"density": ["A", "B", "C", "D"], "lesion": ["Normal", "Benign", "Malignant"]}


def test_an_unknown_key_is_named_with_its_nearest_neighbour():
    with pytest.raises(ConfigError, match="'ephocs' in my.yaml; did you mean 'epochs'"):
        TrainConfig.from_dict({"ephocs": 3}, source="my.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": True}, "expected a whole number"),
        ({"epochs": 2.5}, "expected a whole number"),
        ({"warmup_epochs": 20, "epochs": 20}, "below epochs"),
        ({"lr": "fast"}, "expected a number"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 0}, "above 0"),
        ({"min_lr": 1, "lr": 0.1}, "min_lr is 1"),
        ({"dropout": 1.0}, "dropout"),
        ({"image_size": [512]}, "image_size"),
        ({"image_size": 16}, "32 to 4096"),
        ({"optimizer": "sgd"}, "'adamw' or 'adam'"),
        ({"class_weights": [1, -2]}, "above 0"),
        ({"class_weights": [1], "class_names": ["a", "b"]}, "one each"),
        ({"class_names": ["a", "a"]}, "repeats"),
        ({"early_stopping_patience": 0}, "null to never stop"),
        ({"seed": -1}, "seed is -1"),
        ({"view": ""}, "view is ''"),
        ({"embeddings": " "}, "embeddings is empty"),
        ({"embedding": "features"}, "Unknown setting 'embedding'"),
    ],
)
def test_a_value_that_cannot_work_is_refused_in_words(changes, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig.from_dict(changes)


def test_a_square_canvas_may_be_one_number_and_yaml_floats_may_be_text():
    config = TrainConfig.from_dict({"image_size": 224, "lr": "1e-3", "class_weights": [1, 2]})
    assert (config.image_size, config.lr, config.class_weights) == ((224, 224), 1e-3, (1.0, 2.0))


def test_a_configuration_survives_its_file(tmp_path):
    config = TrainConfig(
        image_size=(512, 256), class_names=("A", "B"), class_weights=(1.0, 2.0), early_stopping_patience=None, fold=2
    )
    write_yaml(tmp_path / "config.yaml", config.to_dict())
    assert load_config(tmp_path / "config.yaml") == config


def test_a_newer_schema_is_refused(tmp_path):
    write_yaml(tmp_path / "config.yaml", {"schema_version": 99})
    with pytest.raises(ConfigError, match="Update MammoTrace"):
        load_config(tmp_path / "config.yaml")


def test_every_shipped_preset_loads_and_speaks_for_itself():
    presets = {preset.name: preset for preset in list_presets()}
    assert {"demo", *TWINS, *TWINS.values()} == set(presets)
    assert all(preset.title and preset.summary for preset in presets.values())
    assert len({preset.title for preset in presets.values()}) == len(presets)


@pytest.mark.parametrize("preset", list_presets(), ids=lambda preset: preset.name)
def test_every_shipped_preset_works_for_its_task(preset):
    for task, names in CLASSES.items():
        if preset.settings.get("task") in (None, task):
            config = TrainConfig.from_dict({**preset.settings, "task": task, "class_names": names, "ordinal": task == "density"})
            assert config.arch == preset.settings["arch"]


def test_the_recommended_presets_hold_what_they_are_recommended_for():
    density = TrainConfig.from_dict(load_preset("recommended_density").settings)
    lesion = TrainConfig.from_dict(load_preset("recommended_lesion").settings)
    for config in (density, lesion):
        assert (config.optimizer, config.image_size, config.warmup_epochs, config.ema_decay) == ("adamw", (512, 512), 2, 0.999)
        assert 0.1 <= config.backbone_lr_factor < 1
        assert config.mixup == 0
    assert (density.loss, density.class_weights, density.augment) == ("ordinal", "auto", "light")
    assert (lesion.loss, lesion.label_smoothing, lesion.augment) == ("cross_entropy", 0.05, "strong")
    assert (lesion.sampler, lesion.class_weights) == ("balanced", "none")


def test_the_presets_hold_the_published_settings():
    density = TrainConfig.from_dict(load_preset("density_efficientnet_b0").settings)
    assert (density.arch, density.image_size, density.batch_size, density.epochs) == ("efficientnet_b0", (512, 512), 16, 20)
    assert (density.warmup_epochs, density.class_weights) == (2, "auto")
    lesion = TrainConfig.from_dict(load_preset("lesion_efficientnet_b0").settings)
    assert (lesion.image_size, lesion.batch_size, lesion.optimizer, lesion.lr, lesion.min_lr) == (
        (224, 224),
        32,
        "adam",
        1e-3,
        1e-6,
    )
    assert (lesion.weight_decay, lesion.epochs, lesion.early_stopping_patience) == (1e-4, 50, 7)
    later = TrainConfig.from_dict(load_preset("lesion_efficientnet_b0_300").settings)
    assert (later.image_size, later.batch_size, later.optimizer, later.lr) == ((300, 300), 16, "adamw", 3e-4)
    assert (later.epochs, later.warmup_epochs, later.early_stopping_patience) == (50, 3, 15)
    assert (later.label_smoothing, later.dropout) == (0.1, 0.3)


@pytest.mark.parametrize("twin", TWINS.items(), ids=str)
def test_an_offline_twin_differs_in_the_architecture_only(twin):
    first, second = (load_preset(name).settings for name in twin)
    assert {key for key in {*first, *second} if first.get(key) != second.get(key)} == {"arch"}


def test_a_preset_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(ConfigError, match="demo"):
        load_preset("nothing")
    (tmp_path / "bad.yaml").write_text("lr: [")
    with pytest.raises(ConfigError, match="bad.yaml is not readable"):
        load_preset(tmp_path / "bad.yaml")


def test_overrides_are_read_as_yaml():
    assert parse_overrides(["epochs=3", "image_size=[64, 32]", "weights=none"]) == {
        "epochs": 3,
        "image_size": [64, 32],
        "weights": "none",
    }
    with pytest.raises(ConfigError, match="key=value"):
        parse_overrides(["epochs"])
