"""What can be asked of a synthetic city, whichever scenes it has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import suggestion
from .looks import LOOKS, find_look
from .rig import Rig, default_rig
from .townscape import TEMPERATE

CAMERAS = ("all", "val", "none")           # the scenes that images are rendered in; they take half of the time
LATER = {"towns": 0, "channels": (), "picture_scale": 1.0}     # defaults of options that older cities do not tell


@dataclass(frozen=True)
class Options:
    """What applies to every scene.

    Args:
        seed: of the city.
        duration_s: length of a scene [s], a multiple of half a second.
        cameras: one of `CAMERAS`.
        density: traffic relative to the default.
        columns: firings of the LiDAR in one turn.
        look: one of `LOOKS`.
        towns: towns that all scenes are drives through; 0 gives each scene one of its own.
        channels: the cameras; none named is all of them.
        picture_scale: size of the pictures, relative to 400 by 224 pixels.
    """

    seed: int = 0
    duration_s: float = 10.0
    cameras: str = "all"
    density: float = 1.0
    columns: int = 1080
    look: str = "day"
    towns: int = 0
    channels: tuple[str, ...] = ()
    picture_scale: float = 1.0

    def __post_init__(self) -> None:
        if not (0.5 <= self.duration_s <= 50.0 and (2.0 * self.duration_s).is_integer()):
            raise ValueError(f"duration_s must be a multiple of 0.5 s in [0.5, 50], got {self.duration_s}")
        if self.density <= 0.0:
            raise ValueError(f"density must be positive, got {self.density}")
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed}")
        if self.columns < 36:
            raise ValueError(f"columns must be at least 36, got {self.columns}")
        if self.cameras not in CAMERAS:
            raise ValueError(f"cameras must be one of {', '.join(CAMERAS)}, got {self.cameras!r}")
        known = [camera.channel for camera in default_rig().cameras]
        for channel in self.channels:
            if channel not in known:
                raise ValueError(
                    f"channels must be some of {', '.join(known)}, got {channel!r}{suggestion(channel, known)}"
                )
        if not 0.1 <= self.picture_scale <= 4.0:
            raise ValueError(f"picture_scale must lie in [0.1, 4], got {self.picture_scale}")
        if find_look(self.look).townscape is not TEMPERATE and self.towns:
            plain = ", ".join(name for name, look in LOOKS.items() if look.townscape is TEMPERATE)
            raise ValueError(f"look must be one of {plain} where towns have styles of their own, got {self.look!r}")

    def rig(self, split: str) -> Rig:
        """The sensors in the scenes of a split."""
        rig = default_rig(cameras=self.cameras in ("all", split), columns=self.columns)
        return rig.with_pictures(self.channels, self.picture_scale)

    def record(self) -> dict[str, Any]:
        """What the marker tells of them; options of `LATER` only where they are not the default."""
        return {name: value for name, value in asdict(self).items() if name not in LATER or value != LATER[name]}
