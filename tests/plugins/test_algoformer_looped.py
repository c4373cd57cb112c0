"""AlgoFormer: iterations, early exit, masks, causality, cross-attention, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from perception.engine.config import load_config
from perception.registry import MODELS
from perception_plugins.algoformer import AlgoFormer, mean_over_iterations, mean_squared_error

close = torch.testing.assert_close


def model(**options) -> AlgoFormer:
    torch.manual_seed(0)
    looped = AlgoFormer(16, heads=2, loops=4, **options).eval()
    for parameter in looped.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return looped


def tokens(count: int = 7, batch: int = 2) -> Tensor:
    return torch.randn(batch, count, 16, generator=torch.Generator().manual_seed(1))


def parameters(channels: int, layers: int, ratio: int) -> int:
    """Of so many layers and the last norm, as the description counts them."""
    layer = 4 * channels**2 + 4 * channels + 2 * ratio * channels**2 + (ratio + 1) * channels + 4 * channels
    return layers * layer + 2 * channels


@pytest.mark.parametrize(("layers", "count"), [((1, 1, 1), 2_369_792), ((4, 4, 4), 9_477_632)])
def test_parameters_do_not_depend_on_the_iterations(layers: tuple[int, int, int], count: int):
    for loops in (0, 9):
        with torch.device("meta"):
            looped = AlgoFormer(
                256, heads=8, loops=loops, pre_layers=layers[0], loop_layers=layers[1], post_layers=layers[2]
            )
        total = sum(parameter.numel() for parameter in looped.parameters())
        assert total == parameters(256, sum(layers), 4) == count


def test_the_input_is_injected_into_every_iteration():
    looped, x = model(inject="add"), tokens()
    states = looped.states(x)
    first = next(states)
    expected = torch.zeros_like(first)
    for _ in range(3):
        expected = looped.loop[0](expected + first)
        close(next(states), expected)


def test_a_call_may_ask_for_other_iterations():
    looped, x = model(), tokens()
    outputs = looped.outputs(x, loops=6)
    assert len(outputs) == 6
    close(outputs[3], looped(x))
    close(outputs[5], looped(x, loops=6))
    assert looped.outputs(x, loops=0) == []


def test_it_stops_where_an_iteration_changes_little():
    looped, x = model(inject="add"), tokens()
    outputs = [looped(x, loops=0), *looped.outputs(x, loops=9)]
    changes = [(after - before).abs().mean().item() for before, after in pairwise(outputs)]
    threshold = sorted(changes)[4]                         # half of the iterations change less
    stop = next(number for number, change in enumerate(changes, 1) if change < threshold)
    found, number = looped.settled(x, threshold=threshold, loops=9)
    assert number == stop < 9
    close(found, outputs[stop])
    assert looped.settled(x, threshold=0.0, loops=3)[1] == 3


@pytest.mark.parametrize("causal", [False, True])
def test_padded_tokens_change_no_real_one(causal: bool):
    looped, x = model(causal=causal), tokens()
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0, 5:] = False
    mask[1] = False                                        # a sample without any token gives numbers all the same
    changed = torch.where(mask[:, :, None], x, 9 * torch.randn_like(x))
    close(looped(x, mask)[mask], looped(changed, mask)[mask])
    close(looped(x, mask)[:1, :5], looped(x[:1, :5]))
    assert looped(x, mask).isfinite().all()


def test_a_causal_token_sees_no_later_one():
    looped, x = model(causal=True), tokens()
    changed = x.clone()
    changed[:, 4, :5] += 1
    before, after = looped(x), looped(changed)
    close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_as_a_decoder_it_looks_at_a_memory():
    looped, x, memory = model(cross_attention=True), tokens(), tokens(11)
    out = looped(x, memory=memory)
    close(looped(x, memory=memory.flip(1)), out)           # the memory is a set
    assert not torch.allclose(looped(x, memory=memory + 1), out)
    with pytest.raises(ValueError, match="a memory goes with cross_attention=True"):
        looped(x)
    with pytest.raises(ValueError, match="a memory goes with cross_attention=True"):
        model()(x, memory=memory)


def test_gradients_end_before_the_last_iterations():
    looped, x = model(), tokens()
    target = torch.zeros_like(x)

    def gradient(**options: int) -> Tensor | None:
        looped.zero_grad()
        outputs = looped.outputs(x, **options)
        mean_over_iterations(outputs, lambda y: mean_squared_error(y, target), 2).backward()
        return looped.pre[0].mlp.fc1.weight.grad

    assert gradient() is not None
    assert gradient(back_through=2) is None                # what lies before them gets none
    assert looped.loop[0].mlp.fc1.weight.grad.abs().sum() > 0


def test_iterations_that_are_run_again_give_the_same_gradients():
    x, grads = tokens(), []
    for checkpointing in (False, True):
        looped = model(checkpointing=checkpointing).train()
        looped(x).sum().backward()
        grads.append(looped.loop[0].attn.in_proj.weight.grad)
    close(*grads)


def test_the_loss_is_a_mean_of_the_last_outputs_over_real_tokens():
    outputs = [torch.full((1, 2, 3), value) for value in (9.0, 1.0, 2.0)]
    mask, target = torch.tensor([[True, False]]), torch.zeros(1, 2, 3)
    loss = mean_over_iterations(outputs, lambda y: mean_squared_error(y, target, mask), 2)
    assert loss.item() == pytest.approx((1.0 + 4.0) / 2)
    with pytest.raises(ValueError, match="last must be >= 1 and there must be outputs, got 0"):
        mean_over_iterations(outputs, torch.sum, 0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"loops": -1}, "numbers of layers and loops must be >= 0"), ({"inject": "mul"}, "inject must be one of none"),
        ({"norm": "post"}, "norm must be one of"), ({"qk_scale": "two"}, "norm must be one of"),
        ({"activation": "tanh"}, "activation must be one of .* got 'tanh'"),
    ],
)
def test_other_options_are_refused(options: dict[str, object], match: str):
    with pytest.raises(ValueError, match=match):
        AlgoFormer(16, heads=2, **options)
    with pytest.raises(ValueError, match="loops must be >= 0, got -2"):
        model()(tokens(), loops=-2)


def test_the_config_builds():
    with torch.device("meta"):
        built = MODELS.build(load_config("configs/algoformer/algoformer_256.py").model)
    assert sum(parameter.numel() for parameter in built.network.backbone.body.parameters()) == 2_369_792
