"""Docstrings on their way to a page. They are written to be read in a terminal, where |θ|² is a norm."""

import re

BAR = "\N{DIVIDES}"
"""Looks like |, which in reStructuredText would begin a substitution; docstrings here have none."""


def bars(app, what, name, obj, options, lines):
    """Replace | outside of examples and ``literals``, in place. A handler of autodoc-process-docstring."""
    in_example = False
    for number, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if not in_example:
            lines[number] = "".join(
                part if part.startswith("``") else part.replace("|", BAR) for part in re.split(r"(``.+?``)", line)
            )
