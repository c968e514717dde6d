import json
import os
import struct
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammo_core.data.adapters import ROW_COLUMNS, ImportChoices, planning, understand
from mammo_core.data.adapters.labels import understand_labels
from mammo_core.data.adapters.listing import FileIndex, read_table
from mammo_core.data.adapters.words import harmless_value, patient_of
from mammo_core.errors import DataError, NameNotAllowed


def make_source(root: Path, table: str, *, films: tuple[str, ...] = ("a.png", "b.png", "c.png"), name: str = "films.csv") -> Path:
    """A folder with empty film files (no pixel may be read) and a table."""
    for film in films:
        (root / film).parent.mkdir(parents=True, exist_ok=True)
        (root / film).touch()
    (root / name).write_text(table, encoding="utf-8")
    return root


def labels_of(plan):
    return dict(zip(plan.rows["file"], plan.rows["label"], strict=True))


def reasons(plan):
    return {item.reason: item.count for item in plan.left_out}


# ---- tables and columns -----------------------------------------------------------------------------------------------------


def test_padded_names_any_case_bom_and_semicolons_are_understood(tmp_path):
    source = make_source(
        tmp_path, "\ufeff File Name ; PATIENT ID;Breast Density ; Site\na.png;007; a;1\nb.png;7;B;2\nc.png;8;2;2\n"
    )
    plan = understand(source)
    assert plan.columns == {"file": "File Name", "patient": "PATIENT ID", "center": "Site", "label": "Breast Density"}
    assert (plan.adapter, plan.task, plan.ordinal, plan.class_names) == ("table", "density", True, ("A", "B"))
    assert labels_of(plan) == {"a.png": "A", "b.png": "B", "c.png": "B"}
    assert list(plan.rows["patient"]) == ["007", "7", "8"]  # ids are text: 007 is not 7
    assert list(plan.rows.columns) == list(ROW_COLUMNS)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.tsv", lambda frame, path: frame.to_csv(path, sep="\t", index=False)),
        ("t.xlsx", lambda frame, path: frame.to_excel(path, index=False)),
        ("t.csv", lambda frame, path: frame.to_csv(path, index=False, encoding="utf-16")),
        ("u.csv", lambda frame, path: frame.to_csv(path, index=False, encoding="cp1252")),
    ],
)
def test_each_table_format_gives_the_same_text(tmp_path, name, write):
    frame = pd.DataFrame({"file": ["a.png", "b.png"], "centre": ["Köln", "Zürich"], "label": ["1", "2"]})
    write(frame, tmp_path / name)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), frame, check_dtype=False)


def test_numbers_of_an_excel_sheet_become_the_text_that_was_typed(tmp_path):
    pd.DataFrame({"film": [20586908, 20586934], "ACR": [1, 4]}).to_excel(tmp_path / "t.xlsx", index=False)
    table = read_table(tmp_path / "t.xlsx")
    assert table.to_numpy().tolist() == [["20586908", "1"], ["20586934", "4"]]


def test_a_table_may_lie_beside_the_folder_or_be_the_source_itself(tmp_path):
    make_source(tmp_path / "films", "x", films=("a.png", "b.png"), name="ignored.txt")
    (tmp_path / "labels.csv").write_text("file,label\nfilms/a.png,yes\nfilms/b.png,no\n")
    for source in (tmp_path / "films", tmp_path / "labels.csv"):
        plan = understand(source)
        assert sorted(plan.rows["label"]) == ["no", "yes"]
        assert all((plan.root / name).is_file() for name in plan.rows["file"])


def test_films_may_lie_elsewhere_than_their_table(tmp_path):
    make_source(tmp_path / "store", "", name="empty.txt")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "t.csv").write_text("file,label\na.png,x\nb.png,y\n")
    plan = understand(tmp_path / "tables" / "t.csv", ImportChoices(root=tmp_path / "store"))
    assert labels_of(plan) == {"a.png": "x", "b.png": "y"}


@pytest.mark.parametrize(
    "cell", ["D:\\old\\scans\\p1\\1-1.dcm", "/mnt/scans/p1/1-1.dcm", "p1/1-1", "./p1/1-1.DCM", '"p1/1-1.dcm"']
)
def test_a_path_of_another_machine_finds_its_film_by_its_folders(cell):
    assert FileIndex(["scans/p1/1-1.dcm", "scans/p2/1-1.dcm"]).find(cell) == ["scans/p1/1-1.dcm"]


