"""The doctor: each check against something that is really wrong, and cleaning that touches nothing but leftovers.

The thorough checks start real processes; the file takes some fifteen seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from command_line import run_command
from make_films import write_dicom
from make_runs import write_experiment, write_run
from mammo_core.data.worker_process import PARENT, process_mark
from mammo_core.runs import queue
from mammo_core.runs.listing import list_cards
from mammo_core.runs.liveness import this_process
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import PROJECT_ROOT, Workspace
from mammo_core.storage import LEFTOVER_SECONDS, lock_of, write_json
from mammo_core.workflows import doctor, doctor_installation
from mammo_core.workflows.doctor_check import Check
from mammo_core.workflows.doctor_films import SAMPLES, check_decoders
from mammo_core.workflows.doctor_installation import (
    check_card,
    check_packages,
    check_python,
    check_strays,
    check_torch,
    check_weights,
    check_with_torch,
    missing_decoders,
    pinned_versions,
)
from mammo_core.workflows.doctor_workspace import check_disk, check_locks, check_writing, lock_holder
from mammo_core.workflows.housekeeping import list_trash
from mammo_core.workflows.leftovers import check_leftovers, clean, find_leftovers
from mammo_core.workflows.uploads import Upload, stage

OLD = LEFTOVER_SECONDS + 60


def age(*paths: Path) -> None:
    """Make files and folders look as if nobody had touched them for more than an hour."""
    for path in paths:
        for entry in [*(path.rglob("*") if path.is_dir() else ()), path]:
            os.utime(entry, (time.time() - OLD, time.time() - OLD))


def is_gone(process: psutil.Process, within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def files_of(workspace: Workspace) -> set[Path]:
    return {path for path in workspace.home.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


# ---- the installation ---------------------------------------------------------------------------------------------------


def test_this_installation_has_what_the_requirements_name():
    pins = pinned_versions()
    assert {"torch", "streamlit", "pydicom"} <= set(pins)
    assert check_packages().state in ("good", "note")
    assert (check_python().state, check_strays().state) == ("good", "good")
    assert missing_decoders() == []


@pytest.mark.parametrize(("version", "bits"), [((3, 10, 14), 64), ((3, 11, 2), 32)])
def test_an_old_or_small_python_is_broken(version, bits):
    found = check_python(version, bits)
    assert found.state == "broken" and "Python 3.11 or later" in found.todo


def test_a_missing_package_is_broken_and_another_version_is_worth_knowing():
    assert "not-a-package" in check_packages({"numpy": "0.1", "not-a-package": "1.0"}).found
    assert check_packages({"not-a-package": "1.0"}).state == "broken"
    other = check_packages({"numpy": "0.1"})
    assert (other.state, f"numpy {np.__version__} instead of 0.1" in other.found) == ("note", True)


def test_a_build_of_the_pinned_version_is_that_version(monkeypatch):
    monkeypatch.setattr(doctor_installation.importlib.metadata, "version", lambda name: "2.15.0+cpu")
    assert check_packages({"torch": "2.15.0"}).state == "good"


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("module", ["dl", "rle"])
def test_a_module_that_takes_the_place_of_a_decoders_is_found(tmp_path, monkeypatch, module, kind):
    stray = tmp_path / "stuff" / (module if kind == "folder" else f"{module}.py")
    (stray / "x" if kind == "folder" else stray.parent).mkdir(parents=True)
    if kind == "file":
        stray.write_text("")
    elif module == "rle":
        (stray / "__init__.py").write_text("")  # a plain folder would come after the installed package
    monkeypatch.syspath_prepend(str(stray.parent))
    found = check_strays()
    assert found.state == "broken"
    assert f"'{stray.name}' in the folder 'stuff'" in found.found
    assert str(tmp_path) not in found.found + found.todo


def test_every_transfer_syntax_is_decoded_here_in_a_child():
    assert (check_decoders().state, check_decoders().found) == ("good", f"all {len(SAMPLES)} kinds of DICOM film are read")


def test_the_samples_are_what_another_encoder_makes_of_the_same_picture(tmp_path):
    from test_transfer_syntaxes import by_gdcm

    for bits, syntax in ((12, "1.2.840.10008.1.2.4.70"), (12, "1.2.840.10008.1.2.4.90"), (8, "1.2.840.10008.1.2.4.50")):
        values = np.arange(256).reshape(16, 16) * 2 ** (bits - 8)
        plain = write_dicom(tmp_path / "plain.dcm", values.astype(f"u{1 if bits == 8 else 2}"), BitsStored=bits, HighBit=bits - 1)
        import pydicom

        made = pydicom.dcmread(by_gdcm(plain, tmp_path / "packed.dcm", UID(syntax)))
        (sample,) = [sample for sample in SAMPLES if sample.syntax == syntax]
        assert next(generate_frames(made.PixelData, number_of_frames=1)).rstrip(b"\0") == sample.codestream.rstrip(b"\0")


def test_a_decoder_that_fails_or_shows_other_values_is_named():
    lossless, jpeg = SAMPLES[6], SAMPLES[4]
    broken = replace(lossless, codestream=lossless.codestream[: len(lossless.codestream) // 2])
    other = replace(jpeg, tolerance=0.0)
    found = check_decoders((SAMPLES[0], broken, other))
    assert found.state == "broken"
    assert "1 of 3 kinds" in found.found
    assert f"{lossless.name} (" in found.found and f"{jpeg.name} (it shows other values)" in found.found
    assert "/" not in found.found.replace("4 / 255", "")


def test_a_torch_that_cannot_be_imported_is_told_without_places(tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"raise ImportError('{tmp_path}/lib/libtorch.so: no such file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = check_with_torch()
    assert found.state == "broken"
    assert "libtorch.so" in found.found and str(tmp_path) not in found.found


def test_a_torch_that_ends_its_process_ends_no_other(tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = check_with_torch()
    assert found.state == "broken" and "signal 6" in found.found


def test_weights_of_some_presets_are_worth_knowing_and_of_none_are_broken():
    here = {"preset": "demo", "arch": "tf_efficientnet_lite0", "source": "a package"}
    gone = {"preset": "big", "arch": "efficientnet_b0", "source": None}
    assert check_weights([here]).state == "good"
    some = check_weights([here, gone])
    assert (some.state, "not for big" in some.found, "fetch-weights" in some.todo) == ("note", True, True)
    assert check_weights([gone]).state == "broken"


def test_a_graphics_card_that_cannot_compute_is_broken(monkeypatch):
    assert check_card({"card": "", "card_problem": "RuntimeError: no kernel image"}).state == "broken"
    assert "used for training" in check_card({"card": "Card X", "card_problem": ""}).found
    monkeypatch.setattr(doctor_installation, "has_nvidia_driver", lambda: True)
    assert check_card({"card": "", "card_problem": ""}).state == "note"
    assert check_torch({"problem": "torchvision: RuntimeError"}).state == "broken"


# ---- the workspace --------------------------------------------------------------------------------------------------------


def test_free_disk_is_held_against_two_checkpoints_and_a_margin(workspace):
    run = write_run(workspace.experiments / "e" / "seed_1", epochs=1, replicates=2)
    with run.resume_file.open("wb") as file:
        file.truncate(2**30)
    assert check_disk(workspace, 2 * 2**30).state == "broken"
    assert check_disk(workspace, 3 * 2**30).state == "note"
    assert check_disk(workspace, 30 * 2**30).state == "good"


def test_writing_is_tried_in_every_folder_and_leaves_nothing(workspace):
    write_experiment(workspace.experiments / "e", epochs=1, replicates=2)
    before = files_of(workspace)
    found = by_name(check_writing(workspace))
    assert {name: check.state for name, check in found.items()} == {"writing": "good", "locking": "good", "clock": "good"}
    assert files_of(workspace) == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user who may not write everywhere")
def test_a_folder_that_takes_no_file_is_named(workspace):
    workspace.queue.mkdir()
    workspace.queue.chmod(0o500)
    (found,) = check_writing(workspace)
    workspace.queue.chmod(0o700)
    assert (found.state, "'queue'" in found.found) == ("broken", True)


def test_a_path_that_is_no_folder_for_writing_is_broken_in_words(workspace, monkeypatch):
    def refuse(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("mammo_core.workflows.doctor_workspace.write_text", refuse)
    (found,) = check_writing(workspace)
    assert found.found == f"cannot write in '{workspace.home.name}' (Permission denied)"
    assert str(workspace.home.parent) not in found.found + found.todo


def test_a_heartbeat_from_the_future_is_worth_knowing(workspace):
    run = write_run(workspace.experiments / "e" / "seed_1", state="running", epochs=3, epochs_run=1, replicates=2)
    status = run.status().model_copy(update={**this_process(), "heartbeat_at": time.time() + 7200})
    write_json(run.status_file, status.to_json())
    with lock_of(run.lock_file).acquire():
        found = by_name(check_writing(workspace))["clock"]
    assert (found.state, "e/seed_1" in found.found) == ("note", True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who holds a lock")
def test_the_holder_of_a_lock_is_named(workspace):
    run = write_run(workspace.experiments / "e" / "seed_1", state="running", epochs=3, epochs_run=1, replicates=2)
    write_json(run.status_file, run.status().model_copy(update={"heartbeat_at": time.time()}).to_json())
    assert lock_holder(run.lock_file) is None
    with lock_of(run.lock_file).acquire():
        assert lock_holder(run.lock_file) == os.getpid()
        found = check_locks(workspace)
    assert "e/seed_1 is held by this program, last heard of " in found.found
    assert found.state == "good"


def test_a_holder_without_a_sign_of_life_and_a_dead_run_are_told_apart(workspace):
    run = write_run(workspace.experiments / "e" / "seed_1", state="running", epochs=3, epochs_run=1, replicates=2)
    write_json(run.status_file, run.status().model_copy(update={"heartbeat_at": time.time() - 1200}).to_json())
    with lock_of(run.lock_file).acquire():
        silent = check_locks(workspace)
    dead = check_locks(workspace)
    assert (silent.state, "stop it on the Queue page" in silent.todo) == ("note", True)
    assert (dead.state, "interrupted: e/seed_1" in dead.found, "Resume" in dead.todo) == ("note", True, True)


def test_a_queue_that_nobody_serves_is_told(workspace):
    assert check_locks(workspace).state == "good"
    queue.enqueue(workspace, "audit", {}, "Audit")
    assert "Start the app" in check_locks(workspace).todo
    with lock_of(workspace.supervisor_lock).acquire():
        assert check_locks(workspace).state == "good"


# ---- leftovers --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def littered(workspace: Workspace) -> dict[str, Path]:
    """A workspace with one leftover of each kind, by kind."""
    run = write_run(workspace.experiments / "e" / "seed_1", epochs=1, replicates=2)
    temporary = run.path / ".resume.pt.0a1b2c3d.tmp"
    temporary.write_bytes(b"half a checkpoint")
    begun = workspace.experiments / "e" / "seed_2"
    begun.mkdir()
    (begun / "split.csv").write_text("image_id\n")
    building = workspace.datasets / ".hospital.tmp"
    building.mkdir(parents=True)
    (building / "manifest.csv").write_text("image_id\n")
    with lock_of(workspace.datasets / ".hospital.lock").acquire():
        pass
    upload = stage(workspace, Upload("Anna_Miller.dcm", b"a film"))
    opened = workspace.home / ".opened_x1"
    opened.mkdir()
    age(temporary, begun, upload, opened)
    return {"temporary file": temporary, "empty run": begun, "half-made folder": building, "upload": upload, "opened": opened}


def test_every_kind_of_leftover_is_found_and_taken_away(workspace, littered):
    kept = files_of(workspace) - {path for place in littered.values() for path in [place, *place.rglob("*")]}
    assert sorted(item.kind for item in find_leftovers(workspace)) == [
        "empty run", "half-made folder", "half-made folder", "temporary file", "upload",
    ]  # fmt: skip
    found = check_leftovers(workspace)
    assert (found.state, "2 half-made folders" in found.found) == ("note", True)
    cleaning = clean(workspace)
    assert cleaning.problems == () and cleaning.freed > 0
    assert any("1 empty run moved to the trash: experiments/e/seed_2" in sentence for sentence in cleaning.done)
    assert not any(path.exists() for path in littered.values())
    assert kept <= files_of(workspace)
    assert [path.name for path in list_trash(workspace)] == ["seed_2"]
    assert [card.id for card in list_cards(workspace)] == ["e/seed_1"]
    assert (check_leftovers(workspace).state, clean(workspace).done) == ("good", ())


def test_what_somebody_works_on_is_left_alone(workspace, littered):
    run = RunDir(workspace.experiments / "e" / "seed_1")
    request = queue.enqueue(workspace, "import_model", {"source": str(littered["upload"])}, "Import")
    with lock_of(run.lock_file).acquire(), lock_of(workspace.datasets / ".hospital.lock").acquire():
        left = {item.path for item in find_leftovers(workspace)}
        assert not {littered["temporary file"], littered["half-made folder"], littered["upload"]} & left
        clean(workspace)
    assert littered["temporary file"].exists() and littered["half-made folder"].exists() and littered["upload"].exists()
    queue.update(workspace, request.id, state="failed", finished_at=time.time())
    assert littered["upload"] in {item.path for item in find_leftovers(workspace)}


def test_what_is_young_is_left_alone(workspace, littered):
    for name in ("temporary file", "empty run", "upload", "opened"):
        os.utime(littered[name])
    assert [item.kind for item in find_leftovers(workspace)] == ["half-made folder"]  # its lock says that nobody builds it


def test_nothing_outside_the_workspace_is_reached_through_a_link(workspace, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".x.tmp").write_text("of another program")
    workspace.datasets.mkdir()
    workspace.experiments.mkdir()
    (workspace.experiments / "e").mkdir()
    for link in (workspace.datasets / ".a.tmp", workspace.experiments / "e" / "seed_1", workspace.home / ".opened_a"):
        link.symlink_to(outside)
    (workspace.home / ".x.tmp").symlink_to(outside / ".x.tmp")
    age(outside)
    assert find_leftovers(workspace, time.time() + 10 * OLD) == []
    clean(workspace)
    assert (outside / ".x.tmp").exists()


def test_old_requests_are_forgotten_and_new_ones_kept(workspace):
    old, new = (queue.enqueue(workspace, "audit", {}, title) for title in ("old", "new"))
    queue.update(workspace, old.id, state="done", finished_at=1.0)
    queue.update(workspace, new.id, state="done", finished_at=time.time())
    assert "1 old request" in check_leftovers(workspace).found
    assert clean(workspace).done == ("1 request that ended long ago forgotten.",)
    assert [request.title for request in queue.list_requests(workspace)] == ["new"]


@pytest.mark.skipif(sys.platform != "linux", reason="orphans go to the first process of the system")
def test_a_film_reader_whose_program_is_gone_is_ended_and_others_are_not(workspace):
    reader = "import sys, time; time.sleep(60)"
    give_away = (
        "import os, subprocess, sys\nos.environ[sys.argv[2]] = str(os.getpid()) + sys.argv[3]\n"
        "print(subprocess.Popen([sys.executable, '-c', sys.argv[1], 'mammo_core.data.decode_worker'],"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True).pid)"
    )
    here = process_mark(os.getpid()).removeprefix(str(os.getpid()))
    command = [sys.executable, "-W", "ignore", "-c", give_away, reader, PARENT]
    environment = {**os.environ, PARENT: process_mark(os.getpid())}
    with subprocess.Popen([sys.executable, "-c", reader, "mammo_core.data.decode_worker"], env=environment) as own:
        pids = [
            int(subprocess.run([*command, place], capture_output=True, text=True, check=True).stdout)
            for place in (here, "@pid:[1]")
        ]
        orphan, of_a_container = map(psutil.Process, pids)
        try:
            assert {item.pid for item in find_leftovers(workspace)} == {orphan.pid}
            clean(workspace)
            assert is_gone(orphan)
            assert own.poll() is None and of_a_container.is_running()
        finally:
            own.kill()
            for process in (orphan, of_a_container):
                if process.is_running():
                    process.kill()


# ---- the command ------------------------------------------------------------------------------------------------------------


def test_the_command_prints_one_document_and_cleans_on_request(workspace, littered):
    done = run_command(workspace.home, "doctor", "--json", "--clean")
    told = json.loads(done.stdout)
    found = {check["name"]: check for check in told["checks"]}
    assert (done.returncode, told["good"]) == (0, True), told
    assert {"python", "packages", "strays", "disk", "writing", "locks", "leftovers", "decoders", "torch", "gpu"} <= set(found)
    assert "torchvision" in found["torch"]["found"]
    assert "demo" not in found["weights"]["found"]  # its weights come with a package
    assert len(told["cleaned"]["done"]) == 4 and not littered["upload"].exists()
    assert str(workspace.home) not in done.stdout + done.stderr


def test_something_broken_is_exit_code_1_with_what_to_do(workspace, tmp_path, monkeypatch):
    (tmp_path / "stuff" / "dl").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "stuff"))
    monkeypatch.setattr(doctor, "thorough_checks", lambda progress=None: [])
    done = run_command(workspace.home, "doctor")
    assert done.returncode == 1
    assert "BROKEN Modules in the way: 'dl' in the folder 'stuff'" in done.stdout
    assert "-> Rename or move" in done.stdout


def test_a_package_that_is_not_there_is_one_sentence_of_any_command(tmp_path):
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('No module', name='typer')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT_ROOT)])}
    command = [sys.executable, "-m", "mammo_core", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the module 'typer' is not installed")
    assert len(done.stderr.splitlines()) == 1


def test_a_look_that_cannot_be_taken_is_broken_and_the_others_go_on(workspace, monkeypatch):
    def gone(workspace: Workspace) -> list[Check]:
        raise ModuleNotFoundError("No module named 'psutil'", name="psutil")

    monkeypatch.setattr(doctor, "_locks", gone)
    found = by_name(doctor.quick_checks(workspace))
    assert found["locks"].state == "broken" and "psutil cannot be imported" in found["locks"].found
    assert found["writing"].state == "good"


def test_the_quick_checks_load_nothing_heavy(workspace):
    code = (
        "import sys\nfrom mammo_core.settings import open_workspace\nfrom mammo_core.workflows.doctor import quick_checks\n"
        "quick_checks(open_workspace())\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "torchvision", "timm", "pydicom", "altair", "sklearn"} & set(done.stdout.split())


def test_embeddings_that_were_never_finished_are_left_behind_and_one_at_work_is_not(workspace):
    old, fresh = (workspace.embeddings / f".films_resnet50.{mark}.tmp" for mark in ("0a", "0b"))
    for folder in (old, fresh):
        folder.mkdir(parents=True)
        (folder / "embeddings.npy").write_bytes(b"half")
    for path in (old / "embeddings.npy", old):
        os.utime(path, (1.0, 1.0))
    found = [item for item in find_leftovers(workspace) if item.kind == "half-made folder"]
    assert [item.path for item in found] == [old]
