"""Keys of the authors' checkpoints, and how one attention begins with the weights of another."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from perception.engine.checkpoint import load_checkpoint, save_checkpoint
from perception.engine.config import load_config
from perception.engine.convert import convert_checkpoint
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception_plugins.ecoformer import HashAttention, TeacherHook, load_official, load_teacher

ROOT = Path(__file__).resolve().parents[2]
TINY = {"widths": (8, 16, 20, 24), "depths": (1, 2, 1, 1), "heads": (1, 2, 5, 4), "ratios": (2, 2, 2, 2)}
WB = ("weight", "bias")
close = torch.testing.assert_close


def attention_keys(kind: str, last: bool, reduced: bool) -> list[str]:
    """Keys of one attention without its projection."""
    if kind == "sra":
        layers = ["q", "kv", *(["sr", "norm"] if reduced else [])]
    else:
        layers = ["qkv"] if kind == "msa" or last else ["to_qk", "to_v"]
    hashes = ["projection_matrix", "ksh.A", "ksh.mvec", "ksh.anchor"] if kind == "ecoformer" and not last else []
    return [f"{layer}.{name}" for layer in layers for name in WB] + [f"fast_attention.{name}" for name in hashes]


def official_keys(host: str, kind: str, depths: tuple[int, ...]) -> list[str]:
    """Every key of the authors' classifier."""
    pvt = host == "pvt_v2"
    layers, keys = [] if pvt else ["norm"], []
    for stage, depth in enumerate(depths):
        parts = (f"patch_embed{stage + 1}", f"norm{stage + 1}") if pvt else (f"patch_embeds.{stage}", None)
        layers += [f"{parts[0]}.proj", f"{parts[0]}.norm", parts[1] or f"pos_block.{stage}.proj.0"]
        for block in range(depth):
            prefix = f"block{stage + 1}.{block}" if pvt else f"blocks.{stage}.{block}"
            layers += [f"{prefix}.{layer}" for layer in ("norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2")]
            layers += [f"{prefix}.mlp.dwconv.dwconv"] if pvt else []
            keys += [f"{prefix}.attn.{key}" for key in attention_keys(kind, stage == 3, reduced=stage < 3)]
    return keys + [f"{layer}.{name}" for layer in [*layers, "head"] for name in WB]


@pytest.mark.parametrize(("config", "host", "kind", "depths"), [
    ("pvt_v2_b0_ecoformer", "pvt_v2", "ecoformer", (2, 2, 2, 2)), ("pvt_v2_b0_msa", "pvt_v2", "msa", (2, 2, 2, 2)),
    ("pvt_v2_b2_ecoformer", "pvt_v2", "ecoformer", (3, 4, 6, 3)),
    ("twins_svt_s_ecoformer", "twins", "ecoformer", (2, 2, 10, 4)),
])
def test_every_official_key_has_its_place_and_every_place_its_key(config, host, kind, depths):
    with torch.device("meta"):
        model = MODELS.build(load_config(ROOT / f"configs/ecoformer/{config}.py").model)
    state = dict.fromkeys(official_keys(host, kind, depths), torch.ones(1))
    assert set(load_official(state)) == set(model.state_dict())


def test_the_released_pvt_v2_has_its_places_without_biases_too():
    state = dict.fromkeys(["block1.0.attn.kv.weight", "block1.0.attn.proj.bias"], torch.ones(1))
    assert [key.rpartition("token_mixer.")[2] for key in load_official(state)] == ["kv.weight", "proj.bias"]


def classifier(attention: str | tuple[str, ...] | None = None, **options) -> nn.Module:
    torch.manual_seed(0)
    chosen = {} if attention is None else {"attention": attention}
    return MODELS.build({
        "type": "BackboneClassifier", "num_classes": 3,
        "backbone": {"type": "EcoFormerPVTv2", **TINY, **chosen, **options},
    })


