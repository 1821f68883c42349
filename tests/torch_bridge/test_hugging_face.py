"""GPT-2 and LLaMA as Hugging Face builds them, small and from a configuration: found, certified, exact on runs."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from tests.torch_bridge.architectures import token_loss  # noqa: E402
from tests.torch_bridge.test_architectures import SETTINGS, train  # noqa: E402
from torch_bridge.certify import certify  # noqa: E402
from torch_bridge.discover import find_symmetries  # noqa: E402


class Logits(nn.Module):
    """Tokens to logits: what a causal language model returns, without the rest."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens):
        return self.model(input_ids=tokens, use_cache=False).logits


def gpt2(tied):
    """Two blocks of width 8, two heads, GELU, no dropout."""
    sizes = {"vocab_size": 5, "n_positions": 3, "n_embd": 8, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **dropout, tie_word_embeddings=tied))


def llama():
    """Two blocks of width 8, four queries of two keys each of width 4, a gated MLP of 6 units."""
    sizes = {"vocab_size": 5, "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 2, "max_position_embeddings": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
    tokens = {"bos_token_id": 0, "eos_token_id": 1}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads, **tokens))


BLOCK_OF_GPT2 = {
    "rescale": 2 * 8 + 2 * 8,  # both norms' channels; queries and keys, values and outputs
    "translation": 8 + 1 + 32 + 1,  # columns and bias of what is written to the stream
    "shift": 8,  # keys' biases
    "mixing": 2 * 2 * (4 * 4 - 4),  # off the diagonals of GL(4), two heads, twice
}
BLOCK_OF_LLAMA = {
    "rescale": 8 + 8 + 6 + 2 * 2 + 2 * 4,  # both norms, up and down, pairs of rotated features and of values of each key
    "mixing": 2 * (4 * 4 - 4),
}
MODELS = {
    "tied GPT-2": (
        lambda: gpt2(True),
        {kind: 2 * n for kind, n in BLOCK_OF_GPT2.items()}
        # positions; the same added to all tokens, which the softmax does not see, and taken from positions; the scale of
        # all that is written to the stream, tokens included, against that of the last norm
        | {"translation": 2 * 42 + 3 + 8, "rescale": 2 * 32 + 1},
    ),
    "GPT-2": (
        lambda: gpt2(False),
        {kind: 2 * n for kind, n in BLOCK_OF_GPT2.items()}
        # positions, tokens, the same added to tokens and taken from positions but for what all features have in common;
        # columns of the head; channels of the last norm; the scale of all that is written to the stream
        | {"translation": 2 * 42 + 3 + 5 + 7 + 8, "rescale": 2 * 32 + 8, "scale": 1},
    ),
    "LLaMA": (
        llama,
        {kind: 2 * n for kind, n in BLOCK_OF_LLAMA.items()} | {"rescale": 2 * 34 + 8, "scale": 1, "translation": 8},
    ),
}


def built(build):
    torch.manual_seed(0)
    model = Logits(build()).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def is_broken_by_eps(group):
    """Of what a norm divides by its size: the stream, here with all its tokens."""
    stream = any("wte" in b.parameter or "embed_tokens" in b.parameter for b in group.blocks)
    return stream and group.kind in ("scale", "rescale")


@pytest.mark.parametrize(("build", "expected"), MODELS.values(), ids=MODELS)
def test_a_hugging_face_model_has_exactly_the_symmetries_of_its_parts_and_all_are_certified(build, expected):
    model = built(build)
    tokens, targets = torch.randint(5, (6, 3)), torch.randint(5, (6, 3))
    found = find_symmetries(model, tokens, loss=token_loss)
    assert found.counts() == expected
    measured = certify(found, token_loss, (tokens, targets))
    assert [row.group for row in measured.failures] == [g for g in found.groups if is_broken_by_eps(g)]
    assert measured.independent == measured.claimed
    assert certify(found, token_loss, (tokens, targets), tolerance=1e-4).ok, "eps, and norms that LLaMA takes in float32"


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", MODELS)
def test_every_charge_of_a_hugging_face_model_meets_its_exact_law_to_rounding(name, settings, tmp_path):
    found, held, run = train(built(MODELS[name][0]), (8, 3), token_loss, settings, tmp_path / "run", steps=40)
    assert held.worst("exact") <= 1e-12
    assert all(g.gap("unbroken").max() <= 1e-12 for g in held.groups if not is_broken_by_eps(g.group))
    assert found.matrices
    assert all(run.gap(matrices) <= 1e-12 for matrices in found.matrices)
