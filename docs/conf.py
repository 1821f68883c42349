"""Configuration of the documentation: Sphinx, MyST and a gallery of lessons that are run when the pages are built."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import docstring_markup  # noqa: E402
import generated_pages  # noqa: E402

project = "nmech"
author = "the nmech authors"
project_copyright = author
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
    "sphinx-mathjax-offline",  # a copy of MathJax, so that pages show formulas without a network
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "lessons", "README.md"]
suppress_warnings = ["ref.python"]  # a parameter's name may be that of several attributes, and then links to none

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "nmech"
html_static_path = ["_static"]
html_css_files = ["nmech.css"]
html_extra_path = ["_build/extra"]
html_copy_source = False
html_show_sourcelink = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}

sphinx_gallery_conf = {
    "examples_dirs": "lessons",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[/\\]lesson_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("matplotlib", "lesson_output.last_value"),
    "capture_repr": (),  # lesson_output shows the last value of a cell, as a formula where it has one
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 60,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "reset_modules": ("matplotlib", "lesson_output.figure_style"),
}


def setup(app):
    """Write what is generated from the code before the pages are read."""
    generated_pages.write(HERE)
    generated_pages.write_paper(HERE)
    app.connect("autodoc-process-docstring", docstring_markup.docstring)
    app.connect("source-read", docstring_markup.examples)
