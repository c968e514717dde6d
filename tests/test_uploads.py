"""Uploads on disk: nameless, and gone afterwards."""

from __future__ import annotations

import pytest

from mammo_core.data.sandbox import read_film_safely
from mammo_core.errors import FilmUnreadable
from mammo_core.settings import Workspace
from mammo_core.workflows.uploads import Upload, on_disk, stage, told_by_name


def test_the_file_on_disk_carries_no_name_and_is_erased(workspace: Workspace) -> None:
    upload = Upload("Doe_Jane_1961.dcm", b"some bytes")
    with on_disk(workspace, [upload]) as (path,):
        assert path.read_bytes() == b"some bytes"
        assert "Doe" not in str(path)
        assert upload.sha256 in path.name
    assert not path.exists()


def test_two_who_read_the_same_film_do_not_erase_each_others(workspace: Workspace) -> None:
    upload = Upload("a.png", b"x")
    with on_disk(workspace, [upload, upload]) as (first, second):
        with on_disk(workspace, [upload]):
            pass
        stage(workspace, upload).unlink()
        first.unlink()
        assert second.read_bytes() == b"x"


def test_two_imports_of_one_file_each_have_their_own(workspace: Workspace) -> None:
    first, second = (stage(workspace, Upload("m.mammotrace", b"a model")) for _ in range(2))
    first.unlink()
    assert second.read_bytes() == b"a model"


def test_it_is_erased_after_an_error_too(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), on_disk(workspace, [Upload("a.png", b"x")]) as (path,):
        raise ZeroDivisionError
    assert not path.exists()


def test_the_reason_names_the_file_as_the_user_knows_it(workspace: Workspace) -> None:
    upload = Upload("report.pdf", b"%PDF-1.7 no film")
    with on_disk(workspace, [upload]) as (path,), pytest.raises(FilmUnreadable) as caught:
        read_film_safely(path)
    sentence = told_by_name(str(caught.value), path, upload)
    assert sentence.startswith("report.pdf cannot be used")
    assert upload.sha256 not in sentence


@pytest.mark.parametrize(
    ("name", "shown"), [("C:\\films\\a.dcm", "a.dcm"), ("../../etc/b.png", "b.png"), ("c.tif", "c.tif"), ("", "film")]
)
def test_only_the_last_part_of_a_name_is_shown(name: str, shown: str) -> None:
    assert Upload(name, b"").shown_name == shown
