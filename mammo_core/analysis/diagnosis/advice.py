"""What to do about each finding: one or two sentences."""

from __future__ import annotations

from mammo_core.analysis.diagnosis.finding import Finding

RARE_CLASS = "Sample classes evenly or adjust the logits, merge classes, or collect more cases."

ADVICE: dict[str, str] = {
    "DIVERGED": (
        "Divide the learning rate by 10, warm up for 1 to 3 epochs, clip gradients at 1.0, check labels and inputs, "
        "and prefer bf16 to fp16."
    ),
    "NON_FINITE_EPOCH": "Look for inputs that are NaN or a loss scale that overflowed; clip gradients at 1.0.",
    "HOT_START": "Warm up; use 1e-4 for the backbone (AdamW) and 1e-3 for the head; check the reduction of the loss.",
    "COLLAPSE": (
        "Check the label mapping, class weights together with a balanced sampler (a double correction), the learning rate, "
        "frozen batch norm, and constant input images."
    ),
    "COLLAPSE_SUDDEN": (
        "Look for a jump of the learning rate, a faulty resume or an overflow of mixed precision; resume from the best "
        "checkpoint."
    ),
    "WORSE_THAN_PRIOR": (
        "The model is over-confident: temperature scaling, label smoothing, a lower learning rate; do not show raw "
        "probabilities. If it was trained with class weights, re-weight its outputs to the class shares first."
    ),
    "UNSTABLE": (
        "Lower the learning rate, average the weights (EMA), use larger batches or GroupNorm, and validate on more cases."
    ),
    "OVERFIT_SEVERE": (
        "Use the best checkpoint, not the last; then stronger augmentation, weight decay, dropout, a smaller model, more data "
        "or a lower learning rate."
    ),
    "OVERFIT_MILD": "Use the best checkpoint; stop earlier or regularise a little more.",
    "VAL_LOSS_RISING": "Calibrate the probabilities, and select by kappa or AUC as well as by loss.",
    "UNDERFIT": (
        "Raise the learning rate (range test), unfreeze layers, regularise less, use a higher resolution, and check the "
        "preprocessing."
    ),
    "PLATEAU": "More epochs of the same will not help; change the learning rate, the data or the model.",
    "TOO_FEW_EPOCHS": "Train longer, with a new schedule if the learning rate is already at its floor.",
    "BEST_IS_LAST": "If the curve still falls, train longer; otherwise nothing is to be done.",
    "TOO_LITTLE": "Train more epochs, or validate on more cases.",
    "SHORT_RUN": "Train at least 8 epochs before trusting a verdict on noise.",
    "CLASS_ZERO": RARE_CLASS,
    "CLASS_WEAK": RARE_CLASS,
    "CLASS_UNJUDGEABLE": "Do not tune on this class.",
    "CLASS_SEESAW": "The learning rate may be too high; judge by balanced measures.",
    "CRITERION_MISMATCH": "Keep both checkpoints.",
    "VAL_TOO_SMALL": "Use cross-validation or a larger validation split.",
    "DATA_LEAK_SUSPECT": "Run the leakage check of the split.",
    "LR_EXHAUSTED": "Set the horizon of the schedule to the planned epochs; do not go on at the floor.",
    "LR_HORIZON_MISMATCH": "Correct the configuration, or state that the run was planned shorter.",
    "LR_WRAP": "A cosine rises again beyond its horizon: set the horizon to the planned epochs.",
    "LR_CONST": "Check that the scheduler is stepped once an epoch (or once a batch).",
    "NO_WARMUP": "Check that the warm-up is applied; the first steps may have damaged pretrained weights.",
    "LR_PER_STEP": "The scheduler is stepped every batch but made for epochs: step it once an epoch, or give it the steps.",
    "EARLY_STOP_INACTIVE": "Patience of 5 to 10, with a least gain of 0.1 to 0.5 % of the loss.",
    "APPENDED_RUNS": "Write each run to its own file.",
    "HEALTHY": "Use the best checkpoint, and report it on an untouched test set.",
}


def advise(finding: Finding) -> str:
    """What to do about a finding."""
    if finding.id == "COLLAPSE" and finding.evidence.get("late_only"):
        return "The best checkpoint is sound: use it. " + ADVICE["COLLAPSE"]
    if finding.id == "PLATEAU" and finding.evidence.get("converged"):
        return "Use the best checkpoint and regularise more." if finding.evidence.get("early") else "Nothing: it converged."
    if finding.id == "PLATEAU" and "accuracy_start" in finding.evidence:
        return "Judge this run by its accuracy on an untouched test set; more epochs of the same will bring little."
    if finding.so_far and finding.id in ("TOO_FEW_EPOCHS", "BEST_IS_LAST", "SHORT_RUN"):
        return "Let it train on; the verdict is provisional."
    return ADVICE[finding.id]
