"""The report pack: names, sameness, what is said when something is missing, and that no cell runs as a formula."""

from __future__ import annotations

import io
import re
import zipfile

import pandas as pd
import pytest
from PIL import Image

from make_runs import DENSITY, LESION, write_experiment, write_run
from mammo_core.analysis.experiment_summary import summarise_experiment
from mammo_core.analysis.finished import finished_runs
from mammo_core.analysis.variance import describe, metric_spread
from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError, MammoError
from mammo_core.presets import load_preset
from mammo_core.reading import read_json, read_text_table
from mammo_core.report.figures import FigureSize
from mammo_core.report.pack_figures import short_names
from mammo_core.report.pack_tables import class_tables, judged_alike
from mammo_core.report.pdf_bytes import read_objects
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.privacy import cleaned, without_places
from mammo_core.report.report_pack import PackOptions, missing_words, write_pack
from mammo_core.report.run_facts import Known, RunFacts
from mammo_core.report.tables import escape_latex, safe_csv, seed_numbers, seed_table, to_latex, to_markdown, without_formulas
from mammo_core.runs.schema import MetricValue
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import sha256_of, write_json, write_table


def picture(_run) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "png")
    return buffer.getvalue()


def known(_run) -> Known:
    return Known({"synthetic": True, "unreadable": 2, "left_out": [{"reason": "no label", "count": 3}]}, 1, 3_400_000)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = write_experiment(tmp_path_factory.mktemp("experiments") / "e", seeds=(42, 43), with_test=True, replicates=20)
    for run in made:
        run.best_model.write_bytes(b"weights")
    return made


OPTIONS = PackOptions(("png", "svg", "pdf"), FigureSize(ppi=72), picture, known)


@pytest.fixture(scope="module")
def pack(runs, tmp_path_factory):
    return write_pack(runs, tmp_path_factory.mktemp("assets"), OPTIONS)


def content(pack, name: str) -> str:
    return (pack.zip.parent / name).read_text(encoding="utf-8")


def test_the_files_have_the_promised_names(pack):
    names = {path.name for path in pack.files}
    for seed in (42, 43):
        assert {f"density_{kind}_seed{seed}.png" for kind in ("train", "confusion", "gradcam")} <= names
        assert {f"density_train_seed{seed}.svg", f"density_model_card_seed{seed}.md"} <= names
        for part in ("roc", "calibration", "confusion"):
            assert {f"density_{part}_seed{seed}.pdf", f"density_{part}_test_seed{seed}.png"} <= names
    assert {"seed_table.csv", "seed_table.md", "seed_table.tex", "captions.md", "README.md"} <= names
    assert {"class_table.csv", "class_table.md", "class_table.tex", "density_seeds_metrics.png"} <= names
    assert {"claim_2024.md", "tripod_ai.md", "stard_ai.md", "config.yaml", "environment.json", "split.json"} <= names
    assert pack.problems == ()


def test_the_zip_holds_every_file(pack):
    with zipfile.ZipFile(pack.zip) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(path.relative_to(pack.zip.parent).as_posix() for path in pack.files)


def test_the_same_runs_give_the_same_bytes(runs, pack, tmp_path):
    again = write_pack(runs, tmp_path, OPTIONS)
    assert again.zip.read_bytes() == pack.zip.read_bytes()


def test_every_document_says_that_it_is_for_research_only(pack):
    texts = [path for path in pack.files if path.suffix in (".md", ".tex", ".svg")]
    texts += [path for path in pack.files if path.name.endswith("table.csv")]
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
    for figure in ("density_train_seed42", "density_roc_seed42", "density_seeds_val_loss"):
        assert "Smoothing: none." in text.split(f"**{figure}.**")[1].split("\n\n")[0]


def test_folds_and_several_experiments_keep_their_figures_apart(tmp_path):
    fold = write_run(tmp_path / "x" / "cv" / "seed_42_fold_1", fold=1, replicates=10)
    other = write_run(tmp_path / "x" / "plain" / "seed_42", replicates=10)
    again = write_run(tmp_path / "x" / "plain" / "seed_42_2", config={"lr": 1e-4}, replicates=10)
    result = write_pack([fold, other, again], tmp_path / "out", PackOptions(("svg",)))
    names = {path.relative_to(tmp_path / "out").as_posix() for path in result.files}
    assert "cv/density_train_seed42_fold1.svg" in names
    assert {"plain/density_train_seed42.svg", "plain/density_train_seed42_2.svg"} <= names
    assert {"compare_val_loss.svg", "compare_metrics.svg", "compare_table.tex", "plain/checklists/claim_2024.md"} <= names


