"""Images to train on: an embedded data set for a laptop, the paper's for a GPU, and deterministic batches of either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

SPECS = "'digits' or 'tiny-imagenet:PATH'"

LAYOUT = "PATH/train/<wnid>/images/*.JPEG, as tiny-imagenet-200.zip unpacks; PATH is the folder that holds train/"

IMAGENET_STATISTICS = {"RGB": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "L": ((0.449,), (0.226,))}
"""Mean and standard deviation of ImageNet's training pixels on [0, 1], per channel; for grey images, their average."""


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size.

    Parameters
    ----------
    name
        The data set's name, without the path.
    images
        Map-style data set of pairs (image, label): float32 of shape ``(in_channels, input_size, input_size)``,
        standardised (no unit), and an integer in ``range(classes)``.
    classes
        Number of different labels.
    """

    name: str
    images: Dataset[tuple[Tensor, int]]
    classes: int

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]  # torch's Dataset leaves __len__ to its subclasses


def open_dataset(spec: str, *, input_size: int, in_channels: int = 3) -> ImageSet:
    """The data set that ``spec`` names, its images brought to ``(in_channels, input_size, input_size)``.

    Parameters
    ----------
    spec
        ``"digits"``: the 1,797 grey 8x8 digits inside scikit-learn. ``"tiny-imagenet:PATH"``: the training part of
        Tiny ImageNet in the folder PATH, read file by file when asked for.
    input_size
        Side of the images in pixels; they are resized bilinearly.
    in_channels
        Channels. Digits are repeated over them; for Tiny ImageNet 3 (colour) or 1 (grey).

    Raises
    ------
    ValueError
        If the specification, a size or the folder is not one of the above.
    ModuleNotFoundError
        If scikit-learn (digits) or Pillow (Tiny ImageNet) is missing.

    Examples
    --------
    >>> digits = open_dataset("digits", input_size=32)
    >>> len(digits), digits.classes, digits.images[0][0].shape
    (1797, 10, torch.Size([3, 32, 32]))
    """
    for name, value in {"input_size": input_size, "in_channels": in_channels}.items():
        if value < 1:
            raise ValueError(f"{name}: expected an integer >= 1, got {value}; the paper has 64 pixels and 3 channels")
    name, colon, path = spec.partition(":")
    if name == "digits" and not colon:
        return _digits(input_size, in_channels)
    if name == "tiny-imagenet" and path:
        return _tiny_imagenet(Path(path).expanduser(), input_size, in_channels)
    if name == "tiny-imagenet":
        raise ValueError(f"spec: expected tiny-imagenet:PATH with {LAYOUT}; got no PATH")
    raise ValueError(f"spec: expected {SPECS}, got {spec!r}; name one of these data sets")


def batches(
    dataset: ImageSet, batch_size: int, steps: int, seed: int, *, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """``steps`` batches ``(x, y)``, the same ones for the same ``seed``: random reshuffling in every epoch.

    Parameters
    ----------
    batch_size
        Images a batch: all batches have this size, what is left at an epoch's end is dropped.
    steps
        Batches in all, over as many epochs as that takes.
    seed
        Seed of the :class:`torch.Generator` that shuffles. The global random state is neither read nor moved.
    workers
        Processes that read ahead; they do not change what is drawn.

    Returns
    -------
    iterator
        ``x`` float32 of shape ``(batch_size, in_channels, input_size, input_size)``, ``y`` int64 of shape
        ``(batch_size,)``.

    Raises
    ------
    ValueError
        If no batch of this size exists.

    Examples
    --------
    >>> [y.shape for _, y in batches(open_dataset("digits", input_size=8), batch_size=64, steps=2, seed=0)]
    [torch.Size([64]), torch.Size([64])]
    """
    if not 1 <= batch_size <= len(dataset):
        raise ValueError(f"batch_size: expected 1 to {len(dataset)}, the size of {dataset.name}, got {batch_size}")
    if steps < 0:
        raise ValueError(f"steps: expected an integer >= 0, got {steps}; 0 gives no batch")
    drawn = _shuffled_indices(len(dataset), batch_size, steps, torch.Generator().manual_seed(seed))
    # The loader draws a seed for its workers: from a generator of its own, or it would move the global one.
    loader = DataLoader(dataset.images, batch_sampler=drawn, num_workers=workers, generator=torch.Generator())
    return iter(loader)


def _shuffled_indices(size: int, batch_size: int, steps: int, generator: torch.Generator) -> Iterator[list[int]]:
    per_epoch = size // batch_size
    order: list[int] = []
    for step in range(steps):
        start = step % per_epoch * batch_size
        if start == 0:
            order = torch.randperm(size, generator=generator).tolist()
        yield order[start : start + batch_size]


@dataclass(frozen=True)
class _Digits(Dataset[tuple[Tensor, int]]):
    """``pixels`` of shape ``(1797, 1, size, size)``, seen with ``channels`` equal channels."""

    pixels: Tensor
    labels: list[int]
    channels: int

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.pixels[index].expand(self.channels, -1, -1), self.labels[index]


def _digits(input_size: int, in_channels: int) -> ImageSet:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError("spec 'digits' needs scikit-learn: pip install scikit-learn") from missing
    loaded: Any = load_digits()
    grey = torch.as_tensor(loaded.images, dtype=torch.float32).unsqueeze(1)
    grey = interpolate(grey, size=(input_size, input_size), mode="bilinear", align_corners=False)
    pixels = (grey - grey.mean()) / grey.std()
    return ImageSet("digits", _Digits(pixels, loaded.target.tolist(), in_channels), len(loaded.target_names))


@dataclass(frozen=True)
class _ImageFiles(Dataset[tuple[Tensor, int]]):
    """Image files, opened when asked for. ``mode`` is Pillow's: ``"RGB"`` or ``"L"``."""

    files: tuple[tuple[Path, int], ...]
    size: int
    mode: str

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.files[index]
        mean, deviation = (torch.tensor(values).view(-1, 1, 1) for values in IMAGENET_STATISTICS[self.mode])
        return (_pixels(path, self.size, self.mode) - mean) / deviation, label


