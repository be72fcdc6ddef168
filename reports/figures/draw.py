"""Draw the figures that sections ask for, and write them as PNG and SVG."""

import io
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from reports.layout import FIGURES_FOLDER, Drawn, Figure, FigureSpec, Section
from reports.style import PNG_DPI, RC


def draw_all(sections: Sequence[Section], folder: Path) -> list[Drawn]:
    """Every section with the figures that have numbers to show. Raises ``OSError`` if ``folder`` is not writable."""
    (folder / FIGURES_FOLDER).mkdir(parents=True, exist_ok=True)
    return [
        Drawn(section, [figure for spec in section.figures if (figure := _draw(spec, folder / FIGURES_FOLDER))])
        for section in sections
    ]


def _draw(spec: FigureSpec, folder: Path) -> Figure | None:
    module, _, function = spec.drawing.partition(".")
    with matplotlib.rc_context(rc=RC):
        canvas: Canvas | None = getattr(import_module(f"reports.figures.{module}"), function)(spec.data)
        if canvas is None:
            return None
        text = io.StringIO()
        # ``savefig`` would draw everything twice for each format. (matplotlib's writers have no types.)
        canvas.set_dpi(PNG_DPI)
        FigureCanvasAgg(canvas).print_png(folder / f"{spec.name}.png")  # type: ignore[no-untyped-call]
        canvas.set_layout_engine("none")  # laid out once: the SVG shows the same
        FigureCanvasSVG(canvas).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
    (folder / f"{spec.name}.svg").write_text(text.getvalue(), encoding="utf-8")
    return Figure(spec.name, spec.caption, text.getvalue(), spec.on_page)