def test_the_released_pvt_v2_has_its_places_too():
    state = dict.fromkeys(official_keys("pvt_v2", "sra", TINY["depths"]), torch.ones(1))
    assert set(load_official(state)) == set(classifier("sra").state_dict())


def test_a_released_checkpoint_converts_and_counts_as_learned(tmp_path):
    state = {key: torch.ones(1) for key in official_keys("pvt_v2", "ecoformer", (1, 1, 1, 1))}
    save_checkpoint({"model": state}, tmp_path / "official.pth")
    convert_checkpoint("ecoformer", tmp_path / "official.pth", tmp_path / "ours.pth")
    ours = load_checkpoint(tmp_path / "ours.pth")["state_dict"]
    assert set(ours) == set(load_official(state))
    assert not any("projection_matrix" in key for key in ours)


@pytest.mark.parametrize("key", ["block1.0.attn.fc.weight", "network.0.0.norm1.weight", "cls_token"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})


def saved(model: nn.Module, path: Path) -> Path:
    save_checkpoint({"state_dict": model.state_dict()}, path)
    return path


@pytest.mark.parametrize("whole", [True, False], ids=["classifier", "task_model"])
def test_a_student_takes_queries_and_values_of_its_teacher(tmp_path, caplog, whole):
    teacher, student = classifier("msa"), classifier()
    if not whole:                                            # a task model names its weights without "network."
        teacher, student = (
            MODELS.build({"type": "Classifier", "network": {
                "type": "BackboneClassifier", "num_classes": 3,
                "backbone": {"type": "EcoFormerPVTv2", **TINY, **({"attention": "msa"} if of_teacher else {})},
            }})
            for of_teacher in (True, False)
        )
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(1.0)
    with caplog.at_level(logging.INFO, logger="perception"):
        load_teacher(student, saved(teacher, tmp_path / "teacher.pth"))
    theirs, ours, prefix = teacher.state_dict(), student.state_dict(), "backbone.stages.1.blocks.0.token_mixer."
    rows = theirs[f"{prefix}in_proj.weight"]
    assert torch.equal(ours[f"{prefix}to_qk.weight"], rows[:16])
    assert torch.equal(ours[f"{prefix}to_v.weight"], rows[32:])
    same = {key for key in theirs if key in ours}
    assert f"{prefix}out_proj.bias" in same
    assert all(torch.equal(theirs[key], ours[key]) for key in same)
    assert "token_mixer.hash.projections" in caplog.text
    assert all(module.hash.due for module in student.modules() if isinstance(module, HashAttention))


def test_without_reduction_a_teacher_does_what_the_pvt_v2_did_that_it_begins_with(tmp_path):
    plain, teacher = classifier("sra", reductions=(1, 1, 1, 1)).eval(), classifier("msa").eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    load_teacher(teacher, saved(plain, tmp_path / "plain.pth"))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        close(teacher(images), plain(images), atol=1e-5, rtol=1e-4)


def test_a_teacher_leaves_out_what_reduces_the_keys_of_pvt_v2(tmp_path):
    teacher = classifier("msa")
    load_teacher(teacher, saved(classifier("sra"), tmp_path / "plain.pth"))


def test_a_network_that_differs_in_more_than_its_attention_is_refused(tmp_path):
    path = saved(classifier("msa", widths=(8, 16, 20, 28)), tmp_path / "teacher.pth")
    with pytest.raises(CheckpointError, match="made for another architecture than BackboneClassifier"):
        load_teacher(classifier(), path)


@pytest.mark.parametrize("resume", [False, True])
def test_the_hook_loads_the_teacher_unless_a_training_is_resumed(tmp_path, resume):
    teacher, student = classifier("msa"), classifier()
    with torch.no_grad():
        teacher.head.bias.fill_(3.0)
    hook = TeacherHook(str(saved(teacher, tmp_path / "teacher.pth")))
    hook.before_train(SimpleNamespace(model=student, _resume=resume))
    assert student.head.bias.eq(3.0).all() != resume
