"""Pages of a workspace that somebody else has filled: every name, label, note and message in it is hostile (goal R8).

Each page runs under Streamlit's AppTest. None may end in an uncaught error, and none may show a word of a file as Markdown that
makes a picture, a link or HTML: a picture would be fetched from wherever it says.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from streamlit import config
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from make_map_checks import write_localisation, write_sanity
from make_models import ARCH, write_drawn_dataset, write_model
from make_runs import write_run
from mammo_core.data.manifest import load_dataset
from mammo_core.data.splits import SplitPlan, save_split, split_dataset
from mammo_core.predict.model_record import model_path
from mammo_core.reading import read_json, read_text_table, read_yaml
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import HOME_VARIABLE, Workspace, open_workspace
from mammo_core.storage import lock_of, write_json, write_table, write_yaml
from mammo_core.workflows import supervisor
from mammo_core.workflows.batch_files import batches_folder
from mammo_core.workflows.telling_films import gallery_folder
from reliability.findings import Finding

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("home", "films", "splits", "train", "queue", "history", "compare", "evaluate", "gradcam", "predict", "models", "report")
HOSTILE = (
    "![p](http://evil.example/p.png)<script>alert(1)</script>[l](http://evil.example) =cmd|x \u202ertl `c` $x$ :material/home: "
    "www.evil.example"
)
CLASSES = ("![A](http://evil.example/a.png)", "=cmd|'/C calc'!B", "<b>C</b>")
LIVE_MARKS = re.compile(
    r"(?<!\\)!\[|(?<!\\)\]\(http|(?<!\\)<(?:script|b>|img)|(?<!\\)`c`|(?<!\\)\$x\$|https?://evil|\bwww\.evil|\u202e"
)
"""What makes a picture, a link, HTML, code, a formula or a turned line of the hostile words."""
PLAIN_FIELDS = frozenset(
    {"arrow_data_frame", "vega_lite_chart", "arrow_vega_lite_chart", "json", "code", "text", "bidi_component", "iframe", "imgs"}
)
"""Elements that show their text as it stands."""
FILM_VIEWS = ("Classes and centres", "Films", "Audit", "Duplicates", "Flagged", "Unreadable")
PLAIN_KEYS = frozenset(
    {
        "id",
        "key",
        "options",
        "raw_value",
        "raw_values",
        "default",
        "value",
        "placeholder",
        "user_key",
        "form_id",
        "query_string",
        "url",
        "icon",
        "spec",
    }
    | {"query_param_key", "element_id", "data", "columns", "type", "format", "delta_color", "language", "page_script_hash", "alt"}
)
"""Fields of other elements that are never read as Markdown: options of a select box, values of inputs, ids."""


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    """All pages over a hostile workspace and over broken ones; ``full`` breaks each file in each way."""
    problems = []
    opened = 0
    workspace = open_workspace(folder / "runs")
    with app_over(workspace), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a number near the end of the range overflows: the app goes on
        run = build_hostile(workspace)
        queries = queries_of(run)
        for page in PAGES:
            for query in queries.get(page, ({},)):
                problems += problems_of(page, query)
                opened += 1
        ways = list(breakages(workspace, run))
        for number, (what, path, content) in enumerate(ways):
            if not full and number % QUICK_EACH != seed % QUICK_EACH:
                continue
            before = path.read_bytes() if path.exists() else None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            chosen = LOOKED_AT if full else (LOOKED_AT[number // QUICK_EACH % len(LOOKED_AT)],)
            for page in chosen:
                problems += [f"{what}: {problem}" for problem in problems_of(page, queries.get(page, ({},))[0])]
                opened += 1
            path.unlink() if before is None else path.write_bytes(before)
    found = f"{opened} pages opened, {len(problems)} faults"
    return [
        Finding("R8", "pages of hostile words and broken files stay whole", found, not problems, tuple(dict.fromkeys(problems)))
    ]


LOOKED_AT = ("history", "home", "evaluate", "queue", "compare", "predict", "gradcam")
QUICK_EACH = 24
"""The quick size makes one breakage in so many."""


# ---- opening --------------------------------------------------------------------------------------------------------------


class _AppOnly(PagesManager):
    """Runs every page through ``app.py``; see tests/pages."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        PagesManager.uses_pages_directory = False


