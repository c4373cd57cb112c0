"""LMUFormer as a whole: sizes, frame-by-frame running, membranes that are kept, training and the official key map."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lively_norms import make_lively
from torch import Tensor

from perception.engine.benchmark.flops import count_flops
from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception_plugins.lmuformer import PLUGIN, LMUFormer, load_official, membranes_of

CONFIGS = Path(__file__).resolve().parents[2] / "configs/lmuformer"
PARAMETERS = {                                       # as the sheet counts them, of one block and of two
    "lmuformer_speech": {1: 1_621_796, 2: 2_347_813},
    "spiking_lmuformer_speech": {1: 1_689_894, 2: 2_483_497},
    "spiking_lmuformer_shortcuts_of_spikes_speech": {1: 1_689_382},
    "spiking_attention_speech": {1: 1_689_379},
}
KINDS = ("numbers", "membrane", "spikes")
WB, BN = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
close = torch.testing.assert_close


def lived_in(kind: str, **arguments: object) -> LMUFormer:
    """A small network in evaluation, in float64, whose norms have seen frames."""
    torch.manual_seed(0)
    network = LMUFormer(5, 3, channels=8, depth=2, ratio=2, kind=kind, theta=12, **arguments).double()
    make_lively(network)
    for _ in range(10):
        network(frames(3, 14))
    return network.eval()


def frames(batch: int, count: int) -> Tensor:
    return torch.randn(batch, count, 5, generator=torch.Generator().manual_seed(count), dtype=torch.float64)


@pytest.mark.parametrize(("name", "depth"), [(name, depth) for name, counts in PARAMETERS.items() for depth in counts])
def test_parameters_are_as_many_as_published(name, depth):
    with torch.device("meta"):
        network = MODELS.build({**load_config(CONFIGS / f"{name}.py").model, "depth": depth})
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name][depth]


@pytest.mark.parametrize(
    ("name", "multiply_adds"), [("lmuformer_speech", 0.207e9), ("spiking_lmuformer_speech", 0.215e9)]
)
def test_multiply_adds_of_128_frames_are_as_many_as_published(name, multiply_adds):
    """Within a hundredth: theirs also count the norms; neither counts the Fourier transforms."""
    with torch.device("meta"):
        network = MODELS.build(load_config(CONFIGS / f"{name}.py").model).eval()
        x = torch.empty(1, 128, 128)
    assert count_flops(lambda: network(x)) == pytest.approx(2 * multiply_adds, rel=0.01)


def test_every_config_is_told_and_counted():
    assert {path.stem for path in CONFIGS.glob("*.py")} == set(PARAMETERS) == {Path(c).stem for c in PLUGIN.variants}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cuts", [[1] * 14, [3, 8, 3], [14]])
def test_frames_piece_by_piece_give_what_the_sequence_gives(kind, cuts):
    network, x = lived_in(kind), frames(2, 14)
    whole, state, given = network.stream(x, last=True), None, []
    for part in x.split(cuts, dim=1):
        given.append(network.stream(part, state))
        state = given[-1].state
    given.append(network.flush(state))
    close(torch.cat([part.tokens for part in given], dim=1), whole.tokens, atol=1e-6, rtol=1e-5)
    close(torch.cat([part.logits for part in given], dim=1), whole.logits, atol=1e-6, rtol=1e-5)
    close(network(x), whole.logits[:, -1])


@pytest.mark.parametrize(("causal", "first"), [(False, 5), (True, 0)])
def test_a_token_waits_for_five_frames_unless_the_convolutions_are_causal(causal, first):
    network, state = lived_in("numbers", causal=causal), None
    ready = []
    for index, frame in enumerate(frames(2, 9).unbind(1)):
        token, logits, state = network.step(frame, state)
        assert (token is None) == (logits is None)
        ready += [index] if token is not None else []
    assert ready[0] == first
    assert network.flush(state).tokens.shape[1] == first


def test_causal_convolutions_look_at_no_later_frame():
    network, x = lived_in("numbers", causal=True), frames(1, 10)
    changed = torch.cat([x[:, :6], 3 * x[:, 6:]], dim=1)
    found, other = (network.stream(frames).tokens for frames in (x, changed))
    close(found[:, :6], other[:, :6])
    assert not torch.allclose(found[:, 6], other[:, 6])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_sequence_shorter_than_the_delay_is_flushed_whole(count):
    network, x = lived_in("membrane"), frames(2, count)
    begun = network.stream(x)
    assert begun.tokens.shape[1] == 0
    close(network.flush(begun.state).logits[:, -1], network(x), atol=1e-6, rtol=1e-5)


def test_running_logits_are_those_of_running_means():
    network, x = lived_in("numbers"), frames(2, 9)
    tokens, logits, _ = network.stream(x, last=True)
    close(logits, torch.stack([network.head(tokens[:, : n + 1].mean(dim=1)) for n in range(9)], dim=1))


def test_membranes_that_are_kept_change_the_next_sequence_and_memories_that_are_not_do_not():
    network, x = lived_in("membrane"), frames(2, 14)
    first = network.stream(x, last=True)
    kept = membranes_of(first.state)
    assert len(kept) == 4 + 2 * (4 + 2) + 1               # of the embedding, of each block's two mixers, of the head
    again = network.stream(x, kept, last=True)
    assert not torch.allclose(again.logits[:, -1], first.logits[:, -1])
    zeros = {name: torch.zeros_like(value) for name, value in kept.items()}
    close(network.stream(x, zeros, last=True).logits, first.logits)


def test_the_network_of_numbers_has_no_membranes():
    assert membranes_of(lived_in("numbers").stream(frames(2, 9)).state) == {}


def test_attention_wants_the_whole_sequence():
    torch.manual_seed(0)
    network = LMUFormer(5, 3, channels=8, kind="membrane", mixer="attention", heads=2).double().eval()
    x = frames(2, 9)
    assert network(x).shape == (2, 3)
    with pytest.raises(ValueError, match="attention looks at all tokens: give the whole sequence at once"):
        network.stream(x)


@pytest.mark.parametrize(("kind", "mixer"), [*((kind, "lmu") for kind in KINDS), ("membrane", "attention")])
def test_the_gradient_reaches_every_parameter(kind, mixer):
    torch.manual_seed(0)
    network = LMUFormer(5, 3, channels=8, kind=kind, mixer=mixer, heads=2, theta=12)
    x = frames(3, 14).float().requires_grad_()
    torch.nn.functional.cross_entropy(network(x), torch.tensor([0, 2, 1])).backward()
    assert x.grad.abs().sum() > 0
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_it_learns_to_tell_rising_from_falling_sequences():
    torch.manual_seed(0)
    network = LMUFormer(1, 2, channels=8, theta=16, ratio=2)
    labels = torch.arange(16) % 2
    slope = torch.where(labels == 1, 1.0, -1.0)[:, None, None]
    x = slope * torch.linspace(-1, 1, 16)[None, :, None] + 0.3 * torch.randn(16, 16, 1)
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=1e-2), []
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def official_keys(spiking: bool) -> list[str]:
    """Every key of a released network of one block, saved from the authors' data-parallel wrapper."""
    keys = ["patch_embed.rpe_conv.weight", *(f"head.{name}" for name in WB)]
    if spiking:
        keys += [f"patch_embed.proj_conv{number}.weight" for number in ("", 1, 2, 3)]
        keys += [f"patch_embed.proj_bn{number}.{name}" for number in ("", 1, 2, 3) for name in BN]
        norms = [*(f"attn.lmu.bn_{part}" for part in "umh"), "attn.prev_bn"]
        keys += [f"head_bn.{name}" for name in BN]
    else:
        keys += [f"patch_embed.conv_layers.{number}.0.weight" for number in range(4)]
        keys += [f"patch_embed.conv_layers.{number}.3.{name}" for number in range(4) for name in BN]
        norms = []
    norms += ["attn.proj_bn", "mlp.fc1_bn", "mlp.fc2_bn"]
    layers = ("attn.lmu.W_u", "attn.lmu.W_h", "attn.proj_conv", "mlp.fc1_conv", "mlp.fc2_conv")
    keys += [f"block.0.{layer}.{name}" for layer in layers for name in WB]
    keys += [f"block.0.{norm}.{name}" for norm in norms for name in BN]
    keys += [f"block.0.attn.lmu.{name}" for name in ("A", "B", "H", "fft_H")]
    return [f"module.{key}" for key in keys]


