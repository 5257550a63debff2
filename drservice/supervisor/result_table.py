"""The results of the first cases as a table for the terminal."""

from collections.abc import Iterable

from drservice.supervisor.first_case import Submission

COLUMNS = ("case", "eye", "quality", "grade", "referable", "threatening", "outcome", "seconds")
LIMITS = "Decision support for research use; not a certified medical device."


def result_table(submissions: Iterable[Submission]) -> str:
    """Return a table with a row for each photograph, and below it where the cases are."""
    submissions = list(submissions)
    rows = [COLUMNS, *(row for submission in submissions for row in _rows(submission))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    told = [_told(submission) for submission in submissions]
    return "\n".join(["", *lines, "", *told, LIMITS, ""])


def _rows(submission: Submission) -> list[tuple[str, ...]]:
    status = submission.status
    images = [image for image in status.get("images", []) if not image["replaced"]]
    reference = status.get("reference", "")
    first = [reference, *[""] * len(images)]
    outcome = status["outcome"]["label"] if status.get("outcome") else status["state"]
    took = "before" if submission.took_s is None else f"{submission.took_s:.1f}"
    if not images:
        return [(reference, "", "", "", "", "", outcome, "")]
    return [
        (mark, *_found(image), *((outcome, took) if place == 0 else ("", "")))
        for place, (mark, image) in enumerate(zip(first, images, strict=False))
    ]


def _found(image: dict) -> tuple[str, ...]:
    """Return eye, quality, grade, and the probabilities of referable and sight-threatening."""
    if not image["graded"]:
        return image["laterality"], "", "not graded", "", ""
    if image["grade"] is None:
        reasons = ", ".join(image["quality_reasons"])
        return image["laterality"], image["quality"], reasons or "not gradable", "", ""
    return (
        image["laterality"],
        image["quality"],
        f"{image['grade']} {image['grade_name']}",
        f"{image['referable_probability']:.2f}",
        f"{image['vision_threatening_probability']:.2f}",
    )


def _told(submission: Submission) -> str:
    status = submission.status
    if submission.graded:
        return f"{submission.address}  {status['outcome']['next_step']}"
    return f"{submission.address}  {status['state']}: {status['reason']}".strip()
