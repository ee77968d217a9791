"""The curve of a calibration as a chart: detection error trade-off (DET), on the normal-deviate scales that the field uses.

Both rates are drawn at the quantiles of the normal distribution (Martin et al., "The DET curve in assessment of detection task
performance", 1997): the curves of most systems come out nearly straight, and the low rates, which matter, have room.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

from core.errors import StorageError, UsageError
from core.files import check_writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from query.calibration import Calibration

_ENDINGS = (".png", ".svg")
_TICKS = (0.00001, 0.0001, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)
_LEAST = 0.0001  # rates below are drawn here
_LABELS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)  # distances written along the curve
_APART = 0.22  # on the scales: labels nearer than this would cover each other


def check(path: Path) -> None:
    """Refuses what will not be drawn, before the work.

    Raises:
        UsageError: another ending than .png or .svg, a file that can't be written, or matplotlib is missing.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"--chart {str(path)!r} can't be drawn: its name must end in .png or .svg.")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--chart needs matplotlib: pip install 'facedex[chart]'.", code="package_missing")
    check_writable(path, "--chart")


def draw(calibration: Calibration, name: str, fallback: float, path: Path) -> None:
    """Draws the curve, the calibrated threshold, and what the fall-back would give.

    Args:
        calibration: with a known FNIR.
        name: of the collection.
        fallback: the threshold that holds without a calibration.
        path: where to; its ending says PNG or SVG.

    Raises:
        StorageError: the file can't be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "text.parse_math": False}):
        figure = Figure(figsize=(7.5, 6.2), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        _curve(axes, calibration, fallback)
        _marks(axes, calibration, fallback)
        _scales(axes, calibration)
        axes.set_title(
            f"{_short(name)}: {calibration.faces:,} faces; {calibration.people:,} people, {calibration.probes:,} searches", fontsize=11
        )
        try:
            figure.savefig(path, format=path.suffix.lower()[1:])
        except OSError as error:
            raise StorageError.of(error, f"write the chart {path}", "Choose another file with --chart.") from None


def deviate(rate: float) -> float:
    """Where a rate stands on a normal-deviate scale: 0 for a half, -2.33 for 1 %."""
    return NormalDist().inv_cdf(min(1 - _LEAST, max(_LEAST, rate)))


def _curve(axes: Axes, calibration: Calibration, fallback: float) -> None:
    # Where a rate is 0 or 1, a point is nowhere on these scales.
    shown = [point for point in calibration.curve if 0 < point[1] < 1 and 0 < point[2] < 1]
    axes.plot(
        [deviate(fpir) for _, fpir, _ in shown],
        [deviate(fnir) for *_, fnir in shown],
        color="black",
        linewidth=1.8,
        label="along the curve: the distance",
    )
    taken = [(deviate(calibration.fpir(t)), deviate(calibration.fnir(t) or 0)) for t in (calibration.threshold, fallback)]
    for distance in _LABELS:
        if not shown or not shown[0][0] <= distance <= shown[-1][0]:
            continue
        x, y = deviate(calibration.fpir(distance)), deviate(calibration.fnir(distance) or 0)
        if all(abs(x - a) + abs(y - b) > _APART for a, b in taken):
            taken.append((x, y))
            axes.plot([x], [y], marker="|", color="black", markersize=7)
            axes.annotate(f"{distance:g}", (x, y), xytext=(-4, -12), textcoords="offset points", ha="right", fontsize=8, color="0.35")


def _marks(axes: Axes, calibration: Calibration, fallback: float) -> None:
    for word, threshold, marker, inside in (("calibrated", calibration.threshold, "o", "black"), ("fall-back", fallback, "s", "white")):
        fpir, fnir = calibration.fpir(threshold), calibration.fnir(threshold) or 0.0
        label = f"{word}: distance {threshold:.4g}, FPIR {percent(fpir)}, FNIR {percent(fnir)}"
        place = [deviate(fpir)], [deviate(fnir)]
        axes.plot(*place, marker, color="black", markerfacecolor=inside, markersize=9, zorder=3, clip_on=False, label=label)
    least = calibration.resolution
    axes.axvspan(deviate(0), deviate(least), facecolor="0.92", zorder=0, label=f"below {percent(least)}: too few people to measure it well")
    axes.legend(loc="upper right", fontsize=9, framealpha=1)


def _scales(axes: Axes, calibration: Calibration) -> None:
    """Ticks in per cent, from a tenth of what is known well to all of it."""
    low = min(0.001, calibration.resolution / 10)
    missed = [fnir for *_, fnir in calibration.curve if fnir > 0]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([deviate(tick) for tick in _TICKS], [percent(tick) for tick in _TICKS])
        axis.set_tick_params(labelsize=9)
    axes.set_xlim(deviate(low), deviate(0.98))  # after the ticks, which widen them
    axes.set_ylim(deviate(min([0.005, *missed])), deviate(0.995))
    axes.grid(color="0.85", linewidth=0.6)
    axes.set_xlabel("FPIR: strangers taken for somebody in the gallery")
    axes.set_ylabel("FNIR: known people not found (rank 1)")


def percent(rate: float) -> str:
    """A rate as a person reads it: two significant digits, in per cent."""
    return f"{float(f'{100 * rate:.2g}'):g} %"


def _short(name: str, length: int = 40) -> str:
    return name if len(name) <= length else f"{name[: length - 3]}..."