def _pixels(path: Path, size: int, mode: str) -> Tensor:
    """The image in ``path`` on [0, 1], float32 of shape ``(channels, size, size)``."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            resized = image.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
    except OSError as unreadable:
        reason = f"got a file that is not an image ({unreadable}); unpack the archive again"
        raise ValueError(f"spec: expected an image in {path}, {reason}") from unreadable
    flat = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8)
    return flat.view(size, size, -1).permute(2, 0, 1).float() / 255


def _tiny_imagenet(root: Path, input_size: int, in_channels: int) -> ImageSet:
    _require_pillow()
    modes = {3: "RGB", 1: "L"}
    if in_channels not in modes:
        raise ValueError(f"in_channels: expected 3 (colour) or 1 (grey) for tiny-imagenet, got {in_channels}")
    wnids = _class_folders(root / "train")
    files = tuple((path, label) for label, wnid in enumerate(wnids) for path in _jpegs(wnid))
    return ImageSet("tiny-imagenet", _ImageFiles(files, input_size, modes[in_channels]), len(wnids))


def _require_pillow() -> None:
    """Fail at opening, not in the middle of the first epoch."""
    try:
        import PIL.Image  # noqa: F401
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError("spec 'tiny-imagenet' needs Pillow: pip install pillow") from missing


def _class_folders(train: Path) -> list[Path]:
    """One folder a class, in the order that numbers the labels."""
    if not train.is_dir():
        raise ValueError(f"spec: expected {LAYOUT}; got no folder {train}")
    folders = sorted(path for path in train.iterdir() if path.is_dir())
    if not folders:
        raise ValueError(f"spec: expected {LAYOUT}; got a folder {train} without classes in it")
    return folders


def _jpegs(wnid: Path) -> list[Path]:
    found = sorted((wnid / "images").glob("*.JPEG"))
    if not found:
        raise ValueError(f"spec: expected {LAYOUT}; got no *.JPEG in {wnid / 'images'}")
    return found
