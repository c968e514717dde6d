"""The words of the app, explained in one or two plain sentences; every ``help=`` takes its text from here."""

from __future__ import annotations

GLOSSARY: dict[str, str] = {
    # data
    "film": "One mammography image: one breast, one view.",
    "patient": "One person, with all her exams and films. Patients, never single films, are dealt out to training and test.",
    "exam": "One visit: usually four films, two views of each breast.",
    "centre": "The hospital or site where a film was made. Centres differ in devices and exposure, which a model may pick up.",
    "class": "What the model learns to tell apart, for example density A to D.",
    "label map": "Which word in your table stands for which class. A word without a class leaves its films out.",
    "patient key": "How films are known to belong to the same patient. Without it, leakage between patients cannot be excluded.",
    "synthetic": "Made by code, not by a mammography unit. Good for learning the app, worthless for medical conclusions.",
    "preview": "Reduced for display. The full film is used for training and prediction.",
    "unreadable": "Files that could not be decoded. They are left out of every split.",
    # splits
    "split": "Who is in training, who in validation and who in the test.",
    "train": "Films from which the model learns.",
    "val": "Validation films: never learnt from, used after each epoch to choose the best one.",
    "test": "Films kept aside until the end. Looking at them often makes the result too good.",
    "fold": "One part of a cross-validation. Each fold serves once as validation, so that every patient is judged once.",
    "proof": "Counted on the finished split: a patient in two parts would let the model recognise her instead of the disease.",
    "duplicate": "Two films with exactly the same pixels. They are kept in one part.",
    "near duplicate": "Two films that show the same picture, for example reduced, mirrored or saved again. They are kept in one "
    "part like duplicates, once the comparison or a person has confirmed them.",
    "left out": "Not used: without a label or a date, unreadable, or taken out by a person with a reason. Counted, never hidden.",
    "split seed": "A number that decides the drawing of patients. The same number gives the same split again.",
    "ratios": "Share of the patients in training, validation and test, in percent.",
    "shortcut": "Something beside the picture that tells the class, for example the vendor. Models that use it fail elsewhere.",
    "leak": "The same patient or the same film in two parts. A test on such a split is too good to be true.",
    # training
    "preset": "A complete set of training settings that fit together.",
    "seed": "A number that starts the random choices of one training. Several seeds show how much a result varies by chance.",
    "run": "One training with one seed (and one fold), with everything it wrote.",
    "experiment": "The runs of one start, under one name: same settings, several seeds or folds.",
    "epoch": "One pass over all training films.",
    "weights": "What a network has learnt. Starting from ImageNet weights (everyday photographs) needs far fewer films.",
    "validation loss": "How wrong the model is on the validation films; lower is better. The best epoch has the lowest.",
    "best epoch": "The epoch with the lowest validation loss. Its weights are kept, and all numbers are read there.",
    "smoothing": "Smoothed: a running mean drawn over the raw lines, which stay visible. Never in exported figures, tables or "
    "the verdict; left out below 8 epochs.",
    "eta": "From the median time of the epochs so far; shown after two of them.",
    "early stopping": "Ends a run when the validation loss has not fallen for a number of epochs.",
    # numbers
    "macro-AUC": "How well the classes are ranked, averaged over them: 0.5 is chance, 1 is perfect.",
    "accuracy": "Share of films with the right class. Misleading where one class is common.",
    "balanced accuracy": "Mean share of right answers over the classes, so that a rare class counts as much as a common one.",
    "kappa": "Agreement on an ordered scale beyond chance: 1 is full, 0 is chance. Far misses count more than near ones.",
    "macro-F1": "Mean over the classes of the balance between finding a class and being right about it; 1 is perfect.",
    "interval": "95 % interval from drawing patients anew many times: a wide one means too few patients to tell.",
    "spread": "Mean over the seeds, plus or minus the standard deviation between them (n-1), with the number of runs.",
    "t interval": "95 % interval of the mean over such runs (Student's t). It knows training chance, not the choice of patients; "
    "for folds it is widened, since folds share training films.",
    "runs and patients": "95 % interval from drawing patients and runs anew 2000 times: what other patients and other seeds "
    "would have given. The one to quote.",
    "out-of-fold": "The metric of all folds' predictions joined: every film once, by the model that did not see its patient.",
    "prediction interval": "Where one more run of the same kind would fall with 95 % probability. With three runs it is wide, "
    "and mean plus or minus 2 SD would be far too narrow.",
    "unit": "What is counted as one case: a film, or a breast, exam or patient by the mean probability of its films.",
    "question": "A yes-or-no question made from the classes, for example dense (C or D) against the rest.",
    "auc": "How often a positive case gets a higher score than a negative one: 0.5 is chance, 1 is perfect.",
    "average precision": "How pure the cases with the highest scores are; guessing gives the share of positives.",
    "reliability": "Of the films with a probability near 0.7, about 70 % should be what it says. Points on the line mean so.",
    "temperature": "One number, fitted on validation films, that makes all probabilities more or less sure; calls stay the same.",
    "threshold": "From this score on a case counts as positive. It is chosen on validation films and then left alone.",
    "prevalence": "Share of positives among the people the model would be used for. It decides what a positive call is worth.",
    "sensitivity": "Share of the truly positive that are called positive.",
    "specificity": "Share of the truly negative that are called negative.",
    "predictive value": "PPV: share of positive calls that are right; NPV: of negative calls. Both change with the prevalence.",
    "subgroup": "Cases that share a value, for example one centre. Small groups differ by chance.",
    # maps
    "map": "A heat map of what influenced the score of one class on one film. It is coarse, and it is no finding.",
    "true positive": "With one class as the positive one: the film is of the class and is called so. A false negative "
    "(missed) is of the class and called something else; a false positive is called the class and is something else.",
    "baseline map": "Maps that need no model and know nothing of the lesion: the whole breast, its centre, a blur around its "
    "centre. A map that points no better than these has not shown that it finds anything.",
    "lesion size": "The films in three equal parts by the area of their lesion. Maps are coarse, so small lesions are harder.",
    "randomisation": "Adebayo and others (2018). Passed where the maps change as much as maps of different films differ.",
    "repeatability": "Passed where maps of one film by several runs are more alike than maps of different films.",
    "faithfulness": "ROAD (remove and debias), Rong and others (2022). Passed where the map does better than each of three maps "
    "that need no model, with the whole interval above 0.",
    "ssim": "Structural similarity of two pictures: 1 is the same picture, 0 has nothing in common. The rank correlation "
    "compares which places are high and which low: 1 is the same order, 0 none.",
    "rank correlation": "Whether two maps put the same places high and low: 1 is the same order, 0 none, -1 the opposite.",
    "road": "How much more the score falls when the map's highest pixels are removed than its lowest: 0 is chance, higher is "
    "better, at most 0.5.",
    "sanity films": "Drawn from the predicted films for randomisation and repeatability; 20 are needed for a verdict.",
    "road films": "50 are needed for a verdict; 0 leaves the test out, which saves most of the time.",
    # housekeeping
    "state": "waiting, running, stopping, stopped (on request), interrupted (the process died), failed, or finished.",
    "archive": "Hides a run from lists and pickers. All its files stay where they are.",
    "trash": "Deleted runs lie here until the trash is emptied, and can be put back.",
    "cache": "Prepared films, kept so that the next training starts faster. They are made again when needed.",
    "doctor": "Decodes one small film of every kind and imports PyTorch, in processes of their own; takes some seconds.",
    "leftovers": "Temporary files, half-made folders and uploads of programs that were killed. What anybody works on is left "
    "alone, and runs go to the trash.",
    "pause": "No further training starts until you let it go on, for example to have the machine for yourself. Nothing is lost.",
    "tags": "Short words to find a run by, for example 'paper' or 'baseline'.",
}


def explain(word: str) -> str:
    """The explanation of ``word``; an unknown word is a mistake in the page (``KeyError``)."""
    return GLOSSARY[word]
