"""What another person needs to train the same runs again, and to see that nothing was changed.

Nothing here says on which machine, by whom or in which folder a run was made. ``split.csv`` stays out although its ids are
pseudonyms: they single out patients and can be linked with other exports of the same data set, and whoever may see the films has
the table; its SHA-256 is enough to check that a table is the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from mammo_core.data.split_files import SplitRecord
from mammo_core.report.pack_words import origin
from mammo_core.report.privacy import cleaned
from mammo_core.report.run_facts import NOT_RECORDED, RunFacts
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import read_yaml, sha256_of

ENVIRONMENT_KEYS = ("packages", "python", "platform", "processor", "device", "threads", "git_commit", "git_dirty")
"""Of ``environment.json``; whatever else stands there stays on the machine."""
MANIFEST_NAME = "reproduce/MANIFEST.sha256"


def config_text(facts: RunFacts) -> str:
    """The resolved settings, accepted by ``train --config``; a weights file is named without its folder."""
    settings = cleaned(read_yaml(facts.run.config_file))
    head = f"# Settings of {facts.run.id}. {RESEARCH_ONLY}.\n"
    return head + str(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def import_record(facts: RunFacts) -> dict[str, Any]:
    """What the import noted of another tool's run; its settings, environment and split are not known here."""
    return {"run": facts.run.id, **cleaned(facts.import_record)}


def environment_record(facts: RunFacts) -> dict[str, Any]:
    """Versions, kind of machine and code version."""
    found = {key: facts.environment[key] for key in ENVIRONMENT_KEYS if key in facts.environment}
    return {"run": facts.run.id, **cleaned(found)}


def split_record(facts: RunFacts) -> dict[str, Any]:
    """How the split was made and what was proved about it, without the table itself."""
    kept = {key: value for key, value in facts.split.items() if key in SplitRecord.model_fields}
    return {"run": facts.run.id, **cleaned(kept)}


def hash_table(studies: Sequence[RunFacts]) -> pd.DataFrame:
    """SHA-256 and size of every file of every run from which the pack's numbers come, and of its checkpoints."""
    rows = []
    for facts in studies:
        run = facts.run
        files = [run.import_file if facts.is_imported else run.config_file]
        files += [run.split_table, run.split_record, run.history_file, run.training_log, run.best_model]
        files += [run.final_model, run.summary_file, run.test_looks_file]
        files += [path for on in ("val", "test") for path in (run.predictions_file(on), run.metrics_file(on))]
        for path in files:
            if path.exists():
                name = path.relative_to(run.path).as_posix()
                rows.append({"run": run.id, "file": name, "sha256": sha256_of(path), "bytes": path.stat().st_size})
    return pd.DataFrame(rows, columns=["run", "file", "sha256", "bytes"])


def commands(studies: Sequence[RunFacts]) -> list[str]:
    """The commands that make the splits and train the runs again, in their order."""
    return [*dict.fromkeys(_split_command(facts) for facts in studies if _can_be_split_again(facts)), *_train_commands(studies)]


def _can_be_split_again(facts: RunFacts) -> bool:
    return facts.split.get("scheme") in ("stratified", "center-holdout", "kfold") and bool(facts.config.split)


def _split_command(facts: RunFacts) -> str:
    split, config = facts.split, facts.config
    words = ["split", config.dataset, "--name", config.split, "--scheme", split["scheme"], "--seed", str(split.get("seed", 42))]
    if split.get("ratios"):
        words += ["--ratios", "/".join(f"{100 * float(share):g}" for share in split["ratios"])]
    if split.get("holdout"):
        words += ["--holdout", ",".join(map(str, split["holdout"]))]
    if split.get("folds"):
        words += ["--folds", str(split["folds"])]
    return _line(words)


