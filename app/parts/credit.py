"""Who drew the pictures that a page shows."""

from __future__ import annotations

import streamlit as st

from app.language import t
from scenarios import Scenario


def picture_credit(scenario: Scenario) -> None:
    """Name OpenMoji where the ads' pictures are theirs, as the licence asks."""
    if scenario.world.catalog == "openmoji":
        st.caption(t("cards.openmoji"))