def test_equal_film_names_in_other_folders_are_never_joined():
    index = FileIndex(["p1/1-1.dcm", "p2/1-1.dcm"])
    assert index.find("p3/1-1.dcm") == []
    assert len(index.find("1-1.dcm")) == 2


@given(st.lists(st.lists(st.sampled_from("abc1"), min_size=1, max_size=3).map("/".join), min_size=1, max_size=12, unique=True))
@settings(max_examples=60, deadline=None)
def test_every_film_is_found_by_its_own_relative_path(stems):
    names = [f"{stem}.png" for stem in stems]
    index = FileIndex(names)
    assert all(index.find(name) == [name] for name in names)


def test_a_column_with_a_strange_name_is_known_by_the_films_it_names(tmp_path):
    plan = understand(make_source(tmp_path, "Aufnahme,label\na.png,x\nb.png,y\n"))
    assert plan.columns["file"] == "Aufnahme"


def test_a_missing_file_column_names_the_columns_found(tmp_path):
    with pytest.raises(DataError, match="columns are Number, label.*'file' column"):
        understand(make_source(tmp_path, "Number,label\n12,x\n13,y\n"))


def test_a_missing_label_column_names_the_columns_found(tmp_path):
    with pytest.raises(DataError, match="no label column.*columns are file, remark.*'label' column"):
        understand(make_source(tmp_path, "file,remark\na.png,x\nb.png,y\n"))


def test_two_label_columns_are_a_question_that_the_task_answers(tmp_path):
    source = make_source(tmp_path, "file,density,pathology\na.png,A,BENIGN\nb.png,B,MALIGNANT\n")
    with pytest.raises(DataError, match="several label columns: density, pathology"):
        understand(source)
    assert understand(source, ImportChoices(task="density")).class_names == ("A", "B")
    lesion = understand(source, ImportChoices(task="lesion"))
    assert lesion.class_names == ("Benign", "Malignant")
    assert lesion.further_columns == ("density",)


def test_two_tables_that_name_the_films_are_a_question(tmp_path):
    source = make_source(tmp_path, "file,label\na.png,x\nb.png,y\n")
    (tmp_path / "other.csv").write_text("file,label\na.png,x\nb.png,y\n")
    with pytest.raises(DataError, match=r"films\.csv, other\.csv"):
        understand(source)
    assert understand(source, ImportChoices(table="other.csv")).table.name == "other.csv"


def test_a_choice_of_a_column_that_is_not_there_names_those_that_are(tmp_path):
    source = make_source(tmp_path, "file,label,who\na.png,x,1\nb.png,y,2\n")
    assert understand(source, ImportChoices(columns={"patient": "WHO"})).patient_from == "column"
    with pytest.raises(DataError, match="no column 'woman'.*file, label, who"):
        understand(source, ImportChoices(columns={"patient": "woman"}))
    with pytest.raises(DataError, match="no column role 'nurse'"):
        understand(source, ImportChoices(columns={"nurse": "who"}))


def test_choices_survive_a_trip_through_json(tmp_path):
    source = make_source(tmp_path, "file,label\na.png,x\nb.png,y\n")
    choices = json.loads(json.dumps({"class_names": ["y", "x"], "root": str(tmp_path), "label_map": {"x": "x"}}))
    plan = understand(source, ImportChoices(**choices))
    assert (plan.class_names, plan.root) == (("y", "x"), tmp_path)


def test_a_task_that_cannot_become_a_file_name_is_refused(tmp_path):
    with pytest.raises(NameNotAllowed):
        understand(make_source(tmp_path, "file,label\na.png,x\nb.png,y\n"), ImportChoices(task="../up"))


@pytest.mark.parametrize(
    ("content", "text"),
    [("", "not readable"), ("file,label\n", "no row"), ("file,label\n,\n \t,\n", "no row")],
)
def test_an_empty_table_is_told_in_words(tmp_path, content, text):
    with pytest.raises(DataError, match=text):
        understand(make_source(tmp_path, content) / "films.csv")


def test_a_file_that_only_claims_to_be_excel_is_told_in_words(tmp_path):
    make_source(tmp_path, "no excel", name="t.xlsx")
    with pytest.raises(DataError, match="not readable as an Excel file"):
        understand(tmp_path / "t.xlsx")


