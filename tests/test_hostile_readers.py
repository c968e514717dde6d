"""What readers say of a file that is a trap: one readable sentence, and nothing of it runs, unfolds or shows itself."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydicom.dataelem import DataElement

from make_films import RAMP, dicom_of, write_dicom
from make_models import ARCH, write_model_run
from mammo_core.config import TrainConfig, load_config
from mammo_core.data.adapters import understand
from mammo_core.data.adapters.table_files import columns_of, read_table
from mammo_core.data.dicom_facts import impersonal
from mammo_core.data.foreign_file import without_name
from mammo_core.data.reader import read_film
from mammo_core.errors import CheckpointMismatch, ConfigError, CorruptRunFile, DataError, MammoError, WeightsNotFound, readable
from mammo_core.predict.unfamiliar import load_guard
from mammo_core.presets import parse_overrides
from mammo_core.reading import read_json, read_yaml
from mammo_core.report.plain_text import WORD_JOINER, plain
from mammo_core.runs.run_dir import RunDir
from mammo_core.training.checkpoint import load_checkpoint, load_tensors
from mammo_core.training.models import build_model
from mammo_core.training.weights import find_weights, load_into
from mammo_core.workflows.ingest import import_dataset
from mammo_core.workflows.uploads import Upload


def test_a_message_is_one_line_whose_end_is_kept():
    told = str(MammoError(f"What \u202eis\nthis: {'x' * 5000}\x00? Restore the file."))
    assert told.startswith("What is this: xxx")
    assert told.endswith("x ? Restore the file.")
    assert told.isprintable()
    assert len(told) <= 600


def test_letters_of_any_script_stay_as_they_are():
    text = "Größe, 乳房, صورة, 🙂: 3 µm"
    assert readable(text) == text


@pytest.mark.parametrize(
    "value", ["!!int ''", "!!float ''", "!!bool x", "!!timestamp x", "0x" + "f" * 6000, '"\\ud800"', "[" * 900]
)
def test_yaml_that_breaks_its_reader_is_told_in_words(tmp_path, value):
    path = tmp_path / "config.yaml"
    path.write_text(f"epochs: {value}\n")
    with pytest.raises((CorruptRunFile, ConfigError), match=r"config\.yaml"):
        load_config(path)


def test_settings_of_megabytes_are_not_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: b\n" * 300_000)
    with pytest.raises(CorruptRunFile, match="larger than 128 kB"):
        read_yaml(path)


@pytest.mark.parametrize("value", [10**400, -(10**30), 16**6000], ids=["far", "negative", "endless"])
def test_a_number_beyond_all_others_is_no_setting(value):
    for key in ("lr", "epochs", "seed"):
        with pytest.raises(ConfigError):
            TrainConfig.from_dict({key: value})


@pytest.mark.parametrize("pair", ["lr=!!int ''", "lr=!!bool x", "lr=" + "[" * 5000])
def test_a_setting_of_the_command_line_is_told_in_words(pair):
    with pytest.raises(ConfigError, match="not readable"):
        parse_overrides([pair])


def test_json_with_half_a_sign_is_refused_and_with_a_whole_one_read(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text('{"text": "\\ud83d\\ude42"}')
    assert read_json(path) == {"text": "🙂"}
    path.write_text('{"text": "\\ud83d"}')
    with pytest.raises(CorruptRunFile, match=r"notes\.json is not readable"):
        read_json(path)


# ---- weights and arrays --------------------------------------------------------------------------------------------------------


def deflated(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    return packed.getvalue()


def test_a_checkpoint_with_compressed_parts_is_refused(tmp_path):
    path = tmp_path / "best_model.pth"
    torch.save({"w": torch.zeros(2**20)}, path)
    assert load_tensors(path)["w"].shape == (2**20,)
    path.write_bytes(deflated(path.read_bytes()))
    assert path.stat().st_size < 2**14
    with pytest.raises(CheckpointMismatch, match="cannot|can be loaded safely"):
        load_tensors(path)


@pytest.mark.parametrize("changes", [{"format_version": "x"}, {"model_state": 3}, {"model_state": {"a": 1}}, {"config": None}])
def test_a_checkpoint_of_wrong_kinds_is_told_in_words(workspace, changes):
    run = write_model_run(workspace)
    torch.save(load_tensors(run.best_model) | changes, run.best_model)
    with pytest.raises(CheckpointMismatch, match=r"best_model\.pth"):
        load_checkpoint(run.best_model)


@pytest.mark.parametrize("content", [b"", struct.pack("<Q", 2**60) + b"{}", b"\x02" + bytes(7) + b"{}", b"no tensors at all"])
def test_broken_safetensors_are_no_weights(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    model = build_model(ARCH, 3)
    if content == b"\x02" + bytes(7) + b"{}":  # sound, but without a tensor
        with pytest.raises(WeightsNotFound, match="do not fit"):
            load_into(model, ARCH, find_weights(ARCH, str(path)))
        return
    with pytest.raises(WeightsNotFound, match=r"weights\.safetensors is not a readable"):
        load_into(model, ARCH, find_weights(ARCH, str(path)))


@pytest.mark.parametrize("head", ["{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,)}", "{'descr': (", "(" * 3000])
def test_features_with_a_false_header_are_told_in_words(tmp_path, head):
    run = RunDir(tmp_path / "exp" / "seed_42")
    run.path.mkdir(parents=True)
    run.embeddings.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(64))
    with pytest.raises(CorruptRunFile, match="not a table of finite numbers"):
        load_guard(run)


def test_an_archive_in_the_place_of_features_is_told_in_words(tmp_path):
    run = RunDir(tmp_path / "exp" / "seed_42")
    run.path.mkdir(parents=True)
    with run.embeddings.open("wb") as file:
        np.savez(file, a=np.zeros((3, 3)))
    with pytest.raises(CorruptRunFile, match="not a table of finite numbers"):
        load_guard(run)


# ---- tables ---------------------------------------------------------------------------------------------------------------

A1_AND_XFD = '<row r="1"><c r="XFD1"><v>1</v></c></row>'


def workbook(path, rows, sheets=1, encoding="utf-8"):
    """An Excel file whose sheets hold these rows."""
    made = io.BytesIO()
    with pd.ExcelWriter(made, engine="openpyxl") as writer:
        for number in range(sheets):
            pd.DataFrame({"file": ["a.png"], "label": ["x"]}).to_excel(writer, sheet_name=f"s{number}", index=False)
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            content = source.read(info)
            if rows and info.filename.startswith("xl/worksheets/"):
                text = re.sub("<sheetData>.*</sheetData>", f"<sheetData>{rows}</sheetData>", content.decode(), flags=re.DOTALL)
                text = re.sub(r"^<\?xml.*?\?>", "", text)
                content = f"<?xml version='1.0' encoding='{encoding}'?>{text}".encode(encoding)
            target.writestr(info.filename, content)
    return path


@pytest.mark.parametrize(
    ("rows", "sheets", "encoding"),
    [
        (A1_AND_XFD + '<row r="1048576"><c r="A1048576"><v>1</v></c></row>', 1, "utf-8"),
        ("<row r='1'><c r='XFD1'><v>1</v></c></row><row r='1048576'><c r='A1048576'><v>1</v></c></row>", 1, "utf-16"),
        (A1_AND_XFD + '<row r="&#49;048576.0"><c><v>1</v></c></row>', 1, "utf-8"),
        ('<row r="999999999"><c><v>1</v></c></row>', 1, "utf-8"),
        (A1_AND_XFD + '<row r="1048576"><c r="A1048576"><v>1</v></c></row></broken>', 1, "utf-8"),
        ('<row><c r="XFD1"/></row>' * 2000, 1, "utf-8"),
        ('<row r="900000"><c r="A900000"><v>1</v></c></row>', 30, "utf-8"),
    ],
    ids=["two corners", "utf-16", "disguised", "no Excel row", "broken behind it", "wide empty rows", "many sheets"],
)
def test_an_excel_file_that_spreads_over_a_huge_sheet_is_refused_before_it_is_filled(tmp_path, rows, sheets, encoding):
    path = workbook(tmp_path / "t.xlsx", rows, sheets, encoding)
    assert path.stat().st_size < 2**17
    with pytest.raises(DataError, match=r"t\.xlsx spreads over more than 20 million cells"):
        read_table(path)


def test_an_excel_file_of_usual_size_is_read_whatever_stands_far_below_it(tmp_path):
    rows = '<row r="1"><c r="A1" t="str"><v>file</v></c><c r="CV1" t="str"><v>label</v></c></row>'
    rows += '<row r="2"><c r="A2" t="str"><v>a.png</v></c></row><row r="250000" ht="12.8"/>'
    table = read_table(workbook(tmp_path / "t.xlsx", rows))
    assert (table["file"].tolist(), table.columns[-1]) == (["a.png"], "label")


def test_a_parquet_file_of_a_few_kb_that_holds_millions_of_equal_values_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"file": pa.array(np.zeros(21_000_000, np.int8))}), path)
    assert path.stat().st_size < 2**17
    with pytest.raises(DataError, match=r"t\.parquet spreads over more than 20 million cells"):
        read_table(path)
    one_long_list = pa.ListArray.from_arrays([0, 21_000_000], np.zeros(21_000_000, np.int8))
    pq.write_table(pa.table({"file": one_long_list}), path)
    with pytest.raises(DataError, match="more than 20 million cells"):
        read_table(path)


def test_a_parquet_file_that_repeats_one_long_text_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array(["a" * 2**20]))
    pq.write_table(pa.table({"file": texts}), path)
    assert path.stat().st_size < 2**17
    with pytest.raises(DataError, match="unfolds to more than 512 MB"):
        read_table(path)


def test_the_names_of_a_parquet_table_are_read_even_where_its_rows_cannot_be(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"file": ["a.png"] * 5000, " Label ": 1}, index=pd.Index(range(5000), name="n")).to_parquet(path)
    assert columns_of(path) == ("file", "Label")
    content = bytearray(path.read_bytes())
    content[4:100] = bytes(96)  # where the rows begin
    path.write_bytes(content)
    assert columns_of(path) == ("file", "Label")
    no_utf8 = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe"))
    pq.write_table(pa.table({"file": no_utf8}), path)
    with pytest.raises(DataError, match="not readable as a Parquet file"):
        read_table(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="not readable as a Parquet file"):
        columns_of(path)


# ---- names and words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\u202ecod.exe", "a\nb.dcm", "x" * 500 + ".dcm", "a\x00b", "\ud800.png"])
def test_a_name_is_shown_as_one_line(name):
    shown = Upload(f"C:\\films\\{name}", b"").shown_name
    assert shown.isprintable()
    assert 0 < len(shown) <= 120


def test_a_name_with_hidden_signs_leaves_no_message_with_the_patient(tmp_path):
    path = tmp_path / "Doe\u202e_Jane\n1961.dcm"
    path.write_bytes(b"no film")
    with pytest.raises(MammoError) as caught:
        read_film(path)
    told = without_name(caught.value, path.name)
    assert "Doe" not in told
    assert "Jane" not in told
    assert "The film cannot be used" in told


@pytest.mark.parametrize(
    "text", ["http://evil.example/x", "see www.evil.example", "me@evil.example", ":material/home:", ":smile:", "https://a.b@c.d"]
)
def test_an_address_or_icon_in_a_file_s_words_is_not_recognised(text):
    """The browser looks for addresses once more after escapes are resolved; what is not seen parts them."""
    shown = plain(text)
    assert WORD_JOINER in shown
    assert shown.replace("\\", "").replace(WORD_JOINER, "") == text


def test_plain_text_keeps_its_lines_and_loses_what_turns_them():
    assert plain("a\u202eb\nc\td") == "ab\nc d"
    assert plain("lr 3e-4, 12:30, C:") == "lr 3e-4, 12\\:30, C\\:"


@pytest.mark.parametrize("center", ["Hospital A", "site_3", "St. Anna", "Köln, Mitte", "123456", "Ward 3-4"])
def test_the_name_of_a_centre_is_kept(center):
    assert impersonal(center) == center


def test_a_person_or_a_date_in_the_centre_column_is_left_out_and_told(workspace, tmp_path):
    centers = ("St. Anna", "Doe^Jane", "12.04.1961", "4711004711")
    for number in range(4):
        write_dicom(tmp_path / f"{number}.dcm", np.roll(RAMP, number))
    rows = [f"{number}.dcm,{'xy'[number % 2]},{center}" for number, center in enumerate(centers)]
    (tmp_path / "t.csv").write_text("\n".join(["file,label,center", *rows]))
    dataset = import_dataset(workspace, understand(tmp_path), "demo", readers=1)
    assert sorted(dataset.manifest()["center"]) == ["", "", "", "St. Anna"]
    written = "".join(path.read_text() for path in dataset.directory.glob("*.json"))
    assert "reads like a person, a date or a long number" in written
    assert "Doe" not in written


TAGS_OF_CODES = (
    "Modality",
    "PhotometricInterpretation",
    "PresentationIntentType",
    "ImageType",
    "BurnedInAnnotation",
    "NumberOfFrames",
    "VOILUTFunction",
)


@pytest.mark.parametrize("tag", TAGS_OF_CODES)
@pytest.mark.filterwarnings("ignore")
def test_a_name_in_the_place_of_a_code_is_neither_told_nor_kept(tmp_path, tag):
    dataset = dicom_of(RAMP)
    dataset.add(DataElement(tag, "LO", "Miller^Anna"))  # as where a damaged tag number moves a value
    dataset.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    try:
        facts = asdict(read_film(tmp_path / "film.dcm").facts)
        told = repr({name: value for name, value in facts.items() if not name.endswith("_key")})
    except MammoError as error:
        told = str(error)
    assert "Miller" not in told
