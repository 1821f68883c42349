"""Which module may import which, and what no module may call: read off the source, without running it."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("derive", "numerics", "torch_bridge")
VAGUE = {"util", "utils", "helper", "helpers", "misc", "manager", "managers"}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
HEAVY = {*PACKAGES, "sympy", "numpy", "scipy", "matplotlib", "torch"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

House = dict[str, ast.Module]
"""Dotted name -> parsed source."""


@dataclass(frozen=True)
class Import:
    """One imported name: ``module`` from ``import module`` or ``from module import name``."""

    module: str
    name: str | None
    level: int
    at_import_time: bool

    @property
    def top(self) -> str:
        """The package that must be installed for this import to work."""
        return self.module.partition(".")[0]


# Reading


def dotted_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_house(root: Path) -> House:
    paths = [root / "nmech.py", *(path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))]
    return {dotted_name(p.relative_to(root)): ast.parse(p.read_text("utf-8"), str(p)) for p in paths if p.exists()}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def statements(node: ast.AST, runs: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below ``node``, and whether importing the module runs it."""
    unrun = node.body if is_type_checking(node) else []
    for child in ast.iter_child_nodes(node):
        runs_here = runs and child not in unrun and not isinstance(node, FUNCTIONS)
        yield child, runs_here
        yield from statements(child, runs_here)


def imported_by_name(call: ast.Call) -> str | None:
    """``"torch"`` of ``importlib.import_module("torch")`` or ``__import__("torch")``."""
    spelled = ast.unparse(call.func) in {"import_module", "importlib.import_module", "__import__"}
    argument = call.args[0] if spelled and call.args else None
    return argument.value if isinstance(argument, ast.Constant) else None


def imports(tree: ast.Module) -> Iterator[Import]:
    for node, runs in statements(tree):
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, None, 0, runs) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from (Import(module or "", alias.name, level, runs) for alias in names)
            case ast.Call() if name := imported_by_name(node):
                yield Import(name, None, 0, runs)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """``("torch.load", node)`` of every call in a module."""
    yield from ((ast.unparse(node.func), node) for node, _ in statements(tree) if isinstance(node, ast.Call))


# Rules: each returns its complaints


def importing(house: House, objectionable: Callable[[str, Import], bool]) -> list[str]:
    """A complaint for each import that is objectionable in its room: ``derive``, ``numerics``, … or ``nmech``."""
    return [
        f"{name} imports {'.' * found.level}{found.module}"
        for name, tree in house.items()
        for found in imports(tree)
        if objectionable(name.partition(".")[0], found)
    ]


def derive_imports_only_sympy(house: House) -> list[str]:
    allowed = sys.stdlib_module_names | {"derive", "sympy", "mpmath"}
    parsing = {name: tree for name, tree in house.items() if name == "derive.formula"}
    others = {name: tree for name, tree in house.items() if name not in parsing}

    def foreign(room: str, found: Import) -> bool:
        return room == "derive" and not found.level and found.top not in allowed

    lazily = importing(parsing, lambda room, found: foreign(room, found) and (found.top != "lark" or found.at_import_time))
    return importing(others, foreign) + lazily


def torch_stays_in_torch_bridge(house: House) -> list[str]:
    return importing(house, lambda room, found: room != "torch_bridge" and found.top == "torch")


def imports_point_one_way(house: House) -> list[str]:
    order = (*PACKAGES, "nmech")
    above = {room: order[order.index(room) + 1 :] for room in order}
    return importing(house, lambda room, found: found.top in above[room])


def imports_are_absolute(house: House) -> list[str]:
    return importing(house, lambda _, found: found.level > 0)


def parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def run_first(importer: str, found: Import, house: House) -> set[str]:
    """The modules of this house that run for ``found``, less the packages that ``importer`` itself lies in."""
    submodule = f"{found.module}.{found.name}"
    target = submodule if submodule in house else found.module
    return ({target} | (set(parents(target)) - set(parents(importer)) - {importer})) & house.keys()


