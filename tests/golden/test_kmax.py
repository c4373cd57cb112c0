"""kMaX-DeepLab against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import kmax_model_cases as whole
import kmax_network_cases as network
import kmax_training_cases as training
import pytest
from center_cases import Golden, read_golden

CASES: dict[str, Callable[[Golden], None]] = {
    "axial_attention_1d": network.axial_attention_1d, "block": network.block, "resized_fuse": network.resized_fuse,
    "pixel_decoder": network.pixel_decoder, "predictor": network.predictor, "kmeans_layer": network.kmeans_layer,
    "transformer_decoder": network.transformer_decoder, "aux_semantic": network.aux_semantic,
    "convnext": network.convnext, "model": whole.model, "loss": training.loss, "postprocess": training.postprocess,
    "lr_schedule": training.lr_schedule,
}


@pytest.mark.golden_files("kmax")
def test_the_plugin_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