@pytest.mark.parametrize("name", ["lmuformer_speech", "spiking_lmuformer_speech"])
def test_every_official_key_has_its_place_and_every_place_its_key(name):
    with torch.device("meta"):
        network = MODELS.build(load_config(CONFIGS / f"{name}.py").model)
    keys = official_keys("spiking" in name)
    assert set(load_official(dict.fromkeys(keys, torch.ones(1)))) == set(network.state_dict())


def test_the_1x1_convolutions_become_linear():
    keys = {"module.block.0.mlp.fc1_conv.weight": (8, 4, 1), "module.patch_embed.rpe_conv.weight": (4, 4, 3)}
    state = {key: torch.rand(shape) for key, shape in keys.items()}
    assert [tuple(value.shape) for value in load_official(state).values()] == [(8, 4), (4, 4, 3)]


@pytest.mark.parametrize("key", ["block.0.attn.q_conv.weight", "patch_embed.conv_layers.4.0.weight", "lmu.W_u.weight"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})


@pytest.mark.parametrize(("build", "message"), [
    (lambda: LMUFormer(kind="analog"), "kind must be one of numbers, membrane, spikes, got 'analog'"),
    (lambda: LMUFormer(mixer="attention"), "mixer must be lmu, or attention of the kind membrane, got 'attention' of"),
    (lambda: LMUFormer(5, 3, channels=8)(torch.zeros(2, 0, 5)), r"a sequence must have frames, got \(2, 0, 5\)"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
