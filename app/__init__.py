"""The dashboard: a Streamlit application on the public functions of `scenarios`."""
