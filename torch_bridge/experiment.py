"""The paper's experiment: train the runs of a preset that are not there yet, then draw its figures from their logs.

::

    OUT/experiment.json      the preset's name and the figures
    OUT/<run>/               the log of a run, and a sample of its weights
    OUT/figures/             figure-05.png ...        }
    OUT/report.html          all figures on one page  }  from the logs alone, again at any time
    OUT/errors.json          gaps of every run        }
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from torch_bridge.commands import train_model
from torch_bridge.data import open_dataset
from torch_bridge.engines import Place, check_engine, run_tasks, together
from torch_bridge.evaluate import evaluate
from torch_bridge.paper_figures import Curves, curves_of, draw
from torch_bridge.presets import PRESETS, FigurePlan, Preset, Run
from torch_bridge.report import RunSummary, Section, png, write_report
from torch_bridge.run_folder import read_manifest, reclaim
from torch_bridge.run_log import RunLog
from torch_bridge.train import Training, TrainingError

RECORD = "experiment.json"
WEIGHTS = 8
"""Weights of each convolution that a run keeps beside its charges, for Fig. 1."""

_OURS = re.compile(r"manifest\.json|initial\.npz|weights\.npz|segment-\d{9,}\.npz|\.lock|.*\.part")


def run_experiment(
    preset: Preset,
    out: str | os.PathLike[str],
    *,
    figures: Iterable[int] | None = None,
    table: bool = False,
    engine: str | None = None,
    jobs: int | None = None,
) -> Path | None:
    """Train and record what the figures show, and draw them: returns ``out/report.html``.

    Runs are independent. A run that several figures show is trained once, and one that is complete in ``out`` is not
    trained again; one that was cut short is trained anew.

    Parameters
    ----------
    preset
        What to train and draw: one of :data:`torch_bridge.presets.PRESETS`, or your own.
    out
        A new or empty folder, or that of an earlier experiment, which is gone on with.
    figures
        The paper's numbers; None: all.
    table
        Train the whole grid, also what no chosen figure shows.
    engine
        One of :data:`torch_bridge.engines.ENGINES`; None: ``torchrun`` under torchrun, where each process trains its share
        on its own GPU and the first one then draws, ``processes`` otherwise.
    jobs
        Runs trained side by side, each on one thread; None: the number of cores, or 1 on an accelerator.

    Returns
    -------
    Path or None
        The page; None in the processes of torchrun but the first.

    Raises
    ------
    ValueError
        If ``out`` holds something else, or runs with other settings, the data are not there, or a loss stops being finite.
    """
    if jobs is not None and jobs < 1:
        raise TrainingError(f"jobs: expected at least 1, got {jobs}")
    plans, chosen = preset.chosen(figures), check_engine(engine)
    root = Path(out)
    _require_experiment(root, preset)
    images = len(open_dataset(preset.data, input_size=preset.input_size))
    with together(chosen) as wait:
        tasks = [_Task(root, preset, run, preset.training_of(run, images)) for run in preset.runs(figures, table=table)]
        first = (place := Place.here()) is None or place.rank == 0
        if first:
            _claim(root, preset, plans)
        todo = [task for task in tasks if not task.is_done()]
        wait()  # no process trains before all have seen what is to be done
        run_tasks(_train_one, todo, engine=chosen, jobs=jobs or _side_by_side(preset.training.device), title="training runs")
        wait()
    return draw_experiment(root, preset=preset) if first else None


def draw_experiment(
    out: str | os.PathLike[str], *, figures: Iterable[int] | None = None, preset: Preset | None = None
) -> Path:
    """Draw figures from the logs in ``out`` alone, into ``out/figures`` and ``out/report.html``; returns the page.

    Parameters
    ----------
    figures
        The paper's numbers; None: those that the experiment was asked for.
    preset
        The experiment's; None: the one of the name in ``experiment.json``.

    Raises
    ------
    ValueError
        If ``out`` is no experiment's folder, a run is missing or not complete, or a log is damaged.
    """
    root = Path(out)
    record = _read_record(root)
    preset = preset or _preset(root, record["preset"])
    plans = preset.chosen(record["figures"] if figures is None else figures)
    runs = list(dict.fromkeys(run for plan in plans for run in plan.runs()))
    missing = [run.name for run in runs if not _is_complete(root / run.name)]
    if missing:
        raise TrainingError(f"out: expected complete runs, got {len(missing)} of {len(runs)} missing or cut short in {root} "
                            f"({missing[0]}, ...); train them with  nmech experiment --out {root}")  # fmt: skip
    others = [run for run in preset.runs(table=True) if run not in runs and _is_complete(root / run.name)]
    curves, summaries = _read_runs(root, plans, [*runs, *others])
    sections = [_section(root, plan, curves) for plan in tqdm(plans, desc="drawing figures")]
    rows = [{"run": summary.name, **row} for summary in summaries for row in summary.rows]
    (root / "errors.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return write_report(root / "report.html", "VGG-16 against its conservation laws", sections, summaries)


# --- one run ---


@dataclass(frozen=True)
class _Task:
    root: Path
    preset: Preset
    run: Run
    training: Training

    @property
    def path(self) -> Path:
        return self.root / self.run.name

    @property
    def options(self) -> dict[str, Any]:
        """As :func:`torch_bridge.commands.train_model` takes them."""
        preset = self.preset
        model = {"model": self.run.model, "width": preset.width, "input_size": preset.input_size, "data": preset.data}
        return {**asdict(self.training), **model, "classes": preset.classes, "out": self.path}

    def is_done(self) -> bool:
        """Whether the run is complete, and with these settings."""
        if not _is_complete(self.path):
            return False
        settings = read_manifest(self.path)["meta"]
        wanted = {name: value for name, value in self.options.items() if name in settings}
        wanted["data"], settings["data"] = (text.partition(":")[0] for text in (wanted["data"], settings.get("data", "")))
        # another machine has another device, and the data in another folder
        differ = [name for name, value in wanted.items() if name != "device" and settings[name] != value]
        if differ:
            name = differ[0]
            raise TrainingError(f"out: expected runs with {name} {wanted[name]!r} to go on with, got {settings[name]!r} in "
                                f"{self.path}; name another folder, or ask for the same settings")  # fmt: skip
        return True


def _train_one(task: _Task) -> None:
    place = Place.here()
    torch.set_num_threads(1)
    _discard_unfinished(task.path)
    options = task.options
    if place is not None:
        options["device"] = place.device(options["device"])
    train_model(options, progress=False, online=task.preset.online, weights=WEIGHTS)


def _is_complete(path: Path) -> bool:
    """Whether a run was recorded to its end. A manifest that is damaged raises."""
    return (path / "manifest.json").exists() and bool(read_manifest(path)["complete"])


def _discard_unfinished(path: Path) -> None:
    """Make room for a run that was cut short: no checkpoint of it exists to go on from. Nothing else is ever deleted.

    Raises
    ------
    ValueError
        If it is being recorded into, or holds what no run has.
    """
    if not path.exists():
        return
    foreign = [entry.name for entry in path.iterdir() if not _OURS.fullmatch(entry.name)] if path.is_dir() else [path.name]
    if foreign:
        raise TrainingError(f"out: expected a run or nothing in {path}, got {foreign[0]}; move it away")
    reclaim(path)
    shutil.rmtree(path)


def _side_by_side(device: str) -> int:
    return (os.cpu_count() or 1) if device == "cpu" else 1


# --- the folder ---


def _require_experiment(root: Path, preset: Preset) -> None:
    """Refuse a folder that holds anything but an experiment of this preset."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    if not (root / RECORD).is_file():
        raise TrainingError(
            f"out: expected a new or empty folder, or an experiment's to go on with, got {root}, which holds "
            "something else; remove it or name another"
        )
    name = _read_record(root)["preset"]
    if name != preset.name:
        raise TrainingError(f"out: expected an experiment of preset {preset.name!r}, got {name!r} in {root}; name another")


