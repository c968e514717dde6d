"""What another person needs to train the same runs again, and to see that nothing was changed.

Nothing here says on which machine, by whom or in which folder a run was made. ``split.csv`` stays out although its ids are
pseudonyms: they single out patients and can be linked with other exports of the same data set, and whoever may see the films has
the table; its SHA-256 is enough to check that a table is the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from mammo_core.data.split_files import SplitRecord
from mammo_core.reading import read_yaml
from mammo_core.report.pack_words import origin
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.privacy import cleaned
from mammo_core.report.run_facts import NOT_RECORDED, RunFacts, read_mapping
from mammo_core.report.split_words import counted_reasons, leaks
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import sha256_of

ENVIRONMENT_KEYS = ("packages", "python", "platform", "processor", "device", "threads", "git_commit", "git_dirty")
"""Of ``environment.json``; whatever else stands there stays on the machine."""
MANIFEST_NAME = "reproduce/MANIFEST.sha256"
MADE_BY_SETTINGS = ("stratified", "center-holdout", "kfold", "date")
"""Schemes whose split follows from the films and a few settings."""


def config_text(facts: RunFacts) -> str:
    """The resolved settings, accepted by ``train --config``; a weights file is named without its folder."""
    settings = cleaned(read_yaml(facts.run.config_file))
    if settings.get("embeddings"):
        settings["embeddings"] = Path(str(settings["embeddings"])).name  # as the command that makes them names their folder
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
    before = (line for facts in studies for line in (*split_commands(facts), *_embed_command(facts)))
    return [*dict.fromkeys(before), *_train_commands(studies)]


def _embed_command(facts: RunFacts) -> list[str]:
    """The command that makes the features again which the run joins to its own; none where it joins none."""
    record = read_mapping(facts.run, facts.run.embeddings_file)
    if not facts.config.embeddings or not record:
        return []
    size = ",".join(map(str, record.get("image_size", ())))
    words = ["embed", record.get("dataset"), "--arch", record.get("arch"), "--weights", cleaned(record.get("weights"))]
    return [_line([*words, "--image-size", size, "--out", Path(facts.config.embeddings).name])]


def split_commands(facts: RunFacts) -> list[str]:
    """The commands that make this run's split again to the byte; none where the run's files do not say how it was made.

    A split that its settings alone do not make again is taken over from the authors' table; see :func:`_needs_table`.
    """
    split, config = facts.split, facts.config
    if not config.split or split.get("scheme") not in (*MADE_BY_SETTINGS, "imported"):
        return []
    words = ["split", config.dataset, "--name", config.split, "--scheme"]
    if _needs_table(split):
        reason = split.get("override_reason")
        words += ["imported", "--table", f"{config.split}/split.csv"]
        return [_line([*words, *(["--override-leak", str(cleaned(reason))] if reason else [])])]
    words += [split["scheme"], "--seed", str(split.get("seed", 42)), *_options(split)]
    proof = split.get("proof")
    searched = isinstance(proof, Mapping) and proof.get("near_duplicates_checked")
    return [*([_line(["audit", config.dataset])] if searched else []), _line(words)]


def _needs_table(split: Mapping[str, Any]) -> str:
    """Why the settings alone do not make this split again; empty where they do."""
    if split.get("scheme") == "imported":
        return "it was made elsewhere"
    if split.get("excluded"):
        return f"films were excluded by a person before it was made: {counted_reasons(split['excluded'])}"
    return "copies of films were found after it was made" if leaks(split) else ""


def _options(split: Mapping[str, Any]) -> list[str]:
    """The options of the split's scheme, as the command line takes them."""
    words = ["--ratios", _ratios([float(share) for share in split["ratios"]])] if split.get("ratios") else []
    if split.get("holdout"):
        words += ["--holdout", ",".join(map(str, split["holdout"]))]
    if split.get("folds"):
        words += ["--folds", str(split["folds"])]
    if split.get("scheme") == "date":
        told = {"--after": split.get("after"), "--date-column": split.get("date_column"), "--gap-months": split.get("gap_months")}
        words += [word for option, value in told.items() if value for word in (option, str(value))]
    return words


def _ratios(shares: Sequence[float]) -> str:
    """In percent where that says the same number, else as they are: a third in percent is another number."""
    percent = [f"{100 * share:g}" for share in shares]
    is_same = all(float(text) / 100 == share for text, share in zip(percent, shares, strict=True))
    return "/".join(percent if is_same else map(repr, shares))


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
    listed = "".join(f"- {facts.run.id}: {plain_in_file(origin(facts))}\n" for facts in studies)
    return (
        f"## Runs of other tools\n\n{listed}\nTheir settings, films, split, environment and code are {NOT_RECORDED} here; "
        "`import.json` holds what their files say.\n\n"
    )


def _steps(studies: Sequence[RunFacts]) -> str:
    told = "".join(f"    {line}\n" for line in commands(studies)) or f"    ({NOT_RECORDED})\n"
    sources = dict.fromkeys((f.config.dataset or NOT_RECORDED, _source(f.known.dataset)) for f in studies)
    datasets = "".join(f"- `{name}`: SHA-256 of the source listing {sha}\n" for name, sha in sources)
    weights = {f.config.weights for f in studies} - {"imagenet", "none"}
    named = ", ".join(sorted(str(cleaned(name)) for name in weights))
    local = (
        "\nThe first weights come from a file of the authors, which is not part of this pack: "
        f"{plain_in_file(named)}. Put its path into `weights:` of the configuration.\n"
        if weights
        else ""
    )
    commits = ", ".join(dict.fromkeys(facts.commit for facts in studies))
    return (
        f"1. Take code version {plain_in_file(commits)} and the package versions of `environment.json`.\n"
        "2. Import the films under the same data set name, with the same table and choices:\n\n"
        f"{datasets}\n"
        "3. Make the split where it is not there yet, then train, in the folder of this pack:\n\n"
        f"{told}{_of_splits(studies)}{local}\n"
        "4. Compare: `hashes.csv` lists the SHA-256 of every run's `split.csv`, history, predictions and checkpoints. The split "
        "must be the same to the byte. On the same versions and kind of device the histories are too; another device changes "
        "last digits, and with them later epochs.\n\n"
    )


def _of_splits(studies: Sequence[RunFacts]) -> str:
    """What the commands of the splits need beside the films."""
    splits = {facts.config.split: facts.split for facts in studies if split_commands(facts)}
    told = [
        f"`{name}/split.csv` is the authors' table (see below), since settings alone do not make it again: "
        f"{plain_in_file(cleaned(why))}."
        for name, split in splits.items()
        if (why := _needs_table(split))
    ]
    if any(" audit " in line for facts in studies for line in split_commands(facts)):
        told.append("What a person decided about pairs of films that look alike is not recorded here; the authors can tell it.")
    return "".join(f"\n{sentence}\n" for sentence in told)


def _source(dataset: Mapping[str, Any]) -> str:
    return str(dataset.get("source_sha256") or NOT_RECORDED)


def manifest_text(hashes: Mapping[str, str]) -> str:
    """The format of ``sha256sum``: hash, two blanks, name."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