@contextmanager
def app_over(workspace: Workspace) -> Iterator[None]:
    """The app looks at this workspace, and nobody serves its queue."""
    import os

    before, manager, main = os.environ.get(HOME_VARIABLE), app_test.PagesManager, sys.modules["__main__"]
    os.environ[HOME_VARIABLE] = str(workspace.home)
    app_test.PagesManager = _AppOnly
    sys.path.insert(0, str(ROOT))
    lock = lock_of(workspace.supervisor_lock)
    lock.acquire(timeout=0)
    details = config.get_option("client.showErrorDetails")
    config.set_option("client.showErrorDetails", "full")
    try:
        yield
    finally:
        thread = supervisor._supervisors.pop(str(workspace.home), None)
        if thread is not None:
            thread.stop()
        lock.release()
        config.set_option("client.showErrorDetails", details)
        sys.path.remove(str(ROOT))
        app_test.PagesManager, sys.modules["__main__"] = manager, main
        os.environ.pop(HOME_VARIABLE) if before is None else os.environ.update({HOME_VARIABLE: before})


def open_page(name: str, query: dict[str, str]) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    if name != "home":
        app.switch_page(f"pages/{name}.py")
    return app.run()


def problems_of(name: str, query: dict[str, str]) -> list[str]:
    """Uncaught errors of a page, and hostile words that it shows as Markdown."""
    app = open_page(name, query)
    where = f"{name} with a hostile address" if HOSTILE in query.values() else f"{name} {query or ''}".strip()
    return [
        *(f"{where}: uncaught {error.message[:300]}" for error in app.exception),
        *(f"{where}: {text}" for text in live_texts(app)),
    ]


def live_texts(app: AppTest) -> list[str]:
    """Texts of a page in which a hostile word would come alive."""
    found = []
    for path, text in _texts(app):
        match = LIVE_MARKS.search(text)
        if match:
            found.append(f"{path} shows {text[max(0, match.start() - 30) : match.end() + 60]!r}")
    return found


def _texts(app: AppTest) -> Iterator[tuple[str, str]]:
    for node in _nodes(app._tree):
        proto = getattr(node, "proto", None)
        if proto is not None and hasattr(proto, "ListFields"):
            yield from _strings(proto, type(proto).__name__)


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", {}).values():
        yield from _nodes(child)


def _strings(message: Any, path: str) -> Iterator[tuple[str, str]]:
    if path.rpartition(".")[2] in PLAIN_FIELDS or type(message).__name__ in (
        "Arrow",
        "ArrowVegaLiteChart",
        "Code",
        "Text",
        "Json",
        "ImageList",
        "BidiComponent",
    ):
        return
    for field, value in message.ListFields():
        is_read = field.name == "options" and type(message).__name__ in ("Radio", "ButtonGroup")
        if field.name in PLAIN_KEYS and not is_read:
            continue
        parts = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
        for part in parts:
            if isinstance(part, str):
                yield f"{path}.{field.name}", part
            elif hasattr(part, "ListFields"):
                yield from _strings(part, f"{path}.{field.name}")


# ---- a hostile workspace --------------------------------------------------------------------------------------------------


def build_hostile(workspace: Workspace) -> RunDir:
    """Runs, data, splits, models, requests and reports in which every free text is hostile."""
    runs = [
        write_run(
            workspace.experiments / "evil" / f"seed_{seed}",
            seed=seed,
            class_names=CLASSES,
            epochs=4,
            replicates=5,
            patients=40,
            with_test=True,
            config={"dataset": "evil", "split": "evil", "arch": ARCH, "image_size": (96, 96), "task": HOSTILE},
        )
        for seed in (42, 43)
    ]
    run = runs[0]
    for one in runs:
        _poison(one)
    table = run.predictions("val")
    write_drawn_dataset(workspace, dict(zip(table["image_id"], table["y_true"], strict=True)), CLASSES, "evil")
    paths = read_text_table(workspace.dataset("evil") / "paths.csv")
    write_table(workspace.dataset("evil") / "paths.csv", paths.assign(sha256=paths["image_id"]))  # else all films are one
    _poison_dataset(workspace)
    save_split(workspace, "evil", split_dataset(load_dataset(workspace, "evil"), SplitPlan(seed=1)), HOSTILE)
    _poison_json(workspace.splits / "evil" / "split.json", "warnings", [HOSTILE])
    _poison_json(workspace.splits / "evil" / "split.json", "override_reason", HOSTILE)
    _requests(workspace, run)
    _reports(workspace, run)
    _strangers(workspace)
    broken = workspace.experiments / "evil" / "broken"
    broken.mkdir()
    (broken / "config.yaml").write_text(f"arch: {json.dumps(HOSTILE)}\nlr: {json.dumps(HOSTILE)}\n")
    return run


