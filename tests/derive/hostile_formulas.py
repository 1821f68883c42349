# ruff: noqa: E501  (an input is easier to read on one line)
"""Inputs that are no formulas, or that were made to hurt: code, odd characters, depth, size, towers of powers. 500 of them."""

from __future__ import annotations

import random
from collections.abc import Iterator

CODE = (
    "__import__('os').system('touch pwned')", "import os", "eval('1+1')", "exec('x=1')", "().__class__.__bases__[0].__subclasses__()",
    "open('pwned', 'w')", "lambda x, y: 0", "print(1)", "os.remove('x')", "x.__dict__", "__builtins__", "{}.__class__", "f'{x}'", "[i for i in x]",
    "x if y else z; import sys", "sys.exit()", "globals()['x']", "getattr(x, 'y')", "\\input{/etc/passwd}", "\\write18{touch pwned}", "\\def\\x{\\x}\\x",
    "\\newcommand{\\a}{\\a\\a}\\a", "\\catcode`\\%=12", "\\immediate\\openout3=pwned", "\\csname end\\endcsname", "<script>alert(1)</script>",
    "'; DROP TABLE laws; --", "$(touch pwned)", "`touch pwned`", "%n%n%n%s", "x\x00y", "\ud800", "\u202eabc", "\N{COMBINING GRAPHEME JOINER}", "🤖 + 1",
    "Symbol('x')", "Integer(9)**9**9", "factorial(10**6)", "sympify('x')", "x!", "a ? b : c", "#define x", "@x", "~x", "x ^^ y",
    "\\begin{evil}x\\end{evil}", "\\left( x \\right", "\\frac{1}", "\\sqrt", "\\int_0^1 x", "\\sum_{i} ", "e^", "_", "^2", "= = =", "x = ", "||||",
    "\\langle x", "|x", "x|", "(x", "x)", "{x", "x}", "[x", "x]", "(x]", "\\frac{x}{", "\\begin{cases} 1 & x", "\\end{cases}", "x_{", "x^{",
    "x_1_2", "x^1^2", "1/0 = 1", "\\frac{1}{0} = 1", "0^{-1} = 2", "\\cosh", "\\unknownmacro x", "\\", "", "   ", "\t\n", ",", ";;", "&&&",
)  # fmt: skip

DISGUISED = (
    "\u2066x\u2069 + 1", "x\u200b + y = \u200dz", "\ufeffQ' = 1", "\u0430 + 1 = 2", "\uff11 + x", "\u202dQ\u202c' = q", "x\u0336 = 0",
    "x\u0307\u0307\u0307\u0307\u0307" * 400, "\u0307\u0307 x", "Q\u0489 = 1", "\U0001d7d8 + \U0001d465", "{0.__class__}", "%(x)s", "${jndi:ldap://x}", "\x1b[2J",
    "\\input|'touch pwned'", "\\openin5=x", "\\loop\\iftrue\\repeat", "\\expandafter\\expandafter", "\\special{ps: x}", "\\directlua{os.exit()}",
)  # fmt: skip
"""Invisible, combining and look-alike characters, format strings, and TeX that would do something."""

HEAVY = (
    "((((10!)!)!)!)!", "\\Gamma(\\Gamma(9^9))", "\\sum_{i=1}^{99999999} \\sum_{j=1}^{99999999} \\zeta(i)", "\\prod_{i=1}^{10^9} (1+x",
    "\\lim_{x\\to\\infty}\\lim_{y\\to\\infty} z_y_x", "\\int_0^1\\int_0^1\\int_0^1\\int_0^1 x", "f^{(99999)}", "\\nabla^{99999999} L = 0",
    "x^{x^{x^{x^{x^{x^x}}}}} = 1", "9^{9^{9}} = x", "\\cosh\\cosh\\cosh\\cosh\\cosh 99999 = \\sinh",
)  # fmt: skip
"""Inputs that are short, and long to compute if one tried."""


def hostile() -> Iterator[str]:
    """500 inputs, the same in every run."""
    yield from CODE
    yield from DISGUISED
    yield from HEAVY
    for n in (9, 99, 9999, 10**5, 10**6):
        yield from (
            "x" * n,
            "(" * n,
            ")" * n,
            "{" * n,
            "((" * n + "x" + "))" * n,
            "\\frac{" * n,
            "x^{" * n + "2" + "}" * n,
            "9" * n + "=",
        )
        yield from (
            "+" * n,
            "-" * n,
            "|" * n,
            "\\sqrt{" * n,
            "a_" * n,
            "'" * n,
            "\\left(" * n,
            "\\\\" * n,
            "\\dot" * n,
            "_{^{" * n,
        )
    for tower in (
        "9^{9^{9^9}} = 1",
        "9**9**9**9",
        "2^{1000000} = x",
        "x^{10^{10}} = 1",
        "(1+x)^{10^9} = 1",
        "10^{10^{10}}",
        "e^{e^{e^{e^{9}}}} = 1",
    ):
        yield from (tower, f"{tower} + 1", f"\\sqrt{{{tower}}}", f"\\cosh({tower})")
    draw = random.Random(1)
    soup = [
        *"(){}[]|^_=+-*/\\&,;<>'\"`!@#$%~:.?",
        "\\frac",
        "\\int",
        "\\sum",
        "\\begin{cases}",
        "\\end{cases}",
        "\\langle",
        "\\left",
        "__",
        "d",
        "e",
    ]
    while True:
        yield "".join(draw.choice(soup) for _ in range(draw.randint(8, 60))) + draw.choice(
            ["\\frac{", "(", "|_", "^^", "\\end{x}", "_="]
        )
