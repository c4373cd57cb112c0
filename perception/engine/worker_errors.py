"""An error of a data worker, told as if it had happened here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import PerceptionError

FROM_A_WORKER = re.compile(r"Caught \w+ in DataLoader worker process \d+")
OURS = re.compile(r"^perception\.errors\.\w+: (.+)", re.MULTILINE | re.DOTALL)


def batches_of(loader: Iterable[Any]) -> Iterator[Any]:
    """The batches of a data loader.

    Raises:
        PerceptionError: what a dataset in a worker process has raised as such; torch hands it on as a RuntimeError, or
            with a traceback for its text.
    """
    try:
        yield from loader
    except (RuntimeError, PerceptionError) as error:
        told = OURS.findall(str(error)) if FROM_A_WORKER.match(str(error)) else []
        if told:
            raise PerceptionError(told[-1].strip()) from error
        raise
