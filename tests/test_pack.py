import io
import zipfile

import pytest
from PIL import Image

from make_models import model_config, write_drawn_dataset, write_model, write_model_run
from make_runs import DENSITY, write_run
from mammo_core.data.manifest import load_dataset
from mammo_core.errors import ConfigError, DataError, RunNotFound
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.workflows.pack import gradcam_figure, make_pack


@pytest.fixture
def run(workspace):
    """A finished run of 12 patients whose validation films exist and whose model predicts."""
    run = write_run(workspace.experiment("exp") / "seed_42", patients=12, films_per_patient=1, replicates=20)
    table = run.predictions("val")
    labels = dict(table[["image_id", "y_true"]].itertuples(index=False, name=None))
    write_drawn_dataset(workspace, labels, DENSITY)
    write_model(run, model_config(class_names=DENSITY, ordinal=True, experiment="exp"))
    return run


def test_a_pack_holds_the_map_figure_beside_the_curves(workspace, run, tmp_path):
    made = make_pack(workspace, [run.id], tmp_path / "assets")
    names = {path.name for path in made.files}
    assert {"density_train_seed42.png", "density_confusion_seed42.png", "density_gradcam_seed42.png"} <= names
    assert not any("Grad-CAM" in problem or "map" in problem for problem in made.problems)
    with zipfile.ZipFile(made.zip_path) as archive:
        picture = Image.open(io.BytesIO(archive.read("density_gradcam_seed42.png")))
        assert picture.text["Disclaimer"] == RESEARCH_ONLY
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_film_without_a_map_is_a_problem_that_is_told(workspace, run):
    table = run.predictions("val")
    dataset = load_dataset(workspace, "drawn")
    for image_id in table.loc[table["y_true"] == table["y_true"].iloc[0], "image_id"]:
        dataset.film_path(image_id).unlink()
    left_out = []
    assert gradcam_figure(workspace, run, left_out).startswith(b"\x89PNG")
    assert "no map of film" in left_out[0]
    for path in dataset.film_paths().values():
        path.unlink(missing_ok=True)
    with pytest.raises(DataError, match="not where it was"):
        gradcam_figure(workspace, run, [])


def test_a_pack_without_a_folder_gets_a_new_one_each_time_and_says_what_it_lacks(workspace):
    run = write_model_run(workspace, "exp/seed_1")  # no history, no predictions
    first, second = (make_pack(workspace, [run.id]) for _ in range(2))
    assert first.folder.parent == second.folder.parent == workspace.reports
    assert first.folder != second.folder
    assert first.zip_path.parent == first.folder
    assert any("no Grad-CAM figure" in problem and "evaluate the run" in problem for problem in first.problems)


def test_unknown_formats_and_runs_are_refused(workspace, run):
    with pytest.raises(ConfigError, match="bmp"):
        make_pack(workspace, [run.id], formats=("png", "bmp"))
    with pytest.raises(ConfigError, match="none"):
        make_pack(workspace, [run.id], formats=())
    with pytest.raises(RunNotFound):
        make_pack(workspace, ["exp/seed_1"])
