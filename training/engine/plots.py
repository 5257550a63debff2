"""Figures as pictures: one function a plot, each returns PNG bytes. Drawn without a display."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from inference.engine import head
from inference.engine.schemas import GRADES, REFERABLE_GRADE, VISION_THREATENING_GRADE
from training.engine.predictions import Predictions

INK, SOFT, LINE, ACCENT = "#14242f", "#4a5c68", "#d8e0e5", "#0c5c6b"
GRADE_COLOURS = ("#1b6b3a", "#8a9200", "#c97a00", "#b5380b", "#7a0f3c")
SECOND, SECOND_SOFT = "#a3161f", "#fce8e8"
DEPTH = LinearSegmentedColormap.from_list("depth", ["#ffffff", "#bfdfe4", "#4f9aa8", "#08434e"])
DPI = 144
GRADE_NAMES = [f"{grade} {name}" for grade, name in enumerate(GRADES)]


def confusion_plot(table: Sequence[Sequence[int]]) -> bytes:
    """Draw reference grades against given ones; colour is the share of the reference grade."""
    counts = np.array(table)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(6.4, 5.4)
    axes.imshow(shares, cmap=DEPTH, vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        dark = shares[row, column] > 0.5
        axes.text(
            column,
            row,
            f"{counts[row, column]}\n{shares[row, column]:.0%}",
            ha="center",
            va="center",
            fontsize=10,
            color="white" if dark else INK,
        )
    axes.set_xticks(range(5), GRADE_NAMES, rotation=20, ha="right")
    axes.set_yticks(range(5), GRADE_NAMES)
    axes.set_xlabel("given grade")
    axes.set_ylabel("reference grade")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _title(axes, "Reference against given grade: eyes, and share of the row")
    return _png(figure)


def roc_plot(predictions: Predictions, figures: dict[str, Any]) -> bytes:
    """Draw the ROC curves of referable and vision-threatening disease with their points."""
    figure, axes = _figure(6.4, 5.6)
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2)
    for name, grade, colour in (
        ("referable", REFERABLE_GRADE, ACCENT),
        ("vision_threatening", VISION_THREATENING_GRADE, SECOND),
    ):
        told = figures[name]
        if told["auc"] is None:
            continue
        positive = predictions.grades >= grade
        false, true = roc_points(positive, predictions.logits[:, grade - 1])
        area = told["auc"]
        label = f"{name.replace('_', '-')}: area {area['value']:.3f}"
        label += f" ({area['low']:.3f} to {area['high']:.3f})"
        axes.step(false, true, where="post", color=colour, linewidth=2, label=label)
        axes.plot(
            1 - told["specificity"]["value"],
            told["sensitivity"]["value"],
            marker="o",
            markersize=9,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=1.5,
        )
    axes.plot([], [], "o", color=SOFT, markeredgecolor="white", label="the operating point")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.legend(loc="lower right", frameon=False)
    _title(axes, "ROC curves")
    return _png(figure)


def roc_points(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the false and the true positive rates over all thresholds, from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    last_of_ties = np.append(np.diff(score[order]) != 0, True)
    true = np.cumsum(positive[order])[last_of_ties] / max(positive.sum(), 1)
    false = np.cumsum(~positive[order])[last_of_ties] / max((~positive).sum(), 1)
    return np.append(0, false), np.append(0, true)


def reliability_plot(calibration: dict[str, Any]) -> bytes:
    """Draw how often a probability came true, before and after the temperature."""
    figure = _empty(9.6, 5.0)
    for place, name in enumerate(("referable", "vision_threatening")):
        axes = figure.add_subplot(1, 2, place + 1)
        _style(axes)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 4)))
        told = calibration[name]
        for when, colour, shift in (("before", SOFT, -0.006), ("after", ACCENT, 0.006)):
            _reliability_curve(axes, told, when, colour, shift)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel("mean probability of the bin")
        axes.set_ylabel("share that had the disease")
        axes.legend(loc="upper left", frameon=False)
        _title(axes, name.replace("_", "-"))
    return _png(figure)


def _reliability_curve(
    axes: Axes, told: dict[str, Any], when: str, colour: str, shift: float
) -> None:
    bins = [each for each in told["bins"][when] if each["eyes"]]
    shares = np.array([each["positive"]["value"] for each in bins])
    lows = np.array([each["positive"]["low"] for each in bins])
    highs = np.array([each["positive"]["high"] for each in bins])
    axes.errorbar(
        [each["mean_probability"] + shift for each in bins],
        shares,
        yerr=[np.maximum(shares - lows, 0), np.maximum(highs - shares, 0)],
        color=colour,
        marker="o",
        markersize=5,
        linewidth=1.8 if when == "after" else 1.2,
        elinewidth=0.9,
        capsize=2.5,
        label=f"{when}: error {told['error'][when]:.3f}",
    )


def scores_plot(predictions: Predictions) -> bytes:
    """Draw how the referable probability is spread within each reference grade."""
    figure, axes = _figure(8.4, 4.4)
    probability = head.referable_of(predictions.cumulative)
    random = np.random.default_rng(1)
    for grade in range(5):
        told = probability[predictions.grades == grade]
        if not len(told):
            continue
        colour = GRADE_COLOURS[grade]
        height = 4 - grade + random.uniform(-0.32, 0.32, len(told))
        axes.scatter(told, height, s=14, color=colour, alpha=0.45, linewidths=0)
        low, middle, high = np.quantile(told, (0.25, 0.5, 0.75))
        axes.plot([low, high], [4 - grade] * 2, color=INK, linewidth=2.4, solid_capstyle="round")
        axes.plot(middle, 4 - grade, "o", markersize=8, color="white", markeredgecolor=INK)
    point = predictions.point.referable_threshold
    axes.axvline(point, color=SECOND, linewidth=1.4, linestyle=(0, (5, 3)))
    axes.text(
        point + 0.008, 4.62, f"referable from {point:.3f}", color=SECOND, fontsize=9.5, va="center"
    )
    counts = [int((predictions.grades == grade).sum()) for grade in range(5)]
    names = [f"{name}  (n = {count})" for name, count in zip(GRADE_NAMES, counts, strict=True)]
    axes.set_yticks([4, 3, 2, 1, 0], names)
    axes.set_ylim(-0.6, 4.85)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xlabel("referable probability of each eye; circle: median, bar: middle half")
    axes.grid(visible=False, axis="y")
    _title(axes, "Scores by reference grade")
    return _png(figure)


FOREST = (
    ("referable area", lambda told: told["referable"]["auc"]),
    ("kappa", lambda told: told["kappa"]),
    ("sensitivity", lambda told: told["referable"]["sensitivity"]),
    ("specificity", lambda told: told["referable"]["specificity"]),
)


def forest_plot(rows: dict[str, dict[str, Any]]) -> bytes:
    """Draw the referable area, kappa, sensitivity and specificity of groups with intervals."""
    figure = _empty(11, 1.3 + 0.42 * len(rows))
    # A dollar sign in a source's name would begin a formula.
    names = [f"{name}  (n = {told['eyes']})".replace("$", r"\$") for name, told in rows.items()]
    heights = np.arange(len(rows))[::-1]
    for place, (title, value_of) in enumerate(FOREST):
        axes = figure.add_subplot(1, len(FOREST), place + 1)
        _style(axes)
        for height, told in zip(heights, rows.values(), strict=True):
            _forest_row(axes, height, value_of(told))
        axes.set_yticks(heights, names if place == 0 else [])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.5, 1])
        axes.grid(visible=False, axis="y")
        _title(axes, title)
    return _png(figure)


def _forest_row(axes: Axes, height: float, value: dict[str, Any] | None) -> None:
    if value is None or value["value"] is None:
        axes.text(0.5, height, "too few", ha="center", va="center", color=SOFT, fontsize=8.5)
        return
    if value["low"] is not None:
        limits = [max(value["low"], 0), value["high"]]
        axes.plot(limits, [height] * 2, color=ACCENT, linewidth=2, solid_capstyle="round")
    axes.plot(value["value"], height, "s", markersize=6.5, color=ACCENT, markeredgecolor="white")


def label_plot(distributions: dict[str, Sequence[int]], *, title: str) -> bytes:
    """Draw how often each grade comes in several sets of labels, side by side."""
    figure, axes = _figure(7.6, 4.2)
    width = 0.8 / max(len(distributions), 1)
    for place, (name, counts) in enumerate(distributions.items()):
        total = max(sum(counts), 1)
        colour = (ACCENT, SECOND, SOFT)[place % 3]
        at = np.arange(len(counts)) + (place - (len(distributions) - 1) / 2) * width
        bars = axes.bar(
            at, [count / total for count in counts], width * 0.92, color=colour,
            label=f"{name} (n = {sum(counts)})",
        )  # fmt: skip
        axes.bar_label(bars, [str(count) for count in counts], fontsize=9, padding=2, color=SOFT)
    axes.set_xticks(range(5), GRADE_NAMES)
    axes.set_ylabel("share of the labels")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.12)
    axes.legend(frameon=False)
    _title(axes, title)
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _empty(width, height)
    axes = figure.add_subplot()
    _style(axes)
    return figure, axes


def _empty(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(h_pad=0.12))


def _style(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=LINE, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=9.5, length=0)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, color=INK, fontsize=11.5, fontweight="bold", pad=10)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()
