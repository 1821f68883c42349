"""LaTeX becomes MathML that is well-formed and says the same; what is not covered is refused."""

import re
from xml.etree import ElementTree

import pytest
import sympy as sp

from derive.mathml import MathError, mathml
from derive.special_functions import damped_cosh, damped_sinhc, squared_arccosh1p

x, y = sp.symbols("x y", positive=True)


def read(latex):
    """The element, parsed by a reader that takes nothing ill-formed."""
    return ElementTree.fromstring(mathml(latex))


def text(element):
    return "".join(element.itertext())


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\frac{1}{2}", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
        (r"\sqrt[3]{x}", "<mroot><mi>x</mi><mn>3</mn></mroot>"),
        (r"x_{n+1}^{2}", "<msubsup><mi>x</mi><mrow><mi>n</mi><mo>+</mo><mn>1</mn></mrow><mn>2</mn></msubsup>"),
        (r"\sum_{k} k", "<mrow><munder><mo>∑</mo><mi>k</mi></munder><mi>k</mi></mrow>"),
        (r"\dot\theta", '<mover><mi>θ</mi><mo stretchy="false">˙</mo></mover>'),
        (r"a < b", "<mrow><mi>a</mi><mo>&lt;</mo><mi>b</mi></mrow>"),
        (r"\text{a & b}", "<mtext>a &amp; b</mtext>"),
        (r"\begin{matrix}1 & 2\\3 & 4\end{matrix}",
         '<mrow><mtable class="matrix"><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr>'
         "<mtr><mtd><mn>3</mn></mtd><mtd><mn>4</mn></mtd></mtr></mtable></mrow>"),
    ],
)  # fmt: skip
def test_a_construct_is_the_element_that_the_standard_has_for_it(latex, expected):
    assert mathml(latex) == f"<math>{expected}</math>"


EXPRESSIONS = [
    damped_cosh(x, y), damped_sinhc(x, y) ** 2, squared_arccosh1p(x), sp.Order(x**2), sp.Integral(sp.exp(-x * y), (x, 0, y)),
    sp.Derivative(sp.Function("u")(x, y), (x, 2), y), sp.Subs(sp.Derivative(sp.Function("L")(x), x), x, y), sp.root(x, 3),
    sp.Matrix([[x, y], [1, x / y]]), sp.Sum(x**y, (x, 0, y)), sp.log(x) - sp.atan(x + sp.pi), sp.Lt(x, y),
    sp.Piecewise((x, x > y), (y, True)),
]  # fmt: skip


@pytest.mark.parametrize("expr", EXPRESSIONS, ids=str)
def test_what_sympy_writes_is_read_with_all_its_letters(expr):
    found = read(sp.latex(expr))
    assert all(symbol.name in text(found) for symbol in expr.free_symbols)
    assert not list(found.iter("merror"))
    assert "\\" not in text(found)


def test_every_number_of_a_formula_is_in_the_element_in_order():
    latex = sp.latex(12 * x**3 / 7 - 45 * sp.exp(89 * y))
    assert [number.text for number in read(latex).iter("mn")] == re.findall(r"\d+", latex)


@pytest.mark.parametrize(
    "latex", [r"\unknown x", "{x", "x}", r"\frac{1}", r"\left( x", r"\begin{tikz}\end{tikz}", r"\text{x"]
)
def test_what_is_not_covered_or_not_closed_is_refused(latex):
    with pytest.raises(MathError, match="latex: expected"):
        mathml(latex)
