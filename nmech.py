"""The command line of nmech: derive a law, find a model's symmetries, train and record, evaluate, report.

Every command imports what it needs when it runs, so that ``nmech --help`` and ``nmech derive`` need no torch.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

FORMATS = ("text", "latex", "markdown", "html", "python")
PAPER_FORMATS = ("text", "markdown", "latex", "html")
MODELS = ("vgg16", "vgg16-bn")
FORMS = ("modified-loss", "modified-flow", "slow-flow")
STARTS = ("rest", "first-step", "free")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Errors that a user can mend are printed in one line, with exit status 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Greek still gets an answer
    try:
        try:
            return _run(_parser().parse_args(arguments))
        finally:
            sys.stdout.flush()  # here, where a closed pipe can be told from a failure; --help leaves by SystemExit
    except BrokenPipeError:  # the reader has seen enough; nothing more may be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(options: argparse.Namespace) -> int:
    try:
        status = options.run(options)
    except ValueError as error:
        print(f"nmech {options.command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        missing = f"needs {error.name}" if error.name else str(error)
        print(f"nmech {options.command}: {missing}; in a clone: pip install '.[torch,plot]'", file=sys.stderr)
        return 2
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nmech",
        description="Neural mechanics: what a network's symmetries say about its training.",
        epilog="start with:  nmech derive scale --momentum  |  nmech symmetries vgg16-bn  |  nmech experiment --out demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_derive,
        _add_check,
        _add_paper,
        _add_symmetries,
        _add_train,
        _add_evaluate,
        _add_report,
        _add_experiment,
        _add_redraw,
    ):
        add(commands)
    return parser


def _command(
    commands: Any, name: str, run: Callable[..., int | None], text: str, example: str, **more: Any
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"example:  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **more,
    )
    parser.set_defaults(run=run)
    return parser


class _SubjectsHelp(argparse.Action):
    """``nmech derive --help``: the options, and the table of subjects, which is read only now."""

    def __call__(self, parser, namespace, values, option_string=None):
        from derive.subjects import overview

        parser.epilog = f"{parser.epilog}\n\nSUBJECT is one of\n\n{overview()}"
        parser.print_help()
        parser.exit()


def _subject(name: str) -> str:
    from derive.subjects import SUBJECTS

    if name not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(SUBJECTS)}, got {name!r}")
    return name


def _order(text: str) -> Any:
    """A whole number, or oo."""
    if not re.fullmatch(r"-?[0-9]{1,9}|oo", text):
        raise argparse.ArgumentTypeError(f"expected a whole number or oo, got {text!r}")
    if text != "oo":
        return int(text)
    import sympy

    return sympy.oo


def _add_derive(commands: Any) -> None:
    parser = _command(
        commands, "derive", _derive,
        "Derive a law or a modified equation step by step, solve it where it has a solution, and print all of it.",
        "nmech derive scale --momentum --order oo --start first-step --format html", add_help=False,
    )  # fmt: skip
    parser.epilog = (
        f"{parser.epilog}\n\nmore to try:\n"
        "  nmech derive rescale --discrete                  the exact law of the steps\n"
        "  nmech derive scale --ito                         under gradient noise\n"
        "  nmech derive scale --identities --order 2        what invariance says about the third derivative\n"
        "  nmech derive translation --momentum --order 4 --form slow-flow\n"
        "  nmech derive midpoint --order 9                  Runge–Kutta by rooted trees, up to nine vertices\n"
        "  nmech derive upwind --order 5 --format latex     what a scheme for a PDE really solves\n"
        "  nmech derive epoch-loss --batches 3              what an epoch of SGD descends"
    )
    parser.add_argument("-h", "--help", action=_SubjectsHelp, nargs=0, help="show this, with all subjects, and exit")
    parser.add_argument(
        "subject", metavar="SUBJECT", type=_subject, help="a family of symmetries, a method, a scheme, …: see below"
    )
    _add_subject_options(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to print it (default: text)")


def _add_subject_options(parser: argparse.ArgumentParser) -> None:
    """What says which result of a subject is meant."""
    rule = parser.add_argument_group("update rule, of laws and equations of learning")
    rule.add_argument("--momentum", action="store_true", help="SGD with momentum β (else plain SGD)")
    rule.add_argument("--dampening", action="store_true", help="with dampening α, so that a step advances time by η(1−α)")
    rule.add_argument("--nesterov", action="store_true", help="with Nesterov momentum as torch.optim.SGD has it")
    rule.add_argument("--no-weight-decay", action="store_true", help="λ = 0")
    parser.add_argument(
        "--order", type=_order, metavar="N|oo",
        help="highest power of the step that is kept: of a law 0 is gradient flow, 1 (default) the paper, oo exact; "
        "of a scheme the highest derivative, of a Runge–Kutta or multistep method the vertices of the largest tree",
    )  # fmt: skip
    charge = parser.add_argument_group("laws of charges")
    charge.add_argument("--powers", nargs=2, metavar=("K1", "K2"), help="of power-rescale: s^K1 on A1 and s^-K2 on A2")
    charge.add_argument("--matrix", metavar="ROWS", help='M of linear, exact numbers: "0 1; 1 0"')
    charge.add_argument("--form", choices=FORMS, help="of a law, where there is a choice (default: by rule and order)")
    charge.add_argument(
        "--start", choices=STARTS, help="of an oscillator: at rest (default), right after the first step, free"
    )
    charge.add_argument("--discrete", action="store_true", help="the exact law of the steps themselves instead")
    charge.add_argument("--ito", action="store_true", help="the law under stochastic gradients instead")
    charge.add_argument("--identities", action="store_true", help="what the symmetry says about gradient and Hessian "
                        "instead; with --order K the identity differentiated K times")  # fmt: skip
    epoch = parser.add_argument_group("epoch-loss")
    epoch.add_argument("--sampling", choices=("reshuffling", "independent"), help="of batches (default: reshuffling)")
    epoch.add_argument("--batches", type=int, metavar="M", help="their number (default: the symbol m)")


def _add_check(commands: Any) -> None:
    parser = _command(
        commands, "check", _check,
        "Check a formula, in LaTeX or plain text, against what is derived. Exit status 1 if it is not right.",
        "nmech check 'dQ/dt = -2 lambda Q + eta q' --against scale", add_help=False,
    )  # fmt: skip
    parser.epilog = (
        f"{parser.epilog}\n\nmore to try:\n"
        "  nmech check 'cosh^2 x - sinh^2 x = 1'                             an identity, against nothing\n"
        "  nmech check 'Q_{n+1} = (1 - eta lambda)^2 Q_n + eta^2 q_n' --against scale --discrete\n"
        "  nmech check 'H theta_A + g_A = 0' --against scale --identities\n"
        "  nmech check 'omega = sqrt(4 lambda / (eta (1 + beta)))' --against scale --momentum"
    )
    parser.add_argument("-h", "--help", action=_SubjectsHelp, nargs=0, help="show this, with all subjects, and exit")
    parser.add_argument("formula", metavar="FORMULA", help="an equation, a solution, a coefficient, or an identity")
    parser.add_argument(
        "--against", metavar="SUBJECT", type=_subject, dest="subject",
        help="what it speaks about: a subject of nmech derive, see below (default: it is to hold by itself)",
    )  # fmt: skip
    _add_subject_options(parser)


def _add_paper(commands: Any) -> None:
    parser = _command(
        commands, "paper", _paper,
        "Judge Kunin et al. 2021: every numbered equation, table and stated count is derived again. Counts need torch.",
        "nmech paper --format html --out paper.html",
    )  # fmt: skip
    parser.epilog = (
        f"{parser.epilog}\n\nmore to try:\n"
        '  nmech paper --only "eq. 24"      one claim, with all that was found and the steps\n'
        '  nmech paper --only "Table 3"     all entries of a table'
    )
    parser.add_argument("--format", choices=PAPER_FORMATS, default="text",
                        help="how to print it; html is one page without a network (default: text)")  # fmt: skip
    parser.add_argument("--out", default=None, metavar="FILE", help="where to write it (default: the terminal)")
    parser.add_argument("--only", default=None, metavar="PLACE", help='"eq. 16", "Table 5", "App. F", … (default: all)')


def _add_symmetries(commands: Any) -> None:
    parser = _command(
        commands, "symmetries", _symmetries, "Find and count the symmetries of a model by tracing it.",
        "nmech symmetries vgg16-bn --certify",
    )  # fmt: skip
    _add_model(parser)
    parser.add_argument("--certify", action="store_true", help="measure every claim on a random batch, in float64")


def _add_train(commands: Any) -> None:
    parser = _command(
        commands, "train", _train, "Train a VGG-16 with stock SGD and record every charge.",
        "nmech train vgg16-bn --width 0.0625 --input-size 32 --momentum 0.9 --out run",
    )  # fmt: skip
    _add_model(parser)
    parser.add_argument("--data", default="digits", help="digits (default), or tiny-imagenet:PATH")
    parser.add_argument("--out", required=True, help="new folder for the log")
    for name, kind, default, text in (
        ("steps", int, 300, "number of updates"),
        ("batch-size", int, 64, "images in a batch"),
        ("lr", float, 0.1, "learning rate η"),
        ("momentum", float, 0.0, "momentum β"),
        ("dampening", float, 0.0, "dampening α"),
        ("weight-decay", float, 0.0, "weight decay λ"),
        ("clip", float, 0.0, "largest norm of the gradient, 0 for no clipping"),
        ("every", int, 1, "steps between two measured charges"),
        ("seed", int, 0, "seed of initialisation and shuffling"),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default: {default})")
    parser.add_argument("--nesterov", action="store_true", help="Nesterov momentum")
    parser.add_argument("--cosine", action="store_true", help="decrease the learning rate along a half cosine")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, …")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", choices=MODELS, help="the paper's VGG-16, without or with batch norm")
    parser.add_argument("--width", type=float, default=1.0, help="factor on all channel counts (default: 1, the paper's)")
    parser.add_argument("--input-size", type=int, default=64, help="side of the images, a multiple of 32 (default: 64)")
    parser.add_argument("--classes", type=int, default=None, help="number of classes (default: the data's, or 200)")


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands, "evaluate", _evaluate, "Hold a recorded run against the laws and print the table of errors.",
        "nmech evaluate run",
    )  # fmt: skip
    _add_run(parser)


def _add_report(commands: Any) -> None:
    parser = _command(
        commands, "report", _report, "Write one HTML page about a recorded run.", "nmech report run --out run.html"
    )
    _add_run(parser)
    parser.add_argument("--out", default=None, help="the page (default: RUN.html)")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", metavar="RUN", help="folder that nmech train or a Recorder wrote")
    parser.add_argument("--order", type=int, default=1, help="order of the continuous law: 0 or 1 (default)")
    parser.add_argument("--recover", action="store_true", help="read a damaged log up to the damage")


def _add_experiment(commands: Any) -> None:
    parser = _command(
        commands, "experiment", _experiment,
        "Train the runs behind the figures of the paper, and draw them from the logs: 18 small VGG-16s on digits, within\n"
        "minutes on two cores, or (--preset paper) VGG-16 on Tiny ImageNet. Complete runs are not trained again.",
        "nmech experiment --figures 5,6 --out demo",
    )  # fmt: skip
    parser.add_argument("--out", required=True, help="new folder for the logs and report.html, or an experiment's to go on")
    parser.add_argument(
        "--preset", choices=("demo", "full-width", "paper"), default="demo",
        help="the size (default: demo); full-width: the paper's network on digits, an hour on two cores",
    )  # fmt: skip
    _add_figures(parser, "all")
    parser.add_argument("--table", action="store_true", help="also train what is in Table 4 but in no figure")
    parser.add_argument("--data", default=None, help="digits, or tiny-imagenet:PATH (default: the preset's)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, …")
    parser.add_argument(
        "--engine", default=None, metavar="ENGINE",
        help="processes (default), dask or dask:ADDRESS; under torchrun its processes divide the runs",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=None, help="runs trained side by side (default: one a core, or a GPU)")
    parser.add_argument("--steps", type=int, default=None, help="updates in each run (default: the preset's)")


def _add_redraw(commands: Any) -> None:
    parser = _command(
        commands, "figures", _figures, "Draw the figures of an experiment again, from its logs alone.",
        "nmech figures demo --figures 9,12",
    )  # fmt: skip
    parser.add_argument("out", metavar="DIR", help="folder that nmech experiment wrote")
    _add_figures(parser, "those of the experiment")


def _add_figures(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--figures", default=None, metavar="LIST",
                        help=f"the paper's, of 1, 5, 6, 8 to 17: 5,6 or 8-10 or all (default: {default})")  # fmt: skip


def _derive(options: argparse.Namespace) -> None:
    import derive

    print(derive.render(_derived(options), options.format))


def _check(options: argparse.Namespace) -> int:
    import derive

    verdict = derive.check(options.formula, None if options.subject is None else _derived(options))
    print(verdict)
    return 0 if verdict.ok else 1


def _paper(options: argparse.Namespace) -> None:
    from derive.paper.claims import chosen
    from derive.paper.judging import judge
    from derive.paper.report import Report
    from derive.paper.writing import write

    claims = chosen(options.only)
    findings = judge(claims, _measurements())
    report = Report(tuple(_with_progress(findings, len(claims), "judging claims")))
    text = write(report, options.format, whole=options.only is None)
    if options.out is None:
        print(text)
        return
    with open(options.out, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"{report.summary}\n{options.out}")


def _measurements() -> Any:
    """What counts the symmetries of the paper's network; nothing without torch."""
    try:
        from torch_bridge.paper_counts import MEASUREMENTS
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return {}
    return MEASUREMENTS


