r"""LaTeX to MathML, for pages that need neither a script nor a network.

Covered is the LaTeX that SymPy and this package write: letters, fractions, roots, scripts, accents, fences, sums and
integrals, matrices and aligned rows. Anything else is refused by name, never dropped. SymPy's own MathML printer is no
choice here: half of what is shown is prose with LaTeX in it, and one notation is to be written in one way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape
from types import MappingProxyType


class MathError(ValueError):
    """LaTeX that is not covered, or not well-formed."""


_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\s+|.", re.DOTALL)

LETTERS: Mapping[str, str] = MappingProxyType({
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "ϕ", "chi": "χ", "psi": "ψ", "omega": "ω", "ell": "ℓ", "varphi": "φ", "varepsilon": "ε",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω", "bullet": "•", "circ": "∘",
})  # fmt: skip
"""Command -> the letter it prints."""

OPERATORS = MappingProxyType({
    "partial": "∂", "nabla": "∇", "cdot": "·", "cdots": "⋯", "dots": "…", "ldots": "…", "pm": "±", "to": "→",
    "mapsto": "↦", "leq": "≤", "geq": "≥", "le": "≤", "ge": "≥", "neq": "≠", "in": "∈", "times": "×", 
    "infty": "∞", "wedge": "∧", "vee": "∨", "langle": "⟨", "rangle": "⟩", "{": "{", "}": "}", "vert": "|",
    "lvert": "|", "rvert": "|", "approx": "≈", "ll": "≪", "top": "⊤", "odot": "⊙", "intercal": "⊺", "perp": "⊥",
})  # fmt: skip
"""Command -> the operator or fence it prints."""

FONTS: Mapping[str, Mapping[str, str]] = MappingProxyType({
    "mathcal": MappingProxyType({"A": "𝒜", "B": "ℬ", "L": "ℒ"}),
    "mathbb": MappingProxyType({"1": "𝟙", "E": "𝔼", "R": "ℝ"}),
    "mathbf": MappingProxyType({"1": "𝟏", "H": "𝐇"}),
})  # fmt: skip
"""Command of a font -> letter -> the same in that font. MathML Core has no attribute for fonts."""

FUNCTIONS = frozenset({"log", "ln", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asinh", "acosh", "min", "max"})
BIG = MappingProxyType({"sum": "∑", "prod": "∏", "int": "∫"})
ACCENTS = MappingProxyType({"dot": "˙", "ddot": "¨", "dddot": "…", "tilde": "~", "widetilde": "~", "hat": "^", "bar": "¯"})
SPACES = MappingProxyType(
    {",": "0.17em", ";": "0.28em", ":": "0.22em", "quad": "1em", "qquad": "2em", " ": "0.25em", "!": "0"}
)
_WORDS = ("text", "operatorname", "mathrm", "textbf")
_NO_MARK = frozenset({"displaystyle", "hline", "big", "bigl", "bigr", "Big", "Bigl", "Bigr"})
_CLASSES = MappingProxyType({"align*": "aligned", "pmatrix": "matrix", "bmatrix": "matrix"})
_FENCES = MappingProxyType({"pmatrix": "()", "bmatrix": "[]"})
_LITERAL = MappingProxyType({"-": "−", "*": "∗", "'": "′"})


def mathml(latex: str, *, display: bool = False) -> str:
    r"""A ``<math>`` element.

    >>> print(mathml(r"\theta_{n}^{2}"))
    <math><msubsup><mi>θ</mi><mi>n</mi><mn>2</mn></msubsup></math>
    >>> mathml(r"\textcolor{red}{x}")
    Traceback (most recent call last):
    derive.mathml.MathError: latex: expected the commands of mathematics that this page writes, got '\\textcolor'

    Raises
    ------
    MathError
        For a command that is not covered, or braces that do not match.
    """
    reader = _Reader(latex)
    body = reader.row(lambda token: token is None)
    return f'<math display="block">{body}</math>' if display else f"<math>{body}</math>"


def _group(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"


def _operator(symbol: str, *, stretchy: bool = True) -> str:
    fixed = "" if stretchy else ' stretchy="false"'
    return f"<mo{fixed}>{escape(symbol)}</mo>"


def _fence(symbol: str, side: str) -> str:
    return "" if symbol == "." else f'<mo form="{side}" fence="true">{escape(symbol)}</mo>'


class _Reader:
    """Recursive descent; ``at`` is the next token."""

    def __init__(self, latex: str) -> None:
        self.latex, self.tokens, self.at = latex, _TOKEN.findall(latex), 0

    def peek(self) -> str | None:
        self._skip_blanks()
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _skip_blanks(self) -> None:
        while self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise MathError(f"latex: expected more after {self.latex[-20:]!r}, got the end")
        self.at += 1
        return token

    def expect(self, wanted: str) -> None:
        if (token := self.take()) != wanted:
            raise MathError(f"latex: expected {wanted!r} in {self.latex[:60]!r}, got {token!r}")

    def row(self, ends: Callable[[str | None], bool]) -> str:
        """Elements up to a token at which ``ends``; that token is left."""
        parts: list[str] = []
        while not ends(token := self.peek()):
            if token is None or token == "}":
                raise MathError(f"latex: expected matching braces, got {self.latex[:60]!r}")
            parts += self.scripted()
        return _group(parts) if parts else "<mrow></mrow>"

    def scripted(self) -> list[str]:
        """One element with its scripts; several where a command means nothing or a sequence."""
        big = (self.peek() or "").removeprefix("\\") in ("sum", "prod")
        base, below, above = self.element(), "", list[str]()
        if not base:
            return []
        while (token := self.peek()) in ("_", "^", "'", r"\limits"):
            if token == "'":
                above.append(self._primes())
            elif self.take() == "_":
                below = self.argument()
            elif token == "^":
                above.append(self.argument())
        return [_with_scripts(base, below, _group(above) if above else "", "under" if big else "sub")]

    def _primes(self) -> str:
        count = 0
        while self.peek() == "'":
            self.take()
            count += 1
        return f'<mo lspace="0" rspace="0">{"′" * count}</mo>'

    def argument(self) -> str:
        """What a script or a command takes: a group, or one token."""
        if self.peek() != "{":
            return self.element()
        self.take()
        found = self.row(lambda token: token == "}")
        self.expect("}")
        return found

    def raw(self) -> str:
        """The text of a group as it stands."""
        self.expect("{")
        text = ""
        while (token := self.tokens[self.at] if self.at < len(self.tokens) else None) != "}":
            if token is None:
                raise MathError(f"latex: expected a closing brace in {self.latex[:60]!r}")
            text += token
            self.at += 1
        self.at += 1
        return text

    def element(self) -> str:
        if self.peek() == "{":
            return self.argument()
        token = self.take()
        if token.startswith("\\"):
            return self.command(token[1:])
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{escape(token)}</mi>"
        if token == "|":
            return '<mo lspace="0" rspace="0" stretchy="false">|</mo>'  # a bar of |x| and no divisor
        return _operator(_LITERAL.get(token, token), stretchy=token not in "()[]/")

    def command(self, name: str) -> str:
        if name in LETTERS:
            return f"<mi>{LETTERS[name]}</mi>"
        if name in OPERATORS:
            return _operator(OPERATORS[name], stretchy=name not in ("langle", "rangle", "{", "}"))
        if name in FUNCTIONS:
            return f"<mi>{name}</mi>"
        if name in BIG:
            return f"<mo>{BIG[name]}</mo>"
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}"></mspace>'
        if name in ACCENTS:
            return f'<mover>{self.argument()}<mo stretchy="false">{ACCENTS[name]}</mo></mover>'
        if name in _WORDS:
            return self._words(name)
        if name in FONTS:
            return self._lettered(name)
        return self._structure(name)

    def _lettered(self, font: str) -> str:
        letter = self.raw() if self.peek() == "{" else self.take()
        if letter not in FONTS[font]:
            raise MathError(f"latex: expected one of {', '.join(FONTS[font])} after {chr(92) + font}, got {letter!r}")
        return f"<mi>{FONTS[font][letter]}</mi>"

    def _words(self, name: str) -> str:
        words = re.sub(r"^ +| +$", lambda m: "\u00a0" * len(m[0]), self.raw())  # MathML takes blanks at the ends away
        return (
            f"<mtext>{escape(words)}</mtext>"
            if name.startswith("text")
            else f'<mi mathvariant="normal">{escape(words)}</mi>'
        )

    def _structure(self, name: str) -> str:
        if name in ("frac", "tfrac", "dfrac"):
            return f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
        if name == "sqrt":
            return self._root()
        if name == "left":
            return self._fenced()
        if name == "begin":
            return self._environment()
        if name == "substack":
            self.expect("{")
            cells = self._cells("}")
            self.expect("}")
            return cells
        if name == "underbrace":
            return f"<munder>{self.argument()}<mo>⏟</mo></munder>"
        if name in _NO_MARK:
            return ""
        raise MathError(f"latex: expected the commands of mathematics that this page writes, got {chr(92) + name!r}")

    def _root(self) -> str:
        if self.peek() != "[":
            return f"<msqrt>{self.argument()}</msqrt>"
        self.take()
        index = self.row(lambda token: token == "]")
        self.expect("]")
        return f"<mroot>{self.argument()}{index}</mroot>"

    def _delimiter(self) -> str:
        token = self.take()
        return OPERATORS.get(token[1:], token) if token.startswith("\\") else token

    def _fenced(self) -> str:
        first = self._delimiter()
        body = self.row(lambda token: token == r"\right")
        self.take()
        return f"<mrow>{_fence(first, 'prefix')}{body}{_fence(self._delimiter(), 'postfix')}</mrow>"

    def _environment(self) -> str:
        kind = self.raw()
        if kind == "array":
            self.raw()
        if kind not in ("array", "matrix", "aligned", "align*", "cases", "smallmatrix", *_FENCES):
            raise MathError(f"latex: expected a matrix, array, cases or aligned rows, got {kind!r}")
        table = self._cells(r"\end")
        self.expect(r"\end")
        if (closed := self.raw()) != kind:
            raise MathError(f"latex: expected the end of {kind!r}, got that of {closed!r}")
        first, last = _FENCES.get(kind, "{." if kind == "cases" else "..")
        table = table.replace("<mtable>", f'<mtable class="{_CLASSES.get(kind, kind)}">', 1)
        return f"<mrow>{_fence(first, 'prefix')}{table}{_fence(last, 'postfix')}</mrow>"

    def _cells(self, end: str) -> str:
        rows, row = [], []
        while True:
            row.append(f"<mtd>{self.row(lambda token: token in (end, '&', chr(92) * 2))}</mtd>")
            if self.peek() == "&":
                self.take()
                continue
            rows.append(f"<mtr>{''.join(row)}</mtr>")
            row = []
            if self.peek() == end:
                return f"<mtable>{''.join(rows)}</mtable>"
            self.take()


def _with_scripts(base: str, below: str, above: str, kind: str) -> str:
    low, high = ("under", "over") if kind == "under" else ("sub", "sup")
    if below and above:
        return f"<m{low}{high}>{base}{below}{above}</m{low}{high}>"
    if below:
        return f"<m{low}>{base}{below}</m{low}>"
    return f"<m{high}>{base}{above}</m{high}>" if above else base
