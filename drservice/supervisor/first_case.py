"""Submit cases as clinic staff would, through the pages, and say what came out."""

import io
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drservice.supervisor.web_session import Page, PageError, Upload, WebSession
from inference.engine.synthetic import draw_fundus

SIGN_IN = "/accounts/sign-in/"
PATIENTS = "/patients/"
PATIENT_PATH = re.compile(r"/patients/([0-9a-f]{24})/$")
CASE_PATH = re.compile(r"/cases/([0-9a-f]{24})/$")
KNOWN_CASE = re.compile(r"is in case ([0-9A-F]{6}) already")
FINISHED = frozenset({"graded", "failed", "cancelled"})
CASE_TIMEOUT_S = 180
POLL_S = 0.25
SYNTHETIC_SIZE_PX = (1600, 1200)
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Account:
    email: str
    password: str


@dataclass(frozen=True)
class Submission:
    """What became of one case: its address, the service's last word on it, and the time it took.

    `took_s` is None for photographs that the service had graded before.
    """

    address: str
    status: dict
    took_s: float | None = None

    @property
    def graded(self) -> bool:
        return self.status["state"] == "graded"


def synthetic_case() -> list[Upload]:
    """Draw two eyes of nobody: a right one with moderate retinopathy, a left one without."""
    seed = secrets.randbelow(1_000_000)
    return [
        _drawn("synthetic_right.jpg", seed, laterality="OD", grade=2),
        _drawn("synthetic_left.jpg", seed + 1, laterality="OS", grade=0),
    ]


def folder_case(files: list[Path]) -> list[Upload]:
    return [Upload(file.name, file.read_bytes()) for file in files]


def submit_cases(
    address: str, account: Account, cases: list[list[Upload]], say: Callable
) -> list[Submission]:
    """Sign in and submit each case for a patient of its own, as far as there are patients.

    A case that the pages refuse is part of what is returned; the others go on. Raises PageError
    when nobody can sign in or there is no patient.
    """
    session = WebSession(address)
    sign_in(session, account)
    patients = patient_paths(session)
    submissions = []
    for number, uploads in enumerate(cases):
        submission = _submitted(session, patients, number, uploads)
        took = "" if submission.took_s is None else f" after {submission.took_s:.1f} s"
        say(f"case {number + 1} of {len(cases)}: {submission.status['state']}{took}")
        submissions.append(submission)
    return submissions


def sign_in(session: WebSession, account: Account) -> None:
    page = session.get(SIGN_IN)
    page = session.post(page, SIGN_IN, {"email": account.email, "password": account.password})
    if page.path == SIGN_IN:
        raise PageError(f"Signing in failed. The page says: {page.says}")


def patient_paths(session: WebSession) -> list[str]:
    paths = _linked(session.get(PATIENTS), PATIENT_PATH)
    if not paths:
        raise PageError(f"{PATIENTS} lists no patient: `manage.py demo` makes some.")
    return sorted(paths)


def _submitted(
    session: WebSession, patients: list[str], number: int, uploads: list[Upload]
) -> Submission:
    try:
        return submit_case(session, patients, patients[number % len(patients)], uploads)
    except PageError as error:
        return Submission("", {"state": "refused", "reason": str(error)})


def submit_case(
    session: WebSession, patients: list[str], patient_path: str, uploads: list[Upload]
) -> Submission:
    """Start a visit, upload the photographs, submit, and wait for the result.

    Photographs that one of the patients' cases has already give that case. Raises PageError.
    """
    case_path = _start_visit(session, patient_path)
    began = time.monotonic()
    page = session.post(session.get(case_path), f"{case_path}images/add/", {}, uploads)
    taken = len(session.get_json(f"{case_path}status.json")["images"])
    if taken == 0 and (known_path := _known_case(session, patients, page, len(uploads))):
        return Submission(session.url(known_path), _wait_for_result(session, known_path))
    if taken != len(uploads):
        raise PageError(f"Not every photograph was taken in. The page says: {page.says}")
    page = session.post(session.get(case_path), f"{case_path}submit/", {})
    if session.get_json(f"{case_path}status.json")["state"] == "draft":
        raise PageError(f"The case was not accepted. The page says: {page.says}")
    status = _wait_for_result(session, case_path)
    return Submission(session.url(case_path), status, time.monotonic() - began)


def _start_visit(session: WebSession, patient_path: str) -> str:
    new_path = f"{patient_path}cases/new/"
    page = session.post(session.get(new_path), new_path, {})
    if not CASE_PATH.search(page.path):
        raise PageError(f"{new_path} did not start a visit. The page says: {page.says}")
    return page.path


def _known_case(session: WebSession, patients: list[str], page: Page, count: int) -> str | None:
    """Return the one case that, as the page says, has all these photographs already."""
    named = KNOWN_CASE.findall(" ".join(page.notices))
    if len(named) != count or len(set(named)) != 1:
        return None
    ending = f"{named[0].lower()}/"
    for patient_path in patients:
        for case_path in _linked(session.get(patient_path), CASE_PATH):
            if case_path.endswith(ending):
                return case_path
    return None


def _linked(page: Page, pattern: re.Pattern) -> list[str]:
    found = [pattern.search(link) for link in page.links]
    return list(dict.fromkeys(one.group() for one in found if one))


def _wait_for_result(session: WebSession, case_path: str) -> dict:
    deadline = time.monotonic() + CASE_TIMEOUT_S
    while (status := session.get_json(f"{case_path}status.json"))["state"] not in FINISHED:
        if time.monotonic() > deadline:
            raise PageError(
                f"The case is still {status['state']} after {CASE_TIMEOUT_S} s. {status['reason']}"
            )
        time.sleep(POLL_S)
    return status


def _drawn(name: str, seed: int, **eye) -> Upload:
    content = io.BytesIO()
    draw_fundus(seed, size_px=SYNTHETIC_SIZE_PX, **eye).save(content, "JPEG", quality=JPEG_QUALITY)
    return Upload(name, content.getvalue())
