"""Models as operators see them, and the champion that they move."""

import pytest

from drservice.operators.tests.factories import make_metrics, make_model_record
from inference.champion_services import model_promote
from inference.selectors import champion_alias


@pytest.fixture
def operator(make_operator, client_of):
    return client_of(make_operator())


def promote(operator, model, **said):
    said = {"reason": "Better on the second site", "seen_revision": 0, **said}
    return operator.post(f"/operators/models/{model.pk}/promote/", said)


def test_first_champion_is_promoted_with_who_and_why(operator):
    assert "No model yet" in operator.get("/operators/models/").text
    model = make_model_record()
    assert "Promote one" in operator.get("/operators/models/").text

    assert promote(operator, model).status_code == 302

    page = operator.get("/operators/models/")
    assert champion_alias().model_id == model.pk
    [move] = champion_alias().moves
    assert move.by in page.text
    assert "Better on the second site" in page.text
    assert "Champion" in page.text


def test_promotion_shows_both_cards_and_going_back_brings_the_one_before(operator):
    old = make_model_record(metrics={"second_site": make_metrics(sensitivity=0.811)})
    new = make_model_record(metrics={"second_site": make_metrics(sensitivity=0.922)})
    model_promote(model=old)
    page = operator.get(f"/operators/models/{new.pk}/promote/")
    assert "0.811" in page.text
    assert "0.922" in page.text
    assert "finds less" not in page.text

    assert promote(operator, new, seen_revision=1).status_code == 302
    assert champion_alias().model_id == new.pk
    assert f"Back to {old.label}" in operator.get("/operators/models/").text

    back = operator.post(
        "/operators/models/roll-back/", {"reason": "Worse here", "seen_revision": 2}
    )
    assert back.status_code == 302
    assert champion_alias().model_id == old.pk
    assert [move.model_id for move in champion_alias().moves] == [old.pk, new.pk, old.pk]


def test_move_needs_a_reason_and_the_champion_that_was_seen(operator):
    old, new = make_model_record(), make_model_record()
    model_promote(model=old)
    assert promote(operator, new, reason="", seen_revision=1).status_code == 422
    stale = promote(operator, new, seen_revision=0)
    assert stale.status_code == 422
    assert "Somebody else moved the champion" in stale.text
    assert champion_alias().model_id == old.pk


def test_going_back_without_a_champion_before_says_so(operator):
    assert "nothing to go back to" in operator.get("/operators/models/roll-back/").text
    answer = operator.post("/operators/models/roll-back/", {"reason": "x", "seen_revision": 0})
    assert answer.status_code == 422
    assert "no champion before" in answer.text


def test_model_page_shows_figures_with_intervals(operator):
    model = make_model_record()
    page = operator.get(f"/operators/models/{model.pk}/")
    assert "352 eyes of 176 patients" in page.text
    assert "(0.850 to 0.950)" in page.text
    assert model.sha256 in page.text


@pytest.mark.parametrize("metrics", [{}, None, {"second_site": {"eyes": 3}}])
def test_card_without_figures_is_shown_all_the_same(operator, metrics):
    model = make_model_record(metrics=metrics, parity=None)
    assert operator.get("/operators/models/").status_code == 200
    assert operator.get(f"/operators/models/{model.pk}/").status_code == 200