def _poison(run: RunDir) -> None:
    """Free texts of a run that stay valid."""
    write_model(run, run.config(), 1)
    write_yaml(run.config_file, run.config().to_dict())
    write_json(run.notes_file, {"text": f"{HOSTILE}\n\n# head\n- item", "tags": [HOSTILE[:30], "=1+1"], "archived": False})
    status = read_json(run.status_file) | {"message": HOSTILE, "host": HOSTILE}
    write_json(run.status_file, status)
    write_json(
        run.environment_file,
        {"packages": {HOSTILE: HOSTILE, "torch": HOSTILE}, "device": HOSTILE, "git_commit": HOSTILE, "command": HOSTILE},
    )
    summary = read_json(run.summary_file)
    summary |= {"verdict": HOSTILE, "git_commit": HOSTILE, "diagnosis": {"verdict": HOSTILE, "headline": HOSTILE, "findings": []}}
    for metric in summary["metrics"].values():
        metric["method"] = HOSTILE
    write_json(run.summary_file, summary)
    for on in ("val", "test"):
        content = read_json(run.metrics_file(on))
        for metric in content["metrics"].values():
            metric["method"] = HOSTILE
        write_json(run.metrics_file(on), content)
        table = read_text_table(run.predictions_file(on))
        table["center"] = [HOSTILE if number % 2 else "=1" for number in range(len(table))]
        write_table(run.predictions_file(on), table)
    split = read_json(run.split_record) | {"scheme": HOSTILE, "name": HOSTILE, "warnings": [HOSTILE], "override_reason": HOSTILE}
    write_json(run.split_record, split)
    np.save(run.embeddings, np.random.default_rng(1).random((len(run.predictions("val")), 256), dtype=np.float32))


def _poison_json(path: Path, key: str, value: object) -> None:
    write_json(path, read_json(path) | {key: value})


def _poison_dataset(workspace: Workspace) -> None:
    folder = workspace.dataset("evil")
    manifest = read_text_table(folder / "manifest.csv")
    for column in ("center", "vendor", "view"):
        manifest[column] = [HOSTILE if number % 2 else f"=1+{number % 3}" for number in range(len(manifest))]
    manifest[HOSTILE] = HOSTILE
    write_table(folder / "manifest.csv", manifest)
    record = read_json(folder / "dataset.json")
    record |= {"task": HOSTILE, "adapter": HOSTILE, "warnings": [HOSTILE], "notes": [HOSTILE], "patient_statement": HOSTILE}
    record |= {
        "label_words": HOSTILE,
        "label_map": {HOSTILE: CLASSES[0]},
        "word_counts": {HOSTILE: 3},
        "origins": {HOSTILE: HOSTILE},
    }
    record |= {"left_out": [{"reason": HOSTILE, "count": 2}], "unreadable": 1}
    write_json(folder / "dataset.json", record)
    unreadable = [{"image_id": HOSTILE, "label": CLASSES[0], "reason": HOSTILE}]
    audit = {"class_by_center": {HOSTILE: dict.fromkeys(CLASSES, 3)}, "unreadable": unreadable, "warnings": {HOSTILE: 3}}
    write_json(folder / "audit.json", audit)


def _requests(workspace: Workspace, run: RunDir) -> None:
    for number, (state, kind) in enumerate(
        [
            (state, kind)
            for state in ("waiting", "running", "failed", "done")
            for kind in ("train", "import", "gallery", HOSTILE, "keep_model")
        ]
    ):
        request = {"id": f"{number}-a", "kind": kind, "title": HOSTILE, "state": state, "message": HOSTILE, "order": number}
        request |= {
            "arguments": {"run": run.id, "name": HOSTILE},
            "result": {"folder": HOSTILE, "name": HOSTILE},
            "created_at": 1e9,
        }
        write_json_at(workspace.queue / f"{number}-a.json", request | {"done": 3, "total": 7})


