"""What is learnt from all images of a dataset together: bad files, scales, masks."""

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medae.base.errors import InputError
from medae.data.images import Decoded, LoadedRecord, Preparation
from medae.data.layouts import name_some

logger = logging.getLogger(__name__)

USED = (2, 98)  # percentiles of all pixels; what lies beyond can be markers and text
USED_SHARE = 0.3  # of all levels; 14-bit data use 1/4 of 16 bits
NEARLY_ALL = 0.9  # of a mask's pixels
SAVE_ALIKE = (
    "Save all alike, or set `intensity_range: percentiles` in the registry entry, which scales "
    "each file by its own values"
)
ADVICE = "If they are not meant to be dark or flat, set {setting} in the dataset's registry entry"


@dataclass
class Findings:
    """Takes in images block by block; pixels are not kept."""

    preparation: Preparation = field(default_factory=Preparation)
    sums: dict[str, str] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    odd: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # what: ids
    depths: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # depth: ids
    limits: set[tuple[float, float]] = field(default_factory=set)
    levels: np.ndarray = field(default_factory=lambda: np.zeros(256, dtype=np.int64))  # pixels
    masks: int = 0
    masks_left: int = 0  # that have something abnormal after resizing
    inverted: list[str] = field(default_factory=list)  # images whose mask is nearly all abnormal

    def add(self, loaded: LoadedRecord) -> None:
        """Take in one record."""
        name, image, mask = loaded.record.id, loaded.image, loaded.mask
        self.sums |= loaded.sums
        if loaded.error is not None:
            self.failures[loaded.error.remedy][loaded.failed] = loaded.error.reason
            return
        levels = np.bincount(image.pixels.ravel(), minlength=256)
        if levels.max() == image.pixels.size:
            self.odd["have the same value in all pixels"].append(name)
        else:
            self.levels += levels
        self.depths[image.depth].append(name)
        if len(self.limits) < 2:
            self.limits.add(image.limits)
        for what in image.oddities:
            self.odd[what].append(name)
        if mask is not None and loaded.record.label:
            self._add_mask(name, mask)

    def _add_mask(self, name: str, mask: Decoded) -> None:
        self.masks += 1
        self.masks_left += mask.pixels.any()
        if not mask.share:
            self.odd["are abnormal but have an empty mask"].append(name)
        elif not mask.pixels.any():
            self.odd["have a mask of which nothing is left at this size"].append(name)
        elif mask.share > NEARLY_ALL:
            self.inverted.append(name)
        for what in mask.oddities:
            self.odd[what].append(name)

    def check(self, root: Path, remedy: str = SAVE_ALIKE) -> None:
        """Raise InputError when files cannot be used, naming those of each kind.

        `remedy` says what to do about several scales.
        """
        if self.failures:
            kinds = []
            for do, reasons in self.failures.items():
                first = min(reasons)
                kinds.append(f"{name_some(reasons)} ({first!r}: {reasons[first]}). {do}.")
            count = sum(map(len, self.failures.values()))
            raise InputError(f"Cannot use {count} of the files in {root}: {' '.join(kinds)}")
        stated = self.preparation.intensity_range
        # With a range in the files' units all but 8-bit files can be meant.
        narrow = not self.depths.keys().isdisjoint({"8 bits", "DICOM of 8 bits"})
        mixed = len(self.depths) > 1 and (stated is None or narrow)
        if mixed and stated != "percentiles":
            kinds = [
                f"{len(ids)} of {depth}, such as {min(ids)!r}" for depth, ids in self.depths.items()
            ]
            raise InputError(
                f"The images in {root} have different scales: {'; '.join(kinds)}. An image's "
                f"brightness would tell its format. {remedy}."
            )
        if self.masks and len(self.inverted) > self.masks / 2:
            raise InputError(
                f"{len(self.inverted)} of {self.masks} masks in {root} mark more than "
                f"{NEARLY_ALL:.0%} of their image as abnormal: {name_some(self.inverted)}. Black "
                "has to be where an image is normal; invert the masks, or set `masks: false` in "
                "the registry entry."
            )
        if self.masks and not self.masks_left:
            raise InputError(
                f"All masks in {root} are empty at this image size, so there is nothing to "
                "measure. Check the mask files (abnormal pixels are those above 0), or set "
                "`masks: false` in the registry entry."
            )

    def log(self, advice: str = ADVICE) -> None:
        """Log what the user should know; `advice` says what to do about a `setting` that fits."""
        self._log_scale(advice)
        if self.inverted:
            self.odd[f"have a mask that marks more than {NEARLY_ALL:.0%} of them"] += self.inverted
        for what, names in self.odd.items():
            logger.warning("%d images %s: %s", len(names), what, name_some(names))

    def _log_scale(self, advice: str) -> None:
        """Warn of images that use a small part of the levels."""
        if not self.levels.any():
            return
        shares = np.cumsum(self.levels) / self.levels.sum()
        low, high = (int(np.searchsorted(shares, percent / 100)) for percent in USED)
        if high - low >= USED_SHARE * 255:
            return
        setting, scale = "`intensity_range: percentiles`", "each file's own scale"
        if len(self.limits) == 1 and self.preparation.intensity_range != "percentiles":
            (limits,) = self.limits
            scale = f"[{limits[0]:g}, {limits[1]:g}]"
            setting = f"`intensity_range: {_fitting(limits, low, high)}`"
        logger.warning(
            "96 %% of all pixels have levels from %d to %d of 255: the images use a small part of "
            "%s, which becomes black and white. %s.",
            low,
            high,
            scale,
            advice.format(setting=setting),
        )


def _fitting(limits: tuple[float, float], low: int, high: int) -> list[float]:
    """Return the range of the file's values that have the levels from `low` to `high`.

    From 0 to a full number of bits where that is near, since data of 12 bits are stored in 16.
    """
    black, white = limits
    least, greatest = sorted(black + level / 255 * (white - black) for level in (low, high))
    bits = 2 ** np.ceil(np.log2(max(greatest, 1) + 1)) - 1
    if min(limits) == 0 and least < greatest / 2 and bits < max(limits):
        return [0, int(bits)]
    return [float(f"{least:.3g}"), float(f"{greatest:.3g}")]
