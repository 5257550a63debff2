"""The model card, written from a manifest alone. Nobody types a number into it."""

from dataclasses import asdict
from typing import Any

from inference.engine.artefact import Manifest
from inference.engine.parity import parse_parity
from inference.engine.schemas import GRADES
from training.engine.errors import CardIncomplete
from training.engine.figure_tables import GRADE_COLUMNS, GROUP_COLUMNS, grade_rows, group_rows

SOURCES = {
    "aptos2019 colour256": "APTOS 2019 (Aravind Eye Hospital, India), true colour, research use",
    "eyepacs colour512": "EyePACS (Kaggle 2015, United States), true colour, research use",
    "eyepacs equalised256": "EyePACS, histogram-equalised at the source: false colour",
    "srahim colour512": "SRahim, DR-image-dataset: another country and camera, academic use with "
    "attribution",
}

LIMITS = """\
- Research use. Not a certified medical device. It supports a decision and never makes one.
- Reference grades come from one reader an image and are noisy: of APTOS's exact duplicates a
  quarter disagree. No figure here can be better than they are.
- It learned from small photographs: lesions of one or two pixels at the network's input, such as
  single microaneurysms, are often missed. A grade of 0 does not exclude mild disease.
- In APTOS the camera nearly gives the grade away. The outline is cut away and the light is levelled
  to take that cue away. What is left of it shows as the gap between the whole of val and the single
  cameras and the second site. Trust the second site more.
- Vision-threatening disease is rare in the data: its intervals are wide.
- It does not see macular oedema, glaucoma or any other disease.
- Grey (red-free) photographs are graded as usable at best: the model learned from colour.
- The attention map says what raised the score. It is not a map of lesions.
"""

TITLES = {
    "val": "How good it is on val (other patients, same sources; thresholds were chosen here)",
    "second_site": "How good it is on the second site (never learned from, never tuned on)",
}

INITS = {
    "scratch": "Training started from random weights; no weights from elsewhere were used.",
    "imagenet": "Training started from weights learned on ImageNet.",
    "file": "Training started from the weights of an earlier model.",
}


class Told(dict):
    """A manifest's nested facts; asking for one that is missing names it in full."""

    def __init__(self, values: dict[str, Any], name: str) -> None:
        super().__init__(
            {key: _told(value, f"{name}.{key}" if name else key) for key, value in values.items()}
        )
        self._name = name

    def __missing__(self, key: str) -> Any:
        name = f"{self._name}.{key}" if self._name else key
        raise CardIncomplete(
            f"{name} is missing, so the card can't be written.",
            "Evaluate and ship the model again with this version of the code.",
        )