def test_folders_without_films_or_without_labels_say_what_was_expected(tmp_path):
    with pytest.raises(DataError, match="no file or folder 'nowhere'"):
        understand(tmp_path / "nowhere")
    with pytest.raises(DataError, match="No film was found"):
        understand(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.png").touch()
    with pytest.raises(DataError, match="1 films were found, but nothing that labels them"):
        understand(tmp_path / "inner")
    with pytest.raises(DataError, match="no adapter 'x'; known are auto, "):
        understand(tmp_path / "inner", ImportChoices(adapter="x"))


# ---- labels -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        ("A", "B", "C", "D"),
        ("d", "c ", "b", "a"),
        ("1", "2", "3", "4"),
        ("1.0", "2.0", "3.0", "4.0"),
        ("DENSITY A", "Density B", "density_c", "DENSITY D"),
        ("BI-RADS A", "birads b", "BI_RADS C", "D"),
        ("ACR 1", "acr 2", "ACR3", "ACR-4"),
        ("A", "B", "C", "D", "unknown", "0"),
    ],
)
def test_density_is_understood_in_its_usual_spellings(values):
    labels = understand_labels(dict.fromkeys(values, 3), "density", ImportChoices(), "label")
    assert labels.class_names == ("A", "B", "C", "D")
    assert labels.ordinal
    expected = {"a": "A", "1": "A", "b": "B", "2": "B", "c": "C", "3": "C", "d": "D", "4": "D"}
    for value, name in labels.mapping.items():
        core = value.strip().lower().removesuffix(".0")
        assert name == (None if core in ("unknown", "0") else expected[core[-1]])


@pytest.mark.parametrize("values", [("F", "G", "D"), ("BI-RADS 1", "BI-RADS 2", "BI-RADS 4"), ("0%-25%", ">75%")])
def test_other_scales_are_never_taken_for_density_a_to_d(values):
    labels = understand_labels(dict.fromkeys(values, 1), "density", ImportChoices(), "label")
    assert sorted(labels.class_names) == sorted(values)
    assert not labels.ordinal
    assert "not all on the scale A to D" in labels.warnings[0]


def test_bare_digits_are_density_only_if_the_task_says_so():
    assert understand_labels({"1": 1, "2": 1}, None, ImportChoices(), "label").class_names == ("1", "2")
    assert understand_labels({"1": 1, "2": 1}, "density", ImportChoices(), "label").class_names == ("A", "B")


def test_lesion_classes_stand_in_order_of_severity():
    values = {"malignant": 1, "BENIGN_WITHOUT_CALLBACK": 1, "Norm": 1, "benign": 1, "N/A": 1}
    labels = understand_labels(values, None, ImportChoices(), "label")
    assert (labels.task, labels.class_names, labels.ordinal) == ("lesion", ("Normal", "Benign", "Malignant"), False)
    assert labels.mapping["N/A"] is None


def test_own_classes_stand_in_natural_order_and_join_spellings():
    values = {"grade 10": 1, "Grade 2": 4, "grade 2 ": 1}
    labels = understand_labels(values, None, ImportChoices(), "stage")
    assert (labels.task, labels.class_names) == ("stage", ("Grade 2", "grade 10"))


def test_the_user_corrects_the_map_the_order_and_the_scale():
    choices = ImportChoices(label_map={"2": "low", "1": "low", "3": "high", "4": None}, class_names=("low", "high"), ordinal=True)
    labels = understand_labels({"1": 1, "2": 1, "3": 1, "4": 1}, "density", choices, "label")
    assert labels.mapping == {"1": "low", "2": "low", "3": "high", "4": None}
    assert (labels.class_names, labels.ordinal) == (("low", "high"), True)


def test_chosen_classes_may_have_no_film_but_every_film_needs_one():
    outside = understand_labels({"A": 2}, "density", ImportChoices(class_names=("A", "B", "C", "D")), "label")
    assert outside.class_names == ("A", "B", "C", "D")  # an outside test set keeps the model's classes
    with pytest.raises(DataError, match="classes chosen are 'A'.*lead to 'A', 'B'"):
        understand_labels({"A": 2, "B": 1}, "density", ImportChoices(class_names=("A",)), "label")


def test_a_label_map_for_a_value_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="names 'e', which no row holds"):
        understand_labels({"A": 2, "B": 1}, "density", ImportChoices(label_map={"E": "A"}), "label")


