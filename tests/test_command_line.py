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
from derive.subjects import GROUPS

COMMANDS = ("derive", "check", "paper", "symmetries", "train", "evaluate", "report", "experiment", "figures")
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


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_derive_lists_every_subject_with_what_it_is(run, group):
    out = run("derive", "--help")[1]
    assert f"\n{group}\n" in out
    for subject in GROUPS[group]:
        assert re.search(rf"^  {subject.name} +{re.escape(subject.meaning)}$", out, re.MULTILINE)


def test_the_help_of_derive_shows_commands_that_work(run):
    """Every line of "more to try" is run."""
    shown = re.findall(r"^  nmech (derive .*?)(?:  .*)?$", run("derive", "--help")[1], re.MULTILINE)
    assert len(shown) == 7
    for line in shown:
        status, out, err = run(*line.split())
        assert (status, err) == (0, ""), line
        assert out


# --- paper ---


def test_one_claim_of_the_paper_is_judged_with_its_steps(run):
    """Kunin et al. 2021, App. F: the sign of the drive."""
    status, out, err = run("paper", "--only", "App. F, Itô's lemma, second line")
    assert (status, err) == (0, "")
    assert out.startswith("App. F, Itô's lemma, second line: wrong\n")
    assert "printed -dt*eta*|g_A|², derived dt*eta*|g_A|²" in out
    assert "Itô" in out.partition("evidence")[2]


def test_what_is_found_about_the_paper_goes_to_a_file(run, tmp_path):
    status, out, err = run("paper", "--only", "9", "--format", "html", "--out", tmp_path / "paper.html")
    assert (status, err) == (0, "")
    assert out == f"1 claim: 1 right\n{tmp_path / 'paper.html'}\n"
    assert (tmp_path / "paper.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_a_place_that_is_not_in_the_paper_is_a_clear_error(run):
    status, out, err = run("paper", "--only", "eq. 42")
    assert (status, out) == (2, "")
    assert err == "nmech paper: only: expected a place such as 'eq. 16', 'Table 5' or 'App. F', got 'eq. 42'\n"


def test_without_torch_the_papers_counts_are_not_judged_and_nothing_fails(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "torch_bridge.paper_counts", raising=False)
    status, out, _ = run("paper", "--only", "Table 5")
    assert status == 0
    assert out.count("not judged") == 10
    assert out.count("why: needs torch") == 10


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
    # read anew, 2(t − τ) has become 2t − 2τ
    assert sp.factor_terms(scope["solution"]) == sp.factor_terms(derive.solve(expected).elementary)


CHARGES = {
    ("power-rescale", "--powers", "2", "3"): r"2|\theta_{A1}|^2 - 3|\theta_{A2}|^2",
    ("linear", "--matrix", "1/2 0; 0 -0.5"): r"\frac{1}{2}|\theta_{A1}|^2 - \frac{1}{2}|\theta_{A2}|^2",
    ("linear", "--matrix", "-1 1; 1 0"): r"-|\theta_{A1}|^2 + 2\langle \theta_{A1}, \theta_{A2}\rangle",
}


@pytest.mark.parametrize("family", CHARGES)
def test_a_family_with_numbers_has_its_charge_and_the_law_of_rescale(run, family):
    status, out, err = run("derive", *family, "--momentum", "--format", "latex")
    assert (status, err) == (0, "")
    assert f"charge ${CHARGES[family]}$" in out
    laws = [run("derive", *chosen, "--momentum", "--format", "python")[1] for chosen in (family, ("rescale",))]
    assert laws[0] == laws[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["power-rescale"], "powers: expected with power-rescale"),
        (["scale", "--powers", "2", "3"], "powers: expected with power-rescale and only with it"),
        (["rescale", "--matrix", "1"], "matrix: expected with linear and only with it"),
        (["power-rescale", "--powers", "2", "0"], "k2: expected a positive exponent"),
        (["power-rescale", "--powers", "2", "x"], "powers: expected exact numbers .* got 'x'"),
        (["linear", "--matrix", "1 0; 0"], "M: expected a square matrix"),
        (["linear", "--matrix", "1/0"], "matrix: expected exact numbers .* got '1/0'"),
        (["linear", "--matrix", "1e9"], "matrix: expected exact numbers .* got '1e9'"),
        (["linear", "--matrix", "__import__('os')"], "matrix: expected exact numbers"),
        (["linear", "--matrix", "0 -1; 1 0"], "linear: no charge exists"),
    ],
)
def test_a_family_without_its_numbers_or_with_others_is_one_line(run, arguments, message):
    status, out, err = run("derive", *arguments)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"nmech derive: {message}.*\n", err)


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
    ("arguments", "expected"),
    [
        ("scale --order oo", "It holds for eta*lambda < 1."),
        ("scale --order 2", "Q' + (2*lambda)*Q = -eta**2*Derivative(q(t), t)/2 + eta*q(t)"),
        ("translation --momentum --order oo --start free", "Q'_0"),
        ("scale --momentum --order 2", "Order oo has both exponents and a solution"),
        ("translation --momentum --form slow-flow", "slow flow, order 1"),
        ("rescale --ito", "T(t)"),
        ("scale --identities", "= theta_A*d1 L(theta_A)"),
        ("scale --identities --order 1", "u1_A*d1 L(theta_A)"),
        ("heavy-ball --order 2", "[t]   1      2      (beta + 1)/(2*(beta - 1)**3)"),
        ("implicit-midpoint --order 3", "[[t]]  1      6      1/4  1/12"),
        ("leapfrog --order 3", "of order 2 in dx and disperses"),
        ("discrete-manifold --momentum --order 1", "[t]   1      2      (beta + 1)/(2*(beta - 1)**3)  (beta - 1)**(-3)"),
        ("modified-loss --no-weight-decay", "(1)*theta' = -eta*H*g/2 - g"),
        ("modified-flow --momentum", "(eta*(beta + 1)/2)*theta''"),
        ("sme --order 1", "weak order 1"),
        ("epoch-loss --sampling independent", "L~ = L + eta/4 |grad L|^2"),
    ],
)
def test_every_kind_of_subject_takes_its_options(run, arguments, expected):
    status, out, err = run("derive", *arguments.split())
    assert (status, err) == (0, "")
    assert expected in out


