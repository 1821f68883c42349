"""First pass over a formula: characters, macros and words become tokens; bars and angle signs are paired.

A vertical bar opens a norm, closes one, or stands for "evaluated at"; ``<`` compares or opens an inner product. Here that is
decided by what stands before it, so that the grammar is unambiguous.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from derive.notation import lexicon

MAX_LENGTH = 8000
MAX_TOKENS = 4000
MAX_DEPTH = 40
MAX_DIGITS = 40


class FormulaError(ValueError):
    """Text that is no formula that is understood: what, where, and what is accepted."""

    def __init__(self, message: str, text: str = "", at: int | None = None) -> None:
        self.at = at
        super().__init__(message if at is None else f"formula: {message}\n{_pointer(text, at)}")


def _pointer(text: str, at: int) -> str:
    """The line with the place, and a caret below it."""
    start, stop = max(0, at - 40), at + 40
    shown = re.sub(r"\s", " ", text[start:stop])
    return f"  at character {at + 1}:\n    {shown}\n    {' ' * (at - start)}^"


@dataclass(frozen=True)
class Token:
    """A terminal of the grammar, its text and its place."""

    kind: str
    text: str
    at: int


_PATTERN = re.compile(
    r"""(?P<space>[\s$~]+|%.*)
    |(?P<rows>\\\\(?:\s*\[[^\]]{0,20}\])?)
    |(?P<skip>\\(?:tag|label|ref|eqref|hspace|vspace|phantom)\*?\s*\{[^{}]{0,100}\}|\\(?:left|right|[bB]igg?[lr]?)\s*\.)
    |(?P<environment>\\(?:begin|end)\s*\{\s*[a-z]+\*?\s*\}(?:\{[clr|@ ]*\})?)
    |(?P<prose>\\(?:text|textrm|textit|textbf|mbox|intertext)\s*\{[^{}\\$]{0,200}\})
    |(?P<font>\\(?P<face>math[a-z]+|operatorname|boldsymbol|bm|pmb)\*?\s*\{\s*(?:[A-Za-z0-9]+|\\[a-zA-Z]+)\s*\})
    |(?P<macro>\\(?:[a-zA-Z]+|.))
    |(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<accented>[^\W\d_][\u0302\u0303\u0304\u0307\u0308\u20db]{1,3})
    |(?P<word>[A-Za-z]+(?:_(?:rate|decay)\b)?)
    |(?P<relation><=|\+=|-=|>=|!=|==|:=|->|=>)
    |(?P<power>\*\*)
    |(?P<bars>\|\|)
    |(?P<character>.)""",
    re.VERBOSE,
)
_OPERAND_ENDS = frozenset({"NAME", "NUMBER", "RPAR", "RBRACE", "RANGLE", "RBAR", "PRIME", "DOTS", "END"})
_CLOSING = {"RPAR": "LPAR", "RBRACE": "LBRACE", "RANGLE": "LANGLE", "RBAR": "LBAR"}
_CONTINUES = frozenset({"EQ", "REL", "PLUS", "MINUS", "PM", "TIMES"})


def tokenize(text: str, words: frozenset[str] = frozenset()) -> list[Token]:
    r"""The tokens of a formula; ``words`` are names of more than one letter to know besides the usual ones.

    >>> [token.kind for token in tokenize(r"|\theta_A|^2")]
    ['LBAR', 'NAME', 'UNDER', 'NAME', 'RBAR', 'CARET', 'NUMBER']

    Raises
    ------
    FormulaError
        For text that is too long or too deep, unknown characters, macros and words, and brackets that do not pair.
    """
    if not isinstance(text, str):
        raise FormulaError(f"formula: expected text, got {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"formula: expected at most {MAX_LENGTH} characters, got {len(text)}; check it part by part")
    if not text.strip():
        raise FormulaError("formula: expected a formula, got nothing")
    raw = list(_Scanner(text, words).tokens())
    if len(raw) > MAX_TOKENS:
        raise FormulaError(f"formula: expected at most {MAX_TOKENS} symbols, got {len(raw)}; check it part by part")
    return _paired(_rows_joined(raw), text)


@dataclass
class _Scanner:
    """Walks through the text once."""

    text: str
    words: frozenset[str]
    side: str = ""

    def tokens(self) -> Iterator[Token]:
        plain, last = "\\" not in self.text, ""
        for match in _PATTERN.finditer(self.text):
            kind = match.lastgroup or ""
            kind = "font" if kind == "face" else kind
            if kind in ("space", "skip"):
                continue
            for token in self._read(kind, match.group(), match.start(), plain, last):
                last = token.kind
                yield token

    def _read(self, kind: str, found: str, at: int, plain: bool, last: str) -> Iterator[Token]:
        match kind:
            case "rows":
                yield Token("NEWROW", found, at)
            case "environment":
                yield from self._environment(found, at)
            case "prose":
                yield from self._prose(found, at)
            case "font":
                inner = found[found.index("{") + 1 : -1].strip()
                yield from self._content(inner, at + found.index("{") + 1)
            case "macro":
                yield from self._macro(found[1:], at)
            case "number":
                yield from self._number(found, at, last)
            case "accented":
                yield from (Token("ACCENT", lexicon.COMBINING[mark], at) for mark in found[1:])
                yield from self._read("word" if found[0].isascii() else "character", found[0], at, plain, "ACCENT")
            case "word":
                yield from self._word(found, at, whole=plain and last == "UNDER")
            case "relation":
                yield Token("EQ" if found in ("==", ":=") else "SEMI" if found == "=>" else "REL", found, at)
            case "power":
                yield Token("CARET", found, at)
            case "bars":
                yield Token("DBAR", found, at)
            case _:
                yield from self._character(found, at)

    def _environment(self, found: str, at: int) -> Iterator[Token]:
        name = found[found.index("{") + 1 : found.index("}")].strip()
        if name in lexicon.ALIGNED:
            return
        if name not in lexicon.TABLES:
            known = ", ".join(sorted(lexicon.TABLES))
            raise FormulaError(f"unknown environment {name!r}; accepted are {known}", self.text, at)
        yield Token("BEGIN" if found.startswith("\\begin") else "END", lexicon.TABLES[name], at)

    def _prose(self, found: str, at: int) -> Iterator[Token]:
        start = at + found.index("{") + 1
        for word in re.finditer(r"[A-Za-z0-9-]+|[^\sA-Za-z0-9-]", found[found.index("{") + 1 : -1]):
            letters = word.group()
            if letters in lexicon.SEPARATORS:
                yield Token("SEMI", letters, start + word.start())
                continue
            if re.fullmatch(r"[A-Za-z-]{2,}", letters) and letters not in lexicon.WORDS and letters not in lexicon.FUNCTIONS:
                continue  # prose: it says nothing that is checked
            if re.fullmatch(r"[A-Za-z0-9]+", letters):
                yield from self._content(letters, start + word.start())
            elif letters not in '.:()!?`"':
                yield from self._character(letters, start + word.start())

    def _content(self, inner: str, at: int) -> Iterator[Token]:
        r"""What stands alone in ``\mathrm{…}``: a macro, a number or a word."""
        if inner.startswith("\\"):
            yield from self._macro(inner[1:], at)
        elif inner[0].isdigit():
            yield from self._number(inner, at, "") if inner.isdigit() else self._word(inner, at, whole=True)
        else:
            rate = inner[0] == "d" and (len(inner) < 3 or inner[1:] in lexicon.WORDS or inner[1:] in self.words)
            yield from self._word(inner, at, whole=inner.isalnum() and not (rate or len(inner) == 1))

    def _macro(self, name: str, at: int) -> Iterator[Token]:
        if name in lexicon.IGNORED:
            self.side = name if name in ("left", "right") else ""
            return
        side, self.side = self.side, ""
        if name in lexicon.NAMES:
            yield Token("NAME", lexicon.NAMES[name], at)
        elif name in lexicon.FUNCTIONS:
            yield Token("FUNC", name, at)
        elif name in lexicon.ACCENTS:
            yield Token("ACCENT", lexicon.ACCENTS[name], at)
        elif name in lexicon.FONTS:
            return
        elif name in lexicon.SYMBOLS:
            kind = lexicon.SYMBOLS[name]
            yield Token({"left": "LBAR", "right": "RBAR"}.get(side, kind) if kind in ("BAR", "DBAR") else kind, name, at)
        else:
            known = "\\frac, \\sqrt, \\int, \\sum, \\langle, \\nabla, \\dot, \\exp and other functions, \\begin{cases}"
            raise FormulaError(f"unknown macro \\{name}; accepted are Greek letters, {known}", self.text, at)

    def _number(self, digits: str, at: int, last: str) -> Iterator[Token]:
        if len(digits) > MAX_DIGITS or ("e" in digits.lower() and abs(int(re.split("[eE]", digits)[1])) > 99):
            raise FormulaError(f"expected a number of at most {MAX_DIGITS} digits", self.text, at)
        if last == "FRAC" and digits.isdigit() and len(digits) > 1:  # \frac12 is one half
            yield Token("NUMBER", digits[0], at)
            yield Token("NUMBER", digits[1], at + 1)
            digits, at = digits[2:], at + 2
        if digits:
            yield Token("NUMBER", digits, at)

    def _word(self, word: str, at: int, *, whole: bool) -> Iterator[Token]:
        known = lexicon.WORDS.get(word)
        if word in self.words or known:
            yield Token("NAME", word if word in self.words else known or word, at)
        elif word in lexicon.FUNCTIONS:
            yield Token("FUNC", word, at)
        elif word == "sqrt":
            yield Token("SQRT", word, at)
        elif word in ("int", "sum", "prod", "lim"):
            yield Token("BIG", word, at)
        elif word in lexicon.SEPARATORS:
            yield Token("SEMI", word, at)
        elif len(word) > 1 and word in lexicon.PROSE:
            return
        elif whole:
            yield Token("NAME", word, at)
        elif word[0] == "d" and (word[1:] in lexicon.WORDS or word[1:] in self.words):
            yield Token("NAME", "d", at)
            yield from self._word(word[1:], at + 1, whole=False)
        elif len(word) > 3 and not set(word) <= {"x", "y", "t"}:  # u_{xxxx}
            raise FormulaError(f"unknown word {word!r}; write a product of letters with spaces or *", self.text, at)
        else:
            yield from (Token("NAME", letter, at + i) for i, letter in enumerate(word))

    def _character(self, letter: str, at: int) -> Iterator[Token]:
        side, self.side = self.side, ""
        if letter in lexicon.UNICODE:
            yield Token("NAME", lexicon.UNICODE[letter], at)
        elif letter in lexicon.SUPERSCRIPTS:
            yield from self._raised("CARET", lexicon.SUPERSCRIPTS[letter], at)
        elif letter in lexicon.SUBSCRIPTS:
            yield from self._raised("UNDER", lexicon.SUBSCRIPTS[letter], at)
        elif letter in lexicon.CHARACTERS:
            kind = lexicon.CHARACTERS[letter]
            yield Token({"left": "LBAR", "right": "RBAR"}.get(side, kind) if kind in ("BAR", "DBAR") else kind, letter, at)
        elif unicodedata.decomposition(letter) and (split := unicodedata.normalize("NFD", letter))[1:] in lexicon.COMBINING:
            yield Token("ACCENT", lexicon.COMBINING[split[1:]], at)
            yield from self._word(split[0], at, whole=False) if split[0].isascii() else self._character(split[0], at)
        elif letter != "." or self.text[at + 1 : at + 2].strip(" \\\n\t$&,)}"):  # a full stop ends the sentence
            known = "LaTeX, letters, numbers and + - * / ^ _ ' = < > ( ) |"
            raise FormulaError(f"unexpected character {letter!r}; accepted are {known}", self.text, at)

    def _raised(self, script: str, letter: str, at: int) -> Iterator[Token]:
        """Unicode superscripts: each run becomes one script in braces."""
        table = lexicon.SUPERSCRIPTS if script == "CARET" else lexicon.SUBSCRIPTS
        if at == 0 or self.text[at - 1] not in table:
            yield Token(script, letter, at)
            yield Token("LBRACE", "{", at)
        yield Token({"-": "MINUS", "+": "PLUS"}.get(letter, "NUMBER" if letter.isdigit() else "NAME"), letter, at)
        if at + 1 == len(self.text) or self.text[at + 1] not in table:
            yield Token("RBRACE", "}", at)


def _rows_joined(tokens: list[Token]) -> list[Token]:
    """Row breaks and & outside tables go; a row that does not continue the one above is a statement of its own."""
    found: list[Token] = []
    depth = 0
    for i, token in enumerate(tokens):
        depth += {"BEGIN": 1, "END": -1}.get(token.kind, 0)
        if depth <= 0 and token.kind == "AMP":
            continue
        if token.text in lexicon.SEPARATORS and (depth > 0 or not found or found[-1].kind in ("COMMA", "SEMI")):
            continue
        if depth <= 0 and token.kind == "NEWROW":
            following = next((t.kind for t in tokens[i + 1 :] if t.kind not in ("AMP", "NEWROW")), None)
            if following is None or following in _CONTINUES or (found and found[-1].kind in _CONTINUES):
                continue
            token = replace(token, kind="SEMI")
        found.append(token)
    return found


def _paired(tokens: list[Token], text: str) -> list[Token]:
    """Brackets checked, bars and angle signs told apart."""
    stack: list[Token] = []
    found: list[Token] = []
    for i, token in enumerate(tokens):
        following = tokens[i + 1].kind if i + 1 < len(tokens) else ""
        for piece in _resolved(token, found[-1].kind if found else "", following, stack):
            _nest(piece, stack, text)
            found.append(piece)
    if stack:
        raise FormulaError(f"expected what closes {stack[-1].text!r}", text, stack[-1].at)
    return found


def _resolved(token: Token, last: str, following: str, stack: list[Token]) -> list[Token]:
    after_operand = last in _OPERAND_ENDS
    top = stack[-1].kind if stack else ""
    if token.kind in ("BAR", "DBAR"):
        if token.text == "||" and after_operand and top == "LBAR" and stack[-1].text == "|":
            return [replace(token, kind="RBAR", text="|"), replace(token, kind="LBAR", text="|", at=token.at + 1)]
        closes = after_operand and top == "LBAR"
        if after_operand and not closes and following == "UNDER" and token.kind == "BAR":
            return [replace(token, kind="EVALBAR")]
        return [replace(token, kind="RBAR" if closes else "LBAR")]
    if token.kind == "RBAR" and top != "LBAR" and following == "UNDER":
        return [replace(token, kind="EVALBAR")]
    if token.kind == "REL" and token.text == "<" and not after_operand:
        return [replace(token, kind="LANGLE")]
    if token.kind == "REL" and token.text == ">" and top == "LANGLE":
        return [replace(token, kind="RANGLE")]
    return [token]


def _nest(token: Token, stack: list[Token], text: str) -> None:
    if token.kind in _CLOSING.values():
        stack.append(token)
        if len(stack) > MAX_DEPTH:
            raise FormulaError(f"expected brackets at most {MAX_DEPTH} deep", text, token.at)
    elif token.kind in _CLOSING:
        if not stack or stack[-1].kind != _CLOSING[token.kind]:
            raise FormulaError(f"{token.text!r} closes nothing that is open", text, token.at)
        stack.pop()