@pytest.mark.parametrize("values", [{"x": 5}, {str(number): 1 for number in range(100, 400)}])
def test_one_class_or_hundreds_are_no_label_column(values):
    with pytest.raises(DataError, match="expected 2 to 20"):
        understand_labels(values, None, ImportChoices(), "label")


# ---- rows left out ------------------------------------------------------------------------------------------------------------


def test_rows_left_out_are_counted_by_reason_and_never_guessed(tmp_path):
    table = "file,density\na.png,A\nb.png,\nb.png,B\nc.png,0\nd.png,C\na.png,A\ngone.png,D\n"
    plan = understand(make_source(tmp_path, table, films=("a.png", "b.png", "c.png", "d.png", "e.png")))
    assert labels_of(plan) == {"a.png": "A", "b.png": "B", "d.png": "C"}
    assert reasons(plan) == {
        "the label is empty": 1,
        "the label '0' stands for no class": 1,
        "the film file is missing": 1,
        "a further row of a film that is already listed": 1,
    }
    assert len(plan.rows) + sum(reasons(plan).values()) == 7
    assert "2 of 5 film files in the folder are not imported." in plan.warnings
    assert any("No film is left of class D" in warning for warning in plan.warnings)


def test_of_several_lesions_on_a_film_the_worst_counts(tmp_path):
    plan = understand(make_source(tmp_path, "file,pathology\na.png,BENIGN\na.png,MALIGNANT\na.png,BENIGN\nb.png,BENIGN\n"))
    assert labels_of(plan) == {"a.png": "Malignant", "b.png": "Benign"}
    assert any("worst one counts (Malignant before Benign)" in warning for warning in plan.warnings)


def test_contradicting_densities_of_a_film_leave_it_out(tmp_path):
    plan = understand(make_source(tmp_path, "file,density\na.png,A\na.png,B\nb.png,B\nc.png,A\n"))
    assert labels_of(plan) == {"b.png": "B", "c.png": "A"}
    assert reasons(plan) == {"rows of one film give different labels": 2}


def test_a_name_that_fits_two_films_is_left_out_and_not_guessed(tmp_path):
    films = ("p1/a.png", "p2/a.png", "p2/b.png", "p2/c.png")
    plan = understand(make_source(tmp_path, "file,label\na.png,x\nb.png,x\nc.png,y\n", films=films))
    assert labels_of(plan) == {"p2/b.png": "x", "p2/c.png": "y"}
    assert reasons(plan) == {"the file name fits several files": 1}


def test_a_plan_without_a_film_says_why(tmp_path):
    with pytest.raises(DataError, match="No film is left to import .2: the film file is missing"):
        understand(make_source(tmp_path, "file,label\nx.png,1\ny.png,2\n"))


# ---- patients -----------------------------------------------------------------------------------------------------------------


def test_cbis_names_give_the_patient_and_not_the_film(tmp_path):
    films = tuple(f"Mass-Test_P_00820_{side}_{view}/1-1.dcm" for side in ("LEFT", "RIGHT") for view in ("CC", "MLO"))
    table = "file,pathology\n" + "".join(f"{name},{'BENIGN' if 'LEFT' in name else 'MALIGNANT'}\n" for name in films)
    plan = understand(make_source(tmp_path, table, films=films))
    assert plan.patient_from == "file name pattern"
    assert set(plan.rows["patient"]) == {"P_00820"}
    assert sorted(plan.rows["laterality"] + plan.rows["view"]) == ["LCC", "LMLO", "RCC", "RMLO"]


def test_a_patient_column_of_cbis_film_names_is_reduced_to_the_patient(tmp_path):
    table = "file,patient_id,label\na.png,Mass-Test_P_00820_LEFT_CC,x\nb.png,Mass-Test_P_00820_RIGHT_CC,y\n"
    assert set(understand(make_source(tmp_path, table)).rows["patient"]) == {"P_00820"}


def test_without_patients_the_best_substitute_is_taken_and_said(tmp_path):
    exam = understand(make_source(tmp_path / "1", "file,study_id,label\na.png,s1,x\nb.png,s1,y\n"))
    assert exam.patient_from == "exam"
    assert "leakage cannot be excluded" in exam.patient_statement
    header = understand(make_source(tmp_path / "2", "file,label\na.dcm,x\nb.dcm,y\n", films=("a.dcm", "b.dcm")))
    assert header.patient_from == "header"
    alone = understand(make_source(tmp_path / "3", "file,label\na.png,x\nb.png,y\n"))
    assert alone.patient_from == "each film alone"
    assert "patient leakage cannot be excluded" in alone.patient_statement


