"""Small networks of every kind whose symmetries are claimed, with inputs and loss: shared by the tests that measure them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

EPS = 1e-24
"""For normalisations, whose eps breaks the symmetries that are looked for."""


@dataclass(frozen=True)
class Architecture:
    """A network, the shape of its input or how many tokens it reads, its loss, how many laws it has, a seed for its θ."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    laws: int
    loss: Callable = F.mse_loss
    tokens: int = 0
    seed: int = 0

    def batch(self, draw, outputs):
        """Random inputs and targets; ``outputs`` is the shape of what the network gives."""
        if self.tokens:
            x = torch.randint(self.tokens, self.shape, generator=draw)
        else:
            x = 1.5 * torch.randn(self.shape, dtype=torch.float64, generator=draw)
        if self.loss is F.mse_loss:
            return x, torch.randn(outputs, dtype=torch.float64, generator=draw)
        return x, torch.randint(outputs[-1], outputs[:-1], generator=draw)


def token_loss(logits, targets):
    """Cross entropy at every token: classes along the last axis."""
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


def mlp(*sizes, activation=nn.ReLU, norm=None, bias=True):
    layers = []
    for fan_in, fan_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), *([norm(fan_out)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:], bias=bias))


class ResNet(nn.Module):
    """Post-activation blocks: the stream's channels are written and read by all of them."""

    def __init__(self, norm=nn.Identity, width=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, bias=False), norm(width), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 2, 1), norm(2), nn.ReLU(), nn.Conv2d(2, width, 1), norm(width)) for _ in range(2)
        )
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = F.relu(x + block(x))
        return self.head(x.mean((2, 3)))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class LoRA(nn.Module):
    """A frozen layer with a trained addition of rank 2."""

    def __init__(self):
        super().__init__()
        self.frozen, self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        return torch.tanh(self.frozen(x) + self.b(self.a(x)))


class MergedLoRA(LoRA):
    """The same, the product added to the frozen weight."""

    def forward(self, x):
        return torch.tanh(F.linear(x, self.frozen.weight + self.b.weight @ self.a.weight, self.frozen.bias))


class Attention(nn.Module):
    """One layer of attention by hand, with biases; two heads."""

    def __init__(self, width=4, heads=2, bias=True):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=bias) for _ in range(4))
        self.heads = heads

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.o((scores @ v).transpose(1, 2).reshape(x.shape))


class GPT(nn.Module):
    """Tokens and positions, one block with normalisation first, GELU; the head is its own."""

    def __init__(self, vocabulary=5, length=3, width=4, tied=False):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Parameter(torch.zeros(length, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=EPS) for _ in range(3))
        self.attention = Attention(width)
        self.up, self.down = nn.Linear(width, 3), nn.Linear(3, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions[: tokens.shape[1]]
        x = x + self.attention(self.norms[0](x))
        x = x + self.down(F.gelu(self.up(self.norms[1](x))))
        return self.head(self.norms[2](x))


class Llama(nn.Module):
    """Root mean square norms, rotary embedding, two queries a key, a gated MLP, no biases."""

    def __init__(self, vocabulary=5, width=4, heads=2, head=2):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.gains = nn.ParameterList(torch.ones(width) for _ in range(3))
        self.q, self.o = nn.Linear(width, heads * head, bias=False), nn.Linear(heads * head, width, bias=False)
        self.k, self.v = nn.Linear(width, head, bias=False), nn.Linear(width, head, bias=False)
        self.gate, self.up, self.down = (nn.Linear(*s, bias=False) for s in ((width, 3), (width, 3), (3, width)))
        self.output = nn.Linear(width, vocabulary, bias=False)

    def norm(self, x, gain):
        return gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS))

    def heads(self, x):
        return x.view(*x.shape[:2], -1, 2).transpose(1, 2)

    def rotated(self, x):
        angles = torch.arange(x.shape[-2], dtype=x.dtype, device=x.device)[:, None]
        return x * angles.cos() + torch.cat([-x[..., 1:], x[..., :1]], -1) * angles.sin()

    def forward(self, tokens):
        x = self.tokens(tokens)
        y = self.norm(x, self.gains[0])
        q, k, v = self.rotated(self.heads(self.q(y))), self.rotated(self.heads(self.k(y))), self.heads(self.v(y))
        k, v = (t.expand(-1, q.shape[1], -1, -1) for t in (k, v))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        y = self.norm(x, self.gains[1])
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return self.output(self.norm(x, self.gains[2]))


