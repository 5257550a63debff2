from django.urls import path

from drservice.operators.views import health, hospital_acts, hospitals, models, people

app_name = "operators"
urlpatterns = [
    path("", hospitals.hospital_list, name="hospital-list"),
    path("hospitals/add/", hospital_acts.hospital_create, name="hospital-create"),
    path("hospitals/<oid:pk>/", hospitals.hospital_detail, name="hospital-detail"),
    path("hospitals/<oid:pk>/name/", hospital_acts.hospital_rename, name="hospital-rename"),
    path("hospitals/<oid:pk>/invite/", hospital_acts.hospital_invite_admin, name="hospital-invite"),
    path("hospitals/<oid:pk>/rules/", hospital_acts.hospital_rules, name="hospital-rules"),
    path("hospitals/<oid:pk>/limits/", hospital_acts.hospital_limits, name="hospital-limits"),
    path("hospitals/<oid:pk>/close/", hospital_acts.hospital_close, name="hospital-close"),
    path("hospitals/<oid:pk>/open/", hospital_acts.hospital_open, name="hospital-open"),
    path("models/", models.model_list, name="model-list"),
    path("models/roll-back/", models.model_rollback, name="model-rollback"),
    path("models/<oid:pk>/", models.model_detail, name="model-detail"),
    path("models/<oid:pk>/promote/", models.model_promote, name="model-promote"),
    path("health/", health.health, name="health"),
    path("people/", people.operator_list, name="operator-list"),
    path("people/add/", people.operator_create, name="operator-create"),
    path("people/<oid:pk>/deactivate/", people.operator_deactivate, name="operator-deactivate"),
    path("people/<oid:pk>/activate/", people.operator_activate, name="operator-activate"),
]
