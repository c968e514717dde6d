"""The public sets: their counts from tables made to their schemas, and every trap of their layouts. No picture is decoded."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import make_public_sets as sets
from make_films import write_dicom
from mammo_core.data.adapters import ADAPTERS, ImportChoices, ImportPlan, understand, understand_listing
from mammo_core.data.adapters.describing import meanings, sentences
from mammo_core.data.adapters.listing import Listing
from mammo_core.data.adapters.table_files import read_table
from mammo_core.errors import DataError


def listed(root: Path, films: Iterable[str], tables: Mapping[str, pd.DataFrame | Sequence[Mapping[str, object]]]) -> Listing:
    """A source whose tables lie on disk and whose films are names only: a plan opens none."""
    names = tuple(sorted(films))
    paths = []
    for name, rows in tables.items():
        paths.append(root / name)
        pd.DataFrame(rows).to_csv(root / name, index=False)
    return Listing(root, root, names, (), tuple(paths), dict.fromkeys(names, 1), tuple(paths))


def plan_of(listing: Listing, **choices: object) -> ImportPlan:
    return understand_listing(listing, ImportChoices(**choices))  # type: ignore[arg-type]


def repeated(counts: Mapping[str, int]) -> list[str]:
    return [value for value, count in counts.items() for _ in range(count)]


def reasons(plan: ImportPlan) -> dict[str, int]:
    return {item.reason: item.count for item in plan.left_out}


def labels(plan: ImportPlan) -> dict[str, str]:
    return dict(zip(plan.rows["file"], plan.rows["label"], strict=True))


# ---- known by evidence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(sets.MAKERS))
def test_each_set_is_known_by_what_lies_there_and_says_so(tmp_path, name):
    made = sets.MAKERS[name](tmp_path / "set")
    plan = understand(made.source, made.choices)
    assert plan.adapter == name
    assert any(word in plan.because for word in (".csv", ".xlsx", ".txt"))
    told = "\n".join(sentences(plan))
    assert plan.because in told
    assert plan.patient_statement in told
    assert {"Film", "Patient", "Side", "View", "Label"} <= {meaning.what for meaning in meanings(plan)}
    for item in plan.left_out:
        assert f"{item.count}: {item.reason}" in told


def test_where_two_sets_fit_both_are_named_and_nothing_is_guessed(tmp_path):
    sets.rsna(tmp_path)
    sets.vindr(tmp_path)
    with pytest.raises(DataError, match="RSNA 2022.*train.csv.*or VinDr-Mammo.*Choose the adapter .rsna or vindr."):
        understand(tmp_path, ImportChoices(task="density"))
    assert understand(tmp_path, ImportChoices(task="density", adapter="vindr")).adapter == "vindr"


def test_an_adapter_without_its_table_says_what_it_needs(tmp_path):
    sets.png(tmp_path / "a.png", sets.film(1))
    for adapter in ADAPTERS:
        with pytest.raises(DataError, match="expected|[Cc]hoose|put it"):
            understand(tmp_path, ImportChoices(adapter=adapter.name))


def test_a_set_with_several_labels_asks_which_and_a_column_can_be_corrected(tmp_path):
    made = sets.rsna(tmp_path / "set")
    with pytest.raises(DataError, match="several labels: density .column density., lesion"):
        understand(made.source)
    chosen = ImportChoices(columns={"label": "biopsy", "center": "machine_id"}, label_map={"0": "no", "1": "yes"})
    plan = understand(made.source, chosen)
    assert plan.class_names == ("no", "yes")
    assert plan.task == "biopsy"
    assert set(plan.rows["center"]) == {"29"}
    assert plan.origins["center"] == "column machine_id"
    with pytest.raises(DataError, match="no label for the task 'age'; it has density"):
        understand(made.source, ImportChoices(task="age"))


# ---- RSNA ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rsna_table() -> pd.DataFrame:
    """54,706 rows; site 2 has no density, and 49 films of site 1 lack it."""
    films = 54_706
    number = np.arange(films)
    density = repeated({"A": 3105, "B": 12651, "C": 12175, "D": 1539, "": 49}) + [""] * 25_187
    cancer = (number * 48611 % films < 1158).astype(int)
    return pd.DataFrame(
        {
            "site_id": np.where(number < films - 25_187, 1, 2),
            "patient_id": 10_000 + number % 11_913,
            "image_id": 1_000_000 + number,
            "laterality": np.where(number % 2, "L", "R"),
            "view": np.where(number % 3, "CC", "MLO"),
            "age": 60.0,
            "cancer": cancer,
            "biopsy": cancer | (number % 40 == 0),
            "invasive": 0,
            "BIRADS": np.where(number % 5, "0.0", "1.0"),
            "implant": 0,
            "density": density,
            "machine_id": 29,
            "difficult_negative_case": False,
        }
    )


def test_rsna_counts_and_the_site_without_density(tmp_path, rsna_table):
    films = "train_images/" + rsna_table["patient_id"].astype(str) + "/" + rsna_table["image_id"].astype(str) + ".dcm"
    listing = listed(tmp_path, films, {"train.csv": rsna_table})
    density = plan_of(listing, task="density")
    assert density.class_counts == {"A": 3105, "B": 12651, "C": 12175, "D": 1539}
    assert reasons(density) == {"the label is empty": 25_236}
    assert any("Centre 2 has no label at all (25187 rows)" in warning for warning in density.warnings)
    cancer = plan_of(listing, task="cancer")
    assert cancer.class_counts == {"No cancer": 54_706 - 1158, "Cancer": 1158}
    assert cancer.rows["patient"].nunique() == 11_913
    lesion = plan_of(listing, task="lesion")
    assert lesion.class_counts["Malignant"] == 1158
    assert sum(lesion.class_counts.values()) == 54_706
    assert "cancer=1 counts as Malignant" in lesion.label_words
    assert {"density", "birads"} <= set(lesion.further_columns)


def test_rsna_films_are_found_in_folders_and_as_flat_pictures(tmp_path, rsna_table):
    rows = rsna_table.head(6)
    flat = [f"png/{patient}_{image}.png" for patient, image in zip(rows["patient_id"], rows["image_id"], strict=True)]
    plan = plan_of(listed(tmp_path, flat, {"train.csv": rows}), task="birads")
    assert sorted(plan.rows["file"]) == sorted(flat)
    assert set(plan.class_names) == {"BI-RADS 0", "BI-RADS 1"}


def test_column_names_in_other_letters_are_the_same_columns(tmp_path):
    for name in ("rsna", "vindr", "embed", "btxrd"):
        made = sets.MAKERS[name](tmp_path / name)
        for path in made.source.rglob("*.csv"):
            pd.read_csv(path, dtype=str).rename(columns=str.upper).to_csv(path, index=False)
        assert understand(made.source, made.choices).adapter == name


def test_density_beside_another_label_is_on_one_scale(tmp_path):
    vindr, inbreast = sets.vindr(tmp_path / "v"), sets.inbreast(tmp_path / "i")
    assert set(understand(vindr.source, ImportChoices(task="birads")).rows["density"]) == {"B", "C"}
    assert set(understand(inbreast.source, ImportChoices(task="birads")).rows["density"]) == {"A", "B", "C", ""}


def test_rsna_without_biopsy_column_has_no_benign_and_no_normal(tmp_path, rsna_table):
    rows = rsna_table.head(40).drop(columns="biopsy").assign(cancer=[1, *[0] * 39])
    films = [f"{patient}/{image}.dcm" for patient, image in zip(rows["patient_id"], rows["image_id"], strict=True)]
    with pytest.raises(DataError, match="give 1 class"):
        plan_of(listed(tmp_path, films, {"train.csv": rows}), task="lesion")


# ---- VinDr ---------------------------------------------------------------------------------------------------------------------


def vindr_rows() -> pd.DataFrame:
    """5,000 studies of four films; in 32 of them the density of the two breasts differs."""
    studies = [[letter, letter] for letter, count in {"A": 25, "B": 477, "C": 3823, "D": 675}.items() for _ in range(count)]
    for index in range(16):
        studies[100 + index][1], studies[2000 + index][1] = "C", "B"
    birads = repeated({"1": 13406, "2": 4676, "3": 930, "4": 762, "5": 226})
    rows = []
    for study, (left, right) in enumerate(studies):
        for film, (side, view) in enumerate([("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]):
            number = 4 * study + film
            rows.append(
                (f"s{study:05d}", f"f{number:05d}", side, view, f"BI-RADS {birads[number]}",
                 f"DENSITY {left if side == 'L' else right}", "training" if study < 4000 else "test")
            )  # fmt: skip
    names = ["study_id", "image_id", "laterality", "view_position", "breast_birads", "breast_density", "split"]
    return pd.DataFrame(rows, columns=names).assign(height=3518, width=2800)


def test_vindr_counts(tmp_path):
    rows = vindr_rows()
    films = "images/" + rows["study_id"] + "/" + rows["image_id"] + ".dicom"
    listing = listed(tmp_path, films, {"breast-level_annotations.csv": rows})
    plan = plan_of(listing, task="density")
    assert plan.class_counts == {"A": 100, "B": 1908, "C": 15292, "D": 2700}
    assert plan.rows["patient"].nunique() == 5000
    assert Counter(plan.rows["source_split"]) == {"train": 16_000, "test": 4_000}
    assert "Density differs between the breasts in 32 exam(s); each film keeps its own." in plan.notes
    assert "study_id stands for the patient" in plan.patient_statement
    birads = plan_of(listing, task="birads")
    assert list(birads.class_counts.values()) == [13406, 4676, 930, 762, 226]


def test_vindr_has_boxes_and_vendors_but_no_pathology(tmp_path):
    made = sets.vindr(tmp_path / "set")
    plan = understand(made.source, made.choices)
    assert plan.lesions[["top", "left", "bottom", "right", "of_height"]].to_numpy().tolist() == [[10.2, 4.5, 20.0, 14.0, 48]]
    assert set(plan.rows["vendor"]) == {"SIEMENS"}
    with pytest.raises(DataError, match="no pathology.*opinion"):
        understand(made.source, ImportChoices(task="lesion"))


def test_vindr_findings_alone_label_the_films_too(tmp_path):
    made = sets.vindr(tmp_path / "set")
    (made.source / "breast-level_annotations.csv").unlink()
    findings = pd.read_csv(made.source / "finding_annotations.csv", dtype=str)
    pd.concat([findings, findings.iloc[[1]]]).to_csv(made.source / "finding_annotations.csv", index=False)
    plan = understand(made.source, made.choices)
    assert len(plan.rows) == 8
    assert reasons(plan) == {"a further lesion row of a film, joined with its other rows": 1}


def test_the_table_of_a_set_may_be_named_itself(tmp_path):
    made = sets.vindr(tmp_path / "set")
    plan = understand(made.source / "breast-level_annotations.csv", made.choices)
    assert (plan.adapter, len(plan.lesions)) == ("vindr", 1)  # the findings beside it still give the boxes


# ---- CBIS-DDSM ----------------------------------------------------------------------------------------------------


def cbis_tables() -> dict[str, pd.DataFrame]:
    """Rows 1318, 378, 1546 and 326 of 1,566 patients, with 31 in the training part of one kind and the test part of the other."""
    ids = iter(f"P_{number:05d}" for number in range(1, 2000))
    mass = {part: [next(ids) for _ in range(count)] for part, count in {"train": 691, "test": 201}.items()}
    shared = {"train": mass["train"][:40] + mass["test"][:18], "test": mass["test"][20:28] + mass["train"][50:63]}
    calc = {
        part: shared[part] + [next(ids) for _ in range(count - len(shared[part]))]
        for part, count in {"train": 602, "test": 151}.items()
    }
    tables = {}
    for kind, patients, side in (("mass", mass, "LEFT"), ("calc", calc, "RIGHT")):
        for part, count in {"train": 1318 if kind == "mass" else 1546, "test": 378 if kind == "mass" else 326}.items():
            people = patients[part]
            rows = [(people[number % len(people)], side, "CC", 1 + number // len(people)) for number in range(count)]
            frame = pd.DataFrame(rows, columns=["patient_id", "left or right breast", "image view", "abnormality id"])
            density = [
                0 if kind == "calc" and part == "test" and number < 2 else 1 + number % len(people) % 4 for number in range(count)
            ]
            pathology = [
                "MALIGNANT" if number < 40 else ("BENIGN", "BENIGN_WITHOUT_CALLBACK")[number % 2] for number in range(count)
            ]
            frame["breast_density" if kind == "mass" else "breast density"] = density
            tables[f"{kind}_case_description_{part}_set.csv"] = frame.assign(
                **{"abnormality type": "mass" if kind == "mass" else "calcification", "assessment": 4, "pathology": pathology}
            )
    return tables


def test_cbis_counts_and_the_patients_in_both_parts(tmp_path):
    tables = cbis_tables()
    films = {
        f"{name[:4].capitalize()}-{'Training' if 'train' in name else 'Test'}_{row.patient_id}_{row[2]}_CC/1.3.6/1.3.7/1-1.dcm"
        for name, table in tables.items()
        for row in table.itertuples()
    }
    plan = plan_of(listed(tmp_path, films, tables), task="lesion")
    assert len(plan.rows) == len(films) == 691 + 201 + 602 + 151
    assert len(plan.rows) + sum(reasons(plan).values()) == 1318 + 378 + 1546 + 326
    assert plan.rows["patient"].nunique() == 1566
    assert plan.notes[0].startswith("31 patient(s) stand in the official training part")
    assert plan.class_names == ("Benign", "Malignant")
    assert plan.class_counts["Malignant"] == 4 * 40
    density = plan_of(listed(tmp_path, films, tables), task="density")
    assert density.class_names == ("A", "B", "C", "D")
    assert reasons(density)["the label '0' stands for no class"] == 2


def test_cbis_takes_the_patient_from_the_table_and_the_worst_lesion_of_a_view(tmp_path):
    made = sets.cbis(tmp_path / "set")
    plan = understand(made.source, made.choices)
    by_name = {file.split("/")[0]: label for file, label in labels(plan).items()}
    assert by_name == {
        "Mass-Training_P_00001_LEFT_CC": "Malignant",
        "Mass-Training_P_00001_LEFT_MLO": "Malignant",
        "Calc-Training_P_00001_LEFT_MLO": "Malignant",  # the same view as the mass: its film shows the malignant mass too
        "Mass-Test_P_00016_RIGHT_CC": "Benign",
        "Calc-Training_P_00016_RIGHT_MLO": "Benign",
        "Calc-Test_P_00038_LEFT_CC": "Malignant",
    }
    assert set(plan.rows["patient"]) == {"P_00001", "P_00016", "P_00038"}
    assert any(note.startswith("1 view(s) lie there twice") for note in plan.notes)
    assert "PatientID differs for each film and is not used" in plan.origins["patient"]


def test_cbis_series_folders_that_tell_their_content_are_believed(tmp_path):
    sets.cbis_tables(tmp_path, with_paths=False)
    films = []
    for kind, part, patient, side, view, lesion, _, _ in sets.CBIS_ROWS:
        named = f"{kind.capitalize()}-{sets.PART_NAMES[part]}_{patient}_{side}_{view}"
        films.append(f"{named}/07-20-2016-DDSM-NA-85882/1.000000-full mammogram images-40488/1-1.dcm")
        films.append(f"{named}_{lesion}/07-21-2016-DDSM-NA-31/1.000000-ROI mask images-18515/1-1.dcm")
        films.append(f"{named}_{lesion}/07-21-2016-DDSM-NA-31/1.000000-cropped images-18515/1-1.dcm")
    for name in films:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    plan = understand(tmp_path, ImportChoices(task="lesion"))
    assert all("full mammogram" in name for name in plan.rows["file"])
    assert all("ROI mask" in name for cell in plan.rows["mask"] for name in cell.split("\n"))
    assert sorted(len(cell.split("\n")) for cell in plan.rows["mask"]) == [1, 1, 1, 2, 2, 2]


def test_cbis_jpeg_copy_is_found_by_the_series_in_the_tables(tmp_path):
    (tmp_path / "csv").mkdir()
    sets.cbis_tables(tmp_path / "csv", with_paths=True)
    described, pictures = [], []
    for kind, part, patient, side, view, lesion, _, _ in sets.CBIS_ROWS:
        series = sets.series_of(f"{kind.capitalize()}-{sets.PART_NAMES[part]}_{patient}_{side}_{view}")
        for folder, name, words in (
            (series, "1-249.jpg", "full mammogram images"),
            (f"{series}.{lesion}", "1-1.jpg", "cropped images"),
            (f"{series}.{lesion}", "2-2.jpg", "ROI mask images"),
        ):
            pictures.append(f"jpeg/{folder}/{name}")
            described.append({"image_path": f"CBIS-DDSM/jpeg/{folder}/{name}", "SeriesDescription": words})
    for name in pictures:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pd.DataFrame(described).to_csv(tmp_path / "csv" / "dicom_info.csv", index=False)
    plan = understand(tmp_path, ImportChoices(task="lesion"))
    assert len(plan.rows) == 6
    assert {Path(name).name for cell in plan.rows["mask"] for name in cell.split("\n")} == {"2-2.jpg"}


# ---- INbreast ------------------------------------------------------------------------------------------------------------------


def test_inbreast_counts_with_one_blank_density(tmp_path):
    acr = repeated({"1": 136, "2": 146, "3": 99, "4": 28}) + [" "]
    birads = [("1", "2", "3", "4a", "4b", "4c", "5", "6")[number % 8] for number in range(410)]
    ids = [str(20_586_900 + 26 * number) for number in range(410)]
    patients = [f"{number % 115:016x}" for number in range(410)]
    films = [f"AllDICOMs/{film}_{patient}_MG_L_ML_ANON.dcm" for film, patient in zip(ids, patients, strict=True)]
    table = {
        "Patient ID": "removed", "Patient age": "removed", "Laterality": "L", "View": ["FB", *["MLO"] * 409],
        "Acquisition date": 201001, "File Name": ids, "ACR": acr, "Bi-Rads": birads,
    }  # fmt: skip
    listing = listed(tmp_path, films, {"INbreast.csv": pd.DataFrame(table)})
    plan = plan_of(listing, task="density")
    assert plan.class_counts == {"A": 136, "B": 146, "C": 99, "D": 28}
    assert reasons(plan) == {"the label is empty": 1}
    assert plan.rows["patient"].nunique() == 115  # not by neighbouring film ids
    assert Counter(plan_of(listing, task="birads").rows["view"]) == {"MLO": 409, "FB": 1}
    lesion = plan_of(listing, task="lesion")
    assert lesion.label_map == {
        "1": "Normal", "2": "Benign", "3": "Benign", "4a": None, "4b": None, "4c": None, "5": "Malignant", "6": "Malignant"
    }  # fmt: skip
    assert all(lesion.word_counts[word] == birads.count(word) for word in ("1", "4b", "6"))
    assert sum(films for word, films in lesion.word_counts.items() if lesion.label_map[word]) == len(lesion.rows)
    own = plan_of(listing, task="lesion", label_map={"4c": "Malignant"})
    assert own.class_counts["Malignant"] == lesion.class_counts["Malignant"] + birads.count("4c")


def test_inbreast_excel_with_numbers_as_floats_and_an_empty_last_row(tmp_path):
    made = sets.inbreast(tmp_path / "set")
    frame = pd.read_csv(made.source / "INbreast.csv", sep=";").astype({"File Name": float})
    frame.insert(8, "Mass ", ["X", None, None, None])
    last = pd.DataFrame([{"Bi-Rads": 17}])
    pd.concat([frame, last]).to_excel(made.source / "INbreast.xlsx", index=False)
    (made.source / "INbreast.csv").unlink()
    plan = understand(made.source, ImportChoices(task="birads"))
    assert len(plan.rows) == 4
    assert set(plan.rows["patient"]) == {"6c613a14b80a8591", "036aff49b8ac84f0"}
    assert not plan.left_out


# ---- mini-MIAS ----------------------------------------------------------------------------------------------------


def mias_list(header: str) -> str:
    """330 rows of 322 films: eight films have a second lesion."""
    lines = []
    for number in range(1, 323):
        tissue = "FGD"[(number + 1) // 2 % 3]
        if number % 3:
            lines.append(f"mdb{number:03d} {tissue} NORM")
        else:
            lines.append(f"mdb{number:03d} {tissue} CIRC {'BM'[number % 2]} 535 425 197")
        if number % 40 == 3:
            lines.append(f"mdb{number:03d} {tissue} CALC M")  # calcifications spread widely have no place
    return header + "\n".join(lines) + "\n"


@pytest.mark.parametrize("header", ["Some prose on mdb numbers.\n\n", "REFNUM BG CLASS SEVERITY X Y RADIUS\n"])
def test_mias_counts_pairs_and_boxes_from_the_bottom(tmp_path, header):
    text = mias_list(header)
    assert text.count("\nmdb") + text.startswith("mdb") == 331 - 1
    (tmp_path / "Info.txt").write_text(text)
    for number in range(1, 323):
        (tmp_path / f"mdb{number:03d}.pgm").touch()
    plan = understand(tmp_path, ImportChoices(task="lesion"))
    assert len(plan.rows) == 322
    assert reasons(plan) == {"a further lesion row of a film, joined with its other rows": 8}
    assert plan.rows["patient"].nunique() == 161
    assert set(plan.rows["laterality"]) == {""}
    assert set(plan.rows["view"]) == {"MLO"}
    assert labels(plan)["mdb043.pgm"] == "Malignant"
    box = plan.lesions.iloc[0]
    assert (box["top"], box["bottom"], box["left"], box["right"]) == (1024 - 425 - 197, 1024 - 425 + 197, 535 - 197, 535 + 197)
    tissue = understand(tmp_path, ImportChoices(task="tissue"))
    assert (tissue.class_names, tissue.ordinal) == (("Fatty", "Fatty-glandular", "Dense-glandular"), True)
    assert tissue.rows.groupby("patient")["label"].nunique().max() == 1


def test_mias_tissue_is_never_called_density(tmp_path):
    made = sets.mias(tmp_path / "set")
    with pytest.raises(DataError, match="three levels .F, G, D., which is not BI-RADS density"):
        understand(made.source, ImportChoices(task="density"))


# ---- CMMD ----------------------------------------------------------------------------------------------------------------------


def test_cmmd_counts_by_the_side_in_the_header(tmp_path):
    """3,744 films; every header is read, so that side and view are never guessed from 1-1 and 1-2."""
    templates = {
        (side, view): write_dicom(tmp_path / f"{side}{view}.dcm", sets.film(1), ImageLaterality=side, ViewPosition=view)
        for side in "LR"
        for view in ("CC", "MLO")
    }
    rows, root = [], tmp_path / "CMMD"
    for number in range(1872):
        patient, side = f"D{1 + number % 2}-{number // 2:04d}", "LR"[number % 2]
        folder = root / patient / "07-18-2010-NA-NA-79377" / "1.000000-NA-70244"
        folder.mkdir(parents=True)
        for index, view in enumerate(("MLO", "CC"), start=1):
            os.link(templates[side, view], folder / f"1-{index}.dcm")
        rows.append({"ID1": patient, "LeftRight": side, "Age": 50, "classification": "Malignant" if number < 1316 else "Benign"})
    pd.DataFrame(rows).to_csv(tmp_path / "CMMD" / "clinical.csv", index=False)
    plan = understand(root)
    assert plan.class_counts == {"Benign": 1112, "Malignant": 2632}
    first = plan.rows[plan.rows["file"].str.endswith("1-1.dcm")]
    assert set(first["view"]) == {"MLO"}


def test_cmmd_joins_by_breast_and_knows_its_double_patients(tmp_path):
    made = sets.cmmd(tmp_path / "set")
    plan = understand(made.source)
    assert plan.rows["patient"].nunique() == 3  # D2-0284 is D1-0202 again
    assert reasons(plan) == {"the label is empty": 2}  # the other breast of D1-0001 has no row
    with pytest.raises(DataError, match="no density; put the TOMPEI-CMMD table beside it"):
        understand(made.source, ImportChoices(task="density"))


def test_cmmd_density_comes_from_the_further_table(tmp_path):
    made = sets.cmmd(tmp_path / "set")
    details = [
        {"ID": "D1-0001", "LeftRight": "R", "classification": "Benign", "Breast density": "b", "BI-RADS\nCategory": "2"},
        {"ID": "D1-0202", "LeftRight": "L", "classification": "Malignant", "Breast density": "c", "BI-RADS\nCategory": "4C"},
    ]
    with pd.ExcelWriter(made.source / "TOMPEI-CMMD.xlsx") as file:
        pd.DataFrame([{"read": "me"}]).to_excel(file, sheet_name="About", index=False)
        pd.DataFrame(details).to_excel(file, sheet_name="Imaging Diagnosis Details Sheet", index=False)
    plan = understand(made.source, ImportChoices(task="density"))
    assert plan.class_counts == {"B": 2, "C": 2}
    assert set(plan.rows["birads"]) == {"2", "4c"}
    assert "pathology" in plan.further_columns


# ---- EMBED ---------------------------------------------------------------------------------------------------------------------


def test_embed_findings_mark_their_own_breast_only(tmp_path):
    made = sets.embed(tmp_path / "set")
    plan = understand(made.source, made.choices)
    by_number = {name.rsplit(".", 2)[1]: label for name, label in labels(plan).items()}
    assert by_number == {"0": "Malignant", "6": "Benign", "7": "Benign"}  # severity 0 is invasive cancer; NaN goes to both
    assert reasons(plan) == {
        "the file is no 2D film (FinalImageType 3D)": 1,
        "the file is no 2D film (FinalImageType C-view)": 1,
        "the film is a spot or magnification view": 1,
        "the label is empty": 2,
        "a further lesion row of a film, joined with its other rows": 1,
    }
    assert set(plan.rows["birads"]) == {"5", "4"}


def test_embed_density_five_is_male_and_left_out(tmp_path):
    made = sets.embed(tmp_path / "set")
    plan = understand(made.source, ImportChoices(task="density"))
    assert plan.class_counts == {"B": 2, "C": 2}  # the right breast of exam 1 has the exam's density
    assert reasons(plan)["the label '5' stands for no class"] == 1


def test_embed_prefers_the_reduced_tables(tmp_path):
    made = sets.embed(tmp_path / "set")
    full = made.source / "tables" / "EMBED_OpenData_clinical.csv"
    full.with_name("EMBED_OpenData_clinical_reduced.csv").write_bytes(full.read_bytes())
    assert understand(made.source, made.choices).table.name == "EMBED_OpenData_clinical_reduced.csv"


# ---- DMID, BTXRD ---------------------------------------------------------------------------------------------------------------


def test_dmid_takes_the_side_from_the_ending_and_the_dicom_film(tmp_path):
    made = sets.dmid(tmp_path / "set")
    plan = understand(made.source, made.choices)
    assert dict(zip(plan.rows["file"], plan.rows["laterality"] + plan.rows["view"], strict=True)) == {
        "DICOM_Images/IMG001.dcm": "LMLO",
        "DICOM_Images/IMG002.dcm": "RCC",
        "DICOM_Images/IMG003.dcm": "RMLO",
    }
    assert plan.patient_from == "each film alone"
    assert "names no patients" in plan.patient_statement
    assert labels(plan)["DICOM_Images/IMG003.dcm"] == "Malignant"
    assert plan.rows["mask"].tolist() == ["", "", "ROI_Masks/IMG003.tif"]


def test_btxrd_counts_and_neighbours_as_patients(tmp_path):
    kinds = ["benign"] * 1525 + ["malignant"] * 342 + [""] * 1879
    rows = []
    for number, kind in enumerate(kinds):
        rows.append(
            {
                "image_id": f"IMG{number + 1:06d}.jpeg", "center": 1 + number % 6 // 2, "age": number % 80, "gender": "F",
                "femur": 1, "tumor": int(kind != ""), "benign": int(kind == "benign"), "malignant": int(kind == "malignant"),
                "osteosarcoma": 0, "upper limb": 0, "frontal": 1 - number % 2, "lateral": number % 2, "oblique": 0,
            }
        )  # fmt: skip
    films = [f"images/{row['image_id']}" for row in rows]
    plan = plan_of(listed(tmp_path, films, {"dataset.csv": rows}))
    assert plan.class_counts == {"Normal": 1879, "Benign": 1525, "Malignant": 342}
    assert set(plan.rows["center"]) == {"1", "2", "3"}
    assert "hold out whole centres" in plan.patient_statement


def test_btxrd_views_of_one_patient_are_neighbours_that_differ_in_the_view_only(tmp_path):
    made = sets.btxrd(tmp_path / "set")
    plan = understand(made.source)
    assert list(plan.rows["patient"]) == ["run 1", "run 1", "run 2", "run 3", "run 4", "run 4"]
    assert list(plan.rows["view"]) == ["FRONTAL", "LATERAL", "FRONTAL", "FRONTAL", "FRONTAL", "OBLIQUE"]
    assert len(plan.lesions) == 5
    assert set(plan.lesions["pathology"]) == {"Benign", "Malignant"}
    (made.source / "Annotations" / "IMG000001.json").write_text('{"shapes": [{"points": [[1, 2], "x"]}]}')
    assert len(understand(made.source).lesions) == 4  # a damaged outline is passed over


# ---- exams, imported splits, other tables --------------------------------------------------------------------------------------


def test_all_films_of_an_exam_have_its_density_and_five_is_left_out(tmp_path):
    made = sets.exams(tmp_path / "set")
    plan = understand(made.source)
    assert plan.class_counts == {"A": 3, "B": 3, "D": 3}
    assert reasons(plan) == {"the exam has no folder with films (exams)": 1, "the label '5' stands for no class": 3}
    assert (plan.patient_from, plan.rows["exam"].nunique()) == ("header", 3)


def test_a_table_of_accessions_that_names_files_is_an_ordinary_table(tmp_path):
    sets.png(tmp_path / "1" / "a.png", sets.film(1))
    sets.png(tmp_path / "1" / "b.png", sets.film(2))
    rows = [
        {"AccessionNumber": 1, "Classification": word, "file": f"{name}.png"}
        for name, word in (("a", "Benign"), ("b", "Malignant"))
    ]
    sets.table(tmp_path / "t.csv", rows)
    assert understand(tmp_path).adapter == "table"


def test_a_split_made_elsewhere_keeps_its_words(tmp_path):
    made = sets.split_manifest(tmp_path / "set")
    plan = understand(made.source)
    assert plan.brings_split
    assert Counter(plan.rows["source_split"]) == {"train": 4, "val": 4, "test": 4}
    rows = pd.read_csv(made.source / "manifest.csv")
    rows.loc[0, "split"] = "holdout"
    pd.concat([rows, rows.iloc[[1]].assign(split="test")]).to_csv(made.source / "manifest.csv", index=False)
    odd = understand(made.source)
    assert any("also holds 'holdout'" in warning for warning in odd.warnings)
    assert any("1 film(s) are listed in more than one part" in warning for warning in odd.warnings)


def test_parquet_is_read_as_the_text_that_was_typed(tmp_path):
    frame = pd.DataFrame({"file": ["a.png", "b.png", "c.png"], "acr": [1.0, 2.0, None], "patient": [7, 8, 9]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_numpy().tolist() == [
        ["a.png", "1", "7"],
        ["b.png", "2", "8"],
        ["c.png", "", "9"],
    ]
    (tmp_path / "u.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="not readable as a Parquet file"):
        read_table(tmp_path / "u.parquet")


def test_without_the_package_for_parquet_the_sentence_names_it(tmp_path, monkeypatch):
    pd.DataFrame({"file": ["a.png"]}).to_parquet(tmp_path / "t.parquet")

    def absent(*_: object, **__: object) -> pd.DataFrame:
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd, "read_parquet", absent)
    with pytest.raises(DataError, match="install pyarrow, or save the table as .csv"):
        read_table(tmp_path / "t.parquet")


def test_backslash_paths_and_density_zero_of_other_sets_work_by_columns(tmp_path):
    rows = []
    for number in range(4):
        sets.png(tmp_path / "Cancer" / f"C_{number}.png", sets.film(number))
        rows.append({"fullPath": f"Cancer\\C_{number}.png", "Side": "LEFT", "View": "CC", "Density": number, "Status": "Cancer"})
    sets.table(tmp_path / "DataWMask.xlsx", rows)
    plan = understand(tmp_path, ImportChoices(task="density"))
    assert plan.class_counts == {"A": 1, "B": 1, "C": 1}
    assert reasons(plan) == {"the label '0' stands for no class": 1}
    json.dumps(plan.label_map)


def test_the_list_of_a_set_may_be_named_itself(tmp_path):
    made = sets.mias(tmp_path / "set")
    assert len(understand(made.source / "Info.txt", made.choices).rows) == 6


def test_a_table_goes_before_class_folders_and_the_plan_says_so(tmp_path):
    rows = []
    for number, word in enumerate(("Benign", "Malignant")):
        sets.png(tmp_path / word / f"{number}.png", sets.film(number))
        rows.append({"file": f"{word}/{number}.png", "label": "xy"[number]})
    sets.table(tmp_path / "t.csv", rows)
    plan = understand(tmp_path)
    assert plan.adapter == "table"
    assert "passed over: folders named after the class" in plan.because
