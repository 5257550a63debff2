"""The model that ships with the project: whole, honest about itself, and able to see."""

import io
from pathlib import Path

import pytest

from inference.engine.artefact import CARD, load_artefact
from inference.engine.grader import load_grader
from inference.engine.synthetic import draw_fundus
from training.engine.card import write_card

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "inference" / "shipped"


@pytest.fixture(scope="module")
def grader():
    return load_grader(SHIPPED, device="cpu")


def _gradings(grader, grade):
    prepared = []
    for seed in range(4):
        file = io.BytesIO()
        laterality, field = ("OD", "OS")[seed % 2], ("macula", "disc")[seed // 2]
        draw_fundus(
            seed + 10 * grade, grade=grade, laterality=laterality, field=field, size_px=(800, 600)
        ).save(file, "JPEG", quality=92)
        prepared.append(grader.prepare(file.getvalue()))
    return grader.grade(prepared)


def test_shipped_card_is_written_from_its_manifest_and_stands_in_the_docs():
    card = write_card(load_artefact(SHIPPED).manifest)
    assert (SHIPPED / CARD).read_text() == card
    assert (ROOT / "docs" / "model-card.md").read_text() == card
    assert "Not a certified medical device" in card


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_shipped_model_passes_its_self_check(device):
    load_grader(SHIPPED, device=device).self_check()


def test_shipped_model_was_tuned_on_val_and_never_on_the_second_site():
    manifest = load_artefact(SHIPPED).manifest
    assert manifest.operating_point.chosen_on.endswith("of val")
    on_val, point = manifest.metrics["val"], manifest.operating_point
    reached = on_val["referable"]["sensitivity"]["value"]
    assert reached >= point.referable_sensitivity_target
    reached = on_val["vision_threatening"]["sensitivity"]["value"]
    assert reached >= point.vision_threatening_sensitivity_target
    assert manifest.metrics["second_site"]["eyes"] > 300


def test_drawn_eyes_pass_the_gate_and_disease_scores_higher_than_health(grader):
    healthy, diseased = _gradings(grader, 0), _gradings(grader, 3)
    assert {each.quality for each in healthy + diseased} == {"good"}
    highest_healthy = max(each.referable_probability for each in healthy)
    assert min(each.referable_probability for each in diseased) > highest_healthy
    assert all(each.referable for each in diseased)
