r"""A safe parser for formulas as papers write them, in LaTeX or plain text: one grammar, no ``eval``, bounded in size.

    statements   a = b, a = b = c, several of them after a comma or a line break
    derivatives  \frac{d}{dt}, \dot\theta, Q', \partial_t, \nabla L, \nabla^2 L
    norms        |x|, \|x\|_2, ⟨x, y⟩, \langle x, y\rangle, <x, y>
    functions    \cosh x, \exp(…), e^{…}, \sqrt{…}, \int_0^t … d\tau, \sum_{i=0}^{n-1} …, \begin{cases}

The result says how the text is built (:mod:`derive.notation.tree`); :mod:`derive.notation.reading` says what it means. The
parser is LALR, so its time is linear in the length of the text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from derive.notation import lexicon, tree
from derive.notation.tokens import FormulaError, Token, tokenize

GRAMMAR = r"""
start: statements
statements: statement ((COMMA | SEMI) statement)* (COMMA | SEMI)?
statement: (_relation)? total (_relation total)*
_relation: EQ | REL | COLON
total: (PLUS | MINUS | PM)? product ((PLUS | MINUS | PM) product)*
product: factor ((TIMES | SLASH | ODOT)? factor | (TIMES | SLASH) MINUS factor)*
factor: _atom _postfix*
_postfix: power | index | prime | evaluated
power: CARET _raised
index: UNDER _lowered
prime: PRIME
evaluated: EVALBAR UNDER _lowered
_raised: _argument | negative | star
_lowered: _argument | sign
negative: MINUS (NUMBER | NAME)
star: TIMES
sign: PLUS | MINUS | PM
_argument: NAME | NUMBER | braced | group | fraction | root | accented | DOTS
_atom: NAME | NUMBER | DOTS | FUNC | braced | group | bars | angle | fraction | root | accented | big | table
braced: LBRACE RBRACE | LBRACE statements RBRACE | LBRACE (PLUS | MINUS | PM | TIMES | PRIME+) RBRACE
group: LPAR statements RPAR
bars: LBAR statement RBAR
angle: LANGLE statement COMMA statement RANGLE
fraction: FRAC _argument _argument
root: SQRT _argument | ROOT group _argument
accented: (ACCENT | UNDERBRACE) _argument
big: BIG
table: BEGIN row (NEWROW row)* NEWROW? END
row: statement (AMP statement?)* | AMP statement
"""
TERMINALS = """COMMA SEMI EQ REL COLON PLUS MINUS PM TIMES SLASH ODOT CARET UNDER PRIME EVALBAR NAME NUMBER DOTS FUNC
    LBRACE RBRACE LPAR RPAR LBAR RBAR LANGLE RANGLE FRAC SQRT ROOT ACCENT UNDERBRACE BIG BEGIN END NEWROW AMP"""
_SPOKEN = {
    "NAME": "a letter", "NUMBER": "a number", "FUNC": "a function", "FRAC": "\\frac", "LPAR": "an opening bracket",
    "LBRACE": "{", "RPAR": "a closing bracket", "RBRACE": "}", "RBAR": "a closing |", "RANGLE": "⟩", "EQ": "=", "PLUS": "+",
    "MINUS": "-", "COMMA": "a comma", "CARET": "^", "UNDER": "_",
}  # fmt: skip


@cache
def _parser() -> Any:
    import lark  # here, so that `import derive` does not need it

    return lark.Lark(f"{GRAMMAR}\n%declare {' '.join(TERMINALS.split())}\n", parser="lalr", keep_all_tokens=True)


def parse(text: str, *, words: frozenset[str] = frozenset()) -> tuple[tree.Node, ...]:
    r"""The statements of a formula, as nodes.

    >>> parse(r"\frac12") == parse("1/2"), parse(r"\frac{1}{2}") == parse(r"\frac12")
    (False, True)
    >>> parse("import os")
    Traceback (most recent call last):
    derive.notation.tokens.FormulaError: formula: unknown word 'import'; write a product of letters with spaces or *
      at character 1:
        import os
        ^

    Parameters
    ----------
    words
        Names of more than one letter to know besides Greek letters and functions.

    Raises
    ------
    FormulaError
        With the position, what stands there, and what would be accepted.
    """
    tokens = _roots_marked(tokenize(text, words))
    return _Builder(text).statements(_syntax_tree(tokens, text).children[0])


def _roots_marked(tokens: list[Token]) -> list[Token]:
    """√ with an index in square brackets is a terminal of its own."""
    pairs = zip(tokens, [*tokens[1:], None], strict=True)
    return [
        Token("ROOT", token.text, token.at) if token.kind == "SQRT" and after and after.text == "[" else token
        for token, after in pairs
    ]


def _syntax_tree(tokens: list[Token], text: str) -> Any:
    from lark import Token as Terminal
    from lark.exceptions import UnexpectedInput

    walk = _parser().parse_interactive("")
    at = 0
    try:
        for token in tokens:
            at = token.at
            walk.feed_token(Terminal(token.kind, token.text, start_pos=token.at))
        at = len(text)
        return walk.feed_eof()
    except UnexpectedInput as error:
        raise FormulaError(_complaint(error, text, at), text, at) from None


def _complaint(error: Any, text: str, at: int) -> str:
    accepted = sorted(_SPOKEN[name] for name in getattr(error, "accepts", None) or error.expected if name in _SPOKEN)
    found = repr(text[at]) if at < len(text) else "the end"
    return f"did not expect {found} here" + (f"; accepted are {', '.join(accepted[:8])}" if accepted else "")


class _Builder:
    """Syntax tree -> nodes: scripts are gathered, functions get their arguments."""

    def __init__(self, text: str) -> None:
        self.text = text

    def statements(self, branch: Any) -> tuple[tree.Node, ...]:
        return tuple(self.build(child) for child in branch.children if not _is_token(child))

    def build(self, branch: Any) -> tree.Node:
        if _is_token(branch):
            leaf = tree.Number if branch.type == "NUMBER" else tree.Name
            return leaf(str(branch), at=branch.start_pos)
        make: Callable[[Any], tree.Node] = getattr(self, f"_{branch.data}")
        return make(branch)

    def _statement(self, branch: Any) -> tree.Node:
        return self._chained(branch, tree.Relation, ("EQ", "REL", "COLON"), "")

    def _total(self, branch: Any) -> tree.Node:
        return self._chained(branch, tree.Total, ("PLUS", "MINUS", "PM"), "+")

    def _chained(self, branch: Any, kind: type, signs: tuple[str, ...], default: str) -> tree.Node:
        found, items, sign = [], [], default
        for child in branch.children:
            if _is_token(child):
                sign = str(child) if kind is tree.Relation else _sign_of(child)
            else:
                found.append(sign)
                items.append(self.build(child))
                sign = default
        if len(items) == 1 and found[0] == default:
            return items[0]
        return kind(tuple(items), tuple(found), at=items[0].at)

    def _product(self, branch: Any) -> tree.Node:
        factors: list[tree.Node] = []
        signs: list[str] = []
        sign, negative = " ", False
        for child in branch.children:
            if _is_token(child) and child.type in ("TIMES", "SLASH", "ODOT", "MINUS"):
                negative = negative or child.type == "MINUS"
                sign = {"TIMES": "*", "SLASH": "/", "ODOT": "o"}.get(child.type, sign)
            else:
                node = self.build(child)
                factors.append(tree.Total((node,), ("-",), at=node.at) if negative else node)
                signs.append(sign)
                sign, negative = " ", False
        factors, signs = self._applied(factors, signs)
        return factors[0] if len(factors) == 1 else tree.Product(tuple(factors), tuple(signs), at=factors[0].at)

    def _applied(self, factors: list[tree.Node], signs: list[str]) -> tuple[list[tree.Node], list[str]]:
        """Functions take what follows: a bracket, or juxtaposed letters, numbers and fractions up to another kind."""
        found: list[tree.Node] = []
        kept: list[str] = []
        i = 0
        while i < len(factors):
            function = _function_of(factors[i])
            node, taken = factors[i], 1
            if function is not None:
                node, taken = self._call(factors[i], function, factors[i + 1 :], signs[i + 1 :])
            found.append(node)
            kept.append(signs[i])
            i += taken
        return found, kept

    def _call(self, head: tree.Node, function: str, rest: list[tree.Node], signs: list[str]) -> tuple[tree.Node, int]:
        if not rest or signs[0] != " ":
            raise FormulaError(f"expected what {function} is applied to", self.text, head.at)
        power = head.sup if isinstance(head, tree.Scripted) else None
        base = rest[0].base if isinstance(rest[0], tree.Scripted) else rest[0]
        if isinstance(base, tree.Group | tree.Bars) or _function_of(rest[0]) is not None:
            nested, taken = (rest[0], 1)
            if _function_of(rest[0]) is not None:
                nested, taken = self._call(rest[0], str(_function_of(rest[0])), rest[1:], signs[1:])
            return _called(function, nested, power, head.at), 1 + taken
        count = 1
        while count < len(rest) and signs[count] == " " and _continues_argument(rest[count]):
            count += 1
        count += self._takes_bracket(function, rest, signs, count)
        argument = rest[0] if count == 1 else tree.Product(tuple(rest[:count]), tuple(signs[:count]), at=rest[0].at)
        return _called(function, argument, power, head.at), 1 + count

    def _takes_bracket(self, function: str, rest: list[tree.Node], signs: list[str], count: int) -> bool:
        r"""Whether a bracket behind letters is in the argument: \sin\omega(t - \tau), \log Q(t); unclear is refused."""
        group = rest[count] if count < len(rest) and signs[count] == " " else None
        if not isinstance(group, tree.Group) or group.bracket != "(" or len(group.items) != 1:
            return False
        (item,) = group.items
        if isinstance(item, tree.Name | tree.Number):
            return True
        if isinstance(item, tree.Total) and all(isinstance(term, tree.Name) for term in item.terms):
            return set(item.signs[1:]) == {"-"}
        if self.text[group.at - 1 : group.at].isalnum() and not self.text[: group.at].endswith(("left", "igl", "igg")):
            raise FormulaError(f"is this bracket in the argument of {function}? write {function}(…)(…)", self.text, group.at)
        return False

    def _factor(self, branch: Any) -> tree.Node:
        base = self.build(branch.children[0])
        return self._scripted(base, branch.children[1:])

    def _scripted(self, base: tree.Node, postfixes: list[Any]) -> tree.Node:
        sub, sup, primes = None, None, 0
        for postfix in postfixes:
            if postfix.data == "prime":
                primes += 1
                continue
            script = self.build(postfix.children[-1])
            if postfix.data == "evaluated":
                base = tree.EvaluatedAt(_with_scripts(base, sub, sup, primes), _bare(script), at=base.at)
                sub, sup, primes = None, None, 0
            elif postfix.data == "index":
                sub = self._once(sub, script, "subscripts")
            elif isinstance(_bare(script), tree.Name) and _bare(script).text.strip("'") == "":  # type: ignore[attr-defined]
                primes += len(_bare(script).text)  # type: ignore[attr-defined]
            else:
                sup = self._once(sup, script, "superscripts")
        if isinstance(base, tree.Accented) and base.accent in ("underbrace", "overbrace"):
            return base.base
        return _with_scripts(base, sub, sup, primes)

    def _once(self, before: tree.Node | None, script: tree.Node, name: str) -> tree.Node:
        if before is not None:
            raise FormulaError(f"two {name} in a row; use braces", self.text, script.at)
        return script

    def _negative(self, branch: Any) -> tree.Node:
        node = self.build(branch.children[-1])
        return tree.Total((node,), ("-",), at=node.at)

    def _star(self, branch: Any) -> tree.Node:
        return tree.Name("star", at=branch.children[0].start_pos)

    def _sign(self, branch: Any) -> tree.Node:
        return tree.Name({"PLUS": "+", "MINUS": "-", "PM": "±"}[branch.children[0].type], at=branch.children[0].start_pos)

    def _braced(self, branch: Any) -> tree.Node:
        opening, *inside, _ = branch.children
        if inside and not _is_token(inside[0]):
            items = self.statements(inside[0])
        else:
            shown = {"PLUS": "+", "MINUS": "-", "PM": "±", "PRIME": "'", "TIMES": "star"}
            items = (tree.Name("".join(shown[token.type] for token in inside), at=opening.start_pos),) if inside else ()
        return tree.Group(items, "{", at=opening.start_pos)

    def _group(self, branch: Any) -> tree.Node:
        opening, inside, _ = branch.children
        bracket = "[" if str(opening) in ("[", "lbrack") else "("
        return tree.Group(self.statements(inside), bracket, at=opening.start_pos)

    def _bars(self, branch: Any) -> tree.Node:
        return tree.Bars(self.build(branch.children[1]), at=branch.children[0].start_pos)

    def _angle(self, branch: Any) -> tree.Node:
        left, right = (self.build(child) for child in branch.children if not _is_token(child))
        return tree.Angle(left, right, at=branch.children[0].start_pos)

    def _fraction(self, branch: Any) -> tree.Node:
        head, top, bottom = branch.children
        return tree.Fraction(_bare(self.build(top)), _bare(self.build(bottom)), at=head.start_pos)

    def _root(self, branch: Any) -> tree.Node:
        head, *inside = branch.children
        index = _bare(self.build(inside[0])) if len(inside) == 2 else None
        return tree.Root(_bare(self.build(inside[-1])), index, at=head.start_pos)

    def _accented(self, branch: Any) -> tree.Node:
        head, base = branch.children
        accent = "underbrace" if head.type == "UNDERBRACE" else str(head)
        return tree.Accented(accent, _bare(self.build(base)), at=head.start_pos)

    def _big(self, branch: Any) -> tree.Node:
        (head,) = branch.children
        return tree.Big(lexicon.BIG_KINDS[str(head)], None, None, at=head.start_pos)

    def _table(self, branch: Any) -> tree.Node:
        opening, *inside, closing = branch.children
        if str(opening) != str(closing):
            raise FormulaError(f"expected the end of {opening}, got that of {closing}", self.text, closing.start_pos)
        rows = tuple(self.statements(row) for row in inside if not _is_token(row))
        return tree.Rows(str(opening), rows, at=opening.start_pos)


def _sign_of(token: Any) -> str:
    return "∓" if str(token) in ("mp", "∓") else {"PLUS": "+", "MINUS": "-", "PM": "±"}[token.type]


def _is_token(branch: Any) -> bool:
    return hasattr(branch, "type")


def _bare(node: tree.Node) -> tree.Node:
    """A single item out of its invisible braces, or out of plain text's round ones around an argument."""
    single = isinstance(node, tree.Group) and len(node.items) == 1 and node.bracket in "{("
    return node.items[0] if single else node  # type: ignore[attr-defined]


