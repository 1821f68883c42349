r"""The notations that formulas may be written in: one table from what stands on the page to what the grammar sees.

LaTeX macros, Unicode letters and plain words meet here, so that ``\lambda``, ``λ`` and ``lambda`` are one name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


def listed(words: str) -> tuple[str, ...]:
    """Words of a table, written in a line."""
    return tuple(words.split())


def _by_word(groups: Mapping[str, str]) -> Mapping[str, str]:
    """``{"REL": "le leq"}`` -> ``{"le": "REL", "leq": "REL"}``."""
    return MappingProxyType({word: kind for kind, words in groups.items() for word in words.split()})


GREEK = listed(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
_GREEK_LETTERS = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", GREEK, strict=True))

_OTHER_NAMES = listed("bullet ell partial nabla hbar dagger perp emptyset diag star Re Im Tr square")
NAMES: Mapping[str, str] = MappingProxyType(
    {name: name for name in GREEK + _OTHER_NAMES}
    | {"var" + name: name for name in ("epsilon", "theta", "phi", "rho", "sigma", "kappa", "pi")}
    | {"infty": "oo", "top": "T", "intercal": "T", "bot": "perp", "imath": "i", "jmath": "j", "ast": "star"}
    | {"tr": "Tr", "trace": "Tr", "Box": "square"}
)
"""LaTeX macro, without its backslash -> the name it is."""

UNICODE: Mapping[str, str] = MappingProxyType(
    {
        **_GREEK_LETTERS,
        "ϵ": "epsilon",
        "ϑ": "theta",
        "ϕ": "phi",
        "ℓ": "ell",
        "∂": "partial",
        "∇": "nabla",
        "∞": "oo",
        "⊤": "T",
    }
)
"""Unicode letter -> name."""

FUNCTIONS = frozenset(
    listed(
        "exp log ln sin cos tan sinh cosh tanh coth cot sec csc sech csch erf arcsin arccos arctan arcsinh arccosh "
        "arctanh arsinh arcosh artanh asin acos atan asinh acosh atanh sinc sign sgn max min det expm logm"
    )
)
"""Functions that are applied by writing them, with or without brackets."""

WORDS: Mapping[str, str] = MappingProxyType(
    {name: name for name in GREEK + listed("diag nabla partial otherwise oo inner norm abs")}
    | {"constant": "const", "Tr": "Tr", "tr": "Tr", "trace": "Tr", "grad": "nabla", "infinity": "oo", "lam": "lambda"}
    | {"lr": "eta", "learning_rate": "eta", "weight_decay": "lambda", "momentum": "beta", "dampening": "alpha"}
    | {name: name for name in ("Var", "Cov", "softmax", "BN", "ReLU", "Re", "Im", "const")}
)
"""Words of plain text that are one name; any other word is its letters, multiplied."""

PROSE = frozenset({"then", "else", "hence", "thus", "translation", "scale", "rescale"})
r"""Bare words that say nothing which is checked. In ``\text{…}`` every word that is no name is prose."""

SEPARATORS = frozenset({"and", "where", "with", "if", "for", "when"})
"""Words between two statements, one of which may say where the other holds."""

FONTS = frozenset(
    listed(
        "vec mathbf boldsymbol bm mathrm mathcal mathit mathsf mathbb operatorname text textbf textit textrm mathfrak "
        "mathscr underline mathop boxed mathtt mbox pmb emph ensuremath"
    )
)
"""Macros about the look of what they enclose."""

ACCENTS = _by_word({"dot": "dot", "ddot": "ddot", "dddot": "dddot", "tilde": "tilde widetilde", "hat": "hat widehat",
                    "bar": "bar overline", "check": "check", "breve": "breve", "cancel": "cancel"})  # fmt: skip
"""Macro of one argument -> accent."""

COMBINING = MappingProxyType({"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar", "\u0307": "dot", "\u0308": "ddot",
                              "\u20db": "dddot"})  # fmt: skip
"""Combining character -> accent on the letter before it."""

IGNORED = frozenset(
    listed(
        "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm quad qquad displaystyle "
        "textstyle scriptstyle limits nolimits nonumber notag thinspace medspace negthinspace enspace hfill strut mathstrut "
        "allowbreak noindent , ; : ! > /"
    )
) | {" "}
"""Macros about the spacing and size of a formula."""

SYMBOLS = _by_word({
    "TIMES": "cdot times", "ODOT": "odot circ otimes", "PM": "pm mp", "SLASH": "div",
    "EQ": "equiv approx simeq coloneqq triangleq doteq",
    "REL": "leftarrow gets le leq leqslant ge geq geqslant lt gt ne neq ll gg to rightarrow mapsto longmapsto "
           "longrightarrow in sim propto succ succeq subset",
    "SEMI": "implies Rightarrow iff Longrightarrow Longleftrightarrow Leftrightarrow wedge land",
    "LANGLE": "langle", "RANGLE": "rangle", "FRAC": "frac dfrac tfrac cfrac", "SQRT": "sqrt", "BIG": "int oint sum prod lim",
    "LBAR": "lvert lVert", "RBAR": "rvert rVert", "BAR": "vert Vert mid", "DBAR": "|", "COLON": "colon",
    "LPAR": "{ lbrace lbrack lparen", "RPAR": "} rbrace rbrack rparen", "DOTS": "ldots cdots dots dotsb", "PRIME": "prime",
    "UNDERBRACE": "underbrace overbrace",
})  # fmt: skip
"""Macro -> terminal of the grammar."""

CHARACTERS = _by_word({
    "PLUS": "+", "MINUS": "- − –", "TIMES": "* · × ⋅ ∙", "ODOT": "⊙ ∘", "PM": "± ∓", "SLASH": "/", "CARET": "^",
    "UNDER": "_", "PRIME": "' ′ ’", "EQ": "= ≈ ≡", "REL": "← < > ≤ ≥ ≠ → ∈ ≪ ≫ ↦",
    "LPAR": "( [", "RPAR": ") ]", "LBRACE": "{",
    "RBRACE": "}", "LANGLE": "⟨ 〈", "RANGLE": "⟩ 〉", "COMMA": ",", "SEMI": ";", "BAR": "| ∣", "DBAR": "‖ ∥", "SQRT": "√",
    "BIG": "∫ ∑ ∏", "DOTS": "… ⋯", "AMP": "&", "COLON": ":",
})  # fmt: skip
"""Character -> terminal of the grammar."""

SUPERSCRIPTS = MappingProxyType(dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿᵗᵀ", [*"0123456789-+nt", "T"], strict=True)))
SUBSCRIPTS = MappingProxyType(dict(zip("₀₁₂₃₄₅₆₇₈₉₋₊ₙ", [*"0123456789-+n"], strict=True)))

BIG_KINDS = _by_word({"int": "int oint ∫", "sum": "sum ∑", "prod": "prod ∏", "lim": "lim"})
"""How a large operator may be written -> which it is."""

ALIGNED = frozenset(listed("aligned align align* split gather gathered equation equation* eqnarray multline"))
TABLES = _by_word({"cases": "cases dcases rcases", "matrix": "pmatrix bmatrix matrix vmatrix smallmatrix array"})
"""Environments whose rows belong together; those of ``ALIGNED`` are lines of their own."""
