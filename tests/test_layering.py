"""The architecture, enforced: imports point one way, readers know no torch, the library knows no Streamlit."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "mammo_core"

ALLOWED: dict[str, set[str]] = {
    "base": set(),
    "data": {"base"},
    "runs": {"base", "data"},
    "analysis": {"base", "data", "runs"},
    "report": {"base", "data", "runs", "analysis"},
    "training": {"base", "data", "runs", "analysis"},
    "explain": {"base", "data", "runs", "analysis", "training"},
    "predict": {"base", "data", "runs", "analysis", "training", "explain"},
    "workflows": {"base", "data", "runs", "analysis", "report", "training", "explain", "predict"},
    "cli": {"base", "data", "runs", "analysis", "report", "training", "explain", "predict", "workflows"},
}
WITHOUT_TORCH = {"base", "data", "runs", "analysis", "report"}
TORCH = {"torch", "torchvision", "timm", "pytorch_grad_cam", "accelerate"}
PAGES_WITH_TORCH = {"train", "gradcam", "predict"}
"""And these only when they are asked for a model; opening them need not."""

STARTS_THE_APP = "mammo_core.workflows.server"
"""The one module that calls Streamlit, to run it; it draws nothing."""

MODULES = sorted(CORE.rglob("*.py"))


def _layer(name: str) -> str:
    parts = name.split(".")
    if len(parts) < 2:
        return "base"
    return parts[1] if parts[1] in ALLOWED else ("cli" if parts[1].startswith("cli") or parts[1] == "__main__" else "base")


@functools.cache
def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_one_way(path):
    layer = _layer(_name(path))
    used = {_layer(name) for name in _imports(path) if name.startswith("mammo_core")}
    assert used <= ALLOWED[layer] | {layer}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_the_library_knows_no_streamlit_and_readers_no_torch(path):
    layer = _layer(_name(path))
    banned = set() if _name(path) == STARTS_THE_APP else {"streamlit"}
    banned |= TORCH if layer in WITHOUT_TORCH else set()
    assert not banned & {name.split(".")[0] for name in _imports(path)}


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_what_the_pages_open_with_does_not_import_torch():
    loaded = _modules_after(
        "import mammo_core.workflows.supervisor, mammo_core.workflows.launch, mammo_core.workflows.housekeeping, "
        "mammo_core.runs.listing, mammo_core.analysis.compare, mammo_core.report.report_pack, mammo_core.workflows.jobs"
    )
    assert not TORCH & loaded


def test_the_command_line_starts_without_heavy_modules():
    assert not {"torch", "pandas", "altair", "sklearn"} & _modules_after("import mammo_core.cli")


@pytest.mark.parametrize("path", sorted((ROOT / "pages").rglob("*.py")), ids=_name)
def test_only_pages_that_need_a_model_name_torch(path):
    imported = {name.split(".")[0] for name in _imports(path)}
    assert path.stem in PAGES_WITH_TORCH or not TORCH & imported


@pytest.mark.parametrize("path", [*MODULES, ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))], ids=_name)
def test_modules_stay_short_enough_to_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 400
