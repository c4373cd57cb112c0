"""Renames the keys of released checkpoints to ours, by a table of patterns that leaves no key unexplained."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from perception.errors import CheckpointError

Rename = tuple[str, str | Callable[[re.Match[str]], str | None]]
MAX_LISTED = 20


def rename_keys(
    state: Mapping[str, Tensor], renames: Sequence[Rename], dropped: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Rename every key by the first pattern that matches it in full.

    Args:
        state: tensors by official key.
        renames: (pattern, replacement) pairs as `re.fullmatch` and `re.Match.expand` take them; a replacement may also
            be a function of the match, which gives None if the pattern does not apply after all.
        dropped: patterns of keys that have no counterpart here.

    Returns:
        The same tensors by our key, in the given order.

    Raises:
        CheckpointError: keys match no pattern (all are listed, up to twenty), or two keys become the same one.
    """
    renamed: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, value in state.items():
        if any(re.fullmatch(pattern, key) for pattern in dropped):
            continue
        name = _renamed(key, renames)
        if name is None:
            unknown.append(key)
        elif name in renamed:
            raise CheckpointError(f"two keys of the checkpoint become {name}; the second is {key}")
        else:
            renamed[name] = value
    if unknown:
        more = f" and {len(unknown) - MAX_LISTED} more" if len(unknown) > MAX_LISTED else ""
        raise CheckpointError(
            f"{len(unknown)} of {len(state)} keys belong to another architecture: "
            f"{', '.join(unknown[:MAX_LISTED])}{more}"
        )
    return renamed


def rename_part(
    state: Mapping[str, Tensor],
    load_official: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
    official: str,
    ours: str,
) -> dict[str, Tensor]:
    """Map the state of one part alone, whose keys have lost the part's prefix.

    Args:
        state: tensors by official key without the prefix ``official``.
        load_official: key map of the whole model.
        official: prefix of the part in the official model, such as "middle_encoder.".
        ours: prefix of the part in our model, such as "lidar_backbone."; taken off the result.
    """
    mapped = load_official({official + key: value for key, value in state.items()})
    return {key.removeprefix(ours): value for key, value in mapped.items()}


def _renamed(key: str, renames: Sequence[Rename]) -> str | None:
    for pattern, replacement in renames:
        match = re.fullmatch(pattern, key)
        if match is not None:
            name = replacement(match) if callable(replacement) else match.expand(replacement)
            if name is not None:
                return name
    return None
