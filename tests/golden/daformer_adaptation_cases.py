"""Golden cases of DAFormer's self-training, from its parts to whole iterations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from center_cases import Golden
from daformer_cases import check_outputs, close, segmentor_config
from torch import Tensor, nn

from perception.engine.warmup_poly import WarmupPolyLR
from perception.models.key_map import rename_part
from perception.registry import MODELS
from perception.structures import PixelLabels
from perception_plugins.daformer import load_official
from perception_plugins.daformer.class_mix import class_mix
from perception_plugins.daformer.feature_distance import FeatureDistance
from perception_plugins.daformer.mix_augmentation import blurred, kernel_side
from perception_plugins.daformer.rare_classes import RareClasses, class_probabilities
from perception_plugins.daformer.self_training import SelfTraining
from perception_plugins.daformer.teacher import pseudo_labels, teacher_momentum, update_teacher


def _rcs_probs(golden: Golden) -> None:
    config, counts = golden.config, golden.inputs["counts_per_image"].numpy()
    ours: dict[str, Tensor] = {}
    for temperature in config["temperatures"]:
        classes, probabilities = class_probabilities(counts, temperature)
        ours[f"classes_T{temperature}"] = torch.from_numpy(classes)
        ours[f"probs_T{temperature}"] = torch.from_numpy(probabilities)
    if "draws_T0" in golden.out:
        rare = RareClasses(counts, temperature=config["temperatures"][0], min_pixels=-1)
        rng = np.random.RandomState(config["draw_seed"])
        ours["draws_T0"] = torch.tensor([rare.draw_class(rng) for _ in golden.out["draws_T0"]])
    check_outputs(golden, ours, atol=1e-7)


def _feature_distance(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    distance = FeatureDistance(
        config["num_classes"], things=config["classes"], weight=config["lambda_fd"], min_share=config["min_ratio"]
    )
    features, frozen = inputs["feat_student"].requires_grad_(), inputs["feat_imagenet"]
    labels = inputs["label"][:, 0].long()
    cells = distance.cell_labels(labels, features.shape[-1])
    loss = distance(features, frozen, labels)
    check_outputs(golden, {
        "label_small": cells, "mask": distance.shows_thing(cells), "loss": loss,
        "loss_all_pixels": distance.distance(features, frozen, torch.ones_like(cells)),
    })
    loss.backward()
    for name, expected in golden.grad.items():
        assert name == "in.feat_student"
        close(features.grad, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)


def _ema_update(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    names = [name.removeprefix("student_") for name in inputs if name.startswith("student_")]
    teacher = nn.ParameterDict({name: inputs[f"teacher_{name}0"] for name in names}).requires_grad_(False)
    kept, states = [], []
    for step, iteration in enumerate(config["iters"]):
        student = nn.ParameterDict({name: inputs[f"student_{name}"][step] for name in names})
        kept.append(teacher_momentum(iteration, config["alpha"]))
        update_teacher(teacher, student, kept[-1])
        states.append({name: teacher[name].clone() for name in names})
    ours = {f"teacher_{name}": torch.stack([state[name] for state in states]) for name in names}
    check_outputs(golden, {**ours, "alpha": torch.tensor(kept, dtype=torch.float64)})


def _classmix(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    labels = inputs["src_label"][:, 0].long()
    pseudo = pseudo_labels(
        inputs["teacher_logits"], labels.shape[1:], threshold=config["pseudo_threshold"],
        ignore_top=config["ignore_top"], ignore_bottom=config["ignore_bottom"],
    )
    rng = np.random.RandomState(config["numpy_seed"])
    mix = class_mix(inputs["src_img"], labels, inputs["trg_img"], pseudo, rng)
    check_outputs(golden, {
        "pseudo_label": pseudo.classes, "pseudo_prob": pseudo.confidence, "pseudo_weight_before_mix": pseudo.weights,
        "mask": mix.mask, "mixed_img": mix.images, "mixed_label": mix.labels, "mixed_weight": mix.weights,
    })


def _blur(golden: Golden) -> None:
    x = golden.inputs["x"]
    assert [kernel_side(length) for length in x.shape[2:]] == golden.config["kernel_size"]
    check_outputs(golden, {"y": blurred(x, golden.config["sigma"])})


def _lr_schedule(golden: Golden) -> None:
    config, iterations = golden.config, golden.inputs["iters"].tolist()
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": config["base_lr"] * factor} for factor in (1, 10)]
    optimizer = torch.optim.SGD(groups)
    schedule = WarmupPolyLR(
        optimizer, end=config["max_iters"], warmup=config["warmup_iters"], first=config["warmup_ratio"],
        power=config["power"], least=config["min_lr"], by_epoch=False,
    )
    rates = []
    for iteration in range(max(iterations) + 1):
        if iteration in iterations:
            rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    rates = [rates[sorted(set(iterations)).index(iteration)] for iteration in iterations]
    check_outputs(golden, {"lr": torch.tensor(rates, dtype=torch.float64)}, atol=0.0, rtol=1e-9)


def _selftrain_loop(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    model: SelfTraining = MODELS.build({
        "type": "SelfTraining", "student": segmentor_config(config), "momentum": config["alpha"],
        "threshold": config["pseudo_threshold"], "ignore_top": config["ignore_top"],
        "ignore_bottom": config["ignore_bottom"],
        "feature_distance": None if not config["lambda_fd"] else {
            "things": config["fd_classes"], "weight": config["lambda_fd"], "min_share": config["min_ratio"],
        },
    })
    model.student.load_state_dict(load_official(golden.state))
    model.teacher.load_state_dict(model.student.state_dict())
    if model.reference is not None:
        frozen = {k: v for k, v in golden.state.items() if k.startswith("imnet_model.backbone.")}
        frozen = {key.removeprefix("imnet_model.backbone."): value for key, value in frozen.items()}
        model.reference.load_state_dict(rename_part(frozen, load_official, "backbone.", "backbone."))
    model.train()
    optimizer = torch.optim.SGD(model.student.parameters(), lr=config["lr"])
    logged: dict[str, list[float]] = {}
    for iteration in range(config["iters"]):
        labels = [PixelLabels(one) for one in inputs[f"src_label{iteration}"][:, 0].long()]
        rng = np.random.RandomState(_seed(config["numpy_seed"]) + iteration)
        losses = model.losses(inputs[f"src_img{iteration}"], labels, inputs[f"trg_img{iteration}"], rng)
        for name, value in losses.items():
            logged.setdefault(f"log.{name}", []).append(float(value.detach()))
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if "loss" in name).backward()
        optimizer.step()
    ours = {name: torch.tensor(values, dtype=torch.float64) for name, values in logged.items()}
    for who, module in (("student", model.student), ("teacher", model.teacher)):
        wanted = {k.removeprefix(f"{who}."): v for k, v in golden.out.items() if k.startswith(f"{who}.")}
        ours |= {f"{who}.{key}": _official(module, key) for key in wanted}
    logs = {k: v for k, v in golden.out.items() if k.startswith("log.")}
    for name, expected in logs.items():
        close(ours[name], golden.out.pop(name), atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
        assert len(expected) == config["iters"]
    check_outputs(golden, ours)


def _official(module: nn.Module, key: str) -> Tensor:
    """The tensor of ours that an official key stands for."""
    (name,) = load_official({key: torch.zeros(())})
    return module.state_dict()[name]


def _seed(text: str | int) -> int:
    """211 of "seed(211 + iter) right before each iteration"."""
    return text if isinstance(text, int) else int(text.partition("(")[2].partition("+")[0])


ADAPTATION: dict[str, Callable[[Golden], None]] = {
    "rcs_probs": _rcs_probs,
    "feature_distance": _feature_distance,
    "ema_update": _ema_update,
    "classmix": _classmix,
    "blur": _blur,
    "lr_schedule": _lr_schedule,
    "selftrain_loop": _selftrain_loop,
}