def test_experiments_of_different_classes_are_not_compared(tmp_path):
    runs = [write_run(tmp_path / "x" / name / "seed_42", class_names=classes, replicates=5, epochs=2) for name, classes in KINDS]
    result = write_pack(runs, tmp_path / "out", PackOptions(("svg",)))
    assert not [path for path in result.files if path.name.startswith("compare")]
    assert any("different classes" in problem for problem in result.problems)


KINDS = (("density", DENSITY), ("lesion", LESION))


def test_a_comparison_says_which_short_name_is_which_experiment():
    assert short_names(["a" * 30, "a" * 29, "b"], 12) == {"a" * 30: "aaaaa…aaaaa", "a" * 29: "aaaaa…aaaaa (2)", "b": "b"}


def test_what_is_missing_is_said_and_the_rest_is_written(tmp_path):
    good = write_run(tmp_path / "x" / "e" / "seed_1", seed=1)
    going = write_run(tmp_path / "x" / "e" / "seed_2", seed=2, state="stopped", epochs_run=2, with_predictions=False)
    broken = write_run(tmp_path / "x" / "e" / "seed_3", seed=3)
    broken.config_file.write_text("nonsense: 1\n")
    good.best_model.write_bytes(b"weights")

    def no_gradcam(run):
        raise MammoError("the checkpoint is gone")

    result = write_pack([good, going, broken], tmp_path / "out", PackOptions(("png",), gradcam=no_gradcam))
    problems = " ".join(result.problems)
    for words in ("e/seed_2 is stopped", "no validation metrics", "Unknown setting", "the checkpoint is gone"):
        assert words in problems
    assert {"density_train_seed1.png", "density_train_seed2.png"} <= {path.name for path in result.files}
    readme = content(result, "README.md")
    assert all(problem in readme for problem in result.problems)


def test_test_figures_are_there_only_where_there_are_test_results(tmp_path):
    run = write_run(tmp_path / "e" / "seed_42", replicates=10)
    names = {path.name for path in write_pack([run], tmp_path / "out").files}
    assert "density_confusion_seed42.png" in names
    assert not [name for name in names if "_test_" in name]


def test_a_run_of_one_class_gets_a_sentence_instead_of_a_roc_curve(tmp_path):
    run = write_run(tmp_path / "e" / "seed_42", replicates=10)
    table = run.predictions("val")
    write_table(run.predictions_file("val"), table[table["y_true"] == "A"])
    result = write_pack([run], tmp_path / "out", PackOptions(("svg",)))
    assert any("roc" in problem and "one class" in problem or "no cases" in problem for problem in result.problems)


def test_progress_counts_up_to_the_end(runs, tmp_path):
    seen = []
    write_pack(runs[:1], tmp_path, PackOptions(("svg",)), lambda done, total, what: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(seen[-1][1] + 1))


def test_every_file_can_be_checked_against_the_manifest(pack):
    folder = pack.zip.parent
    lines = dict(reversed(line.split("  ")) for line in content(pack, "reproduce/MANIFEST.sha256").splitlines())
    others = {path.relative_to(folder).as_posix() for path in pack.files} - {"reproduce/MANIFEST.sha256"}
    assert set(lines) == others
    assert all(sha256_of(folder / name) == sha for name, sha in lines.items())


def test_the_bundle_names_hashes_and_commands_that_work_again(runs, pack, tmp_path):
    hashes = pd.read_csv(pack.zip.parent / "reproduce" / "hashes.csv")
    found = hashes.set_index(["run", "file"])["sha256"]
    assert found["e/seed_42", "split.csv"] == sha256_of(runs[0].split_table)
    assert found["e/seed_43", "best_model.pth"] == sha256_of(runs[1].best_model)
    assert "--experiment e_again --seeds 42,43" in content(pack, "reproduce/README.md")
    again = load_preset(pack.zip.parent / "reproduce" / "e" / "seed_42" / "config.yaml")
    assert TrainConfig.from_dict(again.settings) == runs[0].config()
    assert not [path for path in pack.files if path.name == "split.csv"]


