"""Figures show each neuron's measured charge and its law on top; the page holds all it shows."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

torch = pytest.importorskip("torch")
matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import to_rgba  # noqa: E402

from tests.torch_bridge.small_network import VARIANTS, recorded  # noqa: E402
from torch_bridge.evaluate import PREDICTIONS, evaluate  # noqa: E402
from torch_bridge.plot import TIME_LABEL, charge_label, plot_gaps, plot_grid, plot_group  # noqa: E402
from torch_bridge.report import Section, png, write_report  # noqa: E402

PNG = b"\x89PNG\r\n\x1a\n"
LEGEND = ["measured, a colour a neuron", "predicted by the law"]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return evaluate(recorded(tmp_path_factory.mktemp("runs") / "run <1>", steps=20, settings=VARIANTS["momentum"]))


@pytest.fixture(scope="module")
def page(comparison, tmp_path_factory):
    return comparison.report(tmp_path_factory.mktemp("pages") / "run.html").read_text(encoding="utf-8")


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def legends(figure):
    """Texts of every legend of a figure, its own and its axes'."""
    boxes = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    return [[text.get_text() for text in legend.get_texts()] for legend in boxes if legend is not None]


def drawn(ax):
    """(measured, predicted): solid and dashed lines, in the order of drawing."""
    dashed = [line for line in ax.lines if line.is_dashed()]
    return [line for line in ax.lines if not line.is_dashed()], dashed


# --- one group ---


@pytest.mark.parametrize("kind", ["translation", "shift", "scale", "rescale"])
def test_each_neuron_is_a_coloured_line_with_the_law_in_black_dashes_on_top(comparison, ax, kind):
    group = comparison.of_kind(kind)[0]
    measured, predicted = drawn(plot_group(group, ax=ax, neurons=100))
    assert len(measured) == len(predicted) == group.group.neurons
    for neuron, (solid, dashed) in enumerate(zip(measured, predicted, strict=True)):
        assert np.array_equal(solid.get_xydata(), np.column_stack([group.time, group.measured[:, neuron]]))
        assert np.array_equal(dashed.get_xydata(), np.column_stack([group.time, group.predicted[:, neuron]]))
        assert list(ax.lines).index(dashed) > list(ax.lines).index(solid)
    assert {to_rgba(line.get_color()) for line in predicted} == {to_rgba("black")}
    assert len({to_rgba(line.get_color()) for line in measured} - {to_rgba("black")}) == len(measured)


@pytest.mark.parametrize(("asked", "shown"), [(1, [0]), (2, [0, 5]), (3, [0, 2, 5]), (6, range(6)), (50, range(6))])
def test_as_many_neurons_as_asked_for_are_shown_evenly_spread(comparison, ax, asked, shown):
    group = comparison.of_kind("scale")[0]
    measured, _ = drawn(plot_group(group, ax=ax, neurons=asked))
    assert [line.get_ydata().tolist() for line in measured] == [group.measured[:, k].tolist() for k in shown]


@pytest.mark.parametrize("neurons", [0, -1])
def test_a_figure_of_no_neuron_is_refused(comparison, ax, neurons):
    with pytest.raises(ValueError, match=f"neurons: expected at least 1, got {neurons}"):
        plot_group(comparison.groups[0], ax=ax, neurons=neurons)


def test_the_axes_say_what_they_show(comparison, ax):
    group = comparison.of_kind("rescale")[0]
    plot_group(group, ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == (TIME_LABEL, charge_label(group), "3 -> 5")
    assert legends(ax.figure) == [LEGEND]


def test_the_legends_dashes_are_those_of_the_lines(comparison, ax):
    plot_group(comparison.groups[0], ax=ax)
    solid, dashed = ax.get_legend().get_lines()
    assert (dashed.get_color(), dashed.is_dashed(), solid.is_dashed()) == ("black", True, False)


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("translation", r"$\langle \theta_{A}, 1\rangle$"),
        ("scale", r"$|\theta_{A}|^2$"),
        ("rescale", r"$|\theta_{A1}|^2 - |\theta_{A2}|^2$"),
    ],
)
def test_a_charge_is_labelled_with_its_formula(comparison, kind, label):
    found = charge_label(comparison.of_kind(kind)[0])
    assert re.sub(r"\\left|\\right|[ {}]", "", found) == re.sub(r"[ {}]", "", label)


