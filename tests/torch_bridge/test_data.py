"""Data sets of the stated size and layout, the same batches for the same seed, and errors that say what is expected."""

import sys
from itertools import islice

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
Image = pytest.importorskip("PIL.Image")

from torch_bridge.data import batches, open_dataset  # noqa: E402


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits", input_size=8, in_channels=1)


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images each: red and green colour images, one grey file, sizes that differ."""
    pictures = {
        "n02/images/a.JPEG": Image.new("RGB", (64, 64), (255, 0, 0)),
        "n02/images/b.JPEG": Image.new("L", (64, 64), 255),
        "n01/images/c.JPEG": Image.new("RGB", (32, 48), (0, 255, 0)),
        "n01/images/d.JPEG": Image.new("RGB", (64, 64)),
    }
    for name, picture in pictures.items():
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="JPEG")
    return tmp_path


# digits


def test_digits_have_their_size_type_and_classes():
    dataset = open_dataset("digits", input_size=32)
    image, label = dataset.images[0]
    assert (len(dataset), dataset.classes, label) == (1797, 10, 0)
    assert (image.shape, image.dtype) == ((3, 32, 32), torch.float32)


def test_digits_are_standardised_and_equal_in_all_channels():
    dataset = open_dataset("digits", input_size=12)
    images = torch.stack([dataset.images[i][0] for i in range(len(dataset))])
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std().item() == pytest.approx(1, abs=1e-3)
    assert torch.equal(images[:, 0], images[:, 2])


def test_digits_at_their_own_size_are_the_digits_up_to_brightness_and_contrast(digits):
    from sklearn.datasets import load_digits

    ours = torch.stack([digits.images[i][0] for i in range(50)]).flatten()
    theirs = torch.as_tensor(load_digits().images[:50]).float().flatten()
    assert torch.corrcoef(torch.stack([ours, theirs]))[0, 1].item() == pytest.approx(1, abs=1e-5)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-learn"):
        open_dataset("digits", input_size=8)


# Tiny ImageNet


def test_labels_number_the_class_folders_in_alphabetical_order(folder):
    dataset = open_dataset(f"tiny-imagenet:{folder}", input_size=64)
    assert dataset.classes == 2
    assert [dataset.images[i][1] for i in range(len(dataset))] == [0, 0, 1, 1]


@pytest.mark.parametrize("size", [32, 64])
def test_every_image_is_brought_to_the_asked_size_and_three_channels(folder, size):
    dataset = open_dataset(f"tiny-imagenet:{folder}", input_size=size)
    assert {dataset.images[i][0].shape for i in range(4)} == {(3, size, size)}


def test_a_pixel_is_standardised_by_imagenets_statistics(folder):
    dataset = open_dataset(f"tiny-imagenet:{folder}", input_size=64)
    black, white = dataset.images[1][0], dataset.images[3][0]
    assert black[:, 5, 5].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], abs=1e-5)
    assert white[:, 5, 5].tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], abs=1e-5)


def test_channels_and_axes_are_not_mixed_up(folder):
    green = open_dataset(f"tiny-imagenet:{folder}", input_size=64).images[0][0]
    assert green.mean(dim=(1, 2)).argmax() == 1


def test_rows_stay_rows(folder):
    picture = Image.new("RGB", (64, 64))
    picture.paste((255, 255, 255), (0, 0, 64, 32))
    picture.save(folder / "train/n01/images/c.JPEG")
    upper_white = open_dataset(f"tiny-imagenet:{folder}", input_size=64).images[0][0]
    assert upper_white[:, :30].min() > 0 > upper_white[:, 34:].max()


def test_one_channel_is_grey(folder):
    assert open_dataset(f"tiny-imagenet:{folder}", input_size=64, in_channels=1).images[0][0].shape == (1, 64, 64)


def test_files_are_read_only_when_asked_for_and_a_broken_one_is_named(folder):
    (folder / "train/n01/images/c.JPEG").write_bytes(b"no image")
    dataset = open_dataset(f"tiny-imagenet:{folder}", input_size=64)
    assert dataset.images[1][1] == 0
    with pytest.raises(ValueError, match=r"spec: expected an image in .*c\.JPEG"):
        dataset.images[0]


@pytest.mark.parametrize("made", [None, "train", "train/n01", "train/n01/images"])
def test_a_folder_of_another_layout_is_refused_with_the_layout(tmp_path, made):
    if made:
        (tmp_path / made).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"spec: expected PATH/train/<wnid>/images/\*\.JPEG.*; got "):
        open_dataset(f"tiny-imagenet:{tmp_path}", input_size=64)


def test_two_channels_are_refused_for_photographs(folder):
    with pytest.raises(ValueError, match=r"in_channels: expected 3 .* got 2"):
        open_dataset(f"tiny-imagenet:{folder}", input_size=64, in_channels=2)


def test_without_pillow_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pillow"):
        open_dataset(f"tiny-imagenet:{folder}", input_size=64)


# specifications


@pytest.mark.parametrize("spec", ["", "cifar", "digits:there", "Digits"])
def test_an_unknown_specification_is_refused_with_the_known_ones(spec):
    with pytest.raises(ValueError, match="spec: expected 'digits' or 'tiny-imagenet:PATH', got"):
        open_dataset(spec, input_size=8)


@pytest.mark.parametrize("spec", ["tiny-imagenet", "tiny-imagenet:"])
def test_tiny_imagenet_without_a_folder_says_what_the_folder_must_hold(spec):
    with pytest.raises(ValueError, match=r"expected tiny-imagenet:PATH with PATH/train/<wnid>/images/\*\.JPEG.*got no PATH"):
        open_dataset(spec, input_size=8)


@pytest.mark.parametrize("name", ["input_size", "in_channels"])
def test_a_size_below_one_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name}: expected an integer >= 1, got 0"):
        open_dataset("digits", **{"input_size": 8, "in_channels": 1} | {name: 0})


# batches


def fingerprint(dataset, *, batch_size, steps, seed, workers=0):
    drawn = batches(dataset, batch_size=batch_size, steps=steps, seed=seed, workers=workers)
    return [(x.double().sum().item(), y.tolist()) for x, y in drawn]


def test_a_seed_fixes_the_batches_and_another_changes_them(digits):
    one, again, other = (fingerprint(digits, batch_size=100, steps=20, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one != other


def test_more_steps_continue_the_same_sequence(digits):
    long = fingerprint(digits, batch_size=600, steps=7, seed=1)
    assert fingerprint(digits, batch_size=600, steps=4, seed=1) == long[:4]


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order(digits):
    drawn = list(batches(digits, batch_size=599, steps=6, seed=0))
    epochs = [torch.cat([x for x, _ in drawn[:3]]), torch.cat([x for x, _ in drawn[3:]])]
    everything = torch.stack([digits.images[i][0] for i in range(len(digits))])
    rows = [torch.unique(images.flatten(1), dim=0, return_counts=True) for images in (*epochs, everything)]
    assert all(torch.equal(a, b) for row in rows[:2] for a, b in zip(row, rows[2], strict=True))
    assert not torch.equal(*epochs)


def test_an_image_keeps_its_label(digits):
    labels = {tuple(digits.images[i][0].flatten().tolist()): digits.images[i][1] for i in range(len(digits))}
    x, y = next(batches(digits, batch_size=64, steps=1, seed=3))
    assert [labels[tuple(image.flatten().tolist())] for image in x] == y.tolist()


def test_batches_have_one_size_and_the_types_of_a_classification(digits):
    for x, y in batches(digits, batch_size=1000, steps=3, seed=0):
        assert (x.shape, x.dtype, y.shape, y.dtype) == ((1000, 1, 8, 8), torch.float32, (1000,), torch.int64)


def test_drawing_leaves_the_global_random_state_alone(digits):
    state = torch.get_rng_state()
    list(batches(digits, batch_size=10, steps=3, seed=0))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_global_random_state_does_not_matter(digits):
    torch.manual_seed(1)
    one = fingerprint(digits, batch_size=100, steps=2, seed=0)
    torch.manual_seed(2)
    assert fingerprint(digits, batch_size=100, steps=2, seed=0) == one


def test_many_steps_are_drawn_as_they_are_used(digits):
    assert len(list(islice(batches(digits, batch_size=10, steps=10**12, seed=0), 2))) == 2


def test_no_steps_give_no_batch(digits):
    assert list(batches(digits, batch_size=10, steps=0, seed=0)) == []


@pytest.mark.parametrize("size", [0, 1798])
def test_a_batch_size_that_no_batch_can_have_is_refused_at_once(digits, size):
    with pytest.raises(ValueError, match=f"batch_size: expected 1 to 1797, the size of digits, got {size}"):
        batches(digits, batch_size=size, steps=1, seed=0)


def test_negative_steps_are_refused_at_once(digits):
    with pytest.raises(ValueError, match="steps: expected an integer >= 0, got -1"):
        batches(digits, batch_size=1, steps=-1, seed=0)
