"""The models there are, how good each is, and which one grades."""

from dataclasses import dataclass

from bson import ObjectId
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.views.decorators.http import require_safe

from accounts.access import operator
from accounts.pages import posted, require_form
from drservice.operators.access import access_model
from drservice.operators.acts import Act, act_page
from drservice.operators.forms import ChampionForm
from drservice.operators.model_cards import ModelCard, lower_sensitivities, model_card
from inference.champion_services import model_promote as promote_model
from inference.champion_services import model_rollback as rollback_model
from inference.models import ModelAlias, ModelMove, ModelVersion
from inference.selectors import champion_alias, model_by_pk
from inference.selectors import model_list as every_model

MODELS = "operator-models"


@dataclass(frozen=True)
class ModelRow:
    model: ModelVersion
    card: ModelCard
    standing: str


@dataclass(frozen=True)
class MoveRow:
    move: ModelMove
    label: str


@operator
@require_safe
def model_list(request: HttpRequest) -> HttpResponse:
    alias, models = champion_alias(), list(every_model())
    context = {
        "section": MODELS,
        "rows": [_row(model, alias) for model in models],
        "alias": alias,
        "before": _label(models, alias.former[-1]) if alias and alias.former else "",
        "moves": _moves(models, alias),
    }
    return render(request, "operators/model_list.html", context)


@operator
@require_safe
def model_detail(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    row = _row(access_model(pk), champion_alias())
    return render(request, "operators/model_detail.html", {"section": MODELS, "row": row})


@operator
@require_form
def model_promote(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Make a model the champion, beside the figures of the one that is."""
    model, alias = access_model(pk), champion_alias()
    act = _act(
        title=f"Let {model.label} grade?",
        explanation="Every worker takes it up within seconds. Cases that are graded already keep "
        "their grades, and you can bring the present champion back at any time.",
        done=f"{model.label} is the champion.",
    )
    form = _champion_form(request, alias, "Make it the champion")
    return act_page(
        request,
        act,
        form,
        lambda said: promote_model(model=model, **said),
        **_comparison(model, alias),
    )


@operator
@require_form
def model_rollback(request: HttpRequest) -> HttpResponse:
    """Give the champion's name back to the model before."""
    alias = champion_alias()
    before = model_by_pk(alias.former[-1]) if alias and alias.former else None
    act = _act(
        title=f"Back to {before.label}?" if before else "There is nothing to go back to",
        explanation="Every worker takes it up within seconds. Cases that are graded already keep "
        "their grades.",
        done=f"{before.label} is the champion again." if before else "",
    )
    form = _champion_form(request, alias, "Bring it back")
    compared = _comparison(before, alias) if before else {}
    return act_page(request, act, form, lambda said: rollback_model(**said), **compared)


def _comparison(model: ModelVersion, alias: ModelAlias | None) -> dict:
    """Return a model beside the champion, and in what it misses more; nothing for the champion."""
    if alias is None or alias.model_id == model.pk:
        return {}
    compared = [_row(model, alias), _row(alias.model, alias)]
    return {
        "compared": compared,
        "misses_more": lower_sensitivities(*(row.card for row in compared)),
    }


def _row(model: ModelVersion, alias: ModelAlias | None) -> ModelRow:
    return ModelRow(model, model_card(model), _standing(model, alias))


def _standing(model: ModelVersion, alias: ModelAlias | None) -> str:
    if alias is None:
        return "registered"
    if model.pk == alias.model_id:
        return "champion"
    return "former" if model.pk in alias.former else "registered"


def _moves(models: list[ModelVersion], alias: ModelAlias | None) -> list[MoveRow]:
    """Return the steps of the champion's name, the last one first."""
    moves = reversed(alias.moves) if alias else ()
    return [MoveRow(move, _label(models, move.model_id)) for move in moves]


def _label(models: list[ModelVersion], pk: ObjectId) -> str:
    return next((model.label for model in models if model.pk == pk), "")


def _champion_form(request: HttpRequest, alias: ModelAlias | None, button: str) -> ChampionForm:
    seen = alias.revision if alias else 0
    return ChampionForm(posted(request), initial={"seen_revision": seen}, button=button)


def _act(**words: str) -> Act:
    return Act(MODELS, back=resolve_url("operators:model-list"), back_words="Models", **words)
