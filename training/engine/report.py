"""An evaluation as a folder: the predictions, the figures, the plots, and one page to read.

The page opens without a network: its pictures stand in it, and it names no other address.
"""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.engine import plots
from training.engine.card import GROUPS, comparison_rows
from training.engine.figure_tables import GRADE_COLUMNS, GROUP_COLUMNS, grade_rows, group_rows
from training.engine.predictions import Predictions, write_predictions

PREDICTIONS, FIGURES, PAGE = "predictions.csv", "figures.json", "report.html"

STYLE = """
:root { --ink:#14242f; --soft:#4a5c68; --line:#d8e0e5; --ground:#f3f6f8; --accent:#0c5c6b; }
* { box-sizing:border-box }
body { margin:0; background:var(--ground); color:var(--ink); line-height:1.5;
  font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif }
main { max-width:78rem; margin:0 auto; padding:2rem 1.25rem 4rem }
h1 { font-size:1.75rem; line-height:1.2; margin:0 0 .25rem }
h2 { font-size:1.125rem; margin:0 0 .75rem }
p { margin:.25rem 0 .75rem; max-width:46rem }
.soft { color:var(--soft) }
.notice { border-left:4px solid var(--accent); background:#e3f1f3; padding:.625rem 1rem;
  border-radius:.5rem; max-width:none; margin:1rem 0 1.5rem }
section { background:#fff; border:1px solid var(--line); border-radius:.75rem; padding:1.25rem;
  margin-bottom:1.25rem }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(13rem,1fr)); gap:1rem;
  margin-bottom:1.25rem }
.tile { background:#fff; border:1px solid var(--line); border-radius:.75rem; padding:1rem }
.tile b { display:block; font-size:1.75rem; line-height:1.2; font-variant-numeric:tabular-nums }
.tile span { color:var(--soft); font-size:.875rem }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(30rem,100%),1fr));
  gap:1.25rem }
.pair section { margin:0 }
.pair { margin-bottom:1.25rem }
img { width:100%; height:auto; display:block }
.scroll { overflow-x:auto }
table { border-collapse:collapse; width:100%; font-size:.8125rem;
  font-variant-numeric:tabular-nums }
th { text-align:left; color:var(--soft); font-weight:600; border-bottom:2px solid var(--line) }
th,td { padding:.375rem .625rem .375rem 0; vertical-align:top; white-space:nowrap }
td { border-bottom:1px solid var(--line) }
td small { color:var(--soft) }
@media print { body { background:#fff } section,.tile { break-inside:avoid } }
"""


def write_report(
    directory: Path,
    *,
    title: str,
    predictions: Predictions,
    figures: dict[str, Any],
    comparison: dict[str, Any] | None = None,
    compared_with: str = "",
) -> list[Path]:
    """Write predictions, figures, plots and the page; returns what was written."""
    directory.mkdir(parents=True, exist_ok=True)
    counted = predictions.counted.true_colour
    pictures = {
        "confusion": plots.confusion_plot(figures["confusion"]),
        "roc": plots.roc_plot(counted, figures),
        "reliability": plots.reliability_plot(figures["calibration"]),
        "scores": plots.scores_plot(counted),
        "groups": plots.forest_plot(_forest_rows(figures)),
    }
    told = figures if comparison is None else {**figures, "comparison": comparison}
    write_predictions(predictions, directory / PREDICTIONS)
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    (directory / FIGURES).write_text(text + "\n", encoding="utf-8")
    for name, content in pictures.items():
        (directory / f"{name}.png").write_bytes(content)
    page = _page(title, figures, pictures, comparison, compared_with)
    (directory / PAGE).write_text(page, encoding="utf-8")
    names = [PREDICTIONS, FIGURES, PAGE, *(f"{name}.png" for name in pictures)]
    return [directory / name for name in names]


def write_comparison(directory: Path, told: dict[str, Any]) -> list[Path]:
    """Write a comparison with a benchmark: names, counts and figures, and both distributions."""
    directory.mkdir(parents=True, exist_ok=True)
    table, picture = directory / "comparison.json", directory / "labels.png"
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    table.write_text(text + "\n", encoding="utf-8")
    distributions = {name: told["labels"][name]["by_grade"] for name in ("benchmark", "predicted")}
    picture.write_bytes(plots.label_plot(distributions, title="Labels of both tables"))
    return [table, picture]