def test_a_placeholder_is_no_patient(tmp_path):
    plan = understand(make_source(tmp_path, "file,patient_id,label\na.png,removed,x\nb.png,Anonymous,y\n"))
    assert plan.patient_from == "each film alone"
    assert patient_of(" P7 ") == "P7"


def test_a_pattern_reads_the_patient_from_the_path(tmp_path):
    source = make_source(tmp_path, "file,label\nm1_a.png,x\nm1_b.png,y\nm2_a.png,x\n", films=("m1_a.png", "m1_b.png", "m2_a.png"))
    plan = understand(source, ImportChoices(patient_pattern=r"^([^_]+)_"))
    assert list(plan.rows["patient"]) == ["m1", "m1", "m2"]
    for pattern, text in (("(", "no regular expression"), ("m", "no group"), ("(m)" + "1" * 200, "more than 200 signs")):
        with pytest.raises(DataError, match=text):
            understand(source, ImportChoices(patient_pattern=pattern))


@pytest.mark.parametrize("pattern", [r"^(\d+)-", r"(?i)^pat(\d+)-(?:left|right)", r"^(?:PAT)?(\d+)", r"^[A-Z]*(\d+).*"])
def test_usual_patterns_are_taken(tmp_path, pattern):
    start = "" if pattern.startswith(r"^(\d") else "PAT"
    films = tuple(f"{start}{name}.png" for name in ("7-left", "7-right", "8-left"))
    table = "file,label\n" + "".join(f"{name},{label}\n" for name, label in zip(films, "xyx", strict=True))
    plan = understand(make_source(tmp_path, table, films=films), ImportChoices(patient_pattern=pattern))
    assert list(plan.rows["patient"]) == ["7", "7", "8"]


@pytest.mark.parametrize("pattern", ["^(([A-Za-z]+)+)_$", "^(a|aa)+$", "(a?){40}" + "a" * 40 + "b", ".*" * 40 + "(b)$"])
def test_a_pattern_that_would_search_for_years_is_stopped(tmp_path, monkeypatch, pattern):
    monkeypatch.setattr(planning, "MAX_SEARCH_SECONDS", 1)
    films = ("a" * 60 + ".png", "c" + "a" * 60 + ".png")
    source = make_source(tmp_path, f"file,label\n{films[0]},x\n{films[1]},y\n", films=films)
    with pytest.raises(DataError, match="cannot be searched for in these file names within 1 s"):
        understand(source, ImportChoices(patient_pattern=pattern))


def test_a_patient_source_that_is_not_there_is_refused(tmp_path):
    source = make_source(tmp_path, "file,label\na.png,x\nb.png,y\n")
    with pytest.raises(DataError, match="patient column, but there is none"):
        understand(source, ImportChoices(patient_from="column"))


def test_film_ids_in_the_patient_column_are_noticed(tmp_path):
    films = tuple(f"{number}.png" for number in range(12))
    table = "file,patient,label\n" + "".join(f"{name},{name},{'xy'[index % 2]}\n" for index, name in enumerate(films))
    plan = understand(make_source(tmp_path, table, films=films))
    assert any("does not hold film ids" in warning for warning in plan.warnings)


# ---- other columns ------------------------------------------------------------------------------------------------------------


def test_only_harmless_further_columns_are_kept(tmp_path):
    table = (
        "file,label,Patient Name,Study Date,remark,Age,assessment,subtlety,year,birth date\n"
        "a.png,x,Meier^Anna,2016-10-04,seen by Dr. Kurz,93,4,5,2016,1961\n"
        "b.png,y,Kurz^Eva,2016-10-05,-,061Y,2016-10-05,1234567,04.10.2016,1955\n"
    )
    plan = understand(make_source(tmp_path, table))
    assert plan.further_columns == ("age", "assessment", "subtlety", "year")
    assert plan.rows[list(plan.further_columns)].to_numpy().tolist() == [["90", "4", "5", "2016"], ["61", "", "", ""]]


