"""The paper judged: all that is numbered is there, what is wrong is what is known to be, and planted errors are found."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import sympy as sp

import derive
from derive.paper.claim import Compared, HeldAgainst, LineByLine, Measured, NotJudged, OnActions, PaperClaim
from derive.paper.claims import CLAIMS, chosen
from derive.paper.judging import finding, judge
from derive.paper.letters import NUMBERS, derived_relation, letters_of
from derive.paper.objects import OBJECTS, A, a, derived, rest, x, y
from derive.paper.report import Report, facts
from derive.paper.writing import FORMATS, markdown_body, write
from tests.derive.paper_formulas import PAPER

WRONG = {
    "Sect. 3, batch norm": "printed 1, derived c/Abs(c)",
    "Sect. 3, ReLU": "printed Max(0, z1), derived -Max(0, -z1)",
    "App. A.1, effective learning rate": "printed -1, derived -2",
    "eq. 24": "printed H'_A,rest*alpha**2, derived H'_A,rest*alpha",
    "App. A.2, below eq. 26": "printed 2, derived 3",
    "Table 3, row 1, scale": "printed H'_A,rest*alpha**2, derived H'_A,rest*alpha",
    "Table 3, row 1, rescale": "printed H'_A1,A2*alpha**2, derived H'_A1,A2",
    "App. F, covariance of earlier work": "printed GGᵀ, derived GGᵀ/S",
    "App. F, Itô's lemma, second line": "printed -dt*eta*|g_A|², derived dt*eta*|g_A|²",
    "App. I, sum unrolled": "derived Sum(-eta*⟨g_A(i), 1⟩*(-eta*lambda + 1)**(-i + n - 1), (i, 0, n - 1))",
    "App. J, sides": "printed left, derived right",
}
"""What is wrong without counting, and the term that shows it: each read off the scan and worked out by hand."""
ORDERS = {"Sect. 6, exactness": 0, "Fig. 7, growth": 2, "App. I, exponential and power": 1}
"""Claims that are right up to a power of η."""


@pytest.fixture(scope="module")
def report():
    return Report(tuple(judge(CLAIMS)))


@pytest.fixture(scope="module")
def written(report):
    return {format: write(report, format) for format in FORMATS}


def at(place):
    (claim,) = chosen(place)
    return claim


def judged(claim, **changes):
    """The finding about a claim whose test was changed."""
    return finding(replace(claim.test, **changes), claim, {})


# --- what is in it ---


def test_every_numbered_equation_is_in_it_exactly_once():
    numbers = [int(claim.place[4:]) for claim in CLAIMS if re.fullmatch(r"eq\. \d+", claim.place)]
    assert sorted(numbers) == list(range(1, 42))
    assert len({claim.place for claim in CLAIMS}) == len(CLAIMS)


def test_all_five_tables_are_in_it_and_tables_2_and_3_with_their_fifteen_entries():
    assert {claim.place[6] for claim in CLAIMS if claim.place.startswith("Table")} == set("12345")
    rows = ("Table 2, row 1", "Table 2, row 2", "Table 3, row 1", "Table 3, row 2", "Table 3, row 3")
    entries = [claim.place for claim in CLAIMS if re.match(r"Table [23], row", claim.place)]
    assert entries == [f"{row}, {symmetry}" for row in rows for symmetry in ("translation", "scale", "rescale")]


@pytest.mark.parametrize("number", [n for n in range(1, 42) if n != 32])
def test_a_numbered_equation_is_the_one_that_was_transcribed_from_the_scan(number):
    """Eq. 32 is left out: its noise is missing in the scan."""

    def same(latex):
        return re.sub(r"\s|&|\\begin\{aligned\}|\\end\{aligned\}|\\\\|\\quad|[.,]$", "", latex.strip().rstrip(".,"))

    assert same(at(f"eq. {number}").latex) == same(PAPER[str(number)])


def test_every_claim_is_held_against_something_in_the_table():
    used = {c.test.call for c in CLAIMS if isinstance(c.test, HeldAgainst | LineByLine)}
    used |= {call for c in CLAIMS if isinstance(c.test, OnActions) for call in c.test.calls}
    assert used <= set(OBJECTS)


HEAVY = [call for call in OBJECTS if call.startswith("solve(law(") and "momentum" in call]


@pytest.mark.parametrize(
    "call", [pytest.param(call, marks=[pytest.mark.slow] if call in HEAVY else []) for call in OBJECTS if call]
)
def test_nothing_is_typed_in_the_text_is_a_call_of_the_public_api_that_makes_the_object(call):
    names = {name: getattr(derive, name) for name in derive.__all__}
    assert eval(call, {**names, "sp": sp, "x": x, "y": y, "a": a, "A": A, "rest": rest}) == derived(call)


# --- what is found ---


def test_the_wrong_claims_are_the_known_ones_with_the_known_terms(report):
    found = {one.claim.place: one.difference for one in report.findings if one.outcome == "wrong"}
    assert set(found) == set(WRONG)
    for place, term in WRONG.items():
        assert term in found[place]


def test_what_is_right_up_to_an_order_is_known_with_the_order(report):
    found = {one.claim.place: one.verdict.order for one in report.findings if one.outcome == "right up to order"}
    assert found == ORDERS


def test_everything_else_is_right_or_says_why_not(report):
    others = [one for one in report.findings if one.claim.place not in WRONG | ORDERS]
    assert {one.claim.place for one in others if one.outcome == "undecided"} == {"Table 1", "Fig. 4"}
    for one in others:
        measured = isinstance(one.claim.test, Measured)
        defined = isinstance(one.claim.test, NotJudged)
        assert (one.outcome == "not judged") is measured
        assert one.outcome == "right" or one.reason, one.claim.place
        assert defined or measured or one.verdict.evidence != "undecided"


def test_a_wrong_formula_comes_with_the_right_one_and_its_steps(report):
    formulas = [one for one in (*report.errors, *report.slips) if not isinstance(one.claim.test, Compared | Measured)]
    assert len(formulas) == 5
    assert all(one.correct and one.steps and one.steps[0].all_steps for one in formulas)


def test_right_sides_multiply_on_both_sides_of_the_hessian():
    """Eq. 24 as it should be: D Hf Dᵀ; on the block that is scaled alone D² Hf is the same."""
    for call in at("eq. 24").test.calls:
        letters = letters_of(derived(call))
        right = letters.moved * letters.moved_curvature * letters.moved.T - letters.curvature
        assert (right - derived_relation(derived(call), 24)).expand().is_zero_matrix
    alone = letters_of(derive.scale())
    assert alone.moved**2 * alone.moved_curvature - alone.curvature == derived_relation(derive.scale(), 24)


def test_the_letters_know_a_jacobian_that_is_not_symmetric():
    shear = derived("linear_symmetry([[0, 1], [0, 0]])")
    letters = letters_of(shear)
    assert letters.turning == sp.Matrix([[0, 0], [1, 0]])
    for number in NUMBERS:
        assert not derived_relation(shear, number).is_zero_matrix


# --- planted errors ---

PLANTED = [
    ("eq. 3", "= 0", "= 1"),
    ("eq. 8", r"- g_{\mathcal{A}_2}", r"+ g_{\mathcal{A}_2}"),
    ("eq. 13", r"(t)|^2 - ", r"(t)|^2 + "),
    ("eq. 15", r"1-\beta", r"1+\beta"),
    ("eq. 16", r"- \frac{\eta}{2}", r"+ \frac{\eta}{2}"),
    ("eq. 17", r"\frac{\eta}{2}", r"\frac{\eta}{4}"),
    ("eq. 18", r"e^{-\lambda t}", r"e^{\lambda t}"),
    ("eq. 19", r"+ \eta", r"- \eta"),
    ("eq. 21", r"+ \eta", r"- \eta"),
    ("eq. 27", r"(Hg+\lambda", r"(Hg-\lambda"),
    ("eq. 29", r"- \frac{\eta}{2}", r"+ \frac{\eta}{2}"),
    ("eq. 31", r"-g(\theta)", r"g(\theta)"),
    ("eq. 34", r"\right) + \frac{\gamma}", r"\right) - \frac{\gamma}"),
    ("eq. 34", r"(1+\gamma t)", r"(1-\gamma t)"),
    ("eq. 36", r"2\left|", r"\left|"),
    ("eq. 38", r"(1-\beta)}{2}", r"(1-\beta)}{1}"),
    ("eq. 40", "+ \\eta^2", "- \\eta^2"),
    ("eq. 41", r"|\theta_{\mathcal A_1}^{(n)}\right|^2-", r"|\theta_{\mathcal A_1}^{(n)}\right|^2+"),
    ("App. G, footnote 7", r"|^2 - ", r"|^2 + "),
    ("App. H.2, general solution", r"{-\gamma+", r"{\gamma+"),
    ("App. H.3, under-damped", r"\sin", r"\cos"),
    ("Table 3, row 3, rescale", r"+ g_{\mathcal A_2}", r"- g_{\mathcal A_2}"),
]


@pytest.mark.parametrize(("place", "old", "new"), PLANTED)
def test_an_error_planted_in_a_right_formula_is_found(place, old, new):
    claim = at(place)
    formula = claim.test.reading or claim.latex
    assert old in formula
    assert judged(claim).outcome == "right"
    assert judged(claim, reading=formula.replace(old, new, 1)).outcome == "wrong"


@pytest.mark.slow
def test_a_sign_that_is_turned_in_any_right_formula_is_found():
    """Two sums of zeros in a row stay zeros whatever their sign: eqs. 28 and 30 claim that both sides vanish."""
    for claim in CLAIMS:
        if not isinstance(claim.test, HeldAgainst) or judged(claim).outcome != "right" or claim.test.to_order:
            continue
        formula = claim.test.reading or claim.latex
        for old, new in ((" - ", " + "), (" + ", " - ")):
            turned = re.sub(rf"(?<!O){re.escape(old)}(?!O|\\cdots)", new, formula, count=1)
            if turned != formula and claim.place not in ("eq. 28", "eq. 30"):
                assert judged(claim, reading=turned).outcome != "right", (claim.place, turned)


@pytest.mark.parametrize("place", ["eq. 1", "eq. 22", "eq. 25", "eq. 26", "Table 2, row 1, rescale"])
def test_an_error_planted_in_a_relation_of_any_action_is_found(place):
    claim = at(place)
    assert judged(claim).outcome == "right"
    found = judged(claim, printed=lambda on, right=claim.test.printed: right(on) + on.slope[0] * sp.ones(*right(on).shape))
    assert found.outcome == "wrong"
    assert "g_" in found.difference


def test_an_error_planted_in_a_stated_value_or_a_line_is_found():
    assert judged(at("Sect. 6, stationary state"), stated=lambda: derive.symbols.lr).outcome == "wrong"
    assert judged(at("Sect. 6, Fig. 6"), stated=lambda: (True, True, True)).outcome == "wrong"
    assert judged(at("Fig. 7, circle"), stated=lambda: (derive.symbols.lr * x, derive.symbols.lr * y)).outcome == "wrong"
    assert judged(at("App. A, five by three"), stated=lambda: (5, 15, 1)).outcome == "wrong"
    lines = at("App. C.2, difference").test.lines
    found = judged(at("App. C.2, difference"), lines=(lines[0], lines[1].replace("- \\eta(1", "+ \\eta(1"), lines[2]))
    assert (found.outcome, found.reason) == ("wrong", "line 2 does not follow")


def test_a_count_is_judged_by_what_is_measured_and_not_without():
    claim = at("Table 5, scale, VGG-16 w/ BN")
    name = claim.test.name
    assert finding(claim.test, claim, {}).words == "not judged"
    assert finding(claim.test, claim, {name: lambda: claim.test.stated}).outcome == "right"
    found = finding(claim.test, claim, {name: lambda: 4224})
    assert (found.outcome, found.difference) == ("wrong", "printed 4227, derived 4224")
    assert found.reason == claim.test.reason


# --- refusals ---


def test_a_place_may_be_given_as_a_reader_would():
    assert [c.place for c in chosen("16")] == [c.place for c in chosen("(16)")] == [c.place for c in chosen("Equation 16")]
    assert len(chosen("Table 3")) == 9
    assert all(claim.place.startswith("App. F,") for claim in chosen("app. F"))
    with pytest.raises(ValueError, match="only: expected a place"):
        chosen("eq. 42")


def test_a_claim_that_cannot_be_listed_or_judged_is_refused():
    with pytest.raises(ValueError, match="section: expected one of"):
        PaperClaim("eq. 42", "K", "", NotJudged("definition", ""))
    with pytest.raises(ValueError, match=r"latex: expected the formula that is judged at eq\. 42"):
        PaperClaim("eq. 42", "3", "", HeldAgainst("scale()"))
    with pytest.raises(TypeError, match="test: expected a kind of test"):
        finding("a word", at("eq. 1"), {})
    with pytest.raises(ValueError, match="format: expected one of text, markdown, latex, html"):
        write(Report(()), "pdf")


# --- how it is written ---


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_has_every_claim_and_what_is_wrong_first(written, format):
    text = written[format].replace("\\", "").replace("&#x27;", "'")
    text = text.replace("^o", "ô") if format == "latex" else text
    plain = [claim.place for claim in CLAIMS if claim.place.isascii()]
    assert len(plain) > 160
    assert all(place in text for place in plain)
    assert text.index("What the paper gets wrong") < text.index("eq. 1")
    assert text.index("What the paper gets wrong") < text.index("App. F") < text.index("Symmetries in the loss")


def test_the_page_is_well_formed_fetches_nothing_and_its_links_lead_somewhere(written):
    page = written["html"]
    root = ElementTree.fromstring(page.partition("\n")[2])
    assert not re.search(r"(src|href)=\"(?!#)|https?:|<script", page)
    ids = {element.get("id") for element in root.iter() if element.get("id")}
    links = {element.get("href") for element in root.iter("a")}
    assert links
    assert links == {f"#{name}" for name in ids}
    assert sum(1 for _ in root.iter("math")) > 500


class _Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.words = []

    def handle_data(self, data):
        self.words.append(data)


def test_no_latex_is_left_in_the_words_of_the_page(written):
    reader = _Text()
    reader.feed(written["html"])
    assert "\\" not in "".join(reader.words)


def test_latex_and_markdown_are_balanced(report, written):
    latex = written["latex"]
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    assert sorted(re.findall(r"\\begin{(\w+\*?)}", latex)) == sorted(re.findall(r"\\end{(\w+\*?)}", latex))
    body = markdown_body(report, steps=False)
    assert body.count("$$") % 2 == 0
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 5 for line in tables)
    assert len(body) < len(written["markdown"])


def test_one_claim_is_told_in_full(report):
    text = write(Report(tuple(judge(chosen("eq. 24")))), whole=False)
    assert text.startswith("eq. 24: wrong\n")
    for words in ("as printed:", "derived:", "convention: right if", "evidence: symbolic proof", "Hessian, moved"):
        assert words in text


def test_what_the_scan_leaves_open_is_said(report):
    said = {one.claim.place for one in report.findings if dict(facts(one)).get("scan")}
    assert {"eq. 31", "eq. 32", "eq. 38", "Table 1", "Fig. 4", "Sect. 6, stationary state"} <= said


def test_the_documentation_shows_it(report, tmp_path):
    from tests.project.test_docs import beside_conf

    for folder in ("extra", "parts"):
        (tmp_path / "_build" / folder).mkdir(parents=True)
    beside_conf("generated_pages").write_paper(tmp_path, report)
    assert "What the paper gets wrong" in (tmp_path / "_build" / "parts" / "paper.md").read_text("utf-8")
    assert (tmp_path / "_build" / "extra" / "paper_report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
