"""The notations that formulas may be written in: one table from what stands on the page to what the grammar sees.

LaTeX macros, Unicode letters and plain words meet here, so that ``\\lambda``, ``λ`` and ``lambda`` are one name.
"""

from __future__ import annotations

from types import MappingProxyType

GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega",
)  # fmt: skip

_GREEK_LETTERS = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", GREEK, strict=True))

NAMES = MappingProxyType(
    {name: name for name in GREEK}
    | {"var" + name: name for name in ("epsilon", "theta", "phi", "rho", "sigma", "kappa", "pi")}
    | {"ell": "ell", "infty": "oo", "partial": "partial", "nabla": "nabla", "top": "T", "intercal": "T", "dagger": "dagger",
       "perp": "perp", "hbar": "hbar", "bot": "perp", "imath": "i", "jmath": "j", "Tr": "Tr", "tr": "Tr", "diag": "diag",
       "trace": "Tr", "lvertpsi": "psi", "emptyset": "emptyset", "square": "square", "Box": "square", "top}": "T",
       "Re": "Re", "Im": "Im", "star": "star", "ast": "star"}
)  # fmt: skip
"""LaTeX macro (without backslash) -> the name it is. All but the single letters are also words of plain text."""

UNICODE = MappingProxyType(
    {letter: (name,) for letter, name in _GREEK_LETTERS.items()}
    | {"ϵ": ("epsilon",), "ϑ": ("theta",), "ϕ": ("phi",), "ℓ": ("ell",), "∂": ("partial",), "∇": ("nabla",), "∞": ("oo",)}
)
"""Unicode letter -> name."""

FUNCTIONS = frozenset(
    {"exp", "log", "ln", "sin", "cos", "tan", "sinh", "cosh", "tanh", "coth", "cot", "sec", "csc", "arcsin", "arccos", "arctan",
     "arctanh", "artanh", "arccosh", "arcosh", "arcsinh", "arsinh", "atanh", "acosh", "asinh", "asin", "acos", "atan", "sech", "csch",
     "sinc", "sign", "sgn", "max", "min", "det", "erf", "expm", "logm"}
)  # fmt: skip
"""Functions that are applied by writing them, with or without brackets."""

WORDS = MappingProxyType(
    {name: name for name in GREEK}
    | {"Tr": "Tr", "tr": "Tr", "diag": "diag", "trace": "Tr", "nabla": "nabla", "partial": "partial", "grad": "nabla",
       "infinity": "oo", "oo": "oo", "lr": "eta", "learning_rate": "eta", "weight_decay": "lambda", "momentum": "beta",
       "dampening": "alpha", "lam": "lambda", "otherwise": "otherwise", "theta_dot": "theta_dot", "inner": "inner",
       "norm": "norm", "abs": "abs", "Var": "Var", "Cov": "Cov", "softmax": "softmax", "BN": "BN", "ReLU": "ReLU"}
)  # fmt: skip
"""Words of plain text that are one name; any other word is its letters, multiplied."""

PROSE = frozenset({"if", "for", "when", "then", "else", "hence", "thus", "translation", "scale", "rescale"})
"""Bare words that say nothing which is checked. In ``\\text{…}`` every word that is no name is prose."""

SEPARATORS = frozenset({"and", "where", "with"})
"""Words between two statements."""

ACCENTS = MappingProxyType(
    {"dot": "dot", "ddot": "ddot", "dddot": "dddot", "tilde": "tilde", "widetilde": "tilde", "hat": "hat", "widehat": "hat",
     "bar": "bar", "overline": "bar", "vec": "", "mathbf": "", "boldsymbol": "", "bm": "", "mathrm": "", "mathcal": "",
     "mathit": "", "mathsf": "", "mathbb": "", "operatorname": "", "text": "", "textbf": "", "textit": "", "textrm": "",
     "mathfrak": "", "mathscr": "", "underline": "", "check": "check", "breve": "breve", "mathop": "", "boxed": "",
     "cancel": "cancel", "mathtt": "", "mbox": "", "pmb": "", "emph": "", "ensuremath": "", "displaystyle": "-"}
)  # fmt: skip
"""Macro of one argument -> accent; ``""`` for fonts, which are ignored."""

IGNORED = frozenset(
    {"left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr",
     "bigm", "Bigm", ",", ";", ":", "!", " ", ">", "quad", "qquad", "displaystyle", "textstyle", "limits", "nolimits", "nonumber",
     "notag", "/", "thinspace", "scriptstyle", "hspace", "enspace", "bm@", "vphantom", "hfill", "medspace", "negthinspace",
     "strut", "mathstrut", "allowbreak", "noindent"}
)  # fmt: skip
"""Macros about the look of a formula."""

