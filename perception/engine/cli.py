"""How a tool ends: an expected error is one line and a status, a bug keeps its traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from ..errors import PerceptionError


def run_tool(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a tool's ``main`` and give the status for ``sys.exit``.

    Args:
        main: takes the arguments (None: those of the command line) and returns the status.
        argv: arguments to hand on.

    Returns:
        What ``main`` returns; 1 after a `PerceptionError`, told in one line on stderr; 130 when the user interrupts.
    """
    try:
        return main(argv)
    except PerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
