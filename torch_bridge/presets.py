"""The runs and figures of Kunin et al. 2021 as data: Table 4, Figs 1, 5, 6 and 8–17, at the paper's size and in small."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain, product

from torch_bridge.commands import BATCH_NORM
from torch_bridge.train import Training, TrainingError

CONVOLUTIONS = 13
"""Convolutions of VGG-16, numbered from 1 as in the paper's figures."""

KINDS = ("translation", "scale", "rescale", "weights")
"""What a panel may show: charges of a symmetry, or weights themselves."""


@dataclass(frozen=True)
class Run:
    """What tells the runs of an experiment apart: the model, S, η, β and λ."""

    model: str
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float

    def __post_init__(self) -> None:
        if self.model not in BATCH_NORM:
            raise TrainingError(f"model: expected one of {sorted(BATCH_NORM)}, got {self.model!r}")

    @property
    def name(self) -> str:
        """Folder of the run.

        >>> Run("vgg16-bn", 256, 0.1, 0.9, 1e-3).name
        'vgg16-bn_batch-256_lr-0.1_momentum-0.9_decay-0.001'
        """
        return f"{self.model}_batch-{self.batch_size}_lr-{self.lr:g}_momentum-{self.momentum:g}_decay-{self.weight_decay:g}"


@dataclass(frozen=True)
class Sweep:
    """A row of Table 4: every combination of its learning rates, momenta and weight decays.

    >>> len(list(Sweep("vgg16", 256, (0.1, 0.01), (0.0,), (0.0, 1e-3)).runs()))
    4
    """

    model: str
    batch_size: int
    lrs: tuple[float, ...]
    momenta: tuple[float, ...]
    weight_decays: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("lrs", "momenta", "weight_decays"):
            if not getattr(self, name):
                raise TrainingError(f"{name}: expected at least one value, got none")

    def runs(self) -> Iterable[Run]:
        return (Run(self.model, self.batch_size, *rest) for rest in product(self.lrs, self.momenta, self.weight_decays))


@dataclass(frozen=True)
class Panel:
    """One axes of a figure.

    Parameters
    ----------
    run
        Whose log is drawn.
    kind
        One of :data:`KINDS`.
    place
        Which of the groups of that kind, in the order of the network: for scale, ``place`` 0 is the first convolution, for
        rescale the pair of the first two. None: all convolutions', each summed over its neurons.
    """

    run: Run
    kind: str
    place: int | None = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TrainingError(f"kind: expected one of {KINDS}, got {self.kind!r}")
        if self.place is None and self.kind not in ("scale", "rescale"):
            raise TrainingError(f"place: expected a number for {self.kind}, which convolutions do not share, got None")


@dataclass(frozen=True)
class FigurePlan:
    """A figure of the paper: what is drawn where.

    Parameters
    ----------
    number
        The paper's.
    title, caption
        What it is, and what to see.
    panels
        Rows of panels; the last row may be shorter.
    share_y
        Whether the panels of a row have one y axis.
    """

    number: int
    title: str
    caption: str
    panels: tuple[tuple[Panel, ...], ...]
    share_y: bool = True

    def __post_init__(self) -> None:
        if not self.panels or not all(self.panels):
            raise TrainingError(f"panels: expected at least one in every row of Fig. {self.number}, got none")

    def runs(self) -> Iterable[Run]:
        return (panel.run for row in self.panels for panel in row)


