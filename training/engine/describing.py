"""Look before you train: what a data folder holds, as figures and as one page.

The page opens without a network: its pictures are inside it, its bars are drawn by the browser, and
it has no script. Rows are streamed; only counts, names and the sample pictures are kept.
"""

import base64
import html
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inference.engine.decode import decode_photo, displayed_size
from inference.engine.errors import UnreadableImage
from inference.engine.schemas import GRADES
from training.engine.errors import DataInvalid
from training.engine.labels import (
    QUARANTINE,
    duplicate_groups,
    is_picture,
    quarantined,
    read_manifest,
    read_rows,
    read_sidecar,
    replaced,
)
from training.engine.pictures import in_threads, read_pictures
from training.engine.progress import shown

SAMPLES_A_GRADE = 8
SAMPLE_PX = 132
MAX_BARS = 12
NONE = "not given"
QUALITIES = {"0": "good", "1": "usable", "2": "reject", "": NONE}
GRADABLE = {"1": "gradable", "0": "ungradable", "": NONE}


@dataclass(kw_only=True)
class Description:
    """Counts of rows: whole table, and of what is left without quarantine."""

    rows: int = 0
    masks: int = 0
    patients: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    grades: dict[str, Counter[str]] = field(default_factory=dict)  # by split
    sources: Counter[str] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)
    cameras: Counter[str] = field(default_factory=Counter)
    gradable: Counter[str] = field(default_factory=Counter)
    quality: Counter[str] = field(default_factory=Counter)
    maculopathy: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    quarantine: Counter[str] = field(default_factory=Counter)  # by reason
    duplicate_groups: int = 0
    in_groups: int = 0
    frozen: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain dictionaries, sorted by name."""
        told: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name == "grades":
                told[name] = {split: dict(sorted(value[split].items())) for split in sorted(value)}
            else:
                told[name] = dict(sorted(value.items())) if isinstance(value, Counter) else value
        return told


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture for the page."""

    image: str
    shard: str
    grade: str


def describe_dataset(data: Path, *, seed: int = 1) -> tuple[Description, list[Sample]]:
    """Count the pictures that learning and checking may use, and draw a few of each grade.

    Raises DataInvalid when the table or a shard is missing, or no row is left.
    """
    left_out, groups = quarantined(data), duplicate_groups(data)
    told = Description(frozen=read_manifest(data) is not None)
    told.duplicate_groups, told.in_groups = len(set(groups.values())), len(groups)
    told.quarantine.update(
        row["reason"] for row in read_sidecar(data, QUARANTINE) if row["image"] in left_out
    )
    random = np.random.default_rng(seed)
    drawn: dict[str, list[tuple[float, Sample]]] = {}
    patients: set[int] = set()
    for row in shown(read_rows(data), "counting"):
        if not is_picture(row):
            told.masks += 1
        elif row["image"] not in left_out:
            _count(told, row)
            patients.add(hash(row["patient"] or row["image"]))
            sample = Sample(image=row["image"], shard=row["shard"], grade=row["grade"] or NONE)
            _keep_lowest(drawn.setdefault(sample.grade, []), (random.random(), sample))
    if not told.rows:
        raise DataInvalid("No row is left to describe.", "Import pictures, or look at quarantine.")
    told.patients = len(patients)
    told.sizes = _sizes(data, left_out)
    return told, [sample for grade in sorted(drawn) for _, sample in drawn[grade]]


def _count(told: Description, row: dict[str, str]) -> None:
    split = row["split"] or NONE
    told.rows += 1
    told.splits[split] += 1
    told.grades.setdefault(split, Counter())[row["grade"] or NONE] += 1
    told.sources[row["source"] or NONE] += 1
    told.variants[row["variant"] or NONE] += 1
    told.cameras[f"{row['source']} {row['camera'] or NONE}"] += 1
    told.gradable[GRADABLE.get(row["gradable"], row["gradable"])] += 1
    told.quality[QUALITIES.get(row["eyeq"], row["eyeq"])] += 1
    told.maculopathy[{"1": "yes", "0": "no"}.get(row["maculopathy"], NONE)] += 1


def _keep_lowest(kept: list[tuple[float, Sample]], one: tuple[float, Sample]) -> None:
    """Keep the samples with the lowest random numbers: each row is as likely as any other."""
    kept.append(one)
    kept.sort(key=lambda pair: pair[0])
    del kept[SAMPLES_A_GRADE:]


def _sizes(data: Path, left_out: frozenset[str]) -> Counter[str]:
    """Count the pictures' sizes, read from their headers, shard by shard."""
    of_shard: dict[str, set[str]] = {}
    for row in read_rows(data):
        if is_picture(row) and row["image"] not in left_out:
            of_shard.setdefault(row["shard"], set()).add(row["image"])
    sizes: Counter[str] = Counter()
    for shard, wanted in sorted(of_shard.items()):
        seen = in_threads(_size, read_pictures(data, [shard], wanted))
        found = Counter(size for _, size in shown(seen, "measuring", total=len(wanted)))
        sizes += found
        sizes["missing"] += len(wanted) - found.total()
    return +sizes


def _size(_name: str, content: bytes) -> str:
    try:
        width, height = displayed_size(content)
    except UnreadableImage:
        return "unreadable"
    return f"{width} x {height}"


def write_report(data: Path, told: Description, samples: list[Sample], path: Path) -> None:
    """Write the page; it takes the path's place at the end."""
    page = _page(data.resolve().name, told, _thumbnails(data, samples))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as file:
        file.write(page)