@pytest.mark.parametrize(
    ("column", "text", "kept"), [("age", "abc", ""), ("age", "61.0", "61"), ("subtype", "Luminal A", "Luminal A")]
)
def test_values_of_further_columns_are_checked_one_by_one(column, text, kept):
    assert harmless_value(column, text) == kept


def test_sides_and_views_get_one_spelling(tmp_path):
    films = ("a.png", "b.png", "c.png", "d.png")
    table = "file,side,view,label\na.png,LEFT,lcc,x\nb.png,r,Mediolateral-oblique,y\nc.png,both,12.3.1961,x\nd.png,Right,ML,y\n"
    plan = understand(make_source(tmp_path, table, films=films))
    assert list(plan.rows["laterality"]) == ["L", "R", "", "R"]
    assert list(plan.rows["view"]) == ["CC", "MLO", "", "ML"]


def test_masks_are_kept_beside_their_film_and_are_no_films(tmp_path):
    source = make_source(
        tmp_path, "file,label,mask\na.png,x,masks/a.png\nb.png,y,\n", films=("films/a.png", "films/b.png", "masks/a.png")
    )
    plan = understand(source)
    assert dict(zip(plan.rows["file"], plan.rows["mask"], strict=True)) == {"films/a.png": "masks/a.png", "films/b.png": ""}


# ---- class folders and phantoms -----------------------------------------------------------------------------------------------


def test_class_folders_are_labels(tmp_path):
    source = make_source(tmp_path, "", films=("malignant/a.png", "NORMAL/b.png", "benign/deep/c.png"), name="readme.txt")
    plan = understand(source)
    assert (plan.adapter, plan.task, plan.class_names) == ("folders", "lesion", ("Normal", "Benign", "Malignant"))
    assert labels_of(plan) == {"malignant/a.png": "Malignant", "NORMAL/b.png": "Normal", "benign/deep/c.png": "Benign"}


def test_folders_of_a_foreign_split_are_passed_over(tmp_path):
    films = tuple(f"{part}/{name}/{part}{name}.png" for part in ("train", "val", "test") for name in "ABCD")
    plan = understand(make_source(tmp_path, "", films=films, name="readme.txt"), ImportChoices(task="density"))
    assert (plan.class_names, plan.ordinal) == (("A", "B", "C", "D"), True)
    assert any("train, val and test are not taken over" in warning for warning in plan.warnings)


def test_only_files_marked_as_dicom_count_among_those_without_a_suffix(tmp_path):
    for name, content in (("A/IM0001", b"\0" * 128 + b"DICM"), ("B/1.2.840.7", b"\0" * 128 + b"DICM"), ("B/README", b"text")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert set(understand(tmp_path).rows["file"]) == {"A/IM0001", "B/1.2.840.7"}


def test_a_phantom_set_is_known_by_its_exact_columns(tmp_path):
    header = "file,patient_id,exam_id,laterality,view,center,vendor,density,lesion,mask\n"
    rows = "films/a.png,P1,E1,L,CC,1,X,A,Normal,\nfilms/b.png,P2,E2,R,CC,2,Y,B,Malignant,masks/b.png\n"
    films = ("films/a.png", "films/b.png", "masks/b.png")
    source = make_source(tmp_path, header + rows, films=films, name="phantom.csv")
    plan = understand(source, ImportChoices(task="lesion"))
    assert (plan.adapter, plan.synthetic, plan.further_columns) == ("phantom", True, ("density",))
    (tmp_path / "phantom.csv").write_text((header + rows).replace("vendor", "scanner"))
    assert not understand(source, ImportChoices(task="lesion")).synthetic


def test_the_source_hash_follows_names_sizes_and_the_table(tmp_path):
    source = make_source(tmp_path, "file,label\na.png,x\nb.png,y\n")

    def sha() -> str:
        plan = understand(source)
        return plan.listing.sha256(plan.table)

    first = sha()
    assert sha() == first
    (tmp_path / "a.png").write_bytes(struct.pack("B", 1))
    second = sha()
    (tmp_path / "films.csv").write_text("file,label\na.png,y\nb.png,x\n")
    assert len({first, second, sha()}) == 3


def test_links_to_folders_are_not_followed(tmp_path):
    source = make_source(tmp_path, "file,label\na.png,x\nb.png,y\n")
    os.symlink(tmp_path, tmp_path / "loop")
    assert len(understand(source).listing.films) == 3
