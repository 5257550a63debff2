"""What every answer tells browsers: who may embed it, which sensors a page has, what is kept."""

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from drservice.headers import HeadersMiddleware

pytestmark = pytest.mark.django_db


def test_every_answer_stays_on_its_own_site_and_uses_no_sensor(two_hospitals, client_of):
    answers = [
        Client().get(reverse("accounts:sign-in")),
        Client().get("/no/such/page"),
        Client().get("/static/js/page.js"),
        Client().get("/healthz"),
        client_of(two_hospitals.a.staff).get(reverse("workspace:case-list")),
        client_of(two_hospitals.a.admin).get(reverse("workspace:case-list")),
    ]
    for answer in answers:
        assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
        features = answer["Permissions-Policy"].split(", ")
        assert {"camera=()", "microphone=()", "geolocation=()"} <= set(features)
        assert "publickey-credentials-get=(self)" in features
        assert answer.has_header("Cache-Control")
        answer.close()
    assert {answer.status_code for answer in answers} == {200, 403, 404}
    for refused in (answers[1], answers[5]):
        assert "no-store" in refused["Cache-Control"]


def test_an_answer_that_says_how_it_is_kept_is_left_alone():
    def kept(request) -> HttpResponse:
        return HttpResponse(headers={"Cache-Control": "private, no-cache"})

    answer = HeadersMiddleware(kept)(RequestFactory().get("/"))
    assert answer["Cache-Control"] == "private, no-cache"