def _train_commands(studies: Sequence[RunFacts]) -> list[str]:
    """One command for all seeds of the same settings; a split with folds trains all of them."""
    groups: dict[tuple[Any, ...], list[RunFacts]] = {}
    for facts in (facts for facts in studies if facts.config.dataset):
        settings = facts.config.replace(seed=0, fold=None, experiment="").to_dict()
        groups.setdefault((facts.run.experiment, repr(settings)), []).append(facts)
    lines = []
    for (experiment, _), members in groups.items():
        config = members[0].config
        seeds = ",".join(map(str, dict.fromkeys(facts.config.seed for facts in members)))
        words = ["train", "--dataset", config.dataset, "--split", config.split]
        words += ["--config", f"reproduce/{members[0].run.id}/config.yaml"]
        words += ["--experiment", f"{experiment}_again", "--seeds", seeds]
        reason = members[0].split.get("override_reason")
        lines.append(_line([*words, *(["--override-leak", str(cleaned(reason))] if reason else [])]))
    return lines


def _line(words: Sequence[str]) -> str:
    return "python -m mammo_core " + " ".join(shlex.quote(str(word)) for word in words)


def guide(studies: Sequence[RunFacts]) -> str:
    """``reproduce/README.md``."""
    own, imported = [f for f in studies if not f.is_imported], [f for f in studies if f.is_imported]
    steps = _steps(own) if own else "None of these runs can be trained again from here.\n\n"
    return (
        f"# How to train these runs again\n\n**{RESEARCH_ONLY}**\n\n{steps}{_of_other_tools(imported)}"
        "## How to check this pack\n\n"
        f"`{MANIFEST_NAME}` holds the SHA-256 of every other file. In the folder of the pack:\n\n"
        f"    sha256sum --check {MANIFEST_NAME}\n\n"
        "## What is not here, and why\n\n"
        "- `split.csv` and predictions: their ids are pseudonyms, but they single out patients and can be linked. "
        "Their hashes are here; the authors can share the tables where their ethics approval allows it.\n"
        "- `paths.csv` and the key of the pseudonyms: never exported.\n"
        "- Checkpoints: too large for a report; their hashes are here.\n"
        "- User, machine and folders: of no use to a reader.\n"
    )


def _of_other_tools(studies: Sequence[RunFacts]) -> str:
    if not studies:
        return ""
    listed = "".join(f"- {facts.run.id}: {origin(facts)}\n" for facts in studies)
    return (
        f"## Runs of other tools\n\n{listed}\nTheir settings, films, split, environment and code are {NOT_RECORDED} here; "
        "`import.json` holds what their files say.\n\n"
    )


def _steps(studies: Sequence[RunFacts]) -> str:
    told = "".join(f"    {line}\n" for line in commands(studies)) or f"    ({NOT_RECORDED})\n"
    sources = dict.fromkeys((f.config.dataset or NOT_RECORDED, _source(f.known.dataset)) for f in studies)
    datasets = "".join(f"- `{name}`: SHA-256 of the source listing {sha}\n" for name, sha in sources)
    weights = {f.config.weights for f in studies} - {"imagenet", "none"}
    local = (
        "\nThe first weights come from a file of the authors, which is not part of this pack: "
        f"{', '.join(sorted(str(cleaned(name)) for name in weights))}. Put its path into `weights:` of the configuration.\n"
        if weights
        else ""
    )
    commits = ", ".join(dict.fromkeys(facts.commit for facts in studies))
    return (
        f"1. Take code version {commits} and the package versions of `environment.json`.\n"
        "2. Import the films under the same data set name, with the same table and choices:\n\n"
        f"{datasets}\n"
        f"3. Make the split where it is not there yet, then train, in the folder of this pack:\n\n{told}{local}\n"
        "4. Compare: `hashes.csv` lists the SHA-256 of every run's `split.csv`, history, predictions and checkpoints. The split "
        "must be the same to the byte. On the same versions and kind of device the histories are too; another device changes "
        "last digits, and with them later epochs.\n\n"
    )


def _source(dataset: Mapping[str, Any]) -> str:
    return str(dataset.get("source_sha256") or NOT_RECORDED)


def manifest_text(hashes: Mapping[str, str]) -> str:
    """The format of ``sha256sum``: hash, two blanks, name."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