SECRETS = ("canary-user", "canary-host", "CANARY", "/home/", "canary_cwd")


def test_no_file_of_a_pack_names_a_user_a_machine_or_a_folder(tmp_path):
    home = tmp_path / "canary-user" / "runs"
    run = write_run(
        home / "e" / "seed_42", with_test=True, replicates=10, config={"weights": "/home/canary-user/my weights/best.pth"}
    )
    run.best_model.write_bytes(b"weights")
    environment = read_json(run.environment_file)
    private = {"host": "canary-host", "user": "canary-user", "cwd": "/work/canary_cwd", "command": ["/home/canary-user/x"]}
    write_json(run.environment_file, environment | private | {"platform": "Linux /home/canary-user/y"})
    write_json(
        run.split_record, read_json(run.split_record) | {"made_by": "CANARY", "override_reason": "see /home/canary-user/z"}
    )
    write_json(run.status_file, read_json(run.status_file) | {"host": "canary-host", "message": "CANARY"})

    def gradcam(_run):
        raise MammoError("no film at /home/canary-user/films/a.png")

    def ask(_run):
        return Known(
            {"root": "/home/canary-user/films", "left_out": [{"reason": "/home/canary-user/b.dcm is broken", "count": 1}]}
        )

    result = write_pack([run], tmp_path / "out", PackOptions(("png", "svg", "pdf"), gradcam=gradcam, ask=ask))
    assert "best.pth" in content(result, "reproduce/e/seed_42/config.yaml")
    secrets = [*SECRETS, str(tmp_path)]
    for path in [*result.files, result.zip]:
        for text in readings(path):
            for secret in secrets:
                assert secret not in text, (path.name, secret)


def readings(path):
    """Everything that can be read in a file: its bytes, unpacked streams of a PDF, texts of a PNG, entries of a zip."""
    raw = path.read_bytes()
    yield raw.decode("latin-1")
    yield raw.decode("utf-16-be", errors="ignore")
    if path.suffix == ".pdf":
        objects = read_objects(raw).values()
        yield from (value.stream.decode("latin-1") for value in objects if value.stream is not None)
        yield from (bytes.fromhex(text.decode()).decode("utf-16") for text in re.findall(rb"<(feff[0-9a-f]+)>", raw))
    if path.suffix == ".png":
        yield str(Image.open(io.BytesIO(raw)).info)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            yield from (f"{entry.filename} {entry.comment!r} {entry.extra!r}" for entry in archive.infolist())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("No film at /home/x/films/a.png, sorry.", "No film at a.png, sorry."),
        (r"C:\Users\x\y.pth.", "y.pth."),
        (r"on \\server\share\a.csv", "on a.csv"),
        ("~/data/a.csv", "a.csv"),
        ("not in '/data/Doe Jane 1961/x.pth' or \"C:\\Jane Doe\\y.pth\".", "not in 'x.pth' or \"y.pth\"."),
        (r"OSError: '\\\\server\\Doe Jane\\a.csv'", "OSError: 'a.csv'"),
        ("split '70/15/15' of 'e/seed_42', or '/'", "split '70/15/15' of 'e/seed_42', or '/'"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("e/seed_42, 70/15/15, 5/6", "e/seed_42, 70/15/15, 5/6"),
    ],
)
def test_places_are_cut_down_to_the_last_name(text, told):
    assert without_places(text) == told


def test_a_value_that_is_a_path_may_hold_blanks():
    assert cleaned({"a": ["/home/My Name/best model.pth", 3]}) == {"a": ["best model.pth", 3]}


def test_a_pack_of_nothing_is_refused(tmp_path):
    with pytest.raises(MammoError, match="at least one run"):
        write_pack([], tmp_path)


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
    assert list(numbers["run"])[:5] == ["seed_42", "seed_43", "mean", "SD (n-1)", "n"]
    assert list(numbers["accuracy"].iloc[5:]) == pytest.approx([values["ci_low"], values["ci_high"]])
    assert numbers["accuracy"].iloc[3] == pytest.approx(values["sd"])


