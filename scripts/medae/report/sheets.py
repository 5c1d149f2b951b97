"""Contact sheets: how pictures are placed on them, in inches."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from medae.report.choosing import HEAT
from medae.report.figures import ABNORMAL, FONT_SIZE, NORMAL, PAGE_WIDTH, as_picture, plain

CLASS_COLORS = [NORMAL, ABNORMAL]
"""By label, 0 and 1."""


class Sheet:
    """A figure of the page's width on which all lies in inches from its upper left corner."""

    def __init__(self, *, height: float, title: str) -> None:
        """Make an empty sheet of `height` inches with a title."""
        self.figure = Figure(figsize=(PAGE_WIDTH, height))
        self.height = height
        look = {"ha": "center", "va": "top", "fontsize": 8, "weight": "bold"}
        self.write(PAGE_WIDTH / 2, 0.07, title, **look)

    def write(self, left: float, top: float, text: str, **look) -> None:
        """Write a user's text; `look` as in `Figure.text`."""
        place = left / PAGE_WIDTH, 1 - top / self.height
        self.figure.text(*place, plain(text), **{"fontsize": FONT_SIZE} | look)

    def add_box(self, left: float, top: float, width: float, height: float, label: str) -> Axes:
        """Add axes without ticks or frame."""
        place = left / PAGE_WIDTH, 1 - (top + height) / self.height
        place += width / PAGE_WIDTH, height / self.height
        axes = self.figure.add_axes(place, label=label, xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def add_picture(
        self, left: float, top: float, side: float, picture: np.ndarray, label: str, **look
    ) -> AxesImage:
        """Add a square picture: an image C × H × W in [-1, 1], or a map H × W in HEAT's colours."""
        axes = self.add_box(left, top, side, side, label)
        if picture.ndim == 3:
            return axes.imshow(as_picture(picture), **look)
        return axes.imshow(picture, cmap=HEAT, **look)

    def add_foot(
        self, left: float, top: float, note: str, image: AxesImage | None, label: str, **look
    ) -> None:
        """Add a note, and at its right the scale of the image's colours, as `colorbar` does."""
        self.write(left, top, note, va="top")
        if image is None:
            return
        axes = self.add_box(0.55 * PAGE_WIDTH, top, 2.8, 0.09, "colour bar")
        look = {"orientation": "horizontal", "extend": "max", "ticks": MaxNLocator(6)} | look
        self.figure.colorbar(image, cax=axes, label=label, **look)