def _thumbnails(data: Path, samples: list[Sample]) -> dict[str, list[tuple[str, str]]]:
    """Return (name, data URI) of the samples by grade."""
    wanted = {sample.image for sample in samples}
    made = dict(
        in_threads(_thumbnail, read_pictures(data, {sample.shard for sample in samples}, wanted))
    )
    told: dict[str, list[tuple[str, str]]] = {}
    for sample in samples:
        if made.get(sample.image):
            told.setdefault(sample.grade, []).append((sample.image, made[sample.image]))
    return told


def _thumbnail(_name: str, content: bytes) -> str:
    try:
        photo = decode_photo(content, draft=True)
    except UnreadableImage:
        return ""
    photo.thumbnail((2 * SAMPLE_PX, 2 * SAMPLE_PX), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _page(name: str, told: Description, pictures: dict[str, list[tuple[str, str]]]) -> str:
    splits = sorted(told.splits)
    frozen = "frozen" if told.frozen else "not frozen"
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        f"<p class=lead>{told.rows:,} pictures of {told.patients:,} patients, "
        f"{len(told.sources)} sources; {told.quarantine.total():,} in quarantine; "
        f"{told.masks:,} masks; the split is {frozen}.</p>",
        "<h2>Grades</h2><div class=columns>",
        *(_grade_bars(split, told.grades[split]) for split in splits),
        "</div><h2>Quality and disease</h2><div class=columns>",
        _bars("Gradable", told.gradable),
        _bars("Quality (EyeQ)", told.quality),
        _bars("Maculopathy", told.maculopathy),
        "</div><h2>Where the pictures come from</h2><div class=columns>",
        _bars("Sources", told.sources),
        _bars("Cameras (shape of the frame)", told.cameras),
        _bars("Variants", told.variants),
        _bars("Sizes in pixels", told.sizes),
        "</div><h2>Duplicates and quarantine</h2><div class=columns>",
        _bars("In quarantine, by reason", told.quarantine),
        f"<section><h3>Same photograph</h3><p>{told.in_groups:,} pictures in "
        f"{told.duplicate_groups:,} groups, those in quarantine included.</p></section>",
        "</div><h2>Samples</h2>",
        *(_grid(grade, pictures[grade]) for grade in sorted(pictures)),
        "<footer>Counted from labels.csv without the rows in quarantine. Research use.</footer>",
    ]
    title = f"<title>{html.escape(name)}: what the data holds</title>"
    head = '<!doctype html><html lang="en"><meta charset="utf-8">'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return f"{head}{view}{title}<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"


def _grade_bars(split: str, grades: Counter[str]) -> str:
    named = [(_grade_name(grade), grades[grade]) for grade in sorted(grades)]
    return _section(f"{split}: {grades.total():,}", named)


def _grade_name(grade: str) -> str:
    if grade == NONE:
        return "no grade"
    return f"{grade} {GRADES[int(grade)]}" if grade in set("01234") else f"no valid grade: {grade}"


def _bars(title: str, counts: Counter[str]) -> str:
    common = counts.most_common(MAX_BARS)
    rest = counts.total() - sum(count for _, count in common)
    return _section(title, [*common, *([(f"{len(counts) - MAX_BARS} others", rest)] * (rest > 0))])


def _section(title: str, counts: Iterable[tuple[str, int]]) -> str:
    counts = list(counts)
    most, total = max((n for _, n in counts), default=1), sum(n for _, n in counts)
    rows = "".join(
        f"<tr><th scope=row>{html.escape(name)}<td><i style='width:{100 * n / most:.1f}%'></i>"
        f"<td>{n:,}<td>{n / total:.1%}"
        for name, n in counts
    )
    body = f"<table>{rows}</table>" if rows else "<p>none</p>"
    return f"<section><h3>{html.escape(title)}</h3>{body}</section>"


def _grid(grade: str, pictures: list[tuple[str, str]]) -> str:
    cells = "".join(
        f"<img src='{uri}' alt='{html.escape(name)}' title='{html.escape(name)}'>"
        for name, uri in pictures
    )
    return f"<h3>{html.escape(_grade_name(grade))}</h3><div class=grid>{cells}</div>"


_STYLE = f"""
:root {{ color-scheme: light dark; --bar: #2f6f9f; --line: #8884; }}
body {{ max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
  font: 15px/1.45 system-ui, sans-serif; }}
h1 {{ margin-bottom: .2rem }} h2 {{ margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line) }}
h3 {{ margin: .8rem 0 .3rem; font-size: 1rem }} .lead {{ font-size: 1.1rem; margin-top: 0 }}
.columns {{ display: grid; gap: 0 2rem;
  grid-template-columns: repeat(auto-fill, minmax(23rem, 1fr)) }}
table {{ width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }}
th {{ text-align: left; font-weight: 400; width: 9.5rem; padding-right: .5rem }}
td {{ text-align: right; padding: .1rem 0 .1rem .5rem; white-space: nowrap }}
td:nth-child(2) {{ width: 40% }} i {{ display: block; height: .8rem; background: var(--bar) }}
i {{ border-radius: 2px; min-width: 2px }}
.grid {{ display: flex; flex-wrap: wrap; gap: 6px }}
.grid img {{ width: {SAMPLE_PX}px; height: {SAMPLE_PX}px; object-fit: contain; background: #000 }}
footer {{ margin: 2.5rem 0 1rem; opacity: .7 }}
"""
