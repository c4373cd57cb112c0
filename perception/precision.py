"""Which number formats a device computes in."""

from __future__ import annotations

import torch


def computes_in_bfloat16(device_type: str) -> bool:
    """Whether a kind of device ("cpu", "cuda") has instructions for bfloat16 products."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
