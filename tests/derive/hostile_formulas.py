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


def hostile() -> Iterator[str]:
    """500 inputs, the same in every run."""
    yield from CODE
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
