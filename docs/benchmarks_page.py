"""The site's page of benchmarks, as a hook of MkDocs: tables of what `make bench` and `make gpu` left."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[1]))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    from benchmarks.tables import page

    files.append(File.generated(config, "reference/benchmarks.md", content=page()))
    return files
