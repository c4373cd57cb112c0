"""A misspelt argument in a config is the user's slip, not a bug: it is told in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError

WRONG_ARGUMENTS = re.compile(r"unexpected keyword argument|missing \d+ required")


@contextmanager
def told_as_config_error(where: str) -> Iterator[None]:
    """Turn the TypeError of unknown or missing arguments into a ConfigError that names the place in the config."""
    try:
        yield
    except TypeError as error:
        if WRONG_ARGUMENTS.search(str(error)):
            raise ConfigError(f"{where}: {error}") from error
        raise
