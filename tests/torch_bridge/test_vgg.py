"""The network has the sizes and the initialisation that the paper gives."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from torch_bridge.vgg import vgg16  # noqa: E402


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("batch_norm", "count"), [(False, 18_067_464), (True, 18_075_912)])
def test_the_full_network_has_the_papers_number_of_parameters(batch_norm, count):
    with torch.device("meta"):
        assert parameters(vgg16(batch_norm)) == count


def test_batch_norm_sits_between_every_convolution_and_its_relu_and_nowhere_else():
    with torch.device("meta"):
        model = vgg16(batch_norm=True)
    kinds = [type(module) for module in model.features if not isinstance(module, nn.MaxPool2d)]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 13
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.classifier)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_images_become_logits(batch_norm):
    model = vgg16(batch_norm, width=1 / 32, input_size=32, classes=7, in_channels=1)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 7)


def test_width_scales_channels_and_hidden_units_but_neither_classes_nor_image():
    model = vgg16(False, width=1 / 8, input_size=32, classes=9)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    outs = [layer.weight.shape[0] for layer in layers]
    assert outs == [8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64, 128, 128, 9]
    assert layers[0].weight.shape[1] == 3


def test_a_width_too_small_for_a_channel_leaves_one():
    assert vgg16(False, width=1e-6, input_size=32).features[0].weight.shape[0] == 1


def test_weights_are_kaiming_normal_and_biases_of_torchs_size_but_not_zero():
    torch.manual_seed(0)
    model = vgg16(False, width=1 / 4, input_size=32)
    for layer in (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        fan_in = layer.weight[0].numel()
        assert (layer.weight.std() * fan_in**0.5).item() == pytest.approx(2**0.5, rel=0.1)
        assert 0 < layer.bias.abs().max() <= fan_in**-0.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0.0),
        ("width", -1.0),
        ("width", float("nan")),
        ("width", float("inf")),
        ("input_size", 0),
        ("input_size", 48),
        ("input_size", -32),
        ("classes", 0),
        ("in_channels", 0),
    ],
)
def test_a_size_that_no_such_network_has_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected .* got {value}; "):
        vgg16(False, **{name: value})
