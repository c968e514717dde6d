"""Which pages may wait for torch: those that look at a film with a model, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from make_runs import write_experiment
from mammo_core.settings import HOME_VARIABLE, Workspace

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("home", "films", "splits", "queue", "history", "compare", "evaluate", "gradcam", "predict", "models", "report")
SCRIPT = """
import sys
sys.path.append("tests")
from installed_components import look_once
from streamlit.testing.v1 import AppTest
look_once()
for name in {pages!r}:
    page = AppTest.from_file("app.py", default_timeout=60).switch_page(f"pages/{{name}}.py").run()
    assert page.title and not page.exception, (name, page.exception)
    assert "torch" not in sys.modules, f"{{name}} loads torch"
"""


def test_no_page_loads_torch_before_a_film_is_looked_at(workspace: Workspace) -> None:
    for run in write_experiment(workspace.experiments / "density", seeds=(42, 43), epochs=3, replicates=10):
        run.best_model.write_bytes(b"weights")
    environment = {**os.environ, HOME_VARIABLE: str(workspace.home)}
    command = [sys.executable, "-c", SCRIPT.format(pages=PAGES)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