def _with_progress(items: Iterable[Any], total: int, title: str) -> Iterable[Any]:
    """A bar on standard error, of what takes more than two seconds."""
    from tqdm.auto import tqdm

    return tqdm(items, total=total, desc=title, delay=2)


def _derived(options: argparse.Namespace) -> Any:
    """The result that the subject and the options of a command name."""
    from derive.subjects import ALL_OPTIONS, derive_subject

    chosen = {name: getattr(options, name) for name in ALL_OPTIONS}
    given = {name: value for name, value in chosen.items() if value is not None and value is not False}
    for name, read in (("powers", _powers), ("matrix", _matrix), ("form", _spaced), ("start", _spaced)):
        if name in given:
            given[name] = read(given[name])
    return derive_subject(options.subject, given)


def _spaced(text: str) -> str:
    return text.replace("-", " ")


def _powers(texts: Sequence[str]) -> list[Fraction]:
    return [_rational("powers", text) for text in texts]


def _matrix(text: str) -> list[list[Fraction]]:
    return [[_rational("matrix", entry) for entry in row.split()] for row in text.split(";")]


def _rational(option: str, text: str) -> Fraction:
    """An exact number: 2, -1/3, 0.25."""
    if not re.fullmatch(r"[-+]?[0-9]{1,9}(/0*[1-9][0-9]{0,8}|\.[0-9]{1,9})?", text):
        raise ValueError(f"{option}: expected exact numbers such as 2, -1/3 or 0.25, got {text!r}")
    return Fraction(text)


