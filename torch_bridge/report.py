"""One self-contained HTML page: figures, the laws that were used, and a table of errors."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib.pyplot as plt
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image

from derive import Law
from torch_bridge.evaluate import PREDICTIONS, Comparison, figure
from torch_bridge.plot import plot_gaps, plot_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Section:
    """A heading, a figure as PNG bytes, and the caption that says what to see."""

    heading: str
    png: bytes
    caption: str

    @property
    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True, eq=False)
class RunSummary:
    """What the page tells of a run beside its figures: some lines, where a :class:`Comparison` may fill the memory."""

    name: str
    ok: bool
    verdict: str
    rows: tuple[dict[str, Any], ...]
    laws: frozenset[Law]

    @staticmethod
    def of(run: Comparison) -> RunSummary:
        return RunSummary(run.path.name, run.ok, run.verdict(), tuple(run.rows()), frozenset(g.law for g in run.groups))


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes; it is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140)
    plt.close(figure)
    return buffer.getvalue()


def write_report(path: str | os.PathLike[str], title: str, sections: Sequence[Section],
                 runs: Sequence[Comparison | RunSummary]) -> Path:  # fmt: skip
    """Render the page. Everything it shows is inside it: no script, no style sheet, no image is fetched.

    Raises
    ------
    ValueError
        If the file cannot be written.
    """
    summaries = [run if isinstance(run, RunSummary) else RunSummary.of(run) for run in runs]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torch_bridge"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html").render(
        title=title,
        sections=sections,
        headings=list(PREDICTIONS.values()),
        verdicts=[(run.name, run.ok, run.verdict) for run in summaries],
        rows=[row for run in summaries for row in _rows(run)],
        laws=_laws(summaries),
    )
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"path: expected a file that can be written, got {target} ({error})") from error
    return target


def run_report(run: Comparison, path: str | os.PathLike[str]) -> Path:
    """The page of a single run: a figure for each kind of symmetry, how the gaps grow, the table."""
    sections = [
        Section(
            f"{kind.capitalize()} charges",
            png(plot_grid([run.of_kind(kind)[:3]], [""] * len(run.of_kind(kind)[:3]))),
            "The first places where the symmetry occurs. Where dashes run on a coloured line, the law holds for "
            "that neuron; the table below has the figures.",
        )
        for kind in run.kinds
    ]
    growth = Section(
        "How far each prediction is off",
        png(plot_gaps(run)),
        "Worst neuron of each kind. The exact law should stay at rounding; what the continuous law adds is its truncation. "
        "Where leaving out ⟨g, X⟩ shows, the symmetry is broken: by batch norm's eps (scale), or by rounding alone, in a "
        "gradient that would be exactly 0 (shift: a bias that batch norm subtracts again).",
    )
    return write_report(path, f"Run {run.path.name}", [*sections, growth], [run])


def _rows(run: RunSummary) -> list[dict[str, object]]:
    return [
        {
            "run": run.name,
            "kind": row["kind"],
            "charges": row["charges"],
            "uncompared": row["charges"] - row["compared"],
            "gaps": [f"{figure(row[name][0])} / {figure(row[name][1])}" for name in PREDICTIONS],
        }
        for row in run.rows
    ]


def _laws(runs: Sequence[RunSummary]) -> list[dict[str, str]]:
    """Each law that was used, once, its formula as a picture: browsers and SymPy disagree on MathML."""
    found = {(law.symmetry.name, law) for run in runs for law in run.laws}
    ordered = sorted(found, key=lambda pair: (pair[0], pair[1].form))
    return [
        {"name": f"{name} ({law.form}, order {law.order})", "formula": _picture(law._repr_latex_()), "text": str(law)}
        for name, law in ordered
    ]


def _picture(formula: str) -> str:
    """A LaTeX formula as an SVG data URI, set by matplotlib's mathtext."""
    buffer = io.BytesIO()
    math_to_image(formula, buffer, format="svg", prop=FontProperties(size=13))
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