def test_axes_are_made_where_none_are_given_and_used_where_they_are(comparison, ax):
    made = plot_group(comparison.groups[0])
    assert made is not ax
    assert comparison.plot("scale", ax=ax) is ax
    assert ax.get_title() == "0 -> 1"
    plt.close(made.figure)


def test_a_comparison_plots_its_first_kinds_first_place_unless_told_otherwise(comparison, ax):
    assert comparison.plot(ax=ax).get_title() == "5.weight"
    assert comparison.plot("translation", 1, ax=ax).get_title() == "5.bias"


# --- several groups ---


def test_a_grid_has_a_row_a_symmetry_a_column_a_setting_and_one_legend(comparison):
    cells = [[comparison.of_kind(kind)[0]] * 2 for kind in ("translation", "scale", "rescale")]
    figure = plot_grid(cells, ["one", "two"], neurons=3)
    axes = np.reshape(figure.axes, (3, 2))
    assert [ax.get_title() for ax in axes[0]] == ["one\n5.weight", "two\n5.weight"]
    assert [ax.get_title() for ax in axes[1:, 0]] == ["0 -> 1", "3 -> 5"]
    assert legends(figure) == [LEGEND]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == [charge_label(row[0]) for row in cells]
    assert {len(ax.lines) for ax in axes.flat} == {6}
    plt.close(figure)


def test_a_row_of_a_grid_shares_its_scale_and_rows_do_not(comparison):
    figure = plot_grid([list(comparison.of_kind("translation")), [comparison.of_kind("scale")[0]] * 2], ["one", "two"])
    ranges = [ax.get_ylim() for ax in figure.axes]
    plt.close(figure)
    assert ranges[0] == ranges[1] != ranges[2] == ranges[3]


def test_the_growth_of_the_gaps_is_drawn_for_each_kind_and_prediction(comparison):
    figure = plot_gaps(comparison)
    assert [ax.get_title() for ax in figure.axes] == list(comparison.kinds)
    assert legends(figure) == [list(PREDICTIONS.values())]
    for ax, kind in zip(figure.axes, comparison.kinds, strict=True):
        assert ax.get_yscale() == "log"
        for line, name in zip(ax.lines, PREDICTIONS, strict=True):
            worst = np.max([group.gap(name).max(axis=1) for group in comparison.of_kind(kind)], axis=0)
            shown = np.asarray(line.get_ydata())
            assert np.array_equal(shown[worst > 0], worst[worst > 0])
    plt.close(figure)


def test_the_gaps_are_drawn_over_steps_which_all_groups_share(comparison):
    """Training time may differ from group to group, with the learning rate of its parameters."""
    later = [replace(g, time=10 * g.time) if g.group.kind == "scale" else g for g in comparison.groups]
    figure = plot_gaps(replace(comparison, groups=tuple(later)))
    ends = {ax.get_title(): ax.lines[0].get_xdata()[-1] for ax in figure.axes}
    plt.close(figure)
    assert ends == dict.fromkeys(["translation", "shift", "scale", "rescale"], comparison.groups[0].steps[-1])


# --- the page ---


class Elements(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for found, attributes in self.tags if found == tag]


def fetched(page):
    """What a browser would fetch to show the page: each address that is neither inside the page nor a name space."""
    elements = Elements(page)
    named = [value for _, found in elements.tags for key, value in found.items() if key in ("src", "href", "srcset", "data")]
    outside = [value for value in named if not value.startswith(("data:", "#"))]
    addresses = [a for a in re.findall(r"https?://[^\s\"'<>)]+", page) if not a.startswith("http://www.w3.org/")]
    styles = re.findall(r"url\(|@import", page)
    return outside + addresses + styles + [tag for tag, _ in elements.tags if tag in ("script", "link", "iframe", "object")]


@pytest.mark.parametrize(
    "wrong",
    [
        '<img src="figure.png">',
        "<script>1</script>",
        '<link rel="stylesheet" href="style.css">',
        '<a href="https://example.org">x</a>',
        "<style>body { background: url(x.png) }</style>",
    ],
)
def test_a_page_that_needs_something_else_is_noticed(page, wrong):
    assert fetched(page.replace("</body>", wrong + "</body>"))


def test_the_page_holds_all_it_shows(page):
    assert fetched(page) == []