def _told(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return Told(value, name)
    if isinstance(value, list):
        return [_told(each, f"{name}.{place}") for place, each in enumerate(value)]
    return value


def write_card(manifest: Manifest) -> str:
    """Write the card as Markdown. Raises CardIncomplete when a fact is missing."""
    told = Told(asdict(manifest), "")
    parts = [
        f"# Model card: {manifest.name}, version {manifest.version}",
        "Diabetic retinopathy from one fundus photograph: ICDR grade "
        f"({', '.join(f'{i} {name}' for i, name in enumerate(GRADES))}), referable (grade 2 or "
        "more) and vision-threatening (grade 3 or more) disease. **Research use. Not a certified "
        "medical device.**",
        "This card is generated from the model's manifest; `manage.py evaluate` computes its "
        "figures again from the weights. What was tried on the way, and what did not help, is in "
        "the lab log, docs/lab-log.md.",
        "## What it is",
        _facts(told),
        "## What it learned from",
        *_training(told["training"]),
        "### The data",
        *_data_card(told["training"]["data"]),
        *[
            part
            for split, title in TITLES.items()
            for part in split_section(title, told["metrics"][split])
        ],
        *_parity(told.get("parity")),
        "## Limits",
        LIMITS + _gate_limit(told["metrics"]["val"]) + _weakest_source(told["metrics"]["val"]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _facts(told: Told) -> str:
    width, height = told["preprocessing"]["size_px"]
    point = told["operating_point"]
    shifts = ", ".join(f"{offset:+.2f}" for offset in told["training"]["offsets"])
    offsets = f"offsets of the four scores {shifts} (part of the weights), "
    rows = {
        "architecture": f"{told['architecture']}, one ordinal head with four thresholds",
        "input": f"{width} x {height} px, preprocessing {told['preprocessing']['version']}",
        "weights": f"safetensors, stored as {told['stored_dtype']}",
        "calibration, fitted on val": f"{offsets if any(told['training']['offsets']) else ''}"
        f"temperature {told['temperature']:.3f}",
        "grade": "how many of the four calibrated probabilities exceed one half",
        "operating point": f"{point['version']}, chosen on {point['chosen_on']}: "
        f"referable from {point['referable_threshold']:.3f} "
        f"for a sensitivity of {point['referable_sensitivity_target']:.2f}, "
        f"vision-threatening from {point['vision_threatening_threshold']:.3f} "
        f"for {point['vision_threatening_sensitivity_target']:.2f}",
        "data fingerprint": f"`{told['data_fingerprint'][:16]}`",
        "made": told["created"][:10],
    }
    return _table(["fact", "value"], [[name, text] for name, text in rows.items()])


def _training(told: Told) -> list[str]:
    config = told["config"]
    recipe = ", ".join(
        f"{name} {_plain(value)}"
        for name, value in sorted(config.items())
        if name not in ("preprocessing", "architecture")
    )
    return [
        f"{told['eyes']} graded and gradable eyes of the training split; splits are by patient. "
        f"{INITS[config.get('init', 'scratch')]} {told['epochs_done']} of {config['epochs']} "
        f"epochs. {_mixed(told)}{told['note']}",
        f"Recipe: {recipe}.",
    ]


def _mixed(told: Told) -> str:
    # Models that were shipped before weights could be mixed say nothing of it.
    share = told.get("start_share", 0)
    return f"Of every weight, {share:.0%} is that of the start. " if share else ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def _data_card(told: Told) -> list[str]:
    rows = [
        [
            split.replace("_", " "),
            source,
            each["photographs"],
            each["patients"],
            *each["by_grade"],
            each["ungraded"],
            each["ungradable"],
        ]
        for split, sources in sorted(told.items(), key=_order_of_use)
        for source, each in sources.items()
    ]
    columns = ["split", "source", "photographs", "patients", *(f"grade {g}" for g in range(5))]
    named = sorted({source for sources in told.values() for source in sources} & set(SOURCES))
    return [
        _table([*columns, "no grade", "ungradable"], rows),
        "\n".join(f"- {source}: {SOURCES[source]}." for source in named),
    ]


def _order_of_use(split: tuple[str, Any]) -> tuple[bool, bool, str]:
    return split[0] != "train", split[0] != "val", split[0]


def split_section(title: str, figures: dict[str, Any]) -> list[str]:
    """Write one split's figures, paragraph by paragraph. Raises CardIncomplete."""
    told = Told(figures, "metrics")
    by_grade = ", ".join(f"{n} of grade {g}" for g, n in enumerate(told["eyes_by_grade"]))
    parts = [
        f"## {title}",
        f"{told['eyes']} graded and gradable true-colour eyes of {told['patients']} patients: "
        f"{by_grade}. 95 % intervals in brackets: bootstrap over patients for areas, kappa and "
        "macro figures, Wilson for shares.",
        _main_table(told),
        "By grade:",
        _grade_table(told),
        "Reference (rows) against given grade (columns):",
        _table(
            ["", *(f"given {grade}" for grade in range(5))],
            [[f"grade {grade}", *row] for grade, row in enumerate(told["confusion"])],
        ),
    ]
    for name, heading in GROUPS.items():
        if told[name]:
            parts += [heading, _group_table(told[name])]
    parts.append(_quality_line(told["quality"]))
    return parts


GROUPS = {
    "by_source": "By source:",
    "by_camera": "Within one camera (aspect ratio of the original frame):",
    "by_quality": "By the readers' word on quality; those called ungradable count only here:",
    "by_maculopathy": "By maculopathy:",
}


def _main_table(told: Told) -> str:
    referable, threatening = told["referable"], told["vision_threatening"]
    macro, calibration = told["macro"], told["calibration"]
    rows = [
        ("referable: area under the ROC curve", _value(referable["auc"])),
        ("referable: sensitivity", _value(referable["sensitivity"])),
        ("referable: specificity", _value(referable["specificity"])),
        ("vision-threatening: area", _value(threatening["auc"])),
        ("vision-threatening: sensitivity", _value(threatening["sensitivity"])),
        ("vision-threatening: specificity", _value(threatening["specificity"])),
        ("grade: quadratic weighted kappa", _value(told["kappa"])),
        ("grade: exact agreement", _value(told["exact_agreement"])),
        ("grade: macro precision", _value(macro["precision"])),
        ("grade: macro recall", _value(macro["recall"])),
        ("grade: macro F1", _value(macro["f1"])),
        *(
            (f"grade {each['at_least']} or more: area", _value(each["auc"]))
            for each in told["thresholds"]
        ),
        (
            "referable: calibration error, before and after temperature",
            _both(calibration["referable"]["error"]),
        ),
        ("referable: Brier score, before and after", _both(calibration["referable"]["brier"])),
        (
            "vision-threatening: calibration error, before and after",
            _both(calibration["vision_threatening"]["error"]),
        ),
    ]
    return _table(["figure", "value"], rows)


def _grade_table(told: Told) -> str:
    return _table(GRADE_COLUMNS, grade_rows(told["per_grade"], _value, _number))


def _group_table(told: Told) -> str:
    return _table(GROUP_COLUMNS, group_rows(told, _value, _number))


def _quality_line(told: Told) -> str:
    text = (
        f"Quality gate: rejects {_counted(told['rejected'])} of the true-colour photographs"
        f"{_of(told, 'rejected_of_gradable', 'gradable ones')}"
        f"{_of(told, 'rejected_of_good', 'good and gradable ones')}"
        f"{_of(told, 'rejected_of_ungradable', 'ungradable ones')}"
    )
    if told["gradable"]["auc"]:
        text += f"; its gradable probability has an area of {_value(told['gradable']['auc'])}"
    return text + "."


def _parity(told: Told | None) -> list[str]:
    """Write how other ways of computing agree with torch in float32, where that was measured."""
    if not told:
        return []
    known = parse_parity(told)
    rows = [
        [
            name,
            "passed" if known.passed(name) else "failed",
            f"{each['equal_grades']} of {each['eyes']}",
            f"{each['referable_flips']}, {each['referable_lost']}",
            f"{each['max_probability_change']:.4f}",
            f"{each['asked_again']:.0%}",
            f"{each['images_per_s'] / known.images_per_s(told['reference']):.2f}",
        ]
        for name, each in told["engines"].items()
    ]
    columns = "engine,parity,equal grades,referable flips and lost,largest change of a probability"
    missing = ", ".join(told["not_available_here"])
    return [
        "## How it is computed",
        f"Compared with {told['reference']} on {told['eyes']}; what 8 bits need to know was taken "
        f"from {told['calibrated_on']}. A node uses the fastest engine that it computes natively "
        "and that passed: at least 99.5 % equal grades and no referable eye lost. Near a decision "
        "a shorter precision is computed again in float32.",
        _table([*columns.split(","), "computed again", "speed, as a ratio"], rows),
        *([f"Not measured, and so not used: {missing}."] if missing else []),
    ]


def _gate_limit(told: Told) -> str:
    missed = told["quality"]["rejected_of_ungradable"]
    if not missed["total"]:
        return ""
    return (
        f"- The quality gate passes {missed['total'] - missed['hits']} of the {missed['total']} "
        "true-colour photographs of val that a reader called ungradable.\n"
    )


def _weakest_source(told: Told) -> str:
    """Name the source with the lowest specificity at the operating point: it costs referrals."""
    known = {
        name: each["referable"]["specificity"]
        for name, each in told["by_source"].items()
        if " colour" in name and each["referable"]["specificity"]["value"] is not None
    }
    if not known:
        return ""
    name = min(known, key=lambda name: known[name]["value"])
    return (
        "- Sensitivity is bought with referrals of healthy eyes. The worst true-colour source on "
        f"val is {name}: specificity {_value(known[name])}.\n"
    )


def comparison_table(told: dict[str, Any]) -> str:
    """Write how much better or worse than another model, on the same eyes."""
    rows = [
        (name, _number(each["there"]), _number(each["here"]), _signed(each))
        for name, each in comparison_rows(told)
    ]
    return _table(["figure", "the other", "this one", "difference"], rows)


def comparison_rows(told: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Flatten a comparison into named differences, in the order in which they are shown."""
    return [
        ("grade: quadratic weighted kappa", told["kappa"]),
        ("grade: exact agreement", told["exact_agreement"]),
        *(
            (f"{name.replace('_', '-')}: {figure}", told[name][key])
            for name in ("referable", "vision_threatening")
            for key, figure in (
                ("auc", "area"),
                ("sensitivity", "sensitivity"),
                ("specificity", "specificity"),
            )
        ),
    ]


def benchmark_lines(told: dict[str, Any]) -> list[str]:
    """Write a comparison with a benchmark, paragraph by paragraph."""
    figures = told["figures"]
    rows = [[name.replace("_", " "), count] for name, count in told["counts"].items()]
    rows += [
        [f"without grade: {name}", count] for name, count in told["without_grade_by_status"].items()
    ]
    parts = [_table(["photographs", "count"], rows)]
    if not figures["eyes"]:
        return [*parts, "Nothing to compare: no photograph has a grade in both tables."]
    shown = [
        ("grade: quadratic weighted kappa", figures["kappa"]),
        ("grade: exact agreement", figures["exact_agreement"]),
        *((f"grade: macro {name}", each) for name, each in figures["macro"].items()),
    ]
    for name in ("referable", "vision_threatening"):
        each, title = figures[name], name.replace("_", "-")
        shown += [
            (f"{title} by grade: sensitivity", each["sensitivity"]),
            (f"{title} by grade: specificity", each["specificity"]),
        ]
        if each["area"]:
            shown.append((f"{title}: area under the ROC curve", each["area"]["auc"]))
    labels = [
        [name.replace("_", " "), *each["by_grade"], each["none"]]
        for name, each in told["labels"].items()
    ]
    grades = [f"grade {grade}" for grade in range(5)]
    drawn = (
        "photographs, as the benchmark names no patients (two eyes of one are alike: too narrow)"
    )
    if figures["patients"]:
        drawn = f"the benchmark's {figures['patients']} patients"
    return [
        *parts,
        f"95 % intervals in brackets: Wilson for shares, bootstrap over {drawn}.",
        _table(["figure", "value"], [[name, _value(each)] for name, each in shown]),
        _table(["labels", *grades, "none"], labels),
        _table(
            ["", *(f"given {grade}" for grade in range(5))],
            [[name, *row] for name, row in zip(grades, figures["confusion"], strict=True)],
        ),
    ]


def _signed(told: dict[str, Any]) -> str:
    if told["value"] is None:
        return "too few"
    return f"{told['value']:+.3f} ({told['low']:+.3f} to {told['high']:+.3f})"


def _table(columns: list[str], rows: list[Any]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _both(told: dict[str, Any]) -> str:
    return f"{_number(told['before'])}, {_number(told['after'])}"


def _number(value: float | None) -> str:
    return "too few" if value is None else f"{value:.3f}"


def _of(told: Told, name: str, whose: str) -> str:
    return f", {_counted(told[name])} of the {whose}" if told[name]["total"] else ""


def _counted(told: dict[str, Any]) -> str:
    return f"{told['hits']} of {told['total']}"


def _value(told: dict[str, Any] | None) -> str:
    if told is None or told["value"] is None:
        return "too few"
    counted = f", {_counted(told)}" if "hits" in told else ""
    if told["low"] is None:
        return f"{told['value']:.3f}"
    return f"{told['value']:.3f} ({told['low']:.3f} to {told['high']:.3f}{counted})"
