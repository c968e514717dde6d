"""The report pack: names, sameness, what is said when something is missing, and that no cell runs as a formula."""

from __future__ import annotations

import io
import zipfile

import pandas as pd
import pytest
from PIL import Image

from make_runs import LESION, write_experiment, write_run
from mammo_core.analysis.variance import summarise_experiment
from mammo_core.errors import MammoError
from mammo_core.report.model_card import model_card
from mammo_core.report.report_pack import write_pack
from mammo_core.report.tables import escape_latex, safe_csv, seed_numbers, seed_table, to_latex, to_markdown
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import write_json


def picture(_run) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_experiment(tmp_path_factory.mktemp("experiments") / "e", seeds=(42, 43))


@pytest.fixture(scope="module")
def pack(runs, tmp_path_factory):
    return write_pack(runs, tmp_path_factory.mktemp("assets"), ("png", "svg"), picture)


def test_the_files_have_the_promised_names(pack):
    names = {path.name for path in pack.files}
    for seed in (42, 43):
        assert {f"density_{kind}_seed{seed}.png" for kind in ("train", "confusion", "gradcam")} <= names
        assert {f"density_train_seed{seed}.svg", f"density_model_card_seed{seed}.md"} <= names
    assert {"seed_table.csv", "seed_table.md", "seed_table.tex", "captions.md", "README.md"} <= names
    assert pack.problems == ()


def test_the_zip_holds_every_file(pack):
    with zipfile.ZipFile(pack.zip) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(path.name for path in pack.files)


def test_the_same_runs_give_the_same_bytes(runs, pack, tmp_path):
    again = write_pack(runs, tmp_path, ("png", "svg"), picture)
    assert again.zip.read_bytes() == pack.zip.read_bytes()


def test_every_text_file_says_that_it_is_for_research_only(pack):
    texts = [path for path in pack.files if path.suffix in (".md", ".csv", ".tex", ".svg")]
    assert len(texts) >= 10
    for path in texts:
        assert RESEARCH_ONLY in path.read_text(encoding="utf-8"), path.name


def test_captions_name_the_runs_n_and_the_sd(pack):
    text = next(path for path in pack.files if path.name == "captions.md").read_text(encoding="utf-8")
    assert "e/seed_42, e/seed_43" in text
    assert "n = 2" in text
    assert "SD (n-1): sample standard deviation" in text
    for path in pack.files:
        if path.suffix == ".png":
            assert f"**{path.stem}.**" in text


def test_folds_and_several_experiments_keep_their_figures_apart(tmp_path):
    fold = write_run(tmp_path / "x" / "cv" / "seed_42_fold_1", fold=1, class_names=LESION)
    other = write_run(tmp_path / "x" / "plain" / "seed_42")
    again = write_run(tmp_path / "x" / "plain" / "seed_42_2", config={"lr": 1e-4})
    result = write_pack([fold, other, again], tmp_path / "out")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in result.files}
    assert "cv/lesion_train_seed42_fold1.png" in names
    assert {"plain/density_train_seed42.png", "plain/density_train_seed42_2.png"} <= names


def test_what_is_missing_is_said_and_the_rest_is_written(tmp_path):
    good = write_run(tmp_path / "x" / "e" / "seed_1", seed=1)
    going = write_run(tmp_path / "x" / "e" / "seed_2", seed=2, state="stopped", epochs_run=2, with_predictions=False)
    broken = write_run(tmp_path / "x" / "e" / "seed_3", seed=3)
    broken.config_file.write_text("nonsense: 1\n")

    def no_gradcam(run):
        raise MammoError("the checkpoint is gone")

    result = write_pack([good, going, broken], tmp_path / "out", ("png",), no_gradcam)
    problems = " ".join(result.problems)
    for words in ("e/seed_2 is stopped", "no validation metrics", "Unknown setting", "the checkpoint is gone"):
        assert words in problems
    assert {"density_train_seed1.png", "density_train_seed2.png"} <= {path.name for path in result.files}
    readme = next(path for path in result.files if path.name == "README.md").read_text(encoding="utf-8")
    assert all(problem in readme for problem in result.problems)


