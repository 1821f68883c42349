"""The command line of nmech: derive a law, find a model's symmetries, train and record, evaluate, report.

Every command imports what it needs when it runs, so that ``nmech --help`` and ``nmech derive`` need no torch.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

FORMATS = ("text", "latex", "markdown", "python")
MODELS = ("vgg16", "vgg16-bn")
FAMILIES = ("translation", "scale", "rescale")
KINDS = ("law", "discrete", "noise", "symmetry", "rule", "equation")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Errors that a user can mend are printed in one line, with exit status 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Greek still gets an answer
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
    except ValueError as error:
        print(f"nmech {options.command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        missing = f"needs {error.name}" if error.name else str(error)
        print(f"nmech {options.command}: {missing}; in a clone: pip install '.[torch,plot]'", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has seen enough; nothing more may be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nmech",
        description="Neural mechanics: what a network's symmetries say about its training.",
        epilog="start with:  nmech derive scale --momentum  |  nmech symmetries vgg16-bn  |  nmech experiment --out demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_derive, _add_check, _add_symmetries, _add_train, _add_evaluate, _add_report, _add_experiment):
        add(commands)
    return parser


def _command(commands: Any, name: str, run: Callable[..., int | None], text: str, example: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"example:  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_derive(commands: Any) -> None:
    parser = _command(
        commands, "derive", _derive, "Derive the law of a charge step by step, solve it, and print both.",
        "nmech derive scale --momentum --format markdown",
    )  # fmt: skip
    parser.add_argument("symmetry", choices=FAMILIES, help="the family of symmetries")
    parser.add_argument("--momentum", action="store_true", help="SGD with momentum β (else plain SGD)")
    parser.add_argument("--dampening", action="store_true", help="with dampening α, so that a step advances time by η(1−α)")
    parser.add_argument("--nesterov", action="store_true", help="with Nesterov momentum as torch.optim.SGD has it")
    parser.add_argument("--no-weight-decay", action="store_true", help="λ = 0")
    parser.add_argument("--order", type=int, default=1, help="0: gradient flow; 1: modified loss or flow (default)")
    parser.add_argument("--discrete", action="store_true", help="the exact law of the steps themselves instead")
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to print it (default: text)")


def _add_check(commands: Any) -> None:
    parser = _command(
        commands, "check", _check,
        "Check a formula, in LaTeX or plain text, against what is derived. Exit status 1 if it is not right.",
        r"nmech check 'dQ/dt = -2 lambda Q + eta q' --against scale",
    )  # fmt: skip
    parser.add_argument("formula", help="an equation, a solution, or an identity")
    parser.add_argument("--against", choices=FAMILIES, default=None, help="the family of symmetries (else: an identity)")
    parser.add_argument("--kind", choices=KINDS, default="law", help="what is said about it (default: its law and solution)")
    parser.add_argument("--momentum", action="store_true", help="SGD with momentum β (else plain SGD)")
    parser.add_argument("--dampening", action="store_true", help="with dampening α, so that a step advances time by η(1−α)")
    parser.add_argument("--nesterov", action="store_true", help="with Nesterov momentum as torch.optim.SGD has it")
    parser.add_argument("--no-weight-decay", action="store_true", help="λ = 0")
    parser.add_argument("--order", type=int, default=1, help="0: gradient flow; 1: modified loss or flow (default)")


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
        "Train 18 small VGG-16s on digits, hold them against the laws, and write one report (minutes on two cores).",
        "nmech experiment --out demo",
    )  # fmt: skip
    parser.add_argument("--out", required=True, help="new folder for the logs and report.html")
    parser.add_argument("--jobs", type=int, default=None, help="runs trained side by side (default: one a core)")
    parser.add_argument("--steps", type=int, default=None, help="updates in each run (default: the preset's)")


def _rule(options: argparse.Namespace) -> Any:
    """The update rule that the options of a command name."""
    import derive

    if options.dampening and not options.momentum:
        raise ValueError("dampening: expected momentum with it, which torch ignores it without; add --momentum")
    if options.nesterov and not options.momentum:
        raise ValueError("nesterov: expected momentum with it, got none; add --momentum")
    return derive.sgd(
        momentum=options.momentum,
        dampening=options.dampening,
        nesterov=options.nesterov,
        weight_decay=not options.no_weight_decay,
    )


def _check(options: argparse.Namespace) -> int:
    import derive

    against = None
    if options.against is not None:
        symmetry, rule = getattr(derive, options.against)(), _rule(options)
        kinds: dict[str, Callable[[], Any]] = {
            "law": lambda: derive.law(symmetry, rule, options.order),
            "discrete": lambda: derive.discrete_law(symmetry, rule),
            "noise": lambda: derive.ito_law(symmetry, rule),
            "symmetry": lambda: symmetry,
            "rule": lambda: rule,
            "equation": lambda: (derive.modified_flow if options.momentum else derive.modified_loss)(rule),
        }
        against = kinds[options.kind]()
    verdict = derive.check(options.formula, against)
    print(verdict)
    return 0 if verdict.ok else 1


def _derive(options: argparse.Namespace) -> None:
    import derive

    rule = _rule(options)
    if options.discrete and options.order != 1:
        raise ValueError("order: expected none with --discrete, which is exact; leave it out")
    symmetry = getattr(derive, options.symmetry)()
    if options.discrete:
        print(derive.render(derive.discrete_law(symmetry, rule), options.format))
    else:
        print(derive.render(derive.solve(derive.law(symmetry, rule, options.order)), options.format))


def _symmetries(options: argparse.Namespace) -> None:
    from torch_bridge.commands import build_model, describe_symmetries

    model, classes = build_model(options.model, options.width, options.input_size, options.classes)
    print(describe_symmetries(model, options.input_size, classes, certify=options.certify))


def _train(options: argparse.Namespace) -> None:
    from torch_bridge.commands import train_model

    log = train_model(vars(options))
    print(f"recorded {log.steps} steps of {sum(g.neurons for g in log.groups):,} charges in {log.path}")
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

    from torch_bridge.experiment import DEMO, run_grid

    steps = DEMO.training.steps if options.steps is None else options.steps
    grid = replace(DEMO, training=replace(DEMO.training, steps=steps))
    print(run_grid(grid, options.out, jobs=options.jobs))


if __name__ == "__main__":
    sys.exit(main())
