"""The model card, written from the figures in a manifest. Nobody types a number into it."""

from typing import Any

from inference.engine.artefact import Manifest
from inference.engine.schemas import GRADES

SOURCES = """\
| source | what | used for |
| --- | --- | --- |
| APTOS 2019 (Aravind Eye Hospital, India), research use | true colour, 224 px | train, val |
| EyePACS (Kaggle 2015, United States), research use | true colour, 512 px | train, val |
| EyePACS, histogram-equalised at the source | false colour, 256 px | train, val |
| SRahim, DR-image-dataset, academic use with attribution | another country and camera, 512 px | \
second site: only checking |
"""

LIMITS = """\
- Research use. Not a certified medical device. It supports a decision and never makes one.
- Reference grades come from one reader an image and are noisy: of APTOS's exact duplicates a
  quarter disagree. No figure here can be better than they are.
- It learned from small photographs: lesions of one or two pixels at the network's input, such as
  single microaneurysms, are often missed. A grade of 0 does not exclude mild disease.
- In APTOS the camera nearly gives the grade away. The outline is cut away, the light is levelled,
  cameras are balanced and lesions are painted on healthy eyes to take that cue away. What is left
  of it shows as the gap between the whole of val and the single cameras and the second site. Trust
  the second site more.
- Vision-threatening disease is rare in the data: its intervals are wide.
- It does not see macular oedema, glaucoma or any other disease.
- The quality gate passes many photographs that a reader would call ungradable.
- Grey (red-free) photographs are graded as usable at best: the model learned from colour.
- The heatmap says what raised the score. It is not a map of lesions.
"""


