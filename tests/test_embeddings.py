"""Features of a frozen network: written once, joined to a training, and carried along by the model that learnt with them."""

from __future__ import annotations

import json
import shutil
import threading
import time

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from typer.testing import CliRunner

from demo_data import demo_workspace
from mammo_core.cli import app
from mammo_core.config import TrainConfig
from mammo_core.data.embeddings import FILMS, NETWORK, RECORD, VALUES, find_embeddings, list_embeddings, load_embeddings
from mammo_core.data.manifest import load_dataset
from mammo_core.data.reader import read_film
from mammo_core.errors import ConfigError, DataError
from mammo_core.explain.gradcam import explain
from mammo_core.explain.randomise import cascade
from mammo_core.predict.predictor import Predictor
from mammo_core.report.reproduce import commands
from mammo_core.report.run_facts import RunFacts
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import Workspace
from mammo_core.storage import sha256_of
from mammo_core.training.checkpoint import load_checkpoint
from mammo_core.training.fusion import PROJECTED, FusedClassifier
from mammo_core.training.models import features_and_logits, new_model
from mammo_core.training.optim import build_optimizer
from mammo_core.workflows.embed import EmbedPlan, embed_dataset
from mammo_core.workflows.launch import LaunchPlan, create_run, plan_runs
from mammo_core.workflows.model_shelf import import_model, keep_model
from mammo_core.workflows.train_run import DONE, FAILED, STOPPED, train

SETTINGS = {
    "arch": "resnet10t",
    "weights": "none",
    "image_size": 64,
    "epochs": 2,
    "warmup_epochs": 0,
    "batch_size": 8,
    "early_stopping_patience": None,
    "threads": 1,
    "embeddings": "demo_tf_efficientnet_lite0",
}
ARCH, WIDTH = "tf_efficientnet_lite0", 1280


def _silent(done: int, total: int, message: str = "") -> None:
    pass


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    return demo_workspace(tmp_path_factory, "embeddings")


@pytest.fixture(scope="module")
def folder(home):
    made, _ = embed_dataset(home, EmbedPlan(dataset="demo", arch=ARCH, image_size=(64, 64)), _silent)
    return made


def _new_run(home: Workspace, experiment: str, **settings) -> RunDir:
    plan = LaunchPlan(dataset="demo", splits=["demo"], experiment=experiment, settings={**SETTINGS, **settings}, seeds=[42])
    return create_run(home, plan_runs(home, plan)[0])


@pytest.fixture(scope="module")
def finished(home, folder) -> RunDir:
    run = _new_run(home, "fused")
    assert train(home, run) == DONE
    return run


def _film(home: Workspace, image_id: str):
    return read_film(load_dataset(home, "demo").film_paths()[image_id])


# ---- writing ----------------------------------------------------------------------------------------------------------


def test_every_readable_film_has_the_features_that_timm_gives_for_it(home, folder):
    table = load_embeddings(folder)
    assert table.record.films == len(load_dataset(home, "demo").manifest()) == len(table.values)
    network = timm.create_model(ARCH, num_classes=0).eval()
    network.load_state_dict(torch.load(folder / NETWORK, weights_only=True))
    cache = home.cache
    place = 3
    prepared = np.load(next(cache.glob(f"**/{table.films[place]}.npy"))).astype(np.float32) / 255
    pixels = (torch.from_numpy(prepared)[None, None].expand(1, 3, -1, -1) - 0.5) / 0.5  # the Lite family's scaling
    with torch.inference_mode():
        expected = network(pixels)[0].numpy()
    np.testing.assert_allclose(table.values[place], expected, rtol=1e-3, atol=1e-4)


def test_the_network_has_the_pretrained_weights(folder):
    state = torch.load(folder / NETWORK, weights_only=True)
    torch.manual_seed(0)
    fresh = timm.create_model(ARCH, num_classes=0).state_dict()
    assert state.keys() == fresh.keys()
    assert not torch.allclose(state["bn1.running_var"], fresh["bn1.running_var"])


def test_nothing_is_overwritten_and_random_weights_are_refused(home, folder):
    with pytest.raises(ConfigError, match="exists already"):
        embed_dataset(home, EmbedPlan(dataset="demo", arch=ARCH, image_size=(64, 64)), _silent)
    with pytest.raises(ConfigError, match="learnt nothing"):
        embed_dataset(home, EmbedPlan(dataset="demo", arch=ARCH, weights="none"), _silent)


def test_a_film_that_cannot_be_read_is_named_and_left_out(tmp_path_factory, tmp_path):
    own = demo_workspace(tmp_path_factory, "embed_damaged")
    paths = load_dataset(own, "demo").film_paths()
    broken = next(iter(paths))
    paths[broken].write_bytes(b"not a film")
    out = tmp_path / "features"
    _, record = embed_dataset(own, EmbedPlan(dataset="demo", arch=ARCH, image_size=(64, 64), out=out), _silent)
    assert record.left_out == (broken,)
    assert broken not in pd.read_csv(out / FILMS, dtype=str)["image_id"].tolist()
    assert str(tmp_path) not in (out / RECORD).read_text()
    assert not list(tmp_path.glob(".*"))


