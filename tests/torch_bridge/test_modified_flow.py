"""The modified flow of a torch loss, against SymPy with its Hessian written out, and against the training that it models."""

import pytest
import sympy as sp

torch = pytest.importorskip("torch")

from torch_bridge.modified_flow import ModifiedFlowError, modified_gradient, modified_loss  # noqa: E402

RULES = {
    "plain": ({"lr": 0.1}, sp.Integer(1), sp.Rational(1, 2), 1),
    "dampening that torch ignores": ({"lr": 0.1, "dampening": 0.5}, sp.Integer(1), sp.Rational(1, 2), 1),
    "momentum": ({"lr": 0.1, "momentum": 0.5}, sp.Integer(2), sp.Integer(6), 1),
    "dampening": ({"lr": 0.1, "momentum": 0.5, "dampening": 0.5}, sp.Integer(2), sp.Integer(6), sp.Rational(1, 2)),
    "nesterov": ({"lr": 0.1, "momentum": 0.5, "nesterov": True}, sp.Integer(2), sp.Integer(4), 1),
}
"""Arguments, b₁ = 1/(1−β), b₂ = (1+β)/(2(1−β)³), or (1−β+2β²)/(2(1−β)³) with Nesterov, and h/η, at β = 1/2: math by hand."""
x, y, z = sp.symbols("x y z")
LOSS = sp.exp(x * y) + x**2 * z + sp.sin(y + 2 * z) + z**4
POINT = {x: sp.Rational(1, 2), y: sp.Rational(-1, 3), z: sp.Rational(2, 5)}


def tensors():
    """(x, y) and z, as two parameters."""
    make = lambda *symbols: torch.tensor([float(POINT[s]) for s in symbols], dtype=torch.float64, requires_grad=True)  # noqa: E731
    return make(x, y), make(z)


def torch_loss(xy, z):
    return torch.exp(xy[0] * xy[1]) + xy[0] ** 2 * z[0] + torch.sin(xy[1] + 2 * z[0]) + z[0] ** 4


def by_hand(first, second, h, decay):
    """(modified loss, its gradient) with the Hessian written out."""
    total = LOSS + decay * (x**2 + y**2 + z**2) / 2
    gradient = sp.Matrix([total.diff(s) for s in (x, y, z)])
    field = first * gradient + h * second * sp.hessian(total, (x, y, z)) * gradient
    modified = first * total + h * second / 2 * gradient.dot(gradient)
    return float(modified.subs(POINT)), [float(entry) for entry in field.subs(POINT)]


@pytest.mark.parametrize("decay", [0.0, 0.25])
@pytest.mark.parametrize("rule", RULES)
def test_the_modified_gradient_and_loss_are_those_of_sympy(rule, decay):
    options, first, second, share = RULES[rule]
    parameters = tensors()
    expected_loss, expected = by_hand(first, second, sp.Rational(1, 10) * share, sp.Rational(decay))
    got = torch.cat(modified_gradient(torch_loss(*parameters), parameters, weight_decay=decay, **options))
    assert got.tolist() == pytest.approx(expected, rel=1e-12)
    whole = modified_loss(torch_loss(*parameters), parameters, weight_decay=decay, **options)
    assert float(whole.detach()) == pytest.approx(expected_loss, rel=1e-12)
    whole.backward()
    assert torch.cat([p.grad for p in parameters]).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_flow_of_the_loss_alone_does_not_pass():
    parameters = tensors()
    plain = torch.cat(torch.autograd.grad(torch_loss(*parameters), parameters))
    assert (plain - torch.cat(modified_gradient(torch_loss(*parameters), parameters, lr=0.1))).abs().max() > 1e-2


def network():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    inputs, targets = torch.randn(16, 3, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64)
    return model, lambda: torch.nn.functional.mse_loss(model(inputs), targets)


