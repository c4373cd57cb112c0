"""Keys of weights trained with the authors' code (AHKerrigan/GeoGuessNet), and of the paper's decoder.

The authors have released no weights. Their public code has the older decoder, whose keys begin with ``trans.``; keys of
the paper's own, which they have not published, are those of its reference: ``hid`` and ``hdd``, the hierarchy-
independent and -dependent layers. The backbone, a Swin transformer of another library, is not mapped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_WB = r"(weight|bias)"
_QKV = r"(to_[qkv])\.weight"
_PAPER = r"(?P<kind>hid|hdd)\.(?P<layer>\d+)\."
_KINDS = {"hid": "independent", "hdd": "dependent"}
_PARTS = {
    "norm_sa": "norm_self", "norm_q": "norm_query", "norm_x": "norm_image", "norm_ffn": "norm_feed",
    "sa": "self_attention", "ca": "cross_attention", "ffn": "feed_forward",
}
_LEGACY = r"trans\.layers\.(\d+)\."
_OURS = r"head.decoder.layers.\1."


def _paper(match: re.Match[str]) -> str:
    layer = f"head.decoder.{_KINDS[match['kind']]}.{match['layer']}"
    return f"{layer}.{_PARTS[match['part']]}.{match['rest']}"


def _classifier(match: re.Match[str]) -> str | None:
    """Hierarchies count from 1 there."""
    number = int(match[1]) - 1
    return None if number < 0 else f"head.classifiers.{number}.{match[2]}"


RENAMES: tuple[Rename, ...] = (
    (r"queries", "head.queries"),
    (_PAPER + rf"(?P<part>norm_sa|norm_q|norm_x)\.(?P<rest>{_WB})", _paper),
    (_PAPER + rf"(?P<part>norm_ffn)\.(?P<rest>(?:\d+\.)?{_WB})", _paper),
    (_PAPER + rf"(?P<part>sa|ca)\.(?P<rest>{_QKV}|to_out\.{_WB})", _paper),
    (_PAPER + rf"(?P<part>ffn)\.(?P<rest>(?:\d+\.)?fc[12]\.{_WB})", _paper),
    (rf"head\.(\d+)\.{_WB}", r"head.classifiers.\1.\2"),
    (rf"classification(\d+)\.{_WB}", _classifier),
    (rf"ppnorm\.{_WB}", r"head.tokens.project.0.0.\1"),
    (rf"project\.{_WB}", r"head.tokens.project.0.1.\1"),
    (rf"trans\.lnk\.{_WB}", r"head.decoder.norm_key.\1"),
    (rf"trans\.lnv\.{_WB}", r"head.decoder.norm_value.\1"),
    (_LEGACY + rf"0\.{_WB}", _OURS + r"norm_query.\2"),
    (_LEGACY + rf"1\.{_QKV}", _OURS + r"cross_attention.\2.weight"),
    (_LEGACY + rf"1\.to_out\.0\.{_WB}", _OURS + r"cross_attention.to_out.\2"),
    (_LEGACY + rf"2\.{_WB}", _OURS + r"norm_self.\2"),
    (_LEGACY + rf"3\.{_QKV}", _OURS + r"self_attention.\2.weight"),
    (_LEGACY + rf"3\.to_out\.0\.{_WB}", _OURS + r"self_attention.to_out.\2"),
    (_LEGACY + rf"4\.norm\.{_WB}", _OURS + r"norm_feed.\2"),
    (_LEGACY + rf"4\.fn\.net\.0\.{_WB}", _OURS + r"feed_forward.fc1.\2"),
    (_LEGACY + rf"4\.fn\.net\.3\.{_WB}", _OURS + r"feed_forward.fc2.\2"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict, without its backbone, to those of a `GeoLocalizer`.

    Raises:
        CheckpointError: a key belongs to another architecture, such as the backbone; all such keys are listed.
    """
    return rename_keys(state, RENAMES)
