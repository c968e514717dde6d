"""R2 in a quick size, and that the replayed disk would catch a writer that is not careful."""

from __future__ import annotations

import os

import pytest

from mammo_core.storage import write_atomic
from reliability.crash_disk import CrashDisk
from reliability.faults import recording
from reliability.power_loss import check


def _careless(path, content):
    path.write_bytes(content)


def _without_sync(path, content):
    tmp = path.with_name("tmp")
    tmp.write_bytes(content)
    os.replace(tmp, path)


def _careful(path, content):
    write_atomic(path, lambda file: file.write(content))


def _may_be_found(write, folder):
    """What a power loss may leave of a file that is written a second time."""
    path = folder / "a.json"
    path.write_bytes(b"old version")
    disk = CrashDisk.holding({str(path): b"old version"})
    found = set()
    with recording(folder) as calls:
        write(path, b"new version")
    for call in calls:
        disk.take(call)
        found |= {names.get(str(path), b"nothing") for names in disk.after_power_loss()}
    return found, {names.get(str(path)) for names in disk.after_power_loss()}


@pytest.mark.parametrize("write", [_careless, _without_sync])
def test_the_replayed_disk_loses_what_a_careless_writer_wrote(write, tmp_path):
    at_any_point, _ = _may_be_found(write, tmp_path)
    assert not at_any_point <= {b"old version", b"new version"}


def test_the_one_writer_leaves_the_old_or_the_new_version_and_at_its_end_the_new_one(tmp_path):
    at_any_point, at_the_end = _may_be_found(_careful, tmp_path)
    assert at_any_point == {b"old version", b"new version"}
    assert at_the_end == {b"new version"}


def test_no_failing_call_and_no_power_loss_costs_what_was_kept(tmp_path):
    found = check(full=False, seed=1, folder=tmp_path)
    assert all(finding.passed for finding in found), "\n".join(map(str, found))