def no_import_cycles(house: House) -> list[str]:
    graph = {
        name: {dep for found in imports(tree) if found.at_import_time for dep in run_first(name, found, house)}
        for name, tree in house.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["import cycle: " + " -> ".join(reversed(error.args[1]))]
    return []


def names_say_something(house: House) -> list[str]:
    return [f"{name}: vague name" for name in house if VAGUE & set(name.replace(".", "_").split("_"))]


def loads_with_torch(tree: ast.Module) -> bool:
    by_name = any((found.module, found.name) == ("torch", "load") for found in imports(tree))
    return by_name or any(spelled == "torch.load" for spelled, _ in calls(tree))


def allows_pickle(call: ast.Call) -> bool:
    return any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in call.keywords)


def nothing_is_unpickled(house: House) -> list[str]:
    return [
        *importing(house, lambda _, found: found.top in PICKLES),
        *(f"{name} calls torch.load" for name, tree in house.items() if loads_with_torch(tree)),
        *(f"{name}: {text} allows pickle" for name, tree in house.items() for text, c in calls(tree) if allows_pickle(c)),
    ]


def is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def may_run_text(spelled: str, call: ast.Call) -> bool:
    """SymPy's parsers evaluate text as Python; ``strict=True`` makes ``sympify`` refuse text."""
    if spelled.rpartition(".")[2] in {"parse_expr", "parse_latex"}:
        return True
    converts = spelled.rpartition(".")[2] == "sympify" or spelled in {"sp.S", "sympy.S"}
    strict = any(keyword.arg == "strict" and ast.unparse(keyword.value) == "True" for keyword in call.keywords)
    return converts and not strict and not all(map(is_number, call.args))


def text_is_never_run(house: House) -> list[str]:
    return [
        f"{name} calls {spelled}"
        for name, tree in house.items()
        for spelled, call in calls(tree)
        if spelled in {"eval", "builtins.eval"}
        or (spelled in {"exec", "builtins.exec"} and name != "numerics.kernel")
        or may_run_text(spelled, call)
    ]


RULES: list[Callable[[House], list[str]]] = [
    derive_imports_only_sympy,
    torch_stays_in_torch_bridge,
    imports_point_one_way,
    imports_are_absolute,
    no_import_cycles,
    names_say_something,
    nothing_is_unpickled,
    text_is_never_run,
]


def loaded_by_importing_nmech(root: Path) -> set[str]:
    """The heavy packages that a bare ``import nmech`` brings in, in a fresh interpreter started in ``root``."""
    code = "import sys; before = set(sys.modules); import nmech; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


# The house


def test_every_room_of_the_house_is_read():
    tops = {name.partition(".")[0] for name in read_house(ROOT)}
    assert tops == {*PACKAGES, "nmech"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule):
    assert rule(read_house(ROOT)) == []


def test_the_command_line_starts_without_the_packages_behind_it():
    assert loaded_by_importing_nmech(ROOT) == set()


# The rules themselves