def write_json_at(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)


def _reports(workspace: Workspace, run: RunDir) -> None:
    write_localisation(workspace, run, words=[HOSTILE], failures=[{"image": HOSTILE, "error": HOSTILE}], disclaimer=HOSTILE)
    write_sanity(
        workspace, run, failures=[{"image": HOSTILE, "error": HOSTILE}], unusable_runs=[{"run": HOSTILE, "error": HOSTILE}]
    )
    folder = gallery_folder(workspace, run, "val", "gradcam")
    item = {"image": HOSTILE, "class": CLASSES[0], "kind": HOSTILE, "error": HOSTILE, "map": None, "file": HOSTILE, "score": 0.5}
    write_json_at(folder / "gallery.json", {"run": run.id, "items": [item], "meaning": HOSTILE, "disclaimer": HOSTILE})
    (folder / "gallery.png").write_bytes(b"\x89PNG no picture")
    batch = batches_folder(workspace) / "evil"
    film = {
        "film": 1,
        "predicted": CLASSES[0],
        "probabilities": {name: 0.3 for name in CLASSES},
        "error": HOSTILE,
        "warnings": [HOSTILE],
    }
    film |= {"unfamiliar": {"flagged": True, "score": 1.0, "threshold": 0.5, "reason": HOSTILE}}
    summary = {
        "state": "finished",
        "made_at": HOSTILE,
        "task": HOSTILE,
        "model": HOSTILE,
        "class_names": list(CLASSES),
        "rule": HOSTILE,
    }
    write_json_at(batch / "batch.json", summary | {"runs": [HOSTILE], "counts": {"films": 1}, "grouping": HOSTILE})
    write_json_at(batch / "predictions.json", {"films": [film], "exams": [], "models": [{HOSTILE: HOSTILE}]})


def _strangers(workspace: Workspace) -> None:
    """Folders and files with names that nothing of ours has, where a person could put them."""
    for name in ("=cmd", "![x](http)", "<script>", "a\u202eb", "line\nbreak", "x" * 200, "-rf", "con", "a b"):
        for place in (
            workspace.experiments,
            workspace.datasets,
            workspace.splits,
            workspace.imported,
            workspace.reports,
            workspace.trash,
        ):
            (place / name).mkdir(parents=True, exist_ok=True)
            (place / name / "config.yaml").write_text("epochs: 3\n")
        (workspace.experiments / "evil" / name).mkdir()
        workspace.models.mkdir(exist_ok=True)
        (workspace.models / f"{name}.mammotrace").write_bytes(b"PK no model")
        (workspace.queue / f"{name}.json").write_text("[]")
    model_path(workspace, "torn").write_bytes(b"PK\3\4")


# ---- broken files ---------------------------------------------------------------------------------------------------------


WRONG = (
    b"",
    b"{",
    b"[]",
    b"3",
    b"null",
    b'"x"',
    b"[1, 2]",
    b'{"a": NaN}',
    b"\xff\xfe\xfd",
    bytes(300),
    b"[" * 5000,
    b'{"state": "\\ud800"}',
)


def breakages(workspace: Workspace, run: RunDir) -> Iterator[tuple[str, Path, bytes]]:
    """What is wrong, the file, and what it holds then."""
    files = [
        run.config_file,
        run.status_file,
        run.history_file,
        run.summary_file,
        run.notes_file,
        run.split_record,
        run.environment_file,
    ]
    files += [
        run.metrics_file("val"),
        run.predictions_file("val"),
        run.import_file,
        run.test_looks_file,
        run.best_model,
        run.embeddings,
    ]
    files += [run.split_table, workspace.dataset("evil") / "dataset.json", workspace.dataset("evil") / "manifest.csv"]
    files += [workspace.splits / "evil" / "split.json", workspace.dataset("evil") / "audit.json"]
    for path in files:
        for content in WRONG:
            yield f"{path.name} is {content[:12]!r}", path, content
    yield from ((f"{path.name}: {what}", path, json.dumps(value).encode()) for path, what, value in _wrong_values(run))