def test_latex_prints_every_sign_as_it_stands():
    assert escape_latex("50% & a_b #1 ~x^2 {} \\ ± $") == (
        r"50\% \& a\_b \#1 \textasciitilde{}x\textasciicircum{}2 \{\} \textbackslash{} $\pm$ \$"
    )
    text = to_latex(pd.DataFrame({"Run_1": ["a&b", "c"]}), "50 %", "tab:x")
    assert r"Run\_1 \\" in text
    assert r"a\&b \\" in text
    assert text.count(r"\hline") == 4
    assert "XeLaTeX" not in text
    assert "XeLaTeX" in to_latex(pd.DataFrame({"密度": ["甲"]}), "x", "tab:x")


@pytest.mark.parametrize(("cell", "printed"), [("[0.1", "{[}0.1"), ("*", "{*}"), ("a<b", r"a\textless{}b"), ("a\n\nb", "a b")])
def test_no_cell_is_taken_for_a_command_of_latex(cell, printed):
    text = to_latex(pd.DataFrame({"a": [cell]}), cell, "tab:x")
    assert f"\n{printed} \\\\\n" in text
    assert rf"\caption{{{printed}}}" in text


def test_braces_and_dollars_of_every_table_are_even(pack):
    for path in pack.files:
        if path.suffix == ".tex":
            text = path.read_text(encoding="utf-8").replace(r"\{", "").replace(r"\}", "").replace(r"\$", "")
            assert text.count("{") == text.count("}")
            assert text.count("$") % 2 == 0
            assert all(ord(sign) < 0x180 for sign in text)


def test_markdown_cells_cannot_break_the_table():
    text = to_markdown(pd.DataFrame({"a|b": ["x|y\nz"], "n": [1]}))
    assert text.splitlines() == [r"| a\|b | n |", "| --- | ---: |", r"| x\|y z | 1 |"]


def test_foreign_words_in_an_exported_file_stay_words_and_ordinary_ones_stay_as_they_are():
    reader = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable(["table", "strikethrough"])
    hostile = {"![A](http://evil.example/a.png)", "[l][r] [l]: /x", "<img src=x>", "*a* _b_ `c` $d$", "jane@evil.example"}
    for word in (*hostile, "Dense (C/D)", "BI-RADS_2, 1.5 % [n = 3]", "0.696 ± 0.032 (n = 3, SD n-1)"):
        told = plain_in_file(word)
        assert (told == word) == (word not in hostile)
        (line,) = [token for token in reader.parse(f"- Task: {told}\n") if token.type == "inline"]
        assert {token.type for token in line.children} <= {"text", "text_special"}
        assert "".join(token.content for token in line.children).replace("\u2060", "") == f"Task: {word}"


def test_a_table_for_the_screen_holds_no_formula_in_names_or_cells():
    table = pd.DataFrame({"=a": ["=HYPERLINK(1)", "b"], "n": [-1, 2]}, index=["@x", "y"])
    safe = without_formulas(table)
    assert list(safe.columns) == ["'=a", "n"] and list(safe.index) == ["'@x", "y"]
    assert safe["'=a"].tolist() == ["'=HYPERLINK(1)", "b"] and safe["n"].tolist() == [-1, 2]
    assert list(table.columns) == ["=a", "n"]


# ---- what is counted, and where it can be written --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Three runs that count, one that repeats the first, and one that was stopped."""
    folder = tmp_path_factory.mktemp("experiments") / "e"
    made = write_experiment(folder, seeds=(1, 2, 3), epochs=3, replicates=10)
    made.append(write_run(folder / "seed_1_2", seed=1, epochs=3, replicates=10))
    made.append(write_run(folder / "seed_4", seed=4, epochs=3, epochs_run=2, state="stopped", replicates=10))
    return made