def _claim(root: Path, preset: Preset, plans: Sequence[FigurePlan]) -> None:
    """Write the record: the figures asked for now and before."""
    before = _read_record(root)["figures"] if (root / RECORD).exists() else []
    record = {"preset": preset.name, "figures": sorted({*before, *(plan.number for plan in plans)})}
    try:
        root.mkdir(parents=True, exist_ok=True)
        part = root / f"{RECORD}.part"
        part.write_text(json.dumps(record), encoding="utf-8")
        os.replace(part, root / RECORD)
    except OSError as error:
        raise TrainingError(f"out: expected a folder that can be written, got {root} ({error})") from error


def _read_record(root: Path) -> dict[str, Any]:
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
        return {"preset": str(record["preset"]), "figures": [int(number) for number in record["figures"]]}
    except FileNotFoundError as error:
        raise TrainingError(f"out: expected an experiment's folder with {RECORD}, got {root} without; "
                            "nmech experiment writes one") from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{root / RECORD}: damaged ({error}); delete it and name the preset again") from error


def _preset(root: Path, name: str) -> Preset:
    if name not in PRESETS:
        raise TrainingError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r} in {root / RECORD}; pass it")
    return PRESETS[name]


# --- the figures ---


def _read_runs(root: Path, plans: Sequence[FigurePlan], runs: Sequence[Run]) -> tuple[dict[Any, Curves], list[RunSummary]]:
    """Evaluate run by run, and keep of each only what is drawn or tabled: a full-size run fills hundreds of megabytes."""
    panels = {panel for plan in plans for row in plan.panels for panel in row}
    curves: dict[Any, Curves] = {}
    summaries = []
    for run in tqdm(runs, desc="evaluating runs"):
        comparison = evaluate(RunLog.open(root / run.name))
        curves |= {panel: curves_of(panel, comparison) for panel in panels if panel.run == run}
        summaries.append(RunSummary.of(comparison))
    return curves, summaries


def _section(root: Path, plan: FigurePlan, curves: Mapping[Any, Curves]) -> Section:
    picture = png(draw(plan, curves))
    file = root / "figures" / f"figure-{plan.number:02d}.png"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(picture)
    return Section(f"{plan.title} (as Fig. {plan.number} of the paper)", picture, plan.caption)