def test_the_command_says_how_to_use_what_it_wrote(home, folder, tmp_path):
    out = tmp_path / "more"
    words = ["--home", str(home.home), "embed", "demo", "--arch", ARCH, "--image-size", "64", "--out", str(out), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["features"] == WIDTH
    assert np.array_equal(np.load(out / VALUES), np.load(folder / VALUES))


# ---- the model --------------------------------------------------------------------------------------------------------


def _fused(**changes) -> FusedClassifier:
    config = TrainConfig(arch="resnet10t", weights="none", class_names=("A", "B"), image_size=(64, 64), **changes)
    model = new_model(config, 10)
    assert isinstance(model, FusedClassifier)
    return model


def test_embeddings_are_standardised_by_the_training_films_and_a_constant_feature_is_only_centred():
    model = _fused()
    values = np.random.default_rng(0).normal(3, 2, (50, 10)).astype(np.float32)
    values[:, 4] = 7
    model.standardise(torch.from_numpy(values))
    standard = (values - model.embedding_mean.numpy()) / model.embedding_sd.numpy()
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.delete(standard, 4, 1).std(0), 1, atol=1e-5)
    assert np.allclose(standard[:, 4], 0)


def test_the_answer_depends_on_film_and_embedding_alike():
    model = _fused().eval()
    films, given = torch.rand(2, 3, 64, 64), torch.rand(2, 10)
    features, logits = features_and_logits(model, films, given)
    assert features.shape == (2, model.backbone.num_features + PROJECTED)
    assert not torch.allclose(logits, model(films, given + 1))
    assert not torch.allclose(logits, model(films + 1, given))


def test_projection_and_head_learn_at_the_full_rate_where_the_backbone_is_slower():
    model = _fused(dropout=0.1)
    config = TrainConfig(arch="resnet10t", class_names=("A", "B"), lr=1e-3, backbone_lr_factor=0.1)
    rates = {id(p): group["lr"] for group in build_optimizer(model, config).param_groups for p in group["params"]}
    fast = {name for name, p in model.named_parameters() if rates[id(p)] == pytest.approx(1e-3)}
    assert fast == {"projection.0.weight", "projection.0.bias", "head.weight", "head.bias"}


# ---- a training -------------------------------------------------------------------------------------------------------


def test_the_trained_model_judges_a_bare_film_as_training_judged_it(home, finished):
    table = finished.predictions("val").set_index("image_id")
    image_id = table.index[0]
    predictor = Predictor.load(home, [finished])
    found = predictor.predict(_film(home, image_id)).probabilities
    for name, value in found.items():
        assert value == pytest.approx(table.loc[image_id, f"prob_{name}"], abs=2e-4)


def test_only_new_layers_and_backbone_were_trained(finished, folder):
    checkpoint = load_checkpoint(finished.best_model)
    model = checkpoint.build_model()
    frozen = torch.load(folder / NETWORK, weights_only=True)
    assert all(torch.equal(value, frozen[name]) for name, value in model.embedder.network.state_dict().items())
    assert not any(name.startswith("embedder") for name in checkpoint.trained_weights)
    state = torch.load(finished.resume_file, weights_only=True)
    assert not any(name.startswith("embedder") for name in state["model"])  # 13 MB an epoch that never change
    assert json.loads(finished.embeddings_file.read_text())["arch"] == ARCH


def test_a_map_comes_from_the_backbone_and_changes_when_its_weights_do(home, finished):
    checkpoint = load_checkpoint(finished.best_model)
    model = checkpoint.build_model()
    pixels = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
    cam = explain(model, checkpoint.normalisation, pixels, 0, class_name="A")
    assert cam.grid.shape == (2, 2)
    batch = torch.rand(4, 3, 64, 64)
    names = [name for name, changed in cascade(model, 0, batch) if torch.isfinite(changed(batch)).all()]
    assert names[:2] == ["head", "projection"]
    assert all(name.startswith("backbone.") for name in names[2:])


def test_a_kept_model_answers_alike_on_a_machine_without_the_embeddings(home, finished, tmp_path):
    keep_model(home, [finished.id], "fused_model")
    other = Workspace(tmp_path / "other")
    other.home.mkdir()
    kept = next(home.models.glob("fused_model*"))
    import_model(other, kept, "fused_model")
    film = _film(home, str(finished.predictions("val")["image_id"].iloc[0]))
    here = Predictor.load(home, [finished]).predict(film).probabilities
    there = Predictor.load(other, ["model:fused_model"]).predict(film).probabilities
    assert here == pytest.approx(there, abs=1e-6)