class Inception(nn.Module):
    """Two branches side by side, then upsampled and joined with what came before."""

    def __init__(self):
        super().__init__()
        self.first, self.left, self.right = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 3, 3, padding=1)
        self.last = nn.Conv2d(7, 2, 1)

    def forward(self, x):
        x = F.leaky_relu(self.first(x))
        y = F.avg_pool2d(F.relu(torch.cat([self.left(x), self.right(x)], 1)), 2)
        return self.last(torch.cat([x, F.interpolate(y, scale_factor=2.0)], 1)).mean((2, 3))


def batch_norm(n):
    return nn.BatchNorm1d(n, eps=EPS)


def grouped():
    return nn.Sequential(
        nn.Conv1d(2, 4, 2, groups=2), nn.ReLU(), nn.Conv1d(4, 6, 1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)
    )


def group_norm():
    first = nn.Conv2d(1, 4, 2), nn.GroupNorm(2, 4, eps=EPS), nn.ReLU()
    return nn.Sequential(*first, nn.Conv2d(4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))


def weight_norm():
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.ReLU(), nn.Linear(3, 2))


def encoder_layer():
    layer = nn.TransformerEncoderLayer(4, 2, 3, dropout=0.0, batch_first=True, norm_first=True, layer_norm_eps=EPS)
    return nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 2))


ARCHITECTURES = {
    "MLP": Architecture(lambda: mlp(3, 5, 4, 3), (24, 3), 9 + 5, F.cross_entropy),
    "batch norm": Architecture(lambda: mlp(2, 3, 3, 2, norm=batch_norm), (24, 2), 18),
    "batch norm, GELU": Architecture(lambda: mlp(2, 3, 3, 2, norm=batch_norm, activation=nn.GELU), (24, 2), 12),
    "layer norm": Architecture(lambda: mlp(3, 4, 4, 2, norm=lambda n: nn.LayerNorm(n, eps=EPS)), (24, 3), 19),
    "weight norm": Architecture(weight_norm, (24, 3), 6, seed=1),
    "group norm": Architecture(group_norm, (24, 1, 4, 4), 11),
    "grouped convolution": Architecture(grouped, (24, 2, 4), 10, seed=14),
    "residual": Architecture(ResNet, (12, 1, 5, 5), 7, seed=24),
    "residual, batch norm": Architecture(lambda: ResNet(lambda n: nn.BatchNorm2d(n, eps=EPS)), (12, 1, 5, 5), 30),
    "branches": Architecture(Inception, (12, 1, 4, 4), 7, seed=5),
    "gated": Architecture(Gated, (24, 3), 4),
    "linear chain": Architecture(lambda: mlp(3, 2, 3, activation=nn.Identity, bias=False), (24, 3), 3),
    "LoRA": Architecture(LoRA, (24, 4), 3),
    "merged LoRA": Architecture(MergedLoRA, (24, 4), 3),
    "attention": Architecture(Attention, (6, 3, 4), 16),
    "encoder layer": Architecture(encoder_layer, (6, 3, 3), 30),
    "GPT": Architecture(GPT, (6, 3), 53, token_loss, tokens=5),
    "tied GPT": Architecture(lambda: GPT(tied=True), (6, 3), 41, token_loss, tokens=5),
    "LLaMA": Architecture(Llama, (6, 3), 24, token_loss, tokens=5),
}
