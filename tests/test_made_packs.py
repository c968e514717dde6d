"""What the Report page lists before and after a pack is made."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from make_runs import write_experiment, write_run
from mammo_core.report.report_pack import PackOptions, write_pack
from mammo_core.settings import Workspace
from mammo_core.workflows.made_packs import list_packs, planned_content, planned_figures


def test_the_list_before_is_what_the_pack_then_holds(workspace: Workspace) -> None:
    runs = write_experiment(workspace.experiments / "density", seeds=(42, 43), epochs=2, with_test=True, replicates=5)
    runs.append(write_run(workspace.experiments / "other" / "seed_1", epochs=2, replicates=5))
    runs[0].best_model.write_bytes(b"weights")
    options = PackOptions(("svg",), gradcam=lambda run: b"picture")
    made = write_pack(runs, workspace.reports / "20260101_000000", options)
    (pack,) = list_packs(workspace)
    assert list(pack.files) == planned_content(runs, ("svg",))
    assert pack.size == made.zip.stat().st_size


def test_a_kept_model_promises_a_gradcam_figure(workspace: Workspace) -> None:
    run = write_run(workspace.experiments / "density" / "seed_42", epochs=2, replicates=5)
    assert "density_gradcam_seed42.png" not in planned_content([run], ("png",))
    run.best_model.write_bytes(b"weights")
    assert "density_gradcam_seed42.png" in planned_content([run], ("png",))


def test_half_a_zip_is_not_listed(workspace: Workspace) -> None:
    folder = workspace.reports / "20260101_000000"
    folder.mkdir(parents=True)
    (folder / "report_pack.zip").write_bytes(b"PK\x03\x04 half")
    assert list_packs(workspace) == []


def test_nothing_chosen_promises_nothing(workspace: Workspace) -> None:
    assert planned_content([], ("png",)) == []
    assert list_packs(workspace) == []


def test_every_figure_that_can_be_looked_at_can_be_drawn(workspace: Workspace) -> None:
    runs = write_experiment(workspace.experiments / "density", seeds=(42, 43), epochs=2, with_test=True, replicates=5)
    figures = planned_figures(runs)
    assert len(figures) == 2 * 7 + 3
    for item in figures.values():
        figure = item.prepare()
        assert figure.build(200).description
        assert len(figure.data)
