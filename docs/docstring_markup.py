"""Text on its way to a page: docstrings, which are written to be read in a terminal, and examples, which are tests."""

import re

BAR = "\N{DIVIDES}"
"""Looks like |, which in reStructuredText would begin a substitution; docstrings here have none."""


def docstring(app, what, name, obj, options, lines):
    """From numpy's style to reStructuredText, in place. A handler of autodoc-process-docstring.

    Napoleon's own handler would take "Where it holds: …" in the docstring of a property for its type: ``what`` is withheld.
    """
    from sphinx.ext.napoleon import Config, NumpyDocstring

    bars(lines)
    lines[:] = str(NumpyDocstring(lines, Config(napoleon_use_rtype=False), app, "function", name, obj)).splitlines()


def bars(lines):
    """Replace | outside of examples and ``literals``, in place."""
    in_example = False
    for number, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if not in_example:
            lines[number] = "".join(
                part if part.startswith("``") else part.replace("|", BAR) for part in re.split(r"(``.+?``)", line)
            )


def examples(app, name, source):
    """Drop the blank line at the end of an example, which doctest needs and a reader does not. Handles source-read."""
    source[0] = re.sub(r"\n\n( *```)$", r"\n\1", source[0], flags=re.MULTILINE)