@dataclass(frozen=True)
class Preset:
    """An experiment: the grid, the figures, and what all runs share.

    Parameters
    ----------
    name
        As the command line takes it.
    table
        The grid, row by row.
    figures
        What can be drawn; their runs need not all be in the table.
    training
        What all runs share. Its ``clip`` is for β = 0 and shrinks as 1−β, so that the longest possible step,
        η clip/(1−β), is the same in every run.
    epochs
        Length of a run in passes over the data; None: ``training.steps`` updates.
    data, width, input_size
        As :func:`torch_bridge.open_dataset` and :func:`torch_bridge.vgg16` take them.
    classes
        Logits of the model; None: the classes of the data.
    online
        As :class:`torch_bridge.Recorder` takes it.
    """

    name: str
    table: tuple[Sweep, ...]
    figures: tuple[FigurePlan, ...]
    training: Training
    epochs: int | None = None
    data: str = "digits"
    width: float = 1.0
    input_size: int = 64
    classes: int | None = None
    online: int | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < 1:
            raise TrainingError(f"epochs: expected at least 1, or None for a number of steps, got {self.epochs}")

    def chosen(self, figures: Iterable[int] | None = None) -> tuple[FigurePlan, ...]:
        """The figures with these numbers, all if None.

        Raises
        ------
        TrainingError
            If there is no such figure.
        """
        there = {plan.number: plan for plan in self.figures}
        wanted = list(there) if figures is None else sorted(set(figures))
        if not wanted or not set(wanted) <= set(there):
            raise TrainingError(f"figures: expected some of {', '.join(map(str, there))}, got {wanted or 'none'}")
        return tuple(there[number] for number in wanted)

    def runs(self, figures: Iterable[int] | None = None, *, table: bool = False) -> tuple[Run, ...]:
        """The runs that these figures show, each once; with ``table`` also the others of the grid."""
        shown = (plan.runs() for plan in self.chosen(figures))
        grid = (sweep.runs() for sweep in self.table) if table else ()
        return tuple(dict.fromkeys(chain(*shown, *grid)))

    def training_of(self, run: Run, images: int) -> Training:
        """How to train a run on a data set of so many images; what is left at an epoch's end is dropped."""
        per_epoch = images // run.batch_size
        if not per_epoch:
            raise TrainingError(f"batch_size: expected 1 to {images}, the images there are, got {run.batch_size}")
        return replace(
            self.training,
            steps=self.training.steps if self.epochs is None else self.epochs * per_epoch,
            batch_size=run.batch_size,
            lr=run.lr,
            momentum=run.momentum,
            weight_decay=run.weight_decay,
            clip=self.training.clip * (1 - run.momentum),
        )


@dataclass(frozen=True)
class Settings:
    """Where the small figures differ from the paper's: captions of Figs 1, 5, 6 and 8–17.

    ``first`` is λ of Fig. 1, ``main`` are those of Fig. 5, ``strong`` is that of Fig. 6, ``decays`` those of Figs 8–13; the
    batch sizes are those of the runs without (Figs 1, 5, 6, 8–10, 14, 15) and with momentum (Figs 11–13, 16, 17).
    """

    plain_batch: int
    momentum_batch: int
    lr: float
    momenta: tuple[float, ...]
    decays: tuple[float, ...]
    first: float
    main: tuple[float, ...]
    strong: float

    def plain(self, model: str, decay: float, momentum: float = 0.0) -> Run:
        return Run(model, self.plain_batch, self.lr, momentum, decay)

    def driven(self, model: str, momentum: float, decay: float) -> Run:
        return Run(model, self.momentum_batch, self.lr, momentum, decay)


def figures_of_the_paper(settings: Settings) -> tuple[FigurePlan, ...]:
    """Figs 1, 5, 6 and 8–17 with these numbers."""
    return tuple(make(settings) for make in (_fig1, _fig5, _fig6, *_LAYERWISE, *_LAYERWISE_MOMENTUM, *_PER_NEURON))


def _fig1(s: Settings) -> FigurePlan:
    run = s.plain("vgg16-bn", s.first)
    rows = tuple((Panel(run, "weights", place), Panel(run, "scale", place)) for place in (0, 4, 8, 12))
    return FigurePlan(1, "Neurons are simpler than parameters", _CAPTIONS[1], rows, share_y=False)


def _fig5(s: Settings) -> FigurePlan:
    # rows as in the caption: final linear layer, second convolution, fifth and fourth convolution
    rows = (("vgg16", "translation", 0), ("vgg16-bn", "scale", 1), ("vgg16", "rescale", 3))
    panels = tuple(tuple(Panel(s.plain(m, decay), kind, place) for decay in s.main) for m, kind, place in rows)
    return FigurePlan(5, "Plain SGD: decay, spheres, hyperbolas", _CAPTIONS[5], panels)


def _fig6(s: Settings) -> FigurePlan:
    row = tuple(Panel(s.plain("vgg16", s.strong, beta), "translation") for beta in s.momenta)
    return FigurePlan(6, "Momentum: a harmonic oscillator", _CAPTIONS[6], (row,))