def test_every_figure_is_inside_the_page_and_described(page):
    figures = {image["alt"]: image["src"] for image in Elements(page).all("img") if "class" not in image}
    headings = [f"{kind} charges" for kind in ("Translation", "Shift", "Scale", "Rescale")]
    assert list(figures) == [*headings, "How far each prediction is off"]
    for source in figures.values():
        head, content = source.split(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(content, validate=True).startswith(PNG)


def test_every_gap_of_the_table_is_on_the_page(comparison, page):
    text = " ".join(Elements(page).text)
    for row in comparison.rows():
        for name in PREDICTIONS:
            assert f"{row[name][0]:.1e} / {row[name][1]:.1e}" in text
            assert PREDICTIONS[name] in text
        assert row["kind"] in text
    assert len(Elements(page).all("tr")) == 1 + len(comparison.kinds)


def test_the_verdict_is_on_the_page_and_one_that_is_missed_stands_out(comparison, tmp_path):
    group = comparison.groups[0]
    missed = replace(comparison, groups=(replace(group, exact=group.exact + 1), *comparison.groups[1:]))
    page = write_report(tmp_path / "run.html", "Two runs", [], [comparison, missed]).read_text("utf-8")
    (marked,) = re.findall(r'<li class="missed">(.*?)</li>', page)
    (unmarked,) = re.findall(r"<li>(.*?)</li>", page)
    assert "MISSED" in marked
    assert "holds to rounding" in unmarked


def formulas(page):
    """Name of each law on the page and the picture of its equation."""
    pictures = [(image["alt"], image["src"]) for image in Elements(page).all("img") if image.get("class") == "formula"]
    return list(zip(re.findall(r"<dt>(.*?)</dt>", page), pictures, strict=True))


def test_every_law_that_was_used_is_on_the_page_once_as_a_picture_with_its_text(comparison, page):
    laws = {f"{g.law.symmetry.name} (modified flow, order 1)": str(g.law) for g in comparison.groups}
    assert {name: text for name, (text, _) in formulas(page)} == laws
    assert len(formulas(page)) == len(laws) == 3
    for _, (_, source) in formulas(page):
        head, content = source.split(",")
        assert head == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(content, validate=True)


def test_runs_under_different_rules_show_the_laws_of_both(comparison, tmp_path):
    plain = evaluate(recorded(tmp_path / "run", steps=3))
    page = write_report(tmp_path / "both.html", "Two rules", [], [comparison, plain, plain]).read_text("utf-8")
    forms = [name.split(" (")[1] for name, _ in formulas(page)]
    assert sorted(forms) == ["modified flow, order 1)"] * 3 + ["modified loss, order 1)"] * 3


def test_the_name_of_a_run_is_text_not_markup(page):
    assert "run &lt;1&gt;" in page
    assert "run <1>" not in page


def test_tags_are_closed_and_the_page_is_one_document(page):
    opened, closed = re.findall(r"<([a-z1-6]+)", page), re.findall(r"</([a-z1-6]+)", page)
    void = ("meta", "img", "br", "mspace")
    assert sorted(tag for tag in opened if tag not in void) == sorted(tag for tag in closed if tag not in void)
    assert opened.count("html") == opened.count("body") == 1


def test_a_page_over_several_runs_has_a_row_for_each_of_their_kinds_and_the_given_sections(comparison, tmp_path, ax):
    section = Section("A heading", png(plot_group(comparison.groups[0]).figure), "what to see & where")
    other = replace(comparison, path=tmp_path / "another")
    page = write_report(tmp_path / "deep" / "er" / "all.html", "Two runs", [section], [comparison, other]).read_text("utf-8")
    assert len(Elements(page).all("tr")) == 1 + 2 * len(comparison.kinds)
    assert "<title>Two runs" in page
    assert "what to see &amp; where" in page
    assert len(Elements(page).all("img")) == 1 + len(formulas(page))
    assert fetched(page) == []


def test_the_path_of_the_page_is_returned_and_no_figure_stays_open(comparison, tmp_path):
    before = plt.get_fignums()
    assert comparison.report(f"{tmp_path}/run.html") == tmp_path / "run.html"
    assert (tmp_path / "run.html").is_file()
    assert plt.get_fignums() == before


def test_a_path_that_cannot_be_written_is_refused_by_name(comparison, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "run.html"):
        with pytest.raises(ValueError, match="path: expected a file that can be written, got "):
            write_report(path, "title", [], [comparison])
