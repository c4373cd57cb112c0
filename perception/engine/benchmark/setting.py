"""What something is timed under, and the limits of the machine under the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .peaks import COPIED_BYTES, MATRIX_SIZE, copy_gbps, multiply_gflops
from .rows import Row
from .timing import Call

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Setting:
    """Where and in what numbers; torch's threads are those at the time of a call.

    Args:
        dtype: of features, or of the autocast region where it is not float32.
        device: where tensors lie.
        gbps: copy bandwidth [GB/s].
        gflops: rate of a large matrix product in the dtype [GFLOP/s].
    """

    dtype: torch.dtype
    device: torch.device
    gbps: float
    gflops: float

    @classmethod
    def measured(cls, dtype: torch.dtype, device: torch.device) -> Setting:
        """With the limits that the machine has now, with torch's threads as they are set."""
        return cls(dtype, device, copy_gbps(device), multiply_gflops(dtype, device))

    def limits(self) -> list[Row]:
        """The two limits as rows: the time of copying and of multiplying tensors of the sizes given there."""
        copy_ms, multiply_ms = 2 * COPIED_BYTES / self.gbps / 1e6, 2 * MATRIX_SIZE**3 / self.gflops / 1e6
        return [
            self.row("peak: copy", COPIED_BYTES, ms=copy_ms, gbps=self.gbps),
            self.row("peak: matrix multiply", MATRIX_SIZE, ms=multiply_ms, gflops=self.gflops),
        ]

    def row(self, name: str, size: int, **columns: Any) -> Row:
        """A row of this dtype and torch's present threads; see `Row` for the columns."""
        return Row(name, size, str(self.dtype).removeprefix("torch."), torch.get_num_threads(), **columns)

    def inference(self, call: Call) -> Call:
        """The call as it is run in use: without gradients, under autocast, which casts the weights every time."""

        def run() -> Any:
            is_mixed = self.dtype is not torch.float32
            with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=is_mixed):
                return call()

        return run

    def achieved(self, gflop: float, ms: float) -> dict[str, float]:
        """The columns of so many operations in so much time; none where there are no operations."""
        if not gflop:
            return {}
        gflops = gflop / ms * 1e3
        return {"gflop": gflop, "gflops": gflops, "fraction_of_peak": gflops / self.gflops}