WRONG = [
    (derive_imports_only_sympy, {"derive/law.py": "import numpy as np"}),
    (derive_imports_only_sympy, {"derive/law.py": "def plot():\n    from matplotlib import pyplot"}),
    (derive_imports_only_sympy, {"derive/law.py": "def read():\n    import lark"}),
    (derive_imports_only_sympy, {"derive/formula.py": "import lark"}),
    (derive_imports_only_sympy, {"derive/formula.py": "def read():\n    import numpy"}),
    (torch_stays_in_torch_bridge, {"numerics/special.py": "import torch.nn"}),
    (torch_stays_in_torch_bridge, {"numerics/special.py": "def f():\n    from torch import nn"}),
    (torch_stays_in_torch_bridge, {"numerics/special.py": "import importlib\nt = importlib.import_module('torch')"}),
    (torch_stays_in_torch_bridge, {"nmech.py": "import torch"}),
    (imports_point_one_way, {"derive/law.py": "import numerics"}),
    (imports_point_one_way, {"numerics/flows.py": "from torch_bridge.recorder import Recorder"}),
    (imports_point_one_way, {"torch_bridge/vgg.py": "from nmech import main"}),
    (imports_are_absolute, {"derive/law.py": "from . import symbols"}),
    (imports_are_absolute, {"derive/law.py": "from .symbols import lr"}),
    (no_import_cycles, {"derive/law.py": "from derive.trees import a", "derive/trees.py": "import derive.law"}),
    (
        no_import_cycles,
        {"derive/__init__.py": "from derive.law import law", "derive/law.py": "from derive import scale"},
    ),
    (
        no_import_cycles,
        {
            "derive/law.py": "import numerics.flows",
            "numerics/__init__.py": "import derive.law",
            "numerics/flows.py": "",
        },
    ),
    (
        no_import_cycles,
        {"derive/law.py": "try:\n    import derive.bad\nfinally:\n    pass", "derive/bad.py": "import derive.law"},
    ),
    (names_say_something, {"torch_bridge/utils.py": ""}),
    (names_say_something, {"derive/tree_helpers.py": ""}),
    (nothing_is_unpickled, {"torch_bridge/run_log.py": "import pickle"}),
    (nothing_is_unpickled, {"torch_bridge/run_log.py": "import torch\ntorch.load('x')"}),
    (nothing_is_unpickled, {"torch_bridge/run_log.py": "from torch import load as read"}),
    (nothing_is_unpickled, {"torch_bridge/run_log.py": "import numpy as np\nnp.load('x', allow_pickle=True)"}),
    (text_is_never_run, {"derive/formula.py": "x = eval('1')"}),
    (text_is_never_run, {"derive/formula.py": "def read(text):\n    return sp.sympify(text)"}),
    (text_is_never_run, {"derive/formula.py": "def read(text):\n    return sp.S(text)"}),
    (text_is_never_run, {"derive/formula.py": "from sympy import sympify\nsympify('x', strict=False)"}),
    (text_is_never_run, {"derive/formula.py": "from sympy.parsing.sympy_parser import parse_expr\nparse_expr('x')"}),
    (text_is_never_run, {"numerics/flows.py": "exec('x = 1')"}),
]

RIGHT = {
    "nmech.py": "def main():\n    import derive\n    from torch_bridge import Recorder",
    "derive/__init__.py": "from derive.law import law",
    "derive/law.py": "import sympy as sp\nfrom derive import symbols\nsp.S(1)\nsp.sympify(symbols.lr, strict=True)",
    "derive/symbols.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from derive.law import Law\nlr = 1",
    "derive/formula.py": "def read():\n    import lark",
    "derive/trees.py": "from dataclasses import dataclass\ndef f():\n    from derive.bseries import g",
    "derive/bseries.py": "from derive.trees import f",
    "numerics/kernel.py": "import sys\nimport numpy\nimport derive\nexec('x = 1')\ntorch = sys.modules.get('torch')",
    "torch_bridge/vgg.py": "import torch\nimport numerics.kernel\nmodel.eval()\nnumpy.load('x', allow_pickle=False)",
}


def build(root: Path, sources: dict[str, str]) -> House:
    for name, source in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source, "utf-8")
    return read_house(root)


@pytest.mark.parametrize(("rule", "sources"), WRONG)
def test_a_rule_complains_of_a_house_that_breaks_it(rule, sources, tmp_path):
    assert len(rule(build(tmp_path, sources))) == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_is_content_with_a_house_that_keeps_it(rule, tmp_path):
    assert rule(build(tmp_path, RIGHT)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_rule_goes_untested(rule):
    assert rule in {broken for broken, _ in WRONG}


def test_a_command_line_that_imports_sympy_at_the_top_is_caught(tmp_path):
    build(tmp_path, {"nmech.py": "import sympy"})
    assert "sympy" in loaded_by_importing_nmech(tmp_path)


def test_a_command_line_that_imports_inside_its_commands_is_not(tmp_path):
    build(tmp_path, {"nmech.py": "import argparse\ndef main():\n    import sympy"})
    assert loaded_by_importing_nmech(tmp_path) == set()
