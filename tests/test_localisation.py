import dataclasses
import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from make_films import breast_of, drawn_film
from make_models import write_model_run
from mammo_core.data.film import Film, FilmFacts
from mammo_core.data.manifest import DatasetRecord
from mammo_core.data.phantom import write_phantoms
from mammo_core.errors import ConfigError, DataError
from mammo_core.explain.localisation import (
    BASELINES,
    MEASURES,
    Localisation,
    LocalisedFilm,
    baseline_map,
    breast_on_film,
    localise,
    localise_all,
    mask_of_boxes,
    mean_estimates,
)
from mammo_core.explain.localisation_summary import summarise
from mammo_core.reading import read_text_table
from mammo_core.storage import write_json, write_table
from mammo_core.workflows.localise import localise_run
from mammo_core.workflows.map_records import films_with_outline, localisation_file

SHAPE = (40, 30)
LESION = mask_of_boxes([(10, 8, 6, 5)], SHAPE)


def film_of(pixels: np.ndarray, inverted: bool = False) -> Film:
    facts = FilmFacts(
        kind="PNG", height=pixels.shape[0], width=pixels.shape[1], bits=8, window="as stored", inverted=inverted, decoder="none"
    )
    return Film(pixels.astype(np.float32), facts)


def point(row: int, column: int) -> np.ndarray:
    map_ = np.zeros(SHAPE, np.float32)
    map_[row, column] = 1
    return map_


def test_a_map_equal_to_the_lesion_is_perfect():
    assert localise(LESION.astype(np.float32), LESION, (1, 1)) == Localisation(1, 1, 1, 1, 1)


def test_a_map_beside_the_lesion_is_worthless():
    found = localise(np.roll(LESION, 15, axis=1).astype(np.float32), LESION, (1, 1))
    assert (found.pointing, found.iou_half, found.iou_matched, found.energy) == (0, 0, 0, 0)
    assert found.auprc == pytest.approx(LESION.mean())  # the lesion comes among the ties at 0


def test_the_overlap_of_a_shifted_map_is_what_counting_squares_gives():
    found = localise(np.roll(LESION, 2, axis=1).astype(np.float32), LESION, (1, 1))
    assert found.energy == pytest.approx(18 / 30)  # three of five columns are shared, six rows each
    assert found.iou_half == found.iou_matched == pytest.approx(18 / 42)


def test_iou_at_half_the_maximum_depends_on_no_scale():
    map_ = np.where(LESION, 1.0, 0.4).astype(np.float32)
    assert localise(map_, LESION, (1, 1)).iou_half == 1
    assert localise(0.3 * map_, LESION, (1, 1)).iou_half == 1
    assert localise(np.where(LESION, 1.0, 0.6).astype(np.float32), LESION, (1, 1)).iou_half == pytest.approx(LESION.mean())


def test_the_matched_area_takes_the_highest_pixels_and_shares_ties():
    map_ = np.zeros(SHAPE, np.float32)
    map_[10:16, 8:10] = 1.0  # twelve pixels of the lesion first
    map_[0:6, 0:6] = 0.5  # then 36 pixels elsewhere for the 18 that are left
    assert localise(map_, LESION, (1, 1)).iou_matched == pytest.approx(12 / (30 + 30 - 12))
    map_[10:16, 10:13] = 0.5  # the lesion has 18 of the 54 tied pixels: a third of the 18 taken
    assert localise(map_, LESION, (1, 1)).iou_matched == pytest.approx(18 / (30 + 30 - 18))


def test_pixels_without_evidence_are_never_taken_for_the_matched_area():
    assert localise(point(12, 10), LESION, (1, 1)).iou_matched == pytest.approx(1 / 30)


@pytest.mark.parametrize(
    "row, column, hit", [(12, 10, 1), (7, 10, 1), (6, 10, 0), (18, 10, 1), (19, 10, 0), (12, 14, 1), (12, 15, 0), (7, 6, 1)]
)
def test_the_pointing_game_allows_one_cell(row, column, hit):
    # The lesion has rows 10 to 15 and columns 8 to 12; a cell is 3 rows and 2 columns.
    assert localise(point(row, column), LESION, (3, 2)).pointing == hit


def test_a_lesion_at_the_edge_of_the_film_can_be_pointed_at():
    lesion = mask_of_boxes([(0, 26, 3, 4)], SHAPE)
    assert localise(point(0, 29), lesion, (4, 4)).pointing == 1
    assert localise(point(6, 22), lesion, (4, 4)).pointing == 1
    assert localise(point(7, 22), lesion, (4, 4)).pointing == 0


def test_tied_maxima_count_by_their_share():
    assert localise(point(12, 10) + point(30, 20), LESION, (1, 1)).pointing == 0.5


