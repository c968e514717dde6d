"""Predict: what does a model say about a film, and should it be believed?"""

import streamlit as st

from mammo_core.report.charts_prediction import probability_chart
from mammo_core.runs.listing import list_cards
from mammo_core.workflows.overview import plural
from mammo_core.workflows.uploads import Upload
from pages.shared.figures import download_table, show_chart
from pages.shared.film_view import film_and_map, map_choices, map_words
from pages.shared.frame import current_workspace, errors_in_words, page_title, plain, research_only
from pages.shared.models_in_use import LoadedModel, explanation_of, load_model
from pages.shared.run_picker import nothing_yet, pick_model
from pages.shared.upload_answers import Answer, answer_table, answers_for, export_table, film_of_upload

FILM_TYPES = ["dcm", "dicom", "png", "jpg", "jpeg", "tif", "tiff", "pgm"]
MAX_UPLOAD_MB = 200
PICTURE_HEIGHT = 1600
"""Pixels of a film in a saved picture."""
CHART_WIDTH = 250

workspace = current_workspace()


def told(answer: Answer) -> None:
    """The answer in words, what limits it, and how far the runs agree."""
    from mammo_core.predict.result_files import SCORE_NOTE, headline

    prediction = answer.prediction
    st.markdown(f"### {plain(headline(prediction))}")
    st.caption(plain(f"{prediction.agreement} {SCORE_NOTE}".strip()))
    if prediction.warnings:
        listed = "\n".join(f"- {plain(warning)}" for warning in prediction.warnings)
        st.warning(listed, title="Before you believe it", icon=":material/warning:")
    left, right = st.columns(2)
    with left:
        show_chart(probability_chart(prediction.probabilities, prediction.per_run, CHART_WIDTH), "predict_probabilities")
        if len(prediction.runs) > 1:
            st.caption(f"Bar: mean over {len(prediction.runs)} runs. Dots: the single runs.")
    with right:
        familiar(answer)


def familiar(answer: Answer) -> None:
    unfamiliar = answer.prediction.unfamiliar
    if unfamiliar.flagged is None:
        st.info(plain(unfamiliar.reason), title="Nobody can say whether the film is familiar", icon=":material/help:")
    elif unfamiliar.flagged:
        st.warning(plain(unfamiliar.reason), title="Unlike the films the model knows", icon=":material/warning:")
    else:
        st.success(plain(unfamiliar.reason), title="Familiar", icon=":material/check_circle:")


def save_buttons(answer: Answer, film: object, explanation: object) -> None:
    from mammo_core.predict.result_files import prediction_json, prediction_pdf, prediction_png

    prediction = answer.prediction
    files = {
        "PDF": (lambda: prediction_pdf(film, prediction, explanation), "application/pdf"),
        "PNG": (lambda: prediction_png(film, prediction, explanation, max_height=PICTURE_HEIGHT), "image/png"),
        "JSON": (lambda: prediction_json(prediction, explanation), "application/json"),
    }
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Save result")
        for kind, (make, mime) in files.items():
            name = f"prediction_{prediction.film_id}.{kind.lower()}"
            st.download_button(
                kind, make, file_name=name, mime=mime, key=f"predict_{kind}", on_click="ignore", icon=":material/download:"
            )
    st.caption("Saved files name the film by its content, never by its file name or patient.")


def details(answer: Answer) -> None:
    prediction = answer.prediction
    with st.expander("What was read and done to the film", icon=":material/list:"):
        st.markdown("\n".join(f"- {plain(step)}" for step in prediction.steps))
    with st.expander("Which model says so", icon=":material/badge:", expanded=True):
        for run, origin in zip(prediction.runs, prediction.origins, strict=True):
            synthetic = " (synthetic)" if origin.get("synthetic") else ""
            st.markdown(
                f"**{plain(run)}** · {plain(str(origin.get('arch')))}, best epoch {origin.get('epoch')} · trained on "
                f"{origin.get('train_films', '?')} films of {origin.get('train_patients', '?')} patients of "
                f"{plain(str(origin.get('dataset') or 'an unknown data set'))}{synthetic} · split {str(origin.get('split_sha256'))[:8]}"
            )


def show(model: LoadedModel, answer: Answer) -> None:
    if answer.prediction is None:
        st.error(plain(answer.error), icon=":material/error:")
        return
    told(answer)
    sha, names = answer.upload.sha256, model.predictor.class_names
    film = film_of_upload(workspace, answer.upload)
    class_name, method, opacity, contours = map_choices(f"predict_{sha[:12]}", names, answer.prediction.predicted)
    with errors_in_words():
        explanation = explanation_of(model, film, sha, class_name, method)
        film_and_map(film, explanation, opacity, contours)
        map_words(explanation)
        save_buttons(answer, film, explanation)
    details(answer)


def show_many(model: LoadedModel, answers: list[Answer]) -> None:
    table = answer_table(answers, model.predictor.class_names)
    failed = sum(answer.prediction is None for answer in answers)
    st.markdown(f"### {plural(len(answers) - failed, 'film')} judged, {failed} not read")
    numbers = {name: st.column_config.NumberColumn(format="%.2f") for name in table.columns if name.startswith(("p(", "SD"))}
    chosen = st.dataframe(
        table, hide_index=True, column_config=numbers, on_select="rerun", selection_mode="single-row", key="predict_table",
        alt=f"{len(answers)} uploaded films with the predicted class and probabilities",
    )  # fmt: skip
    download_table(export_table(table, model), "predictions", "predict_csv")
    picked = [row for row in chosen.selection.rows if row < len(answers)]
    if picked:
        show(model, answers[picked[0]])
    else:
        st.info("Select a row to see the film, its map and what to know about the result.", icon=":material/touch_app:")


page_title("Predict", "What does the model say about this film, and should I believe it?")
research_only()
cards = [card for card in list_cards(workspace) if card.run.best_model.exists()]
if not any(card.state == "finished" for card in cards):
    nothing_yet("There is no trained model yet; predictions need one finished run.", "pages/train.py", "Start a training")
else:
    chosen = pick_model("Model", cards, "predict_model")
    files = st.file_uploader(
        "Films", FILM_TYPES, accept_multiple_files=True, max_upload_size=MAX_UPLOAD_MB, key="predict_files",
        help="They stay on this computer: the app reads them and keeps no copy.",
    )  # fmt: skip
    if chosen is not None and files:
        with errors_in_words():
            model = load_model(workspace, chosen.runs)
            answers = answers_for(workspace, model, [Upload(file.name, file.getvalue()) for file in files])
            if len(answers) == 1:
                show(model, answers[0])
            else:
                show_many(model, answers)