def _with_scripts(base: tree.Node, sub: tree.Node | None, sup: tree.Node | None, primes: int) -> tree.Node:
    if isinstance(base, tree.Big):
        return tree.Big(base.kind, None if sub is None else _bare(sub), None if sup is None else _bare(sup), at=base.at)
    if sub is None and sup is None and not primes:
        return base
    if isinstance(sup, tree.Group):
        sup = _bare(sup)  # a bracket inside braces stays: θ^{(n)} is an index
    return tree.Scripted(base, None if sub is None else _bare(sub), sup, primes, at=base.at)


def _function_of(node: tree.Node) -> str | None:
    base = node.base if isinstance(node, tree.Scripted) else node
    return base.text if isinstance(base, tree.Name) and base.text in lexicon.FUNCTIONS else None


def _continues_argument(node: tree.Node) -> bool:
    base = node.base if isinstance(node, tree.Scripted) else node
    letters = isinstance(base, tree.Name) and base.text not in lexicon.FUNCTIONS and base.text != "d"
    return letters or isinstance(base, tree.Number | tree.Fraction | tree.Root | tree.Accented)


def _called(function: str, argument: tree.Node, power: tree.Node | None, at: int) -> tree.Node:
    outer = None
    if isinstance(argument, tree.Scripted) and isinstance(argument.base, tree.Group) and argument.base.bracket != "{":
        outer, argument = argument.sup, argument.base  # \cos(x)^2 is (\cos x)^2
    call = tree.Call(function, _bare(argument), power, at=at)
    return call if outer is None else tree.Scripted(call, None, outer, 0, at=at)
