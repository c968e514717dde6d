"""MammoTrace: page config, the gate of a lab server, navigation and the background supervisor; nothing else."""

import streamlit as st

from mammo_core.workflows.supervisor import ensure_supervisor
from pages.shared.frame import current_workspace, page_icon, sidebar_foot
from pages.shared.gate import admit

st.set_page_config(page_title="MammoTrace", page_icon=page_icon(), layout="wide")
admit()

navigation = st.navigation(
    {
        "": [st.Page("pages/home.py", title="Home", icon=":material/home:", url_path="home", default=True)],
        "Data": [
            st.Page("pages/films.py", title="Films", icon=":material/photo_library:", url_path="films"),
            st.Page("pages/splits.py", title="Splits", icon=":material/call_split:", url_path="splits"),
        ],
        "Train": [
            st.Page("pages/train.py", title="Train", icon=":material/model_training:", url_path="train"),
            st.Page("pages/queue.py", title="Queue", icon=":material/pending_actions:", url_path="queue"),
        ],
        "Understand": [
            st.Page("pages/history.py", title="History", icon=":material/show_chart:", url_path="history"),
            st.Page("pages/compare.py", title="Compare", icon=":material/compare_arrows:", url_path="compare"),
            st.Page("pages/evaluate.py", title="Evaluate", icon=":material/fact_check:", url_path="evaluate"),
            st.Page("pages/gradcam.py", title="Grad-CAM", icon=":material/center_focus_strong:", url_path="gradcam"),
        ],
        "Use": [
            st.Page("pages/predict.py", title="Predict", icon=":material/biotech:", url_path="predict"),
            st.Page("pages/models.py", title="Models", icon=":material/inventory_2:", url_path="models"),
            st.Page("pages/report.py", title="Report", icon=":material/summarize:", url_path="report"),
        ],
    }
)
ensure_supervisor(current_workspace())
navigation.run()
sidebar_foot()
