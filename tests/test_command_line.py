"""`nmech` on the command line: what it prints, the exit status, and errors that say what to do."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sympy as sp

import derive
import nmech

COMMANDS = ("derive", "check", "symmetries", "train", "evaluate", "report", "experiment")
ROOT = Path(nmech.__file__).parent
SMALL = ("--width", "0.015625", "--input-size", "32", "--batch-size", "8")


@pytest.fixture
def run(capsys):
    """``run("derive", "scale")`` -> (exit status, standard output, standard error)."""

    def call(*arguments):
        try:
            status = nmech.main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            status = stopped.code
        return (status, *capsys.readouterr())

    return call


def python(source, **environment):
    """Run Python source in a process of its own, at the root of the project."""
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.run([sys.executable, "-W", "error", "-c", source], cwd=ROOT, env=plain | environment,
                          capture_output=True, text=True, encoding="utf-8", timeout=120)  # fmt: skip


# --- help ---


def test_help_names_every_command_and_where_to_start(run):
    status, out, _ = run("--help")
    assert status == 0
    assert all(re.search(rf"^    {command}\s+[A-Z]", out, re.MULTILINE) for command in COMMANDS)
    assert "start with:  nmech derive" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_an_example_that_uses_its_own_options(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    (example,) = re.findall(rf"^example:  nmech {command} (.*)$", out, re.MULTILINE)
    assert set(re.findall(r"--[a-z-]+", example)) <= set(re.findall(r"--[a-z-]+", out.split("example:")[0]))


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["derive"], ["derive", "rotation"], ["train", "vgg16"]])
def test_a_command_that_is_not_understood_is_explained(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "usage: nmech" in err


# --- derive ---


def test_text_ends_in_the_papers_law_and_its_solution(run):
    """Kunin et al. 2021, eq. 21: weight decay pulls the norm in, the finite step pushes it out."""
    status, out, err = run("derive", "scale")
    assert (status, err) == (0, "")
    assert out.startswith("law of the scale charge, modified loss, order 1\n")
    assert "     Q' + (2*lambda)*Q = eta*q(t)\n" in out
    assert "kappa = 2*lambda\n" in out


def test_latex_and_markdown_are_balanced(run):
    _, latex, _ = run("derive", "rescale", "--momentum", "--format", "latex")
    assert latex.count("{") == latex.count("}") > 0
    assert sorted(re.findall(r"\\begin{(\w+)}", latex)) == sorted(re.findall(r"\\end{(\w+)}", latex))
    _, markdown, _ = run("derive", "rescale", "--momentum", "--format", "markdown")
    assert markdown.startswith("### ")
    assert markdown.count("$$") % 2 == 0 < markdown.count("$$")


RULES = {
    "": {},
    "--momentum": {"momentum": True},
    "--momentum --dampening": {"momentum": True, "dampening": True},
    "--momentum --nesterov": {"momentum": True, "nesterov": True},
    "--no-weight-decay": {"weight_decay": False},
    "--momentum --order 0": {"momentum": True},
}


@pytest.mark.parametrize(
    ("family", "options"), [*(("rescale", rule) for rule in RULES), ("translation", "--momentum"), ("scale", "")]
)
def test_the_python_it_prints_runs_and_is_the_law(run, family, options):
    status, out, _ = run("derive", family, "--format", "python", *options.split())
    scope = {}
    exec(out, scope)
    expected = derive.law(getattr(derive, family)(), derive.sgd(**RULES[options]), 0 if "--order" in options else 1)
    assert status == 0
    assert scope["law"] == expected.equation
    assert scope["solution"] == derive.solve(expected).elementary


def test_another_rule_gives_another_law(run):
    laws = [run("derive", "translation", "--order", "0", "--format", "python", *rule.split()) for rule in ("", "--momentum")]
    assert laws[0] != laws[1]


def test_the_python_solution_solves_the_python_law(run):
    for options in ([], ["--momentum"]):
        scope = {}
        exec(run("derive", "translation", "--format", "python", *options)[1], scope)
        charge = next(iter(scope["law"].atoms(sp.core.function.AppliedUndef)))
        assert solves(scope["solution"], scope["law"], charge)
        assert not solves(2 + scope["solution"], scope["law"], charge)


def solves(solution, law, charge):
    """Whether it does, measured at a point with 50 digits."""
    left = (law.lhs - law.rhs).subs(charge, solution).doit()
    values = {symbol: sp.Rational(k + 3, 17) for k, symbol in enumerate(sorted(left.free_symbols, key=str))}
    return abs(sp.N(left.subs(values), 50)) < sp.Rational(1, 10**40)


@pytest.mark.parametrize("form", nmech.FORMATS)
def test_the_discrete_law_is_printed_in_every_format(run, form):
    status, out, err = run("derive", "rescale", "--momentum", "--discrete", "--format", form)
    assert (status, err) == (0, "")
    if form == "python":
        scope = {}
        exec(out, scope)
        assert scope["law"] == derive.discrete_law(derive.rescale(), derive.sgd(momentum=True)).equation


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nesterov"], "nesterov: expected momentum"),
        (["--dampening"], "(--)?dampening: .*momentum"),
        (["--discrete", "--order", "0"], "(--)?order: .*discrete.*; leave it out"),
        (["--nesterov", "--momentum", "--dampening"], "nesterov: expected momentum and no dampening"),
        (["--order", "2"], "order: expected 0 .* or 1 .* got 2"),
    ],
)
def test_what_cannot_be_derived_is_one_line_that_says_what_was_expected(run, options, message):
    status, out, err = run("derive", "scale", *options)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"nmech derive: {message}.*\n", err)


# --- in a process of its own ---


def test_the_module_is_a_program_that_derives_without_loading_torch():
    done = python("import sys, nmech; nmech.main(['derive', 'scale']); assert not {'torch', 'numpy'} & set(sys.modules)")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Q' + (2*lambda)*Q = eta*q(t)" in done.stdout


def test_the_exit_status_reaches_the_shell():
    program = "import runpy, sys; sys.argv = ['nmech', *{!r}]; runpy.run_path('nmech.py', run_name='__main__')"
    refused = python(program.format(["derive", "scale", "--nesterov"]))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("nmech derive: nesterov: ")


def test_a_reader_that_stops_reading_is_no_error():
    """As in ``nmech derive scale | head -1``, where the pipe may be closed before anything is written."""
    source = (
        "import os, subprocess, sys; r, w = os.pipe(); os.close(r); "
        "done = subprocess.run([sys.executable, '-m', 'nmech', 'derive', 'scale'], stdout=w, stderr=subprocess.PIPE); "
        "print(done.returncode, done.stderr.decode())"
    )
    assert python(source).stdout.split() == ["0"]


def test_a_terminal_that_has_no_greek_still_gets_an_answer():
    for arguments in (["derive", "scale"], ["train", "--help"]):
        done = python(f"import sys, nmech; sys.exit(nmech.main({arguments!r}))", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")


def test_without_torch_the_error_says_what_to_install():
    done = python("import sys; sys.modules['torch'] = None; import nmech; sys.exit(nmech.main(['symmetries', 'vgg16']))")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"nmech symmetries: needs torch; .*pip install.*torch.*\n", done.stderr)


# --- symmetries ---


def test_the_symmetries_of_vgg16_with_batch_norm_are_counted(run):
    """4·(1+1) + 8·(1+1) + 16·3 + 32·6 channels, two hidden layers of 64, and the columns and the bias of the last one."""
    pytest.importorskip("torch")
    status, out, err = run("symmetries", "vgg16-bn", "--width", "0.0625", "--input-size", "32")
    channels = 2 * 4 + 2 * 8 + 3 * 16 + 6 * 32
    assert (status, err) == (0, "")
    for line in (f"scale: {channels}", f"shift: {channels}", f"rescale: {channels + 2 * 64}", "translation: 65"):
        assert f"\n{line}\n" in out
    assert f"\nin all: {3 * channels + 2 * 64 + 65}\n" in out


def test_the_claims_are_measured_when_asked_for(run):
    pytest.importorskip("torch")
    _, out, _ = run("symmetries", "vgg16", "--width", "0.015625", "--input-size", "32", "--classes", "5", "--certify")
    held, groups = re.search(r"^(\d+) of (\d+) groups hold$", out, re.MULTILINE).groups()
    assert held == groups == "17"


@pytest.mark.parametrize(("option", "value"), [("--width", "0"), ("--input-size", "33"), ("--classes", "0")])
def test_a_size_that_no_model_has_is_one_line(run, option, value):
    pytest.importorskip("torch")
    status, out, err = run("symmetries", "vgg16", "--width", "0.0625", "--input-size", "32", option, value)
    assert (status, out) == (2, "")
    assert re.fullmatch(rf"nmech symmetries: {option[2:].replace('-', '_')}: expected .* got {value}.*\n", err)


# --- train, evaluate, report ---


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("runs") / "momentum-0.9"
    settings = ("--momentum", "0.9", "--weight-decay", "0.005", "--clip", "1")
    assert nmech.main(["train", "vgg16-bn", *SMALL, "--steps", "6", *settings, "--out", str(folder)]) == 0
    return folder


def test_training_says_what_was_recorded_and_what_to_do_next(run, tmp_path):
    pytest.importorskip("sklearn")
    status, out, err = run("train", "vgg16", *SMALL, "--steps", "3", "--out", tmp_path / "run")
    assert status == 0
    assert out.splitlines() == [
        f"recorded 3 steps of 115 charges in {tmp_path / 'run'}", f"next:  nmech evaluate {tmp_path / 'run'}"
    ]  # fmt: skip
    assert "training" in err


def test_what_was_asked_for_is_what_was_trained(recorded):
    from torch_bridge.run_log import RunLog

    log = RunLog.open(recorded)
    meta = log.manifest["meta"]
    asked = {"model": "vgg16-bn", "width": 1 / 64, "data": "digits", "steps": 6, "batch_size": 8, "clip": 1.0}
    assert {name: meta[name] for name in asked} == asked
    assert {name: set(values) for name, values in log.hyper(0).items()} == {
        "lr": {0.1}, "momentum": {0.9}, "dampening": {0.0}, "weight_decay": {0.005}
    }  # fmt: skip


def test_a_recorded_run_is_evaluated_to_a_table_whose_exact_law_holds(run, recorded):
    status, out, err = run("evaluate", recorded)
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    head = next(row for row in rows if row[0] == "kind")
    table = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows[rows.index(head) + 1 : -1]}
    assert "exact law holds to rounding" in out
    assert list(table) == ["translation", "shift", "scale", "rescale"]
    assert all(float(row["exact"]) < 5e-5 < float(row["conserved"]) for row in table.values())


def test_a_run_that_misses_its_exact_law_has_another_exit_status(run, recorded, tmp_path):
    from torch_bridge.run_folder import read_arrays, write_arrays

    shutil.copytree(recorded, tmp_path / "run")
    file = tmp_path / "run" / "segment-000000000.npz"
    arrays = {name: values.copy() for name, values in read_arrays(file)[0].items()}
    arrays["hyper"][:, 0] *= 1.5
    write_arrays(file, arrays)
    status, out, err = run("evaluate", tmp_path / "run")
    assert status != 0
    assert "exact law is MISSED" in out
    assert err.startswith("nmech evaluate: the exact law is missed")


def test_a_recorded_run_is_reported_on_a_page_beside_it_unless_told_where(run, recorded, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    assert run("report", f"{recorded}/")[:2] == (0, f"{recorded}.html\n")
    assert run("report", recorded, "--order", "0", "--out", tmp_path / "a" / "page.html")[0] == 0
    for page in (Path(f"{recorded}.html"), tmp_path / "a" / "page.html"):
        assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_folder_without_a_run_is_a_clear_error_and_nothing_else(run, tmp_path, command):
    pytest.importorskip("torch")
    status, out, err = run(command, tmp_path / "nowhere")
    assert (status, out) == (2, "")
    assert re.fullmatch(rf"nmech {command}: path: expected a run folder with manifest.json, got .*nowhere.*\n", err)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_log_says_how_to_read_the_rest(run, tmp_path):
    pytest.importorskip("sklearn")
    run("train", "vgg16", *SMALL, "--steps", "2", "--out", tmp_path / "run")
    (tmp_path / "run" / "segment-000000000.npz").write_bytes(b"")
    assert "recover=True" in run("evaluate", tmp_path / "run")[2]
    assert "at least one recorded step" in run("evaluate", tmp_path / "run", "--recover")[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nesterov"], "Nesterov momentum requires a momentum"),
        (["--lr", "-1"], "learning rate"),
        (["--steps", "0"], "steps: expected at least 1, got 0"),
        (["--data", "nonsense"], "spec: expected 'digits' or 'tiny-imagenet:PATH', got 'nonsense'"),
        (["--data", "tiny-imagenet:/nowhere"], "spec: expected PATH/train/"),
        (["--device", "nonsense"], "device: expected one that torch can use here, got 'nonsense'"),
        (["--batch-size", "99999"], "batch_size: expected 1 to 1797"),
        (["--classes", "5"], "classes: expected"),
        (["--classes", "0"], "classes: expected"),
    ],
)
def test_a_training_that_cannot_be_is_one_line_and_leaves_no_folder(run, tmp_path, options, message):
    pytest.importorskip("sklearn")
    status, out, err = run("train", "vgg16", *SMALL, "--steps", "1", *options, "--out", tmp_path / "run")
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_run_is_never_written_over(run, recorded):
    status, _, err = run("train", "vgg16", *SMALL, "--steps", "1", "--out", recorded)
    assert status == 2
    assert "expected a new or empty folder" in err


def test_without_scikit_learn_the_error_says_what_to_install(run, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    status, _, err = run("train", "vgg16", *SMALL, "--out", tmp_path / "run")
    assert status == 2
    assert "pip install scikit-learn" in err or "needs scikit-learn" in err


@pytest.mark.parametrize("taken", ["folder", "file"])
def test_an_experiment_does_not_write_where_something_is(run, tmp_path, taken):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")
    (tmp_path / "file").write_text("mine")
    status, out, err = run("experiment", "--out", tmp_path if taken == "folder" else tmp_path / "file")
    assert (status, out) == (2, "")
    assert err.startswith("nmech experiment: out: expected a new or empty folder")


# --- check ---


def test_check_tells_right_from_wrong_by_its_exit_status(run):
    status, out, _ = run("check", "dQ/dt = -2 lambda Q + eta q", "--against", "scale")
    assert status == 0
    assert out.startswith("right (symbolic proof)")
    status, out, _ = run("check", "dQ/dt = -2 lambda Q - eta q", "--against", "scale")
    assert status == 1
    assert "first difference: claimed -eta*q(t), correct eta*q(t)" in out


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        (r"\cosh^2 x - \sinh^2 x = 1", ()),
        (r"\omega = \sqrt{\frac{4\lambda}{\eta(1+\beta)}}", ("--against", "scale", "--momentum")),
        (r"Q_{n+1} = (1-\eta\lambda)Q_n", ("--against", "translation", "--kind", "discrete")),
        (r"H\theta_A + g_A = 0", ("--against", "scale", "--kind", "symmetry")),
        (r"\dot\theta = -g - \frac{\eta}{2}Hg", ("--against", "scale", "--kind", "equation", "--no-weight-decay")),
        (r"v_{n+1} = \beta v_n + g_n + \lambda\theta_n", ("--against", "scale", "--kind", "rule", "--momentum")),
        (r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2 + \frac{\eta}{S}\mathrm{Tr}\Sigma_A",
         ("--against", "scale", "--kind", "noise")),
    ],
)  # fmt: skip
def test_check_reaches_every_kind_of_object(run, formula, options):
    status, out, err = run("check", formula, *options)
    assert (status, err) == (0, "")
    assert out.startswith("right")


def test_check_says_where_a_formula_cannot_be_read(run):
    status, _, err = run("check", "dQ/dt = ?", "--against", "scale")
    assert status == 2
    assert "at character 9" in err