def test_test_films_get_a_confusion_matrix_of_their_own(tmp_path):
    run = write_run(tmp_path / "e" / "seed_42", with_test=True)
    names = {path.name for path in write_pack([run], tmp_path / "out").files}
    assert {"density_confusion_seed42.png", "density_confusion_test_seed42.png"} <= names


def test_progress_counts_up_to_the_end(runs, tmp_path):
    seen = []
    write_pack(runs, tmp_path, ("svg",), None, lambda done, total, what: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_pack_of_nothing_is_refused(tmp_path):
    with pytest.raises(MammoError, match="at least one run"):
        write_pack([], tmp_path)


# ---- model card ------------------------------------------------------------------------------------------------------------


def test_the_model_card_holds_what_the_files_say(runs):
    run = runs[0]
    card = model_card(run)
    accuracy = run.summary().metrics["accuracy"]
    assert card.startswith(f"# Model card: e/seed_42\n\n**{RESEARCH_ONLY}**")
    assert f"| Accuracy | {accuracy.value:.3f} | {accuracy.ci_low:.3f} to {accuracy.ci_high:.3f} |" in card
    assert "patients shared: 0" in card
    assert "Thresholds: none were fixed" in card
    assert "There is no result on untouched test films." in card
    assert str(run.path) not in card


def test_the_model_card_says_whether_films_are_synthetic(runs):
    assert "do not say whether the films are synthetic" in model_card(runs[0])
    assert "The films are synthetic" in model_card(runs[0], {"synthetic": True})
    assert "not marked as synthetic" in model_card(runs[0], {"synthetic": False})


def test_the_model_card_of_a_running_run_says_what_is_not_known(tmp_path):
    run = write_run(tmp_path / "e" / "seed_42", state="running", epochs_run=1, with_predictions=False)
    run.split_record.unlink()
    card = model_card(run)
    for words in ("State: running", "not finished", "No metrics yet", "not proven in the run's files"):
        assert words in card


def test_the_model_card_shows_the_spread_over_the_seeds_beside_it(runs):
    summary = summarise_experiment(runs)
    write_json(runs[0].path.parent / "seeds_summary.json", summary)
    assert "(n = 2, SD n-1)" in model_card(runs[0])
    (runs[0].path.parent / "seeds_summary.json").unlink()


# ---- tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(cell):
    table = pd.read_csv(io.BytesIO(safe_csv(pd.DataFrame({cell: [cell], "label": ["A"]}))), dtype=str, keep_default_na=False)
    assert table.iloc[0, 0] == f"'{cell}"
    assert table.columns[0] == f"'{cell}"
    assert table.iloc[0, 1] == "A"


def test_numbers_stay_numbers_also_below_zero():
    table = pd.DataFrame({"value": [-1.5, 2.0], "count": [-3, 4]})
    assert pd.read_csv(io.BytesIO(safe_csv(table))).equals(table)


def test_the_seed_table_ends_with_mean_sd_and_n(runs):
    summary = summarise_experiment(runs)
    table = seed_table(summary)
    values = summary["metrics"]["accuracy"]
    assert list(table["Seed"]) == ["42", "43", "Mean ± SD"]
    assert table["Accuracy"].iloc[-1] == f"{values['mean']:.3f} ± {values['sd']:.3f} (n = 2, SD n-1)"
    numbers = pd.read_csv(io.BytesIO(safe_csv(seed_numbers(summary))))
    assert list(numbers["run"]) == ["seed_42", "seed_43", "mean", "SD (n-1)", "n"]
    assert numbers["accuracy"].iloc[3] == pytest.approx(values["sd"])


def test_latex_prints_every_sign_as_it_stands():
    assert escape_latex("50% & a_b #1 ~x^2 {} \\ ± $") == (
        r"50\% \& a\_b \#1 \textasciitilde{}x\textasciicircum{}2 \{\} \textbackslash{} $\pm$ \$"
    )
    text = to_latex(pd.DataFrame({"Run_1": ["a&b", "c"]}), "50 %", "tab:x")
    assert r"Run\_1 \\" in text
    assert r"a\&b \\" in text
    assert text.count(r"\hline") == 4


def test_markdown_cells_cannot_break_the_table():
    text = to_markdown(pd.DataFrame({"a|b": ["x|y\nz"], "n": [1]}))
    assert text.splitlines() == [r"| a\|b | n |", "| --- | ---: |", r"| x\|y z | 1 |"]
