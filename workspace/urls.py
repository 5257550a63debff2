"""Patients, cases and photographs. Pages first, then what pages fetch."""

from django.urls import path

from workspace.views import cases, images, patients

app_name = "workspace"
urlpatterns = [
    path("", cases.home, name="home"),
    path("patients/", patients.patient_list, name="patient-list"),
    path("patients/new/", patients.patient_create, name="patient-create"),
    path("patients/<oid:pk>/", patients.patient_detail, name="patient-detail"),
    path("patients/<oid:pk>/edit/", patients.patient_update, name="patient-update"),
    path("patients/<oid:pk>/cases/new/", patients.case_create, name="case-create"),
    path("cases/", cases.case_list, name="case-list"),
    path("cases/events/", cases.worklist_events, name="worklist-events"),
    path("cases/<oid:pk>/", cases.case_detail, name="case-detail"),
    path("cases/<oid:pk>/details/", cases.case_details, name="case-details"),
    path("cases/<oid:pk>/submit/", cases.case_submit, name="case-submit"),
    path("cases/<oid:pk>/cancel/", cases.case_cancel, name="case-cancel"),
    path("cases/<oid:pk>/end-retakes/", cases.case_end_retakes, name="case-end-retakes"),
    path("cases/<oid:pk>/status.json", cases.case_status_json, name="case-status"),
    path("cases/<oid:pk>/events/", cases.case_events, name="case-events"),
    path("cases/<oid:pk>/images/", images.case_photographs, name="case-photographs"),
    path("cases/<oid:pk>/images/add/", images.image_add, name="case-image-add"),
    path("cases/<oid:pk>/images/<slug:key>/label/", images.image_label, name="image-label"),
    path("cases/<oid:pk>/images/<slug:key>/remove/", images.image_remove, name="image-remove"),
    path("cases/<oid:pk>/images/<slug:key>/original", images.image_original, name="image-original"),
    path("cases/<oid:pk>/images/<slug:key>/display", images.image_display, name="image-display"),
    path(
        "cases/<oid:pk>/images/<slug:key>/thumbnail",
        images.image_thumbnail,
        name="image-thumbnail",
    ),
    path("cases/<oid:pk>/images/<slug:key>/heatmap", images.image_heatmap, name="image-heatmap"),
]