_SHOWN = (
    ("translation", "vgg16", "planar dynamics: column sums of the last layer", 0),
    ("scale", "vgg16-bn", "spherical dynamics: squared norms of the convolutions", None),
    ("rescale", "vgg16", "hyperbolic dynamics: differences of squared norms of consecutive convolutions", None),
)
"""Kind, model, title and place of Figs 8–10, and again of Figs 11–13."""


def _over_decays(number: int, kind: str, model: str, title: str, place: int | None) -> Callable[[Settings], FigurePlan]:
    def make(s: Settings) -> FigurePlan:
        row = tuple(Panel(s.plain(model, decay), kind, place) for decay in s.decays)
        return FigurePlan(number, f"SGD, {title}", _CAPTIONS[number], (row,))

    return make


def _over_momenta(number: int, kind: str, model: str, title: str, place: int | None) -> Callable[[Settings], FigurePlan]:
    def make(s: Settings) -> FigurePlan:
        rows = tuple(tuple(Panel(s.driven(model, b, decay), kind, place) for decay in s.decays) for b in s.momenta)
        return FigurePlan(number, f"Momentum, {title}", _CAPTIONS[number], rows)

    return make


def _per_neuron(number: int, kind: str, model: str, momentum: bool) -> Callable[[Settings], FigurePlan]:
    """Figs 14–17: a panel for each convolution, or pair of them, at λ = 0."""

    def make(s: Settings) -> FigurePlan:
        runs = [s.driven(model, b, 0.0) for b in s.momenta if b] if momentum else [s.plain(model, 0.0)]
        places = range(CONVOLUTIONS if kind == "scale" else CONVOLUTIONS - 1)
        panels = [Panel(run, kind, place) for place in places for run in runs]
        rows = tuple(tuple(panels[k : k + 4]) for k in range(0, len(panels), 4))
        title = f"{'Momentum' if momentum else 'SGD'}, neuron by neuron: {'spheres' if kind == 'scale' else 'hyperbolas'}"
        return FigurePlan(number, title, _CAPTIONS[number], rows, share_y=False)

    return make


_LAYERWISE = tuple(_over_decays(8 + k, *shown) for k, shown in enumerate(_SHOWN))
_LAYERWISE_MOMENTUM = tuple(_over_momenta(11 + k, *shown) for k, shown in enumerate(_SHOWN))
_PER_NEURON = (
    _per_neuron(14, "scale", "vgg16-bn", momentum=False),
    _per_neuron(15, "rescale", "vgg16", momentum=False),
    _per_neuron(16, "scale", "vgg16-bn", momentum=True),
    _per_neuron(17, "rescale", "vgg16", momentum=True),
)

_LAYER = (
    "One colour a convolution, summed over its channels; the law is linear in the charge and its drive, so that"
    " the layer's sum obeys it too. "
)
_CAPTIONS = {
    1: "Left: eight weights of a convolution. They wander, and no law says where to. Right: squared norms of "
    "the channels of the same convolution. They are smooth, and the dashes on them are the law.",
    5: "Top: sums over the columns of the last layer (translation, no batch norm) stay put without weight "
    "decay and decay as e^(−λt) with it, whatever the data. Middle: squared norms of the second "
    "convolution's channels (scale, batch norm) only grow without weight decay, pushed out by the finite "
    "step; weight decay pulls them back. Bottom: differences of squared norms of the fourth and fifth "
    "convolution (rescale, no batch norm) go either way. Where dashes run on a coloured line, the law "
    "predicts that neuron.",
    6: "The same column sums at the largest weight decay. Momentum turns the exponential into an oscillator: "
    "over-damped at β = 0.9, under-damped at β = 0.99, where each sum swings through zero. The dashes are "
    "the closed-form law, with no input but the initial value.",
    8: "Sums over the columns of the last layer. Their decay depends on λ alone: neither on the data nor on the loss.",
    9: _LAYER + "Without weight decay the norms only grow, pushed out by the finite step; with it they turn and come back.",
    10: _LAYER + "The differences drift either way, as the gradients' norms decide. Strong weight decay makes them all "
    "decay.",
    11: "Rows: momenta. A column sum that decays at β = 0 is over-damped at β = 0.9 and, if the weight decay is"
    " large enough, swings through zero at β = 0.99. At λ = 0 it stays put.",
    12: _LAYER + "Rows: momenta. The norms are oscillators driven by the recorded speed of the weights, ⟨θ′, θ′⟩. What "
    "separates dashes from colour at β = 0.99 is of higher order in the step: the exact discrete law has "
    "none of it.",
    13: _LAYER + "Rows: momenta. As Fig. 12, but the drive is a difference of speeds and has either sign.",
    14: "Eight channels of each convolution at λ = 0. Each norm only grows, at a pace of its own; the dashes follow each.",
    15: "Eight neurons of each pair of convolutions at λ = 0: charges that gradient flow would conserve, and "
    "that the finite step moves either way.",
    16: "As Fig. 14 with momentum, two panels a convolution. The norms grow faster than without; the dashes are"
    " the driven oscillator.",
    17: "As Fig. 15 with momentum, two panels a pair of convolutions.",
}
"""What to see in each figure."""

