"""Files written whole or not at all, and names that stay in their folder."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammo_core.errors import CorruptRunFile, DiskFull, NameNotAllowed, WriteFailed
from mammo_core.reading import read_json, read_text_table, read_yaml
from mammo_core.storage import (
    check_name,
    folder_size,
    is_locked,
    leftovers,
    lock_of,
    new_folder,
    write_atomic,
    write_json,
    write_yaml,
)


@pytest.mark.parametrize(
    "name",
    ["../x", "/abs", "a/b", "a\\b", "..", ".", ".hidden", "", "a" * 81, "con", "NUL.txt", "a\0b", "x.", "a..b", "a b", "-rf"],
)
def test_a_name_that_could_leave_the_folder_is_refused(name):
    with pytest.raises(NameNotAllowed, match="Choose another one"):
        check_name(name)


@given(st.text(max_size=90))
def test_an_allowed_name_is_a_plain_child_of_any_folder(text):
    try:
        name = check_name(text)
    except NameNotAllowed:
        return
    assert (Path("/root") / name).resolve().parent == Path("/root").resolve()


def test_a_failing_writer_leaves_the_old_file_and_no_leftover(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail(file):
        file.write(b"half of")
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        write_atomic(path, fail)
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("alone", [True, False])
def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path, alone):
    with pytest.raises(ValueError, match="boom"), new_folder(tmp_path / "set", alone=alone) as place:
        write_json(place / "a.json", 1)
        raise ValueError("boom")
    assert os.listdir(tmp_path) == []
    with new_folder(tmp_path / "set", alone=alone) as place:
        write_json(place / "a.json", 2)
        assert not (tmp_path / "set").exists()
    assert os.listdir(tmp_path) == ["set"]
    assert read_json(tmp_path / "set" / "a.json") == 2


def test_a_new_folder_never_takes_the_place_of_one_that_holds_something(tmp_path):
    kept = tmp_path / "set" / "a.json"
    kept.parent.mkdir()
    write_json(kept, "old")
    with pytest.raises(WriteFailed, match="set could not be written"), new_folder(tmp_path / "set", alone=False) as place:
        write_json(place / "b.json", "new")
    assert os.listdir(tmp_path / "set") == ["a.json"]
    assert os.listdir(tmp_path) == ["set"]


def test_who_makes_a_folder_alone_starts_afresh_and_who_does_not_leaves_the_others_theirs(tmp_path):
    with new_folder(tmp_path / "set", alone=False) as first, new_folder(tmp_path / "other", alone=False):
        (first / "mine").touch()
        killed = tmp_path / ".set.tmp"
        killed.mkdir()
        (killed / "old").touch()
        with new_folder(tmp_path / "set", alone=True) as second:
            assert os.listdir(second) == []
        assert os.listdir(first) == ["mine"]
        (tmp_path / "set").rmdir()
    assert os.listdir(tmp_path / "set") == ["mine"]


def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, [1])

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFull, match="a.json; the version written before is unharmed"):
        write_atomic(path, full)
    assert read_json(path) == [1]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            OSError(errno.EACCES, "Permission denied", "/home/anna/a.json"),
            WriteFailed,
            "could not be written (Permission denied)",
        ),
        (OSError(errno.EIO, "Input/output error"), WriteFailed, "could not be written (Input/output error)"),
        (OSError(errno.EDQUOT, "Quota exceeded"), DiskFull, "No space was left"),
        (OSError(errno.EFBIG, "File too large"), DiskFull, "No space was left"),
    ],
)
def test_what_the_system_refuses_is_told_without_a_place_and_the_old_file_stays(tmp_path, error, kind, words):
    path = tmp_path / "a.json"
    write_json(path, [1])

    def refuse(file):
        raise error

    with pytest.raises(kind) as told:
        write_atomic(path, refuse)
    assert words in str(told.value)
    assert "/home" not in str(told.value)
    assert read_json(path) == [1]
    assert os.listdir(tmp_path) == ["a.json"]


def refuse_to_sync_folders(monkeypatch, number):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.skipif(os.name == "nt", reason="Windows syncs no folder")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOTSUP])
def test_a_disk_that_cannot_sync_folders_is_written_all_the_same(tmp_path, monkeypatch, number):
    refuse_to_sync_folders(monkeypatch, number)
    write_json(tmp_path / "a.json", [1])
    with new_folder(tmp_path / "set", alone=False) as place:
        write_json(place / "b.json", [2])
    assert (read_json(tmp_path / "a.json"), read_json(tmp_path / "set" / "b.json")) == ([1], [2])


@pytest.mark.skipif(os.name == "nt", reason="Windows syncs no folder")
def test_a_disk_that_fails_while_it_syncs_a_folder_is_told(tmp_path, monkeypatch):
    refuse_to_sync_folders(monkeypatch, errno.EIO)
    with pytest.raises(WriteFailed, match="Input/output error"):
        write_json(tmp_path / "a.json", [1])


def test_the_size_of_a_folder_counts_files_and_no_links(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).write_bytes(bytes(100))
    (tmp_path / "a" / "link").symlink_to(tmp_path / "one")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert folder_size(tmp_path) == 300
    assert folder_size(tmp_path / "none") == 0


def test_a_folder_that_shrinks_while_it_is_measured_is_measured_all_the_same(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name / "x").mkdir(parents=True)
        (tmp_path / name / "x" / "film").write_bytes(bytes(100))
    scandir, gone = os.scandir, []

    def others_erase(path):
        if not isinstance(path, int) and os.path.basename(path) in ("a", "b", "c") and len(gone) < 2:
            gone.append(path)
            shutil.rmtree(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", others_erase)
    assert (folder_size(tmp_path), len(gone)) == (100, 2)


def test_a_failure_that_hides_the_systems_reason_is_still_told_by_it(tmp_path):
    def as_torch_does(file):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904  torch's writer does not say where it comes from either

    with pytest.raises(DiskFull):
        write_atomic(tmp_path / "resume.pt", as_torch_does)


def test_a_failure_that_has_nothing_to_do_with_the_disk_stays_what_it_is(tmp_path):
    def fail(file):
        raise RuntimeError("a tensor that cannot be saved")

    with pytest.raises(RuntimeError, match="cannot be saved"):
        write_atomic(tmp_path / "resume.pt", fail)
    assert os.listdir(tmp_path) == []


def test_two_writers_of_one_file_both_write_a_whole_one(tmp_path):
    path = tmp_path / "notes.json"

    def interrupted_by_another(file):
        file.write(b'["the')
        write_json(path, ["second"])
        file.write(b' first"]')

    write_atomic(path, interrupted_by_another)
    assert read_json(path) == ["the first"]
    assert os.listdir(tmp_path) == ["notes.json"]


def test_what_a_killed_writer_left_is_found_once_it_is_old(tmp_path):
    old, fresh = tmp_path / ".resume.pt.0123abcd.tmp", tmp_path / ".status.json.0123abcd.tmp"
    for path in (old, fresh, tmp_path / "resume.pt"):
        path.touch()
    os.utime(old, (1, 1))
    assert leftovers(tmp_path) == [old]
    assert set(leftovers(tmp_path, 0.0)) == {old, fresh}


def test_nan_never_enters_a_json_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("content", ["{", "", "[" * 20000, '{"a": ' + "1" * 5000 + "}", "\udce4"])
def test_a_broken_json_file_is_told_in_words(tmp_path, content):
    path = tmp_path / "status.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CorruptRunFile, match="status.json is not readable as JSON"):
        read_json(path)


def test_yaml_aliases_are_refused_before_they_unfold(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &a [x, x]\nb: [*a, *a]\n")
    with pytest.raises(CorruptRunFile, match="aliases"):
        read_yaml(path)
    write_yaml(path, {"b": 1, "a": [1, 2]})
    assert list(read_yaml(path)) == ["b", "a"]


def test_ids_keep_their_zeros_and_empty_cells_stay_text(tmp_path):
    (tmp_path / "t.csv").write_text("image_id,center\n007,\nNA,1\n")
    table = read_text_table(tmp_path / "t.csv")
    assert table["image_id"].tolist() == ["007", "NA"]
    assert table["center"].tolist() == ["", "1"]


def test_readers_never_see_half_a_file_while_it_is_rewritten(tmp_path):
    path = tmp_path / "history.json"
    write_json(path, list(range(2000)))
    writer = multiprocessing.get_context("spawn").Process(target=_rewrite, args=(str(path), 100))
    writer.start()
    reads = 0
    while writer.is_alive() or reads < 50:
        assert len(json.loads(path.read_text())) == 2000
        reads += 1
    writer.join()
    assert writer.exitcode == 0


def _rewrite(path: str, times: int) -> None:
    for _ in range(times):
        write_json(Path(path), list(range(2000)))


def test_a_lock_refuses_a_second_handle_and_ends_with_its_holder(tmp_path):
    path = tmp_path / ".lock"
    assert not is_locked(path)
    with lock_of(path).acquire():
        assert is_locked(path)
        with pytest.raises(TimeoutError):
            lock_of(path).acquire(timeout=0)
    assert not is_locked(path)


@pytest.mark.parametrize(
    "text", ["a: " + "[" * 100_000, "- " * 100_000, "? " * 100_000, "- " * 1999 + "[" * 5, "- " * 1990 + "[" * 5]
)
def test_yaml_that_nests_without_end_is_refused_and_never_ends_the_process(tmp_path, text):
    path = tmp_path / "deep.yaml"
    path.write_text(text)
    with pytest.raises(CorruptRunFile, match="deep.yaml"):
        read_yaml(path)


def test_yaml_keeps_the_kinds_of_its_values(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: 1\nb: [x, 2.5, null]\nc: {d: true, e: '007'}\n# " + "x" * 60_000 + "\n")
    assert read_yaml(path) == {"a": 1, "b": ["x", 2.5, None], "c": {"d": True, "e": "007"}}