def test_a_page_is_one_document(run):
    status, out, err = run("derive", "upwind", "--format", "html")
    assert (status, err) == (0, "")
    assert out.startswith("<!DOCTYPE html>")
    assert out.endswith("</html>\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("midpoint --momentum", "momentum: expected none with midpoint, which takes --order"),
        ("upwind --no-weight-decay", "no-weight-decay: expected none with upwind, which takes --order"),
        ("sme --momentum", "momentum: expected none with sme, which takes --no-weight-decay, --order"),
        ("scale --batches 3", "batches: expected none with scale, which takes .*--identities.*"),
        ("epoch-loss --order 0", "order: expected none with epoch-loss, which takes --sampling, --batches"),
        ("midpoint --order oo", "order: expected a number, got oo.*"),
        ("midpoint --order 99", "order: expected .* from 0 to 18, got 99"),
        ("upwind --order 0", "order: expected an integer >= 1.*"),
        ("scale --ito --discrete", "ito: expected one of --discrete, --ito, --identities, got --discrete too"),
        ("scale --ito --order 0", "order: expected none with --ito.*; leave it out"),
        ("scale --ito --momentum", "rule: ito_law covers plain SGD.*"),
        ("scale --identities --momentum", "momentum: expected none with --identities.*"),
        ("scale --form slow-flow", "form: expected one of .* got 'slow flow'"),
        ("scale --momentum --order 2 --start rest", "law: expected at most Q''.*"),
        ("discrete-manifold", "rule: expected momentum, got none.*"),
        ("epoch-loss --batches 0", "batches: expected a positive integer.*"),
    ],
)
def test_an_option_that_does_not_fit_the_subject_is_refused_in_one_line(run, arguments, message):
    status, out, err = run("derive", *arguments.split())
    assert (status, out) == (2, "")
    assert re.fullmatch(f"nmech derive: {message}\n", err)


@pytest.mark.parametrize("order", ["1.5", "x", "1e3", ""])
def test_an_order_that_is_no_number_is_explained(run, order):
    status, out, err = run("derive", "scale", "--order", order)
    assert (status, out) == (2, "")
    assert "--order: expected a whole number or oo" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nesterov"], "nesterov: expected momentum"),
        (["--dampening"], "(--)?dampening: .*momentum"),
        (["--discrete", "--order", "0"], "(--)?order: .*discrete.*; leave it out"),
        (["--nesterov", "--momentum", "--dampening"], "nesterov: expected momentum and no dampening"),
        (["--order", "-1"], "order: expected 0, 1, 2, … or sympy.oo, got -1"),
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


@pytest.mark.parametrize("arguments", [["derive", "scale"], ["--help"], ["derive", "--help"], ["train", "--help"]])
def test_a_reader_that_stops_reading_is_no_error(arguments):
    """As in ``nmech derive scale | head -1``, where the pipe may be closed before anything is written."""
    source = (
        "import os, subprocess, sys; r, w = os.pipe(); os.close(r); "
        f"done = subprocess.run([sys.executable, '-m', 'nmech', *{arguments!r}], stdout=w, stderr=subprocess.PIPE); "
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


@pytest.mark.parametrize(
    ("text", "numbers"), [("5", [5]), ("5,6", [5, 6]), ("8-10, 1", [8, 9, 10, 1]), ("all", None), (None, None)]
)
def test_figures_are_named_by_numbers_and_spans(text, numbers):
    assert nmech._numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "five", "5,", "-5", "5-", "1e3", "5;6"])
def test_figures_that_are_no_numbers_are_refused(text):
    with pytest.raises(ValueError, match="figures: expected numbers such as 5,6 or 8-10, or all"):
        nmech._numbers(text)


def test_figures_of_a_folder_without_an_experiment_are_refused(run, tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib").use("Agg")
    status, out, err = run("figures", tmp_path, "--figures", "5")
    assert (status, out) == (2, "")
    assert "expected an experiment's folder with experiment.json" in err


def test_the_papers_experiment_without_its_data_says_what_the_folder_must_hold(run, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib").use("Agg")
    status, _, err = run("experiment", "--preset", "paper", "--out", tmp_path / "out")
    assert status == 2
    assert "PATH/train/<wnid>/images/*.JPEG" in err
    assert not (tmp_path / "out").exists()


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
        (r"Q_{n+1} = (1-\eta\lambda)Q_n", ("--against", "translation", "--discrete")),
        (r"H\theta_A + g_A = 0", ("--against", "scale", "--identities")),
        (r"\dot\theta = -g - \frac{\eta}{2}Hg", ("--against", "modified-loss", "--no-weight-decay")),
        (r"u_t = -a u_x + \frac{a\,\Delta x}{2}(1-\nu) u_{xx}", ("--against", "upwind", "--order", "2")),
        (r"\frac{d}{dt}|\theta_A|^2 = -2\lambda|\theta_A|^2 + \eta|g_A|^2 + \frac{\eta}{S}\mathrm{Tr}\Sigma_A",
         ("--against", "scale", "--ito")),
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