def flowed(model, loss, time, gradient):
    """The parameters after the time, by RK4 in steps of 1/50 of it."""
    parameters, steps = list(model.parameters()), 50
    h = time / steps

    def slope(start, shift, along):
        with torch.no_grad():
            for p, s, k in zip(parameters, start, along, strict=True):
                p.copy_(s + shift * k)
        return [-g for g in gradient(loss(), parameters)]

    for _ in range(steps):
        start = [p.detach().clone() for p in parameters]
        k1 = slope(start, 0.0, start)
        k2 = slope(start, h / 2, k1)
        k3 = slope(start, h / 2, k2)
        k4 = slope(start, h, k3)
        with torch.no_grad():
            for p, s, *k in zip(parameters, start, k1, k2, k3, k4, strict=True):
                p.copy_(s + h / 6 * (k[0] + 2 * k[1] + 2 * k[2] + k[3]))
    return torch.cat([p.detach().flatten() for p in parameters])


def trained(steps, **options):
    model, loss = network()
    optimizer = torch.optim.SGD(model.parameters(), **options)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gap(steps, modified):
    model, loss = network()
    lr = 0.8 / steps
    plain = lambda value, parameters: torch.autograd.grad(value, parameters)  # noqa: E731
    corrected = lambda value, parameters: modified_gradient(value, parameters, lr=lr, weight_decay=0.0)  # noqa: E731
    end = flowed(model, loss, 0.8, corrected if modified else plain)
    return float((end - trained(steps, lr=lr)).norm())


@pytest.mark.parametrize(("modified", "order"), [(False, 1), (True, 2)])
def test_a_trained_network_follows_the_modified_flow_one_order_longer(modified, order):
    coarse, fine = gap(10, modified), gap(20, modified)
    assert torch.log2(torch.tensor(coarse / fine)).item() == pytest.approx(order, abs=0.1)


def test_a_parameter_that_the_loss_does_not_reach_decays_alone():
    used, idle = (torch.tensor([3.0], dtype=torch.float64, requires_grad=True) for _ in range(2))
    got = modified_gradient((used**2).sum(), [used, idle], lr=0.5, weight_decay=0.2)
    assert float(got[1]) == pytest.approx(0.2 * 3 * (1 + 0.5 * 0.2 / 2), rel=1e-14)


def test_a_loss_without_curvature_has_no_correction():
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert modified_gradient((3 * weights).sum(), [weights], lr=0.5)[0].tolist() == [3.0, 3.0]


def test_no_dense_hessian_is_formed():
    """A million parameters: the Hessian would take eight terabytes."""
    weights = torch.linspace(-1, 1, 10**6, dtype=torch.float64, requires_grad=True)
    got = modified_gradient((weights**4).sum() / 4, [weights], lr=0.1)[0]
    w = weights.detach()
    assert torch.allclose(got, w**3 + 0.05 * 3 * w**2 * w**3, rtol=1e-13)


W = torch.ones(2, requires_grad=True)
REFUSED = {
    "no scalar": ((2 * W, [W]), {"lr": 0.1}, "loss: expected a scalar"),
    "no graph": (((2 * W).sum().detach(), [W]), {"lr": 0.1}, "loss: expected a scalar"),
    "a number": ((1.0, [W]), {"lr": 0.1}, "loss: expected a scalar"),
    "no parameters": ((W.sum(), []), {"lr": 0.1}, "parameters: expected tensors"),
    "a constant": ((W.sum(), [torch.ones(2)]), {"lr": 0.1}, "parameters: expected tensors"),
    "NaN": ((W.sum(), [W]), {"lr": float("nan")}, "lr: expected finite"),
    "momentum 1": ((W.sum(), [W]), {"lr": 0.1, "momentum": 1.0}, "momentum: expected"),
    "nesterov alone": ((W.sum(), [W]), {"lr": 0.1, "nesterov": True}, "nesterov: expected momentum"),
}


@pytest.mark.parametrize(("arguments", "options", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("function", [modified_gradient, modified_loss])
def test_what_has_no_modified_flow_is_refused_by_name(function, arguments, options, message):
    with pytest.raises(ModifiedFlowError, match=message):
        function(*arguments, **options)