def test_every_table_and_checklist_counts_the_same_runs(mixed, tmp_path):
    result = write_pack(mixed, tmp_path / "out", PackOptions(("svg",)))
    assert "n = 3." in content(result, "seed_table.md")
    assert "n = 3." in content(result, "class_table.md")
    assert set(pd.read_csv(tmp_path / "out" / "class_table.csv")["run"]) == {"e/seed_1", "e/seed_2", "e/seed_3"}
    robust = content(result, "checklists/claim_2024.csv").split("Robustness")[1]
    assert "3 runs (seeds)" in robust
    assert "Not counted: e/seed_1_2 (same seed, fold and settings as seed_1, so it adds nothing)." in robust
    assert "(n = 3)" in content(result, "captions.md").split("\n\n")[2]
    for name in ("seed_table.md", "class_table.md", "captions.md", "checklists/claim_2024.md", "README.md"):
        assert not re.search(r"n = [45]\b|[45] runs \(seeds", content(result, name)), name


def test_the_mean_of_folds_has_the_wider_interval_wherever_it_stands(tmp_path):
    folds = [
        write_run(tmp_path / "x" / "cv" / f"seed_1_fold_{fold}", seed=1, fold=fold, epochs=3, replicates=10) for fold in (1, 2, 3)
    ]
    plain = write_experiment(tmp_path / "x" / "plain", seeds=(1, 2), epochs=3, replicates=10)
    write_json(tmp_path / "x" / "cv" / "cv_summary.json", summarise_experiment(folds))
    result = write_pack([*folds, *plain], tmp_path / "out", PackOptions(("svg",)))
    wanted = metric_spread(finished_runs(folds)[0], "accuracy")
    naive = describe([run.summary().metrics["accuracy"].value for run in folds])
    assert wanted.ci_high - wanted.ci_low > naive.ci_high - naive.ci_low or wanted.ci_high == 1
    table = pd.read_csv(tmp_path / "out" / "compare_table.csv").set_index(["experiment", "metric"])
    row = table.loc[("cv", "accuracy")]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((wanted.ci_low, wanted.ci_high))
    assert table["ci_high"].max() <= 1
    numbers = pd.read_csv(tmp_path / "out" / "cv" / "seed_table.csv").set_index("run")["accuracy"]
    assert numbers["95 % interval of the mean, low"] == pytest.approx(wanted.ci_low)
    interval = f"{wanted.ci_low:.3f} to {wanted.ci_high:.3f}, widened for the training films that folds share"
    assert interval in content(result, "cv/density_model_card_seed1_fold1.md")
    assert interval in content(result, "cv/checklists/claim_2024.md")


def test_films_are_the_same_when_the_judged_films_are(tmp_path):
    one = write_run(tmp_path / "x" / "a" / "seed_1", seed=1, epochs=2, replicates=5)
    other = write_run(tmp_path / "x" / "b" / "seed_1", seed=1, skill=0.5, epochs=2, replicates=5)
    apart = write_run(tmp_path / "x" / "c" / "seed_1", seed=1, split_seed=7, epochs=2, replicates=5)
    silent = write_run(tmp_path / "x" / "d" / "seed_1", seed=1, epochs=2, with_predictions=False)
    write_table(other.split_table, pd.concat([read_text_table(other.split_table)] * 2))  # another training part, the same films
    kept = {run.experiment: finished_runs([run])[0] for run in (one, other, apart, silent)}
    assert judged_alike({"a": kept["a"], "b": kept["b"]}) == "All were judged on the same films."
    assert judged_alike({"a": kept["a"], "c": kept["c"]}) == "Judged on different films: a and c."
    assert "not recorded (no predictions of d)" in judged_alike({"a": kept["a"], "d": kept["d"]})


def test_a_class_metric_of_some_runs_only_says_of_how_many(tmp_path):
    made = write_experiment(tmp_path / "e", seeds=(1, 2), epochs=2, replicates=5, with_test=True)
    made[1].metrics_file("test").unlink()
    markdown = class_tables([RunFacts(run) for run in made]).contents[1].decode()
    assert all("(n = 1)" in line for line in markdown.splitlines() if "| test |" in line)


def numbers_in(text: str, value: float) -> set[str]:
    """The intervals that stand behind a value."""
    return set(re.findall(rf"{value:.3f} \((\d\.\d+ to \d\.\d+)\)", text))