def write_card(manifest: Manifest) -> str:
    """Write the card as Markdown. Raises KeyError when a figure is missing."""
    parts = [
        f"# Model card: {manifest.name}, version {manifest.version}",
        "Diabetic retinopathy from one fundus photograph: ICDR grade "
        f"({', '.join(f'{i} {name}' for i, name in enumerate(GRADES))}), referable (grade 2 or "
        "more) and vision-threatening (grade 3 or more) disease. **Research use. Not a certified "
        "medical device.**",
        "This card is generated from the model's manifest; "
        "`manage.py evaluate_model` recomputes its figures from the weights.",
        "## What it is",
        _facts(manifest),
        "## What it learned from",
        SOURCES + "\n" + _training(manifest),
        *[
            part
            for split, title in TITLES.items()
            for part in split_section(title, manifest.metrics[split])
        ],
        "## Limits",
        LIMITS + _weakest_source(manifest.metrics["val"]["by_source"]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


TITLES = {
    "val": "How good it is on val (other patients, same sources; thresholds were chosen here)",
    "second_site": "How good it is on the second site (never learned from, never tuned on)",
}


def _facts(manifest: Manifest) -> str:
    width, height = manifest.preprocessing.size_px
    point = manifest.operating_point
    rows = {
        "architecture": f"{manifest.architecture}, one ordinal head with four thresholds",
        "input": f"{width} x {height} px, preprocessing {manifest.preprocessing.version}",
        "weights": f"safetensors, stored as {manifest.stored_dtype}, computed in float32",
        "temperature": f"{manifest.temperature:.3f}",
        "operating point": f"{point.version}, chosen on {point.chosen_on}: "
        f"referable from {point.referable_threshold:.3f} "
        f"for a sensitivity of {point.referable_sensitivity_target:.2f}, "
        f"vision-threatening from {point.vision_threatening_threshold:.3f} "
        f"for {point.vision_threatening_sensitivity_target:.2f}",
        "data fingerprint": f"`{manifest.data_fingerprint[:16]}`",
        "made": manifest.created[:10],
    }
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _training(manifest: Manifest) -> str:
    told = manifest.training
    config = told["config"]
    return (
        f"{told['eyes']} graded and gradable eyes of the training split; splits are by patient. "
        f"{told['epochs_done']} of {config['epochs']} epochs from random weights, balance "
        f"`{config['balance']}`, lesions painted on up to {config['painted_share']:.0%} of the "
        f"healthy eyes shown, falling to none, seed {config['seed']}. "
        f"No weights from elsewhere were used. {told['note']}"
    )


def split_section(title: str, told: dict[str, Any]) -> list[str]:
    """Write one split's figures, paragraph by paragraph."""
    by_grade = ", ".join(f"{n} of grade {g}" for g, n in enumerate(told["eyes_by_grade"]))
    parts = [
        f"## {title}",
        f"{told['eyes']} graded and gradable true-colour eyes: {by_grade}. 95 % intervals in "
        "brackets: bootstrap over eyes for areas and kappa, Wilson for shares.",
        _main_table(told),
    ]
    if len(told["by_source"]) > 1:
        parts += ["By source:", _source_table(told["by_source"])]
    if told["by_camera"]:
        parts += ["Referable disease within one camera of APTOS (frame's aspect ratio):"]
        parts += [_camera_table(told["by_camera"])]
    parts.append(_quality_line(told["quality"]))
    return parts


def _weakest_source(by_source: dict[str, Any]) -> str:
    """Name the source with the lowest specificity at the operating point: it costs referrals."""
    known = {
        name: each["referable"]["specificity"]
        for name, each in by_source.items()
        if " colour" in name and each["referable"]["specificity"]["value"] is not None
    }
    if not known:
        return ""
    name = min(known, key=lambda name: known[name]["value"])
    return (
        "- Sensitivity is bought with referrals of healthy eyes. The worst true-colour source on "
        f"val is {name}: specificity {_value(known[name])}.\n"
    )


def _main_table(told: dict[str, Any]) -> str:
    error = told["referable_calibration_error"]
    rows = [
        ("referable: area under the ROC curve", _value(told["referable"]["auc"])),
        ("referable: sensitivity", _value(told["referable"]["sensitivity"])),
        ("referable: specificity", _value(told["referable"]["specificity"])),
        ("vision-threatening: area", _value(told["vision_threatening"]["auc"])),
        ("vision-threatening: sensitivity", _value(told["vision_threatening"]["sensitivity"])),
        ("vision-threatening: specificity", _value(told["vision_threatening"]["specificity"])),
        ("grade: quadratic weighted kappa", _value(told["kappa"])),
        ("grade: exact agreement", _value(told["exact_agreement"])),
        (
            "referable: calibration error, before and after temperature",
            f"{error['before']:.3f}, {error['after']:.3f}",
        ),
    ]
    return "\n".join(
        ["| figure | value |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in rows)]
    )


def _source_table(told: dict[str, Any]) -> str:
    lines = [
        f"| {name} | {each['eyes']} | {_value(each['referable']['auc'])} "
        f"| {_value(each['referable']['sensitivity'])} "
        f"| {_value(each['referable']['specificity'])} | {_value(each['kappa'])} |"
        for name, each in told.items()
    ]
    head = "| source | eyes | referable area | sensitivity | specificity | kappa |"
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- |", *lines])


def _camera_table(told: dict[str, Any]) -> str:
    lines = [
        f"| {name} | {each['positives']} | {each['negatives']} | {_value(each['auc'])} |"
        for name, each in told.items()
    ]
    head = "| camera | referable | not | area |"
    return "\n".join([head, "| --- | --- | --- | --- |", *lines])


def _quality_line(told: dict[str, Any]) -> str:
    text = (
        f"Quality gate: rejects {_counted(told['rejected'])} of the true-colour photographs"
        f"{_of(told, 'rejected_of_gradable', 'gradable ones')}"
        f"{_of(told, 'rejected_of_good', 'good and gradable ones')}"
        f"{_of(told, 'rejected_of_ungradable', 'ungradable ones')}"
    )
    if told["gradable"]["auc"]:
        text += f"; its gradable probability has an area of {_value(told['gradable']['auc'])}"
    return text + "."


def _of(told: dict[str, Any], name: str, whose: str) -> str:
    return f", {_counted(told[name])} of the {whose}" if told[name]["total"] else ""


def _counted(told: dict[str, Any]) -> str:
    return f"{told['hits']} of {told['total']}"


def _value(told: dict[str, Any] | None) -> str:
    if told is None or told["value"] is None:
        return "too few"
    counted = f", {told['hits']} of {told['total']}" if "hits" in told else ""
    return f"{told['value']:.3f} ({told['low']:.3f} to {told['high']:.3f}{counted})"
