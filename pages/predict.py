"""Predict: what does a model say about a film, and should it be believed?"""

from dataclasses import replace

import streamlit as st

from mammo_core.analysis.backing import DEFAULT_RULE
from mammo_core.data.sandbox import expect_uploads
from mammo_core.report.tables import without_formulas
from mammo_core.runs.listing import list_cards
from mammo_core.workflows.map_records import check_sentences
from mammo_core.workflows.model_shelf import kept_models
from mammo_core.workflows.overview import plural
from mammo_core.workflows.shelf import ShelfRow, kept_row
from mammo_core.workflows.uploads import Upload
from pages.shared.choice import choose
from pages.shared.exam_view import show_exams
from pages.shared.figures import download_table
from pages.shared.film_view import film_and_map, map_choices, map_words
from pages.shared.folder_predictions import predict_folder
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain, research_only
from pages.shared.models_in_use import LoadedModel, explanation_of, load_model
from pages.shared.prediction_view import details, pick_rule, save_buttons, told
from pages.shared.run_picker import nothing_yet, pick_model
from pages.shared.upload_answers import Answer, answer_table, answers_for, exams_of, export_table, film_of_upload

FILM_TYPES = ["dcm", "dicom", "png", "jpg", "jpeg", "tif", "tiff", "pgm"]
MAX_UPLOAD_MB = 200
SOURCES = {"upload": "Upload films", "folder": "A folder on this computer"}

workspace = current_workspace()


def show(model: LoadedModel, answer: Answer, rule: str) -> None:
    prediction = answer.prediction
    if prediction is None:
        st.error(plain(answer.error), icon=":material/error:")
        return
    told(prediction, rule)
    sha, names = answer.upload.sha256, model.predictor.class_names
    film = film_of_upload(workspace, answer.upload)
    class_name, method = map_choices(f"predict_{sha[:12]}", names, prediction.predicted)
    with errors_in_words():
        explanation = explanation_of(model, film, sha, class_name, method)
        explanation = replace(explanation, checks=check_sentences(workspace, model.run_ids, method))
        film_and_map(film, explanation, "predict_viewer")
        map_words(explanation)
        for sentence in explanation.checks:
            st.caption(f":material/fact_check: {plain(sentence)}")
        save_buttons(prediction, film, explanation, rule)
    details(prediction)


def show_many(model: LoadedModel, answers: list[Answer], rule: str) -> None:
    table = answer_table(answers, model.predictor.class_names)
    failed = sum(answer.prediction is None for answer in answers)
    st.markdown(f"### {plural(len(answers) - failed, 'film')} judged, {failed} not read")
    numbers = {name: st.column_config.NumberColumn(format="%.2f") for name in table.columns if name.startswith(("p(", "SD"))}
    chosen = st.dataframe(
        without_formulas(table), hide_index=True, column_config=numbers, on_select="rerun", selection_mode="single-row",
        key="predict_table", alt=f"{len(answers)} uploaded films with the predicted class and probabilities",
    )  # fmt: skip
    download_table(export_table(answers, table, model), "predictions", "predict_csv")
    one_exam = st.checkbox(
        "These films are one woman's exam", key="predict_one_exam",
        help="DICOM files say which films belong together; for other files only you know.",
    )  # fmt: skip
    with errors_in_words():
        show_exams(exams_of(answers, one_exam), model.predictor.class_names, model.predictor.backing, rule, asked=model.run_ids)
    picked = [row for row in chosen.selection.rows if row < len(answers)]
    if picked:
        show(model, answers[picked[0]], rule)
    else:
        st.info("Select a row to see the film, its map and what to know about the result.", icon=":material/touch_app:")


def predict_uploads(chosen: ShelfRow) -> None:
    expect_uploads()
    files = st.file_uploader(
        "Films", FILM_TYPES, accept_multiple_files=True, max_upload_size=MAX_UPLOAD_MB, key="predict_files",
        help="They stay on this computer: the app reads them and keeps no copy.",
    )  # fmt: skip
    if not files:
        return
    with errors_in_words():
        model = load_model(workspace, chosen.runs)
        answers = answers_for(workspace, model, [Upload(file.name, file.getvalue()) for file in files])
        judged = any(answer.prediction is not None for answer in answers)
        rule = pick_rule(model.predictor.backing) if judged else DEFAULT_RULE
        if len(answers) == 1:
            show(model, answers[0], rule)
        else:
            show_many(model, answers, rule)


page_title("Predict", "What does the model say about this film, and should I believe it?")
research_only()
cards = [card for card in list_cards(workspace) if card.run.best_model.exists()]
kept = [kept_row(model.name, model.record) for model in kept_models(workspace) if model.record is not None]
if not kept and not any(card.state == "finished" for card in cards):
    nothing_yet("There is no trained model yet; predictions need one finished run.", "pages/train.py", "Start a training")
else:
    model_chosen = pick_model("Model", cards, "predict_model", kept)
    source = choose("From", SOURCES, "predict_source")
    if model_chosen is not None and source == "folder":
        predict_folder(workspace, model_chosen)
    elif model_chosen is not None:
        predict_uploads(model_chosen)