def _symmetries(options: argparse.Namespace) -> None:
    from torch_bridge.commands import build_model, describe_symmetries

    model, classes = build_model(options.model, options.width, options.input_size, options.classes)
    print(describe_symmetries(model, options.input_size, classes, certify=options.certify))


def _train(options: argparse.Namespace) -> None:
    from torch_bridge.commands import train_model
    from torch_bridge.engines import require_one_process

    require_one_process()
    log = train_model(vars(options))
    print(f"recorded {log.steps} steps of {sum(g.charges for g in log.groups):,} charges in {log.path}")
    print(f"next:  nmech evaluate {log.path}")


def _comparison(options: argparse.Namespace) -> Any:
    from torch_bridge import RunLog, evaluate

    return evaluate(RunLog.open(options.log, recover=options.recover), options.order)


def _evaluate(options: argparse.Namespace) -> None:
    comparison = _comparison(options)
    print("worst gap of each prediction, relative to the sum of the charge's absolute terms")
    print(comparison.table())
    print(comparison.verdict())
    if not comparison.ok:
        raise ValueError("the exact law is missed, see above: a parameter was changed between steps, or the log was")


def _report(options: argparse.Namespace) -> None:
    comparison = _comparison(options)
    run = comparison.path.resolve()
    print(comparison.report(options.out or run.with_name(f"{run.name}.html")))


def _experiment(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from torch_bridge.experiment import PRESETS, run_experiment

    preset = PRESETS[options.preset]
    training = replace(preset.training, device=options.device)
    if options.steps is not None:
        preset, training = replace(preset, epochs=None), replace(training, steps=options.steps)
    preset = replace(preset, training=training, data=options.data or preset.data)
    page = run_experiment(
        preset, options.out, figures=_numbers(options.figures), table=options.table, engine=options.engine, jobs=options.jobs
    )
    if page is not None:
        print(page)


def _figures(options: argparse.Namespace) -> None:
    from torch_bridge.experiment import draw_experiment

    print(draw_experiment(options.out, figures=_numbers(options.figures)))


def _numbers(text: str | None) -> list[int] | None:
    """``"5,8-10"`` as numbers; None stands for what is the default, and for all."""
    if text is None or text == "all":
        return None
    spans = [re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", span.strip()) for span in text.split(",")]
    if not all(spans):
        raise ValueError(f"figures: expected numbers such as 5,6 or 8-10, or all, got {text!r}")
    return [n for span in spans if span for n in range(int(span[1]), int(span[2] or span[1]) + 1)]


if __name__ == "__main__":
    sys.exit(main())