@pytest.mark.parametrize("steps", [3, 1000])
def test_auprc_equals_scikit_learn(steps):
    rng = np.random.default_rng(steps)
    map_ = (rng.integers(0, steps, SHAPE) / steps + 0.3 * LESION).astype(np.float32)
    expected = average_precision_score(LESION.ravel(), map_.ravel())
    assert localise(map_, LESION, (1, 1)).auprc == pytest.approx(expected)


def test_an_empty_map_is_a_miss_in_every_measure():
    assert localise(np.zeros(SHAPE, np.float32), LESION, (9, 9)) == Localisation(0, 0, 0, 0, 0)


def test_boxes_are_their_union():
    mask = mask_of_boxes([(0, 0, 2, 3), (1, 1, 2, 2)], (4, 4))
    np.testing.assert_array_equal(mask, [[1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("box", [(-1, 0, 2, 2), (0, 0, 0, 2), (3, 0, 2, 2), (0, 3, 1, 2)])
def test_a_box_beside_the_film_is_refused(box):
    with pytest.raises(DataError, match="does not lie on a film of 4 x 4"):
        mask_of_boxes([box], (4, 4))


def test_an_outline_of_another_size_or_without_a_pixel_is_refused():
    with pytest.raises(DataError, match="40 x 30 pixels and its film 20 x 20"):
        localise(np.ones((20, 20), np.float32), LESION, (1, 1))
    with pytest.raises(DataError, match="marks no pixel"):
        localise(np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.bool_), (1, 1))


# ---- baselines ---------------------------------------------------------------------------------------------------------------


def test_the_even_breast_scores_its_share_everywhere():
    breast = mask_of_boxes([(5, 0, 30, 20)], SHAPE)
    found = localise(baseline_map("breast", breast), LESION, (1, 1))
    share = 30 / 600
    assert (found.iou_half, found.energy) == pytest.approx((share, share))
    assert found.auprc == pytest.approx(share)
    assert found.iou_matched == pytest.approx(30 * share / (60 - 30 * share))
    assert found.pointing == pytest.approx(8 * 7 / 600)  # the lesion and one pixel around it


def test_the_centre_and_the_gaussian_sit_in_the_middle_of_the_breast():
    breast = mask_of_boxes([(4, 2, 21, 11)], SHAPE)
    assert np.argwhere(baseline_map("centre", breast)).tolist() == [[14, 7]]
    gaussian = baseline_map("gaussian", breast)
    assert np.unravel_index(gaussian.argmax(), SHAPE) == (14, 7)
    assert gaussian[14, 7] == 1
    rows, columns = np.nonzero(breast)
    assert gaussian[14, 7 + 5] == pytest.approx(np.exp(-25 / (2 * columns.var())), rel=1e-5)
    assert gaussian[14 + 5, 7] == pytest.approx(np.exp(-25 / (2 * rows.var())), rel=1e-5)


def test_every_baseline_is_measured_as_the_map_is():
    breast = mask_of_boxes([(4, 0, 30, 20)], SHAPE)
    found = localise_all(LESION.astype(np.float32), LESION, breast, (2, 2))
    assert set(found) == {"map", *BASELINES}
    for name in BASELINES:
        assert found[name] == localise(baseline_map(name, breast), LESION, (2, 2))


def test_the_breast_is_brought_to_the_pixels_of_the_film():
    breast, was_found = breast_on_film(film_of(drawn_film((640, 511))))
    truth = breast_of((640, 511))
    assert was_found
    assert breast.shape == truth.shape
    assert (breast & truth).sum() / (breast | truth).sum() > 0.93


# ---- over films --------------------------------------------------------------------------------------------------------------


def localised(number: int, hit: float, area: int, mm2: float | None = None, patient: str | None = None) -> LocalisedFilm:
    good, bad = Localisation(hit, hit, hit, hit, hit), Localisation(0.25, 0.25, 0.25, 0.25, 0.25)
    scores = {"map": good, **dict.fromkeys(BASELINES, bad)}
    return LocalisedFilm(f"i{number}", patient or f"p{number}", "M", area, mm2, hit == 0, True, scores)


def test_means_leave_out_what_is_undefined_and_have_an_interval():
    patients = [name for name in "abcdefghijk" for _ in range(2)]
    values = np.array([1.0, 2.0, np.nan, 6.0, *np.tile([1.0, 5.0], 9)])
    found = mean_estimates(patients, {"x": values, "none": np.full(22, np.nan)})
    assert found["x"].value == pytest.approx(3)
    assert 1.5 <= found["x"].ci_low < 3 < found["x"].ci_high <= 6
    assert found["none"].value is None


def test_fewer_than_ten_patients_have_no_interval_and_the_method_says_why():
    values = np.arange(20.0)
    nine = mean_estimates([f"p{i % 9}" for i in range(20)], {"x": values})["x"]
    assert (nine.value, nine.ci_low, nine.ci_high) == (pytest.approx(9.5), None, None)
    assert nine.method == "mean over films; no interval: 9 patients, where at least 10 are needed"
    patients = [f"p{i % 10}" for i in range(20)]
    found = mean_estimates(patients, {"x": values, "partly": np.where(values % 10 == 3, np.nan, values)}, "share")
    assert found["x"].ci_low < 9.5 < found["x"].ci_high
    assert found["x"].method.startswith("share; 95 % interval")
    assert found["partly"].ci_low is None, "a patient without a value carries nothing"


def test_a_patient_with_many_films_widens_the_interval():
    values = np.tile([0.0, 1.0], 20)
    apart = mean_estimates([f"p{i}" for i in range(40)], {"x": values})["x"]
    together = mean_estimates([f"p{i % 10}" for i in range(40)], {"x": values})["x"]
    assert together.ci_high - together.ci_low > 1.5 * (apart.ci_high - apart.ci_low)


def test_films_are_parted_into_thirds_by_the_size_of_the_lesion():
    films = [localised(i, float(i >= 6), 10 * (i + 1)) for i in range(9)]
    found = summarise(films)
    groups = found["sizes"]["groups"]
    assert found["sizes"]["unit"] == "pixels"
    assert [groups[name]["n"] for name in ("small", "medium", "large")] == [3, 3, 3]
    assert [groups[n]["scores"]["map"]["pointing"]["value"] for n in ("small", "medium", "large")] == [0, 0, 1]
    assert found["all"]["scores"]["map"]["pointing"]["value"] == pytest.approx(1 / 3)
    assert found["all"]["gains"]["centre"]["pointing"]["value"] == pytest.approx(1 / 3 - 0.25)
    assert found["all"]["empty"] == 6
    assert "6 maps show no positive evidence; they count as misses." in found["words"]


def test_sizes_are_in_square_millimetres_where_every_film_states_its_spacing():
    films = [localised(i, 1.0, 100, mm2=float(i)) for i in range(9)]
    assert summarise(films)["sizes"]["unit"] == "mm2"
    assert summarise([*films, localised(9, 1.0, 100)])["sizes"]["unit"] == "pixels"
    assert summarise(films[:8])["sizes"]["groups"] == {}


def test_the_words_say_better_only_where_every_interval_does():
    good = summarise([localised(i, 0.5 + 0.01 * i, 10) for i in range(20)])["words"]
    poor = summarise([localised(i, float(i % 3 == 0), 10) for i in range(12)])["words"]
    assert any(word.startswith("By where it points, the map is better than each") for word in good)
    expected = "By where it points, the map is not shown to be better than any of the maps that need no model."
    assert expected in poor


def test_the_words_tell_worse_from_not_shown_to_be_better():
    worse = summarise([localised(i, 0.01 * (i % 10), 10) for i in range(20)])["words"]
    assert "By where it points, the map is worse than each of the maps that need no model." in worse
    mixed = []
    for number in range(20):
        film = localised(number, 0.5 + 0.01 * number, 10)
        high, even = (Localisation(*[value] * 5) for value in (0.9, 0.2 + 0.8 * (number % 2)))
        mixed.append(dataclasses.replace(film, scores={**film.scores, "centre": high, "gaussian": even}))
    assert (
        "By its overlap at the lesion's area, the map is better than the whole breast; worse than the centre point; not shown to "
        "be better than the blur round the centre."
    ) in summarise(mixed)["words"]


def test_nothing_is_compared_where_too_few_patients_carry_an_interval():
    films = [localised(i, 0.5 + 0.01 * i, 10 * i + 10, patient=f"p{i % 3}") for i in range(12)]
    found = summarise(films)
    assert found["all"]["gains"]["centre"]["pointing"]["ci_low"] is None
    assert found["words"][0].startswith(
        "The highest point of the map lies in the lesion or within one cell of it: on average over 12 films of 3 patients, 56 % "
        "(a shared maximum counts in part). Of the maps"
    )
    assert any(
        "not compared (no interval: 3 patients, where at least 10 are needed) with any of the maps" in word
        for word in found["words"]
    )
    assert "A size with lesions of fewer than 10 patients has no interval." in found["words"]


def test_without_a_film_there_is_nothing_to_summarise():
    with pytest.raises(DataError, match="no film with a lesion outline"):
        summarise([])


# ---- a whole run -------------------------------------------------------------------------------------------------------------

LESIONS = ("Normal", "Benign", "Malignant")


@functools.cache
def _phantoms(images: int) -> dict[str, bytes]:
    """The files of a phantom data set, drawn once."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "phantoms"
        write_phantoms(folder, images, seed=5, format="png")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_phantom_run(workspace, images=20, task="lesion"):
    """A run with random weights and phantom films, of which some show a lesion."""
    folder = workspace.home.parent / "phantoms"
    for name, content in _phantoms(images).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    table = pd.read_csv(folder / "phantom.csv", dtype=str, keep_default_na=False)
    directory = workspace.dataset("drawn")
    directory.mkdir(parents=True)
    table["image_id"] = [f"i{number:02d}" for number in range(len(table))]
    manifest = table.assign(label=table["lesion"])[
        ["image_id", "patient_id", "exam_id", "laterality", "view", "center", "vendor", "label"]
    ]
    write_table(directory / "manifest.csv", manifest)
    paths = table.rename(columns={"file": "path", "mask": "mask_path"})[["image_id", "path", "mask_path"]]
    write_table(directory / "paths.csv", paths.assign(sha256="0"))
    record = DatasetRecord(name="drawn", root=str(folder), adapter="phantom", task=task, class_names=list(LESIONS))
    write_json(directory / "dataset.json", record.to_json())
    run = write_model_run(workspace, class_names=LESIONS, task=task)
    predictions = table[["image_id", "patient_id", "center"]].assign(y_true=table["lesion"], y_pred=table["lesion"])
    for name in LESIONS:
        predictions[f"prob_{name}"] = np.where(table["lesion"] == name, 0.8, 0.1)
    write_table(run.predictions_file("val"), predictions)
    return run, table, folder


def test_a_run_is_measured_against_the_true_outlines_of_phantoms(workspace):
    run, table, folder = write_phantom_run(workspace)
    with_mask = table[table["mask"] != ""]
    damaged, small = with_mask.iloc[0], with_mask.iloc[1]
    (folder / damaged["mask"]).write_bytes(b"no picture")
    Image.new("L", (10, 10), 255).save(folder / small["mask"])
    told = []
    record = localise_run(workspace, run.id, method="layercam", progress=lambda done, total: told.append((done, total)))
    assert json.loads(localisation_file(workspace, run, "val", "layercam").read_text()) == record
    assert record["n"] == len(record["films"]) == len(with_mask) - 2
    assert {failure["image"] for failure in record["failures"]} == {damaged["image_id"], small["image_id"]}
    assert record["without_outline"] == {"Normal": int((table["mask"] == "").sum())}
    assert told[-1] == (len(with_mask), len(with_mask))
    assert any(word.startswith("Films without a lesion outline were left out: Normal") for word in record["words"])
    for film in record["films"]:
        mask = np.asarray(Image.open(folder / table.set_index("image_id").loc[film["image_id"], "mask"])) > 0
        assert film["area_pixels"] == mask.sum()
        assert set(film["scores"]) == {"map", *BASELINES}
        assert all(0 <= film["scores"][who][measure] <= 1 for who in film["scores"] for measure in MEASURES)
    pointing = [film["scores"]["map"]["pointing"] for film in record["films"]]
    assert record["all"]["scores"]["map"]["pointing"]["value"] == pytest.approx(np.mean(pointing))


def test_boxes_stand_for_outlines_where_the_data_set_has_no_masks(workspace):
    run, table, folder = write_phantom_run(workspace)
    directory, rows = workspace.dataset("drawn"), []
    for row in table[table["mask"] != ""].to_dict("records"):
        mask = np.asarray(Image.open(folder / row["mask"])) > 0
        inside = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
        (top, bottom), (left, right) = ((int(line[0]), int(line[-1]) + 1) for line in inside)
        rows.append((row["image_id"], top, left, bottom - top, right - left, row["lesion"]))
    lesions = pd.DataFrame(rows, columns=["image_id", "top", "left", "height", "width", "pathology"])
    write_table(directory / "lesions.csv", lesions)
    paths = read_text_table(directory / "paths.csv").assign(mask_path="")
    write_table(directory / "paths.csv", paths)
    record = localise_run(workspace, run.id)
    assert record["n"] == len(rows)
    areas = {image_id: height * width for image_id, _, _, height, width, _ in rows}
    assert {film["image_id"]: film["area_pixels"] for film in record["films"]} == areas
    assert films_with_outline(workspace, run, "val") == (len(rows), len(table))


def test_a_run_that_judges_density_is_not_measured_against_lesions(workspace):
    run, _, _ = write_phantom_run(workspace, 1, task="density")
    with pytest.raises(ConfigError, match="judges density"):
        localise_run(workspace, run.id)


def test_a_part_without_outlines_and_an_unknown_method_are_said(workspace):
    run, _, _ = write_phantom_run(workspace, 4)
    table = run.predictions("val")
    write_table(run.predictions_file("val"), table[table["y_true"] == "Normal"])
    with pytest.raises(DataError, match="None of the"):
        localise_run(workspace, run.id)
    with pytest.raises(DataError, match="no predictions on 'test'"):
        localise_run(workspace, run.id, "test")
    with pytest.raises(ConfigError, match="no map method"):
        localise_run(workspace, run.id, method="scorecam")