SYMBOLS = MappingProxyType(
    {"cdot": "TIMES", "times": "TIMES", "odot": "ODOT", "circ": "ODOT", "otimes": "ODOT", "pm": "PM", "mp": "PM",
     "le": "REL", "leq": "REL", "leqslant": "REL", "ge": "REL", "geq": "REL", "geqslant": "REL", "lt": "REL", "gt": "REL",
     "ne": "REL", "neq": "REL", "ll": "REL", "gg": "REL", "equiv": "EQ", "approx": "EQ", "simeq": "EQ", "coloneqq": "EQ",
     "triangleq": "EQ", "doteq": "EQ", "to": "REL", "rightarrow": "REL", "mapsto": "REL", "longmapsto": "REL", "longrightarrow": "REL",
     "in": "REL", "sim": "REL", "propto": "REL", "succ": "REL", "implies": "SEMI", "Rightarrow": "SEMI", "iff": "SEMI",
     "succeq": "REL", "Longrightarrow": "SEMI", "Leftrightarrow": "SEMI", "wedge": "SEMI", "land": "SEMI", "subset": "REL",
     "langle": "LANGLE", "rangle": "RANGLE", "frac": "FRAC", "dfrac": "FRAC", "tfrac": "FRAC", "cfrac": "FRAC", "sqrt": "SQRT",
     "int": "BIG", "sum": "BIG", "prod": "BIG", "bigl|": "LBAR", "lvert": "LBAR", "rvert": "RBAR", "lVert": "LBAR", "rVert": "RBAR",
     "vert": "BAR", "Vert": "BAR", "|": "DBAR", "{": "LPAR", "}": "RPAR", "lbrace": "LPAR", "rbrace": "RPAR", "lbrack": "LPAR",
     "rbrack": "RPAR", "ldots": "DOTS", "cdots": "DOTS", "dots": "DOTS", "dotsb": "DOTS", "colon": "COLON", "mid": "BAR",
     "lim": "BIG", "oint": "BIG", "div": "SLASH", "lparen": "LPAR", "rparen": "RPAR", "underbrace": "UNDERBRACE", "prime": "PRIME"}
)  # fmt: skip
"""Macro -> terminal of the grammar."""

CHARACTERS = MappingProxyType(
    {"+": "PLUS", "-": "MINUS", "−": "MINUS", "–": "MINUS", "*": "TIMES", "·": "TIMES", "×": "TIMES", "⋅": "TIMES", "∙": "TIMES",
     "⊙": "ODOT", "∘": "ODOT", "±": "PM", "∓": "PM", "/": "SLASH", "^": "CARET", "_": "UNDER", "'": "PRIME", "′": "PRIME", "’": "PRIME", "=": "EQ",
     "≈": "EQ", "≡": "EQ", "<": "REL", ">": "REL", "≤": "REL", "≥": "REL", "≠": "REL", "→": "REL", "∈": "REL", "≪": "REL",
     "≫": "REL", "↦": "REL", "(": "LPAR", ")": "RPAR", "[": "LPAR", "]": "RPAR", "{": "LBRACE", "}": "RBRACE", "⟨": "LANGLE",
     "⟩": "RANGLE", "〈": "LANGLE", "〉": "RANGLE", ",": "COMMA", ";": "SEMI", "|": "BAR", "∣": "BAR", "‖": "DBAR", "∥": "DBAR",
     "√": "SQRT", "∫": "BIG", "∑": "BIG", "∏": "BIG", "…": "DOTS", "⋯": "DOTS", "&": "AMP", ":": "COLON", "⊤": "NAME"}
)  # fmt: skip
"""Character -> terminal of the grammar."""

SUPERSCRIPTS = MappingProxyType(dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿᵗᵀ", [*"0123456789-+nt", "T"], strict=True)))
SUBSCRIPTS = MappingProxyType(dict(zip("₀₁₂₃₄₅₆₇₈₉₋₊ₙ", [*"0123456789-+n"], strict=True)))

BIG_KINDS = MappingProxyType(
    {"int": "int", "oint": "int", "∫": "int", "sum": "sum", "∑": "sum", "prod": "prod", "∏": "prod", "lim": "lim"}
)
"""How a large operator may be written -> which it is."""

ALIGNED = frozenset(
    {"aligned", "align", "align*", "split", "gather", "gathered", "equation", "equation*", "eqnarray", "multline"}
)
TABLES = MappingProxyType(
    {"cases": "cases", "dcases": "cases", "rcases": "cases", "pmatrix": "matrix", "bmatrix": "matrix", "matrix": "matrix",
     "vmatrix": "matrix", "smallmatrix": "matrix", "array": "matrix"}
)  # fmt: skip