def _wrong_values(run: RunDir) -> Iterator[tuple[Path, str, object]]:
    status, history, summary = (read_json(path) for path in (run.status_file, run.history_file, run.summary_file))
    far = (1e300, -1e300, 1e18, -1, 10**30, float("nan"), float("inf"), 0)
    for value in far:
        for key in ("eta_seconds", "heartbeat_at", "started_at", "finished_at", "created_at"):
            for state in ("running", "finished"):
                yield run.status_file, f"{state}, {key} {value}", status | {"state": state, key: value, "epoch": 3, "epochs": 9}
        for key in ("epoch", "epochs", "step", "steps", "pid"):
            number = int(value) if abs(value) < 1e31 else 0
            yield run.status_file, f"{key} {number}", status | {"state": "running", key: number}
        for key in ("train_loss", "val_loss", "lr", "seconds", "val_acc", "val_kappa_quadratic"):
            yield run.history_file, f"{key} {value}", [record | {key: value} for record in history]
        yield run.history_file, f"one loss {value}", [history[0] | {"val_loss": value}, *history[1:]]
        yield (
            run.summary_file,
            f"seconds {value}",
            summary | {"seconds": value, "best_epoch": int(value) if abs(value) < 1e31 else 0},
        )
        metrics = {
            name: metric | {"value": value, "ci_low": value, "ci_high": 0.1} for name, metric in summary["metrics"].items()
        }
        yield run.summary_file, f"metrics {value}", summary | {"metrics": metrics}
        yield run.metrics_file("val"), f"metrics {value}", read_json(run.metrics_file("val")) | {"metrics": metrics}
    yield run.history_file, "one epoch again and again", [history[0]] * 500
    yield run.history_file, "epochs backwards", history[::-1]
    yield run.history_file, "epoch 10**15", [record | {"epoch": 10**15} for record in history]
    yield run.history_file, "epoch 10**30", [record | {"epoch": 10**30} for record in history]
    yield (
        run.history_file,
        "strange classes",
        [record | {"val_recall": {HOSTILE: 0.5}, "predicted_share": {HOSTILE: 1e300}} for record in history],
    )
    yield run.history_file, "no losses", [{"epoch": record["epoch"]} for record in history]
    for key, value in (
        ("confusion_matrix", [[1]]),
        ("confusion_matrix", [[-1, 0, 0]] * 3),
        ("confusion_matrix", [[10**30] * 3] * 3),
    ):
        yield run.metrics_file("val"), f"{key} {value}", read_json(run.metrics_file("val")) | {key: value}
    for key, value in (("class_names", [HOSTILE] * 3), ("class_names", []), ("per_class", {}), ("n", -1), ("epoch", 10**30)):
        yield run.metrics_file("val"), f"{key} {value}", read_json(run.metrics_file("val")) | {key: value}
    for key, value in (
        ("counts", {}),
        ("counts", {"val": {}}),
        ("hyperparameters", {}),
        ("hyperparameters", {"epochs": 3}),
        ("best_epoch", 99),
    ):
        yield run.summary_file, f"{key} {value}", summary | {key: value}
    config = read_yaml(run.config_file)
    for key, value in (
        ("class_names", []),
        ("class_names", ["x"]),
        ("epochs", 10**15),
        ("image_size", [4096, 4096]),
        ("dataset", "../x"),
        ("split", HOSTILE),
    ):
        yield run.config_file, f"{key} {value}", config | {key: value}


def queries_of(run: RunDir) -> dict[str, tuple[dict[str, str], ...]]:
    """The pages' own addresses, and hostile ones."""
    keys = (
        "run",
        "predict_model",
        "films_data",
        "evaluate_model",
        "gradcam_run",
        "splits_data",
        "report_run",
        "train_data",
        "train_split",
        "compare_group",
        "gradcam_film",
        "gradcam_class",
        "open",
    )
    own = {
        "splits": {"splits_data": "evil"},
        "train": {"train_data": "evil", "train_split": "evil"},
        "history": {"run": run.id},
        "evaluate": {"evaluate_model": run.id},
        "gradcam": {"gradcam_run": run.id},
        "predict": {"predict_model": run.id},
        "compare": {"compare_group": "evil"},
        "report": {"report_run": run.id},
    }
    films = tuple({"films_data": "evil", "films_view": view} for view in FILM_VIEWS)
    return {page: (*(films if page == "films" else (own.get(page, {}),)), dict.fromkeys(keys, HOSTILE)) for page in PAGES}