def test_one_number_has_one_interval_in_all_of_a_pack(runs, pack):
    # the fixture's metrics files have 20 replicates, so an interval worked out anew would differ
    metrics = runs[0].metrics("test")
    card = content(pack, "density_model_card_seed42.md")
    roc = content(pack, "captions.md").split("**density_roc_test_seed42.**")[1].split("\n\n")[0]
    aucs = [values["auc"] for values in metrics.per_class.values() if values["auc"].ci_low is not None]
    assert aucs
    for auc in aucs:
        interval = f"{auc.ci_low:.3f} to {auc.ci_high:.3f}"
        assert numbers_in(roc, auc.value) == numbers_in(card.split("### Test films")[1].split("## Calibration")[0], auc.value)
        assert numbers_in(roc, auc.value) == {interval}
    dense = metrics.metrics["dense_auc"]
    interval = f"{dense.ci_low:.3f} to {dense.ci_high:.3f}"
    assert f"| {dense.value:.3f} | {interval} |" in card
    for text in (roc, card.split("## Centres")[1]):
        assert f"{dense.value:.3f} ({interval})" in text


def test_a_rate_at_a_threshold_has_the_interval_of_the_threshold_table(runs):
    facts = RunFacts(runs[0])
    point = facts.thresholds[0].points["test"]
    recorded = runs[0].metrics("test").metrics["dense_sensitivity"]
    assert recorded.value == pytest.approx(point.sensitivity.value)
    older = recorded.model_copy(update={"ci_low": 0.0, "ci_high": 1.0, "method": "C or D; 95 % interval: of an older rule"})
    file = runs[0].metrics("test")
    older_file = file.model_copy(update={"metrics": {**file.metrics, "dense_sensitivity": older}})
    write_json(runs[0].metrics_file("test"), older_file.to_json())
    shown = facts.metric_values("test")["dense_sensitivity"]
    write_json(runs[0].metrics_file("test"), file.to_json())
    assert (shown.ci_low, shown.ci_high) == (point.sensitivity.ci_low, point.sensitivity.ci_high)
    assert shown.method == f"C or D; {point.sensitivity.method}"


def test_every_table_with_intervals_names_how_they_were_made(pack):
    card = content(pack, "density_model_card_seed42.md")
    for part in ("### Test films", "## Thresholds", "## Centres"):
        assert "95 % intervals: " in card.split(part)[1].split("\n## ")[0], part
    roc = content(pack, "captions.md").split("**density_roc_test_seed42.**")[1].split("\n\n")[0]
    assert "95 % intervals: bootstrap of patients, 20 replicates" in roc
    assert "Wilson, n = patients (Sensitivity, Specificity, PPV)" in card


def test_numbers_of_other_films_are_not_taken_from_the_metrics_file(runs):
    facts = RunFacts(runs[0])
    computed = MetricValue(value=0.5, ci_low=0.4, ci_high=0.6)
    assert facts.recorded_auc("val", facts.question, computed) is computed


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300])
def test_a_folder_that_cannot_be_is_refused_before_anything_is_drawn(runs, tmp_path, place):
    (tmp_path / "file").write_text("kept")
    drawn = []
    with pytest.raises(ConfigError, match="report pack") as error:
        write_pack(runs[:1], tmp_path / place, PackOptions(("svg",)), lambda *step: drawn.append(step))
    assert str(tmp_path) not in str(error.value)
    assert not drawn
    assert (tmp_path / "file").read_text() == "kept"


def test_what_is_missing_is_counted_apart_from_remarks(mixed, tmp_path):
    def no_gradcam(run):
        raise MammoError("the checkpoint is gone")

    mixed[0].best_model.write_bytes(b"weights")
    result = write_pack(mixed[:4:3], tmp_path / "out", PackOptions(("svg",), gradcam=no_gradcam))
    mixed[0].best_model.unlink()
    assert result.missing["figure"] == 2  # one cannot be drawn, one run keeps no checkpoint
    assert missing_words(result.missing) == "2 figures missing"
    assert any("counts in no mean or SD" in problem for problem in result.problems)
    assert missing_words({"figure": 1, "run": 2, "file": 0}) == "1 figure and 2 runs missing"
    assert missing_words({}) == "nothing missing"
