"""The site's page of benchmarks, as a hook of MkDocs: tables of what `make bench` and `make gpu` left."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# MkDocs takes its own changes of the path back once this file is read, so what is needed is imported here.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.tables import page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "reference/benchmarks.md", content=page()))
    return files
