"""The cache of prepared films: the same pixels in every state of it, and nothing lost or stale whatever happens to it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from make_films import drawn_film, write_dicom
from mammo_core.data import cache as cache_module
from mammo_core.data.cache import FilmCache, film_key, prepare_all
from mammo_core.data.preprocess import prepare
from mammo_core.data.reader import read_film
from mammo_core.errors import ConfigError, FilmUnreadable

ROOT = Path(__file__).resolve().parent.parent
CANVAS = (96, 64)
SETTLED = Path(str(get_testdata_file("MR_small.dcm", download=False)))
"""A file that has lain still since it was installed."""


@pytest.fixture
def films(tmp_path: Path) -> list[tuple[str, Path]]:
    folder = tmp_path / "films"
    folder.mkdir()
    stored = (drawn_film() * 4095).round().astype(np.uint16)
    write_dicom(folder / "a.dcm", stored)
    write_dicom(folder / "b.dcm", stored[:, ::-1].copy(), ImageLaterality="L")
    Image.fromarray((drawn_film(seed=3) * 255).astype(np.uint8)).save(folder / "c.png")
    (folder / "junk.dcm").write_bytes(b"no film at all" * 50)
    shutil.copy(folder / "a.dcm", folder / "again.dcm")
    names = ["a.dcm", "b.dcm", "junk.dcm", "c.png", "again.dcm", "gone.dcm"]
    return [(f"image {name}", folder / name) for name in names]


def test_pixels_are_identical_in_every_state_of_the_cache(tmp_path, films):
    direct = {image_id: prepare(read_film(path), CANVAS).pixels for image_id, path in films if path.stem in "abcagain"}

    def check() -> None:
        cache = FilmCache(tmp_path / "cache")
        index = prepare_all(cache, films, CANVAS, workers=1)
        assert index.keys.keys() == direct.keys()
        for image_id, pixels in direct.items():
            np.testing.assert_array_equal(cache.get(index.keys[image_id]), pixels)
        assert [image_id for image_id, _ in index.failures] == ["image junk.dcm", "image gone.dcm"]
        assert "expected a film" in index.failures[0][1] and "cannot be opened" in index.failures[1][1]
        (warning,) = index.warnings["image b.dcm"]
        assert index.warnings.keys() == {"image b.dcm"} and "laterality L" in warning

    check()  # empty
    check()  # full
    files = sorted((tmp_path / "cache").glob("*/*.npy"))
    assert len(files) == 3  # the copy of a film is the same film
    files[0].write_bytes(files[0].read_bytes()[:50])  # cut short by a power cut
    files[1].write_bytes(b"not an array")
    files[2].unlink()
    (tmp_path / "cache" / "files.tsv").write_text("rubbish\n" + "0" * 64 + "\tnonsense\nhalf a li")
    check()
    shutil.rmtree(tmp_path / "cache")
    check()


def test_a_key_stands_for_content_canvas_version_and_decoders(tmp_path, films, monkeypatch):
    paths = dict(films)
    key = film_key(paths["image a.dcm"], CANVAS)
    assert film_key(paths["image again.dcm"], CANVAS) == key
    others = {film_key(paths["image b.dcm"], CANVAS), film_key(paths["image a.dcm"], (64, 96))}
    monkeypatch.setattr(cache_module, "PREPROCESSING_VERSION", 2)
    others.add(film_key(paths["image a.dcm"], CANVAS))
    assert len(others | {key}) == 4
    names = [name for name, _ in cache_module._decoders()]
    assert {"pydicom", "pillow", "python-gdcm", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls"} <= set(names)
    with pytest.raises(FilmUnreadable, match="gone.dcm cannot be opened"):
        film_key(paths["image gone.dcm"], CANVAS)


def test_a_film_that_lay_still_is_not_hashed_again(tmp_path):
    first = FilmCache(tmp_path)
    key = first.key(SETTLED, CANVAS)
    assert key == film_key(SETTLED, CANVAS)
    first.flush()
    table = tmp_path / "files.tsv"
    stamp, _, digest = table.read_text().strip().partition("\t")
    assert digest == hashlib.sha256(SETTLED.read_bytes()).hexdigest()
    assert FilmCache(tmp_path).key(SETTLED, CANVAS) == key
    # Another digest in the table shows that the table is what is asked.
    table.write_text(f"{stamp}\t{'0' * 64}\n")
    assert FilmCache(tmp_path).key(SETTLED, CANVAS) != key


def test_a_film_that_changes_gets_a_new_key_even_with_its_size_and_time_kept(tmp_path, films):
    _, path = films[0]
    cache = FilmCache(tmp_path / "cache")
    key, status = cache.key(path, CANVAS), path.stat()
    data = bytearray(path.read_bytes())
    data[-500] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert cache.key(path, CANVAS) != key
    cache.flush()
    assert not (tmp_path / "cache" / "files.tsv").exists()  # too fresh to be remembered


def test_a_stopped_preparation_goes_on_where_it_was(tmp_path, films):
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_all(FilmCache(tmp_path / "cache"), films, CANVAS, progress=stop)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*/*.npy")}
    assert len(kept) == 2
    seen = []
    index = prepare_all(FilmCache(tmp_path / "cache"), films, CANVAS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 6) for number in range(1, 7)]
    assert len(index.keys) == 4
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


def test_two_processes_may_fill_one_cache_at_once(tmp_path, films):
    program = (
        "import json, sys\nfrom pathlib import Path\nfrom mammo_core.data.cache import FilmCache, prepare_all\n"
        "items = [(name, Path(path)) for name, path in json.loads(sys.argv[2])]\n"
        "print(json.dumps(prepare_all(FilmCache(Path(sys.argv[1])), items, (96, 64)).keys))"
    )
    items = json.dumps([(image_id, str(path)) for image_id, path in films])
    command = [sys.executable, "-c", program, str(tmp_path / "cache"), items]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(2)]
    keys = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert keys[0] == keys[1] and len(keys[0]) == 4
    cache = FilmCache(tmp_path / "cache")
    for image_id, path in films:
        if image_id in keys[0]:
            np.testing.assert_array_equal(cache.get(keys[0][image_id]), prepare(read_film(path), CANVAS).pixels)
    assert not list((tmp_path / "cache").glob("*/*part*"))


def test_neither_table_nor_file_names_tell_where_a_film_lies_or_whose_it_is(tmp_path, films):
    cache = FilmCache(tmp_path / "cache")
    prepare_all(cache, [*films, ("old", SETTLED)], CANVAS)
    text = "".join(path.read_text(errors="replace") + path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
    for private in ("MR_small", "a.dcm", str(tmp_path), "secret-4711", "Miller"):
        assert private not in text


def test_leftovers_of_a_killed_process_are_removed_when_they_are_old(tmp_path):
    old, fresh = tmp_path / "ab" / f"{'ab' * 32}.1-x.part", tmp_path / "ab" / f".{'ab' * 32}.2-y.part.tmp"
    old.parent.mkdir()
    old.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    FilmCache(tmp_path)
    assert not old.exists() and fresh.exists()


def test_a_missing_film_is_none_and_a_wrong_key_or_canvas_is_an_error(tmp_path):
    cache = FilmCache(tmp_path)
    assert cache.get("ab" * 32) is None
    assert not cache.has("ab" * 32)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        cache.get("../../etc/passwd")
    with pytest.raises(ConfigError, match="image size"):
        prepare_all(cache, [], (1, 1))
    assert prepare_all(cache, [], CANVAS).keys == {}


def test_a_stored_array_of_another_kind_is_not_believed(tmp_path):
    cache = FilmCache(tmp_path)
    for number, array in enumerate([np.zeros((3, 3)), np.zeros(9, np.uint8), np.array([{}], dtype=object)]):
        key = f"{number:064x}"
        path = tmp_path / key[:2] / f"{key}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, array)
        assert cache.get(key) is None
