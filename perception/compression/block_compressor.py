"""Blockwise compression of a whole model, without data or training (BCT, 2023; the formulas are our reading)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, cast

from torch import Tensor, nn

from ..registry import COMPRESSORS
from .block_accounting import StoredBits, stored_bits
from .block_linear import block_linear
from .block_quantize import BlockFormat, block_rounded
from .compressor import Calibration, Compression, CompressionReport, ConfigChanges
from .float_parts import Choice, choose
from .input_modules import watch_inputs
from .last_layers import LAYERS
from .stored_forms import BlockTensor
from .stored_tensor import Slot, StoredTensor
from .weight_compressors import WeightCompressor

PARTS = ("weights", "activations", "nonlinear")    # each holds what stands before it
NONLINEAR = (
    nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Softmax,
)
SMALLEST_IN_BLOCKS = 64
META_BITS = {"shift": 8, "scale": 32}              # of a block
VECTOR_BITS = 8                                    # of biases, gammas and betas


class IntegerLinear(nn.Linear):
    """A linear layer on blocks of integers; ``activations`` is the format of its input and output."""

    activations: BlockFormat

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""
        return block_linear(x, cast(BlockTensor, self.stored_weight).blocks, self.bias, self.activations)


@COMPRESSORS.register_module()
class BCT(WeightCompressor):
    """Parameters in blocks, and if asked for what flows between layers, rounded to what blocks hold.

    Activations are cut along their channels. Functions that are no modules (a soft-max inside attention) are not seen.

    Args:
        bits: of weights, 4 or 8 by the sheet.
        activation_bits: of activations; 4 are not usable.
        block: rows and columns of a block of weights; activations and vectors have one row and as many columns.
        mode: "shift" or "scale".
        parts: "weights"; "activations" adds inputs and outputs of linear layers and convolutions; "nonlinear" adds the
            outputs of normalisations and activation functions.
        integer: compute plain linear layers by products of integers, not by floats that hold what blocks hold; wants
            ``parts`` beyond "weights".
        keep, smallest: see `WeightCompressor`.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self, bits: int = 8, activation_bits: int = 8, block: Sequence[int] = (1, 64), mode: str = "shift",
        parts: str = "weights", integer: bool = False, *, keep: Sequence[str] | None = None,
        smallest: int = SMALLEST_IN_BLOCKS,
    ) -> None:
        super().__init__(keep=keep, smallest=smallest)
        if parts not in PARTS:
            raise ValueError(f"parts must be one of {', '.join(PARTS)}, got {parts!r}")
        if integer and parts == "weights":
            raise ValueError('integer products want activations in blocks: set parts to "activations" or "nonlinear"')
        self.weights = BlockFormat(bits, (int(block[0]), int(block[1])), mode)
        self.vectors = replace(self.weights.of_rows(), bits=VECTOR_BITS)
        self.activations = replace(self.weights.of_rows(), bits=activation_bits)
        self.parts, self.integer = parts, integer

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Store the parameters; the data serves to find the last layers and the largest activation."""
        result = super().apply(model, calibration)
        self._round_activations(model)
        ours = [part for part in model.modules() if isinstance(part, BlockTensor)]
        counts = [stored_bits([_rows(part.shape)], part.how.bits, part.how.block, self._meta_bits) for part in ours]
        stored, numbers = sum(one.stored for one in counts) / 8, sum(one.elements for one in counts)
        notes = {"parts": self.parts, "parameters in blocks (bytes)": stored, "times smaller": 4 * numbers / stored}
        if self.parts != "weights" and calibration.batches:
            peak = self._largest_activation(model, calibration)
            notes |= {"largest activation (bytes)": peak.stored / 8, "times smaller than float32": peak.ratio}
        report = CompressionReport(result.report.compressed, result.report.left_float, notes)
        return Compression(model, ConfigChanges(steps=(self.step(),)), report)

    def restructure(self, model: nn.Module) -> nn.Module:
        """Store whatever numbers a model has."""
        super().restructure(model)
        self._round_activations(model)
        return model

    def choice(self, model: nn.Module) -> Choice:
        """Vectors too."""
        return choose(model, self.keep or (), smallest=self.smallest, vectors=True)

    def store(self, taken: Sequence[Slot]) -> None:
        """Put blocks in the place of parameters."""
        for slot in taken if self.integer else ():
            if type(slot.owner) is nn.Linear and slot.key == "weight":
                slot.owner.__class__ = IntegerLinear
                cast(IntegerLinear, slot.owner).activations = self.activations
        super().store(taken)

    def make(self, slot: Slot) -> StoredTensor:
        """The form in which a parameter is stored."""
        return BlockTensor(slot, self.vectors if slot.parameter.dim() < 2 else self.weights)

    def step(self) -> dict[str, Any]:
        """The config of this compressor."""
        return {
            **super().step(), "bits": self.weights.bits, "activation_bits": self.activations.bits,
            "block": self.weights.block, "mode": self.weights.mode, "parts": self.parts,
            "integer": self.integer,
        }

    def _round_activations(self, model: nn.Module) -> None:
        if self.parts == "weights":
            return
        kinds = (*LAYERS, *NONLINEAR) if self.parts == "nonlinear" else LAYERS
        for name, module in model.named_modules():
            is_done = isinstance(module, IntegerLinear)      # rounds both by itself
            if not isinstance(module, kinds) or is_done or name in (self.keep or ()):
                continue
            if isinstance(module, LAYERS):
                module.register_forward_pre_hook(lambda owner, inputs: (self._rounded(owner, inputs[0]), *inputs[1:]))
            module.register_forward_hook(lambda owner, _, output: self._rounded(owner, output))

    def _rounded(self, owner: nn.Module, x: Tensor) -> Tensor:
        """Cut along channels: the second dimension of maps, the last one of all else."""
        is_map = x.dim() >= 4 and not isinstance(owner, (nn.Linear, nn.LayerNorm, nn.Softmax))
        rows = x.movedim(1, -1) if is_map else x
        rounded = block_rounded(rows.flatten(0, -2), self.activations).view(rows.shape)
        return rounded.movedim(-1, 1) if is_map else rounded

    def _largest_activation(self, model: nn.Module, calibration: Calibration) -> StoredBits:
        shapes = [(0, 1)]

        def note(_: str, x: Tensor) -> None:
            columns = x.shape[1] if x.dim() >= 4 else x.shape[-1]
            shapes[0] = max(shapes[0], (x.numel() // columns, columns), key=lambda shape: shape[0] * shape[1])

        watch_inputs(model, LAYERS, calibration, note)
        return stored_bits(shapes, self.activations.bits, self.activations.block, self._meta_bits)

    @property
    def _meta_bits(self) -> int:
        return META_BITS[self.weights.mode]


def _rows(shape: Sequence[int]) -> tuple[int, int]:
    """A tensor's shape as that of the matrix that is cut."""
    return (1, shape[0]) if len(shape) == 1 else (shape[0], prod(shape[1:]))