def test_a_longer_training_goes_on_from_the_fused_weights(home, finished):
    later = _new_run(home, "longer", init_from=finished.id, epochs=1)
    assert train(home, later) == DONE
    plain = _new_run(home, "plain", init_from=finished.id, embeddings=None)
    assert train(home, plain) == FAILED
    assert "embedded features" in plain.status().message


def test_a_stopped_training_goes_on_to_the_same_numbers(home, finished):
    hidden = {"seconds", "images_per_second", "resumed"}
    run = _new_run(home, "stopped", epochs=4)
    whole = RunDir(shutil.copytree(run.path, home.experiments / "unbroken" / run.name))

    def stop_after_the_first_epoch():
        while not run.history():
            time.sleep(0.01)
        run.ask_to_stop()

    watcher = threading.Thread(target=stop_after_the_first_epoch)
    watcher.start()
    code = train(home, run)
    watcher.join()
    assert code == STOPPED
    assert train(home, run) == train(home, whole) == DONE
    assert [r.model_dump(exclude=hidden) for r in run.history()] == [r.model_dump(exclude=hidden) for r in whole.history()]
    assert load_checkpoint(run.final_model).weights.keys() == load_checkpoint(whole.final_model).weights.keys()


def test_card_and_commands_of_a_report_pack_name_the_embeddings(home, finished):
    facts = RunFacts(finished)
    embed = next(line for line in commands([facts]) if " embed " in line)
    assert embed == (
        "python -m mammo_core embed demo --arch tf_efficientnet_lite0 --weights imagenet --image-size 64,64 --out "
        "demo_tf_efficientnet_lite0"
    )
    assert "1280 features of a frozen tf_efficientnet_lite0" in facts.first_weights


# ---- what cannot work -------------------------------------------------------------------------------------------------


def _rewritten(folder, target, change):
    """A copy of the embeddings whose table of films was changed by their owner, with its new hash."""
    shutil.copytree(folder, target)
    films = pd.read_csv(target / FILMS, dtype=str)
    values = np.load(target / VALUES)
    films, values = change(films, values)
    films.to_csv(target / FILMS, index=False)
    np.save(target / VALUES, values)
    record = json.loads((target / RECORD).read_text())
    record["films"] = len(films)
    record["sha256"] |= {name: sha256_of(target / name) for name in (FILMS, VALUES)}
    (target / RECORD).write_text(json.dumps(record))
    return target


def test_a_missing_row_names_the_image(home, folder, tmp_path):
    lost = pd.read_csv(folder / FILMS, dtype=str)["image_id"].iloc[5]
    short = _rewritten(folder, tmp_path / "short", lambda films, values: (films.drop(5), np.delete(values, 5, 0)))
    with pytest.raises(DataError, match=f"no row of film {lost}; .*embed demo"):
        _new_run(home, "missing", embeddings=str(short))


def test_a_film_that_changed_since_is_found_when_training_begins(home, folder, tmp_path):
    def other_film(films, values):
        films.loc[:, "film"] = "0" * 64
        return films, values

    run = _new_run(home, "changed", embeddings=str(_rewritten(folder, tmp_path / "old", other_film)))
    assert train(home, run) == FAILED
    assert "is not the one that was embedded" in run.status().message


@pytest.mark.parametrize("name", [VALUES, FILMS, NETWORK])
def test_a_file_that_was_changed_or_lost_is_refused(folder, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with (copy / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=f"{name} was changed"):
        load_embeddings(copy)
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"lacks {name}"):
        load_embeddings(copy)


def test_embeddings_of_another_size_or_data_set_are_refused_at_the_launch(home, folder, tmp_path):
    with pytest.raises(DataError, match="64 x 64 pixels; expected 48 x 48"):
        _new_run(home, "size", image_size=48)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    record = json.loads((other / RECORD).read_text()) | {"dataset": "another"}
    (other / RECORD).write_text(json.dumps(record))
    with pytest.raises(DataError, match="of the data set 'another'"):
        _new_run(home, "other", embeddings=str(other))
    with pytest.raises(ConfigError, match="There are no embeddings 'nowhere'"):
        find_embeddings(home, "nowhere")


def test_the_workspace_lists_those_of_a_data_set(home, folder):
    (home.embeddings / "half").mkdir(exist_ok=True)
    (home.embeddings / "half" / RECORD).write_text("{")
    assert list_embeddings(home, "demo") == [folder.name]
    assert list_embeddings(home, "another") == []


def test_a_resume_is_refused_when_the_embeddings_were_made_anew(home, folder, finished, tmp_path):
    own = _rewritten(folder, tmp_path / "own", lambda films, values: (films, values))
    run = _new_run(home, "anew", embeddings=str(own), epochs=2)
    assert train(home, run) == DONE
    run.status_file.write_text(run.status().model_copy(update={"state": "stopped"}).model_dump_json())
    shutil.rmtree(own)
    _rewritten(folder, own, lambda films, values: (films, values * 2))
    assert train(home, run) == FAILED
    assert "embeddings changed" in run.status().message