def _forest_rows(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = {"all true-colour eyes": figures}
    for name, prefix in (
        ("by_source", ""),
        ("by_camera", "camera "),
        ("by_quality", ""),
        ("by_maculopathy", "maculopathy "),
    ):
        rows |= {f"{prefix}{group}": told for group, told in figures[name].items()}
    return rows


def _page(
    title: str,
    figures: dict[str, Any],
    pictures: dict[str, bytes],
    comparison: dict[str, Any] | None,
    compared_with: str,
) -> str:
    by_grade = ", ".join(f"{n} of grade {g}" for g, n in enumerate(figures["eyes_by_grade"]))
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class=soft>{figures['eyes']} graded and gradable true-colour eyes of "
        f"{figures['patients']} patients: {by_grade}.</p>",
        "<p class=notice>Research use. Not a certified medical device. In brackets: 95 % "
        "intervals, from a bootstrap over patients for areas, kappa and macro figures, and "
        "Wilson's for shares.</p>",
        f"<div class=tiles>{''.join(_tile(*each) for each in _headlines(figures))}</div>",
    ]
    if comparison is not None:
        parts.append(_section(f"Against {compared_with}", _comparison(comparison)))
    parts += [
        f"<div class=pair>{_section('', _image('confusion', pictures))}"
        f"{_section('', _image('roc', pictures))}</div>",
        _section("By grade", _grades(figures)),
        _section("Calibration", _image("reliability", pictures)),
        _section("", _image("scores", pictures)),
        _section("Groups of eyes", _image("groups", pictures)),
        *(
            _section(heading.rstrip(":"), _groups(figures[name]))
            for name, heading in GROUPS.items()
            if figures[name]
        ),
        _section("Quality gate", _gate(figures["quality"])),
        f"<p class=soft>Every row stands in {PREDICTIONS}, every figure in {FIGURES}.</p>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><main>"
        + "\n".join(parts)
        + "</main></body></html>\n"
    )


def _headlines(figures: dict[str, Any]) -> list[tuple[str, dict[str, Any] | None]]:
    return [
        ("referable: area under the ROC curve", figures["referable"]["auc"]),
        ("referable: sensitivity", figures["referable"]["sensitivity"]),
        ("referable: specificity", figures["referable"]["specificity"]),
        ("grade: quadratic weighted kappa", figures["kappa"]),
        ("grade: exact agreement", figures["exact_agreement"]),
        ("grade: macro F1", figures["macro"]["f1"]),
        ("vision-threatening: area", figures["vision_threatening"]["auc"]),
        ("vision-threatening: sensitivity", figures["vision_threatening"]["sensitivity"]),
    ]


def _tile(name: str, told: dict[str, Any] | None) -> str:
    if told is None or told["value"] is None:
        return f"<div class=tile><span>{name}</span><b>too few</b></div>"
    return (
        f"<div class=tile><span>{name}</span><b>{told['value']:.3f}</b>"
        f"<span>{_interval(told)}</span></div>"
    )


def _grades(figures: dict[str, Any]) -> str:
    return _table(GRADE_COLUMNS, grade_rows(figures["per_grade"], _cell, _number))


def _groups(told: dict[str, Any]) -> str:
    named = {html.escape(name): each for name, each in told.items()}
    return _table(GROUP_COLUMNS, group_rows(named, _cell, _number))


def _gate(told: dict[str, Any]) -> str:
    rows = [
        [name, _cell(told[key])]
        for key, name in (
            ("rejected", "rejected of all"),
            ("rejected_of_good", "rejected of the good and gradable"),
            ("rejected_of_gradable", "rejected of the gradable"),
            ("rejected_of_ungradable", "rejected of the ungradable"),
        )
    ]
    return _table(["", ""], [*rows, ["gradable: area", _cell(told["gradable"]["auc"])]])


def _comparison(told: dict[str, Any]) -> str:
    rows = []
    for name, each in comparison_rows(told):
        known = each["value"] is not None
        rows.append(
            [
                name,
                f"{each['there']:.3f}" if known else "too few",
                f"{each['here']:.3f}" if known else "too few",
                f"{each['value']:+.3f} <small>({each['low']:+.3f} to {each['high']:+.3f})</small>"
                if known
                else "",
            ]
        )
    return _table(["figure", "the other", "this one", "difference on the same eyes"], rows)


def _cell(told: dict[str, Any] | None) -> str:
    if told is None or told["value"] is None:
        return "<small>too few</small>"
    return f"{told['value']:.3f} <small>{_interval(told)}</small>"


def _number(value: float | None) -> str:
    return "<small>too few</small>" if value is None else f"{value:.3f}"


def _interval(told: dict[str, Any]) -> str:
    if told["low"] is None:
        return ""
    counted = f", {told['hits']} of {told['total']}" if "hits" in told else ""
    return f"({told['low']:.3f} to {told['high']:.3f}{counted})"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class=scroll>{table}</div>"


def _section(heading: str, content: str) -> str:
    title = f"<h2>{html.escape(heading)}</h2>" if heading else ""
    return f"<section>{title}{content}</section>"


def _image(name: str, pictures: dict[str, bytes]) -> str:
    inline = base64.b64encode(pictures[name]).decode()
    return f'<img alt="{ALTERNATIVES[name]}" src="data:image/png;base64,{inline}">'


ALTERNATIVES = {
    "confusion": "Table of reference against given grades",
    "roc": "ROC curves of referable and vision-threatening disease",
    "reliability": "Reliability before and after the temperature",
    "scores": "Referable probability of each eye by reference grade",
    "groups": "Area, kappa, sensitivity and specificity of groups of eyes, with intervals",
}
