"""LMUFormer against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception.models.key_map import rename_part
from perception_plugins.lmuformer import (
    LIF,
    LMUCell,
    LMUFormer,
    SpikingLMUCell,
    impulse_response,
    legendre_matrices,
    load_official,
    membranes_of,
)

CELL, OUR_CELL = "block.0.attn.lmu.", "blocks.0.token_mixer.cell."
KINDS = {"LMUFormer (non-spiking)": "numbers", "Spiking LMUFormer (membrane shortcut)": "membrane"}


def _compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], atol: float) -> None:
    """Every expected tensor is found, within the sheet's tolerance."""
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=atol, rtol=atol, msg=lambda text, n=name: f"{n}: {text}")


def _of_cell(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a cell alone by our keys."""
    return rename_part(state, load_official, CELL, OUR_CELL)


def _matrices(golden: Golden) -> None:
    found: dict[str, Tensor] = {}
    for number, case in enumerate(golden.config["cases"]):
        memory, length, theta = case["memory_size"], case["seq_len"], case["theta"]
        step, drive = (torch.from_numpy(part).float() for part in legendre_matrices(memory, theta))
        response = torch.tensor(impulse_response(memory, theta, length))
        spectrum = torch.view_as_real(torch.fft.rfft(response, n=2 * length))
        parts = {"A": step, "B": drive[:, None], "H": response, "fft_H": spectrum}
        found |= {f"case{number}.{name}": part for name, part in parts.items()}
    _compare(found, golden.out, 1e-5)


def _cell(golden: Golden) -> None:
    for form in ("fft", "chunks"):
        _cell_of(golden, form)


def _cell_of(golden: Golden, form: str) -> None:
    config = golden.config
    assert config["grad_scalar"] == "sum(h_parallel*linspace(-1,1,hidden))"
    cell = LMUCell(
        config["input_size"], config["hidden_size"], memory=config["memory_size"], theta=config["theta"], form=form
    )
    load_state(cell, _of_cell(golden.state))
    x = golden.inputs["x"].clone().requires_grad_()
    h = cell(x)
    memory, rows, read = None, [], []
    for row in x.detach().split(1, dim=1):                                    # one step at a time
        out, memory = cell.stream(row, memory)
        rows.append(memory)
        read.append(out)
    found = {
        "u": cell.drive(x), "h_parallel": h, "h_last": h[:, -1], "m_recurrent": torch.stack(rows, dim=1),
        "h_recurrent": torch.cat(read, dim=1),
    }
    _compare({name: value.detach() for name, value in found.items()}, golden.out, 1e-5)
    (h * torch.linspace(-1, 1, h.shape[2])).sum().backward()
    grads = {"x": x.grad}
    for name in golden.grad.keys() - {"x"}:
        (ours,) = _of_cell({name: golden.grad[name]})
        grads[name] = cell.get_parameter(ours).grad
    _compare(grads, golden.grad, 1e-5)


def _lif(golden: Golden) -> None:
    config = golden.config
    assert (config["tau"], config["v_reset"], config["decay_input"], config["detach_reset"]) == (2.0, 0.0, True, True)
    assert (config["surrogate"], config["time_axis"]) == ("sigmoid alpha 4", 0)
    for name in {key.split(".")[0] for key in golden.out}:
        lif = LIF({"th1": 1.0, "th05": 0.5}[name])
        x = golden.inputs["x"].clone().requires_grad_()
        spikes, _ = lif(x.transpose(0, 1))
        membrane, after = None, []
        for row in x.detach().unbind(0):
            _, membrane = lif(row[:, None], membrane)
            after.append(membrane)
        found = {f"{name}.spikes": spikes.detach().transpose(0, 1), f"{name}.v": torch.stack(after)}
        _compare(found, {key: value for key, value in golden.out.items() if key in found}, 1e-6)
        (spikes * torch.linspace(-1, 1, x.shape[-1])).sum().backward()
        _compare({f"{name}.x": x.grad}, {f"{name}.x": golden.grad[f"{name}.x"]}, 1e-6)


@torch.no_grad()
def _spiking_cell(golden: Golden) -> None:
    config = golden.config
    for form in ("fft", "chunks"):
        cell = SpikingLMUCell(
            config["input_size"], config["hidden_size"], memory=config["memory_size"], theta=config["theta"], form=form
        )
        load_state(cell, _of_cell(golden.state))
        x = golden.inputs["x"]
        signal, _ = cell.drive(x)
        memory = cell.memory(signal[:, :, 0])
        spikes, _ = cell.memory_lif(cell.memory_norm(memory))
        found = {"u_spikes": signal, "m_spikes": spikes, "h_spikes": cell(x, {})[0]}
        _compare(found, {key: value for key, value in golden.out.items() if key in found}, 0.0)
        _compare({"m_raw": memory, **found}, golden.out, 1e-5)


def _network(golden: Golden, form: str) -> LMUFormer:
    config = golden.config
    kind = KINDS[config["module"]]
    memory = config["embed_dims"] * (2 if kind == "membrane" else 1)
    assert config["memory"] == ("2*embed_dims" if kind == "membrane" else "= embed_dims")
    network = LMUFormer(
        config["in_channels"], config["num_classes"], channels=config["embed_dims"], depth=config["depths"],
        ratio=config["mlp_ratios"], kind=kind, theta=config["theta"], memory=memory, form=form,
    )
    load_state(network, load_official(golden.state))
    return network


@torch.no_grad()
def _lmuformer(golden: Golden) -> None:
    x, config = golden.inputs["x"], golden.config
    for form in ("fft", "chunks"):
        network = _network(golden, form)
        tokens, _ = network.embed.stream(x, {}, last=True)
        found = {"embed": tokens.mT}
        for number, block in enumerate(network.blocks):
            tokens, _ = block.stream(tokens, {})
            found[f"block{number}"] = tokens.mT
        found |= {"logits": network(x), "logits_running": network.stream(x, last=True).logits.transpose(0, 1)}
        given, state = [], None
        for index, frame in enumerate(x.unbind(1)):
            token, _, state = network.step(frame, state)
            assert (token is not None) == (index >= config["stream_first_output_after_frame_index"])
            given += [] if token is None else [token]
        assert len(given) == config["stream_tokens_before_flush"]
        found["stream_tokens"] = torch.cat([torch.stack(given, dim=2), network.flush(state).tokens.mT], dim=2)
        _compare(found, golden.out, 1e-4)


@torch.no_grad()
def _spiking_lmuformer(golden: Golden) -> None:
    x = golden.inputs["x"]
    for form in ("fft", "chunks"):
        network = _network(golden, form)
        embed, _ = network.embed.stream(x, {}, last=True)
        attn = network.blocks[0].token_mixer(embed)
        mixed, _ = network.blocks[0].channel_mixer.stream(embed + attn, {})
        first = network.stream(x, last=True)
        second = network.stream(x, membranes_of(first.state), last=True)
        found = {
            "embed": embed.mT, "block0_attn": attn.mT, "block0_mlp": mixed.mT, "logits": network(x),
            "logits_running": first.logits.transpose(0, 1), "logits_second_call_without_reset": second.logits[:, -1],
        }
        _compare(found, golden.out, 1e-4)


CASES: dict[str, Callable[[Golden], None]] = {
    "lmu_matrices": _matrices, "lmu_cell": _cell, "lif": _lif, "spiking_lmu_cell": _spiking_cell,
    "lmuformer": _lmuformer, "spiking_lmuformer": _spiking_lmuformer,
}


@pytest.mark.golden_files("lmuformer")
def test_lmuformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