_DECAYS = (0.0, 1e-4, 5e-4, 1e-3)
_PLAIN = tuple(Sweep(model, 256, (0.1, 0.01), (0.0,), _DECAYS) for model in ("vgg16", "vgg16-bn"))
_MOMENTUM = tuple(Sweep(model, 128, (0.1,), (0.0, 0.9, 0.99), _DECAYS) for model in ("vgg16", "vgg16-bn"))

TABLE_4 = (*_PLAIN, *_MOMENTUM)
"""Table 4 of Kunin et al. 2021, row by row: 40 runs of 100 epochs on Tiny ImageNet, without dampening.

Fig. 6 is not in it: its caption has λ = 5e-3 and β > 0 at S = 256. The runs with η = 0.01 are in no figure.
"""

PAPER = Preset(
    "paper",
    TABLE_4,
    figures_of_the_paper(
        Settings(
            plain_batch=256,
            momentum_batch=128,
            lr=0.1,
            momenta=(0.0, 0.9, 0.99),
            decays=_DECAYS,
            first=1e-4,
            main=(0.0, 1e-4, 1e-3),
            strong=5e-3,
        )
    ),
    Training(every=100),
    epochs=100,
    data="tiny-imagenet",
    online=1,
)
"""The paper's own size: App. J, Table 4 and the captions. A GPU is wanted. ``data`` still lacks the folder's path."""

_SMALL_DECAYS = (0.0, 1e-3, 5e-3)

DEMO = Preset(
    "demo",
    tuple(Sweep(model, 32, (0.1,), (0.0, 0.9, 0.99), _SMALL_DECAYS) for model in ("vgg16", "vgg16-bn")),
    figures_of_the_paper(
        Settings(
            plain_batch=32,
            momentum_batch=32,
            lr=0.1,
            momenta=(0.0, 0.9, 0.99),
            decays=_SMALL_DECAYS,
            first=1e-3,
            main=_SMALL_DECAYS,
            strong=5e-3,
        )
    ),
    Training(steps=360, batch_size=32, lr=0.1, clip=20.0, every=2),
    width=1 / 8,
    input_size=32,
)
"""The same figures from 18 small runs on digits, which two cores train within minutes."""

_TWO_DECAYS = (0.0, 5e-3)

FULL_WIDTH = Preset(
    "full-width",
    tuple(Sweep(model, 8, (0.1,), (0.0, 0.9, 0.99), _TWO_DECAYS) for model in ("vgg16", "vgg16-bn")),
    figures_of_the_paper(
        Settings(
            plain_batch=8,
            momentum_batch=8,
            lr=0.1,
            momenta=(0.0, 0.9, 0.99),
            decays=_TWO_DECAYS,
            first=5e-3,
            main=_TWO_DECAYS,
            strong=5e-3,
        )
    ),
    Training(steps=300, batch_size=8, lr=0.1, clip=20.0, every=5),
    classes=200,
    online=1,
)
"""The paper's own network, 18 million parameters at 64×64 with 200 logits, as far as two cores go: 12 runs on digits."""

PRESETS = {preset.name: preset for preset in (DEMO, FULL_WIDTH, PAPER)}
"""Name -> preset, as the command line offers them."""
