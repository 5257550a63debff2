"""Patients, cases and photographs. Pages first, then what pages fetch."""

from django.urls import path

from workspace.views import cases, erasures, exports, images, merges, patients

app_name = "workspace"
urlpatterns = [
    path("", cases.home, name="home"),
    path("patients/", patients.patient_list, name="patient-list"),
    path("patients/new/", patients.patient_create, name="patient-create"),
    path("patients/duplicates/", merges.duplicate_list, name="duplicate-list"),
    path("patients/<oid:pk>/", patients.patient_detail, name="patient-detail"),
    path("patients/<oid:pk>/edit/", patients.patient_update, name="patient-update"),
    path("patients/<oid:pk>/cases/new/", patients.case_create, name="case-create"),
    path("patients/<oid:pk>/others/", merges.patient_duplicates, name="patient-duplicates"),
    path("patients/<oid:pk>/others/<oid:other>/", merges.patient_merge_view, name="patient-merge"),
    path(
        "patients/<oid:pk>/others/<oid:other>/apart/",
        merges.patient_tell_apart,
        name="patient-tell-apart",
    ),
    path("patients/<oid:pk>/unmerge/", merges.patient_unmerge_view, name="patient-unmerge"),
    path("patients/<oid:pk>/export/", exports.patient_export, name="patient-export"),
    path("patients/<oid:pk>/hold/", erasures.patient_hold, name="patient-hold"),
    path("patients/<oid:pk>/release/", erasures.patient_release, name="patient-release"),
    path("patients/<oid:pk>/erase/", erasures.patient_erase, name="patient-erase"),
    path(
        "patients/<oid:pk>/erase/withdraw/",
        erasures.patient_erase_withdraw,
        name="patient-erase-withdraw",
    ),
    path("records/", erasures.record_keeping, name="record-keeping"),
    path("records/hold/", erasures.hospital_hold, name="hospital-hold"),
    path("records/release/", erasures.hospital_release, name="hospital-release"),
    path("records/erasures/<oid:pk>/", erasures.erasure_detail, name="erasure-detail"),
    path("records/erasures/<oid:pk>/decline/", erasures.erasure_decline, name="erasure-decline"),
    path("cases/", cases.case_list, name="case-list"),
    path("cases/events/", cases.worklist_events, name="worklist-events"),
    path("cases/<oid:pk>/", cases.case_detail, name="case-detail"),
    path("cases/<oid:pk>/details/", cases.case_details, name="case-details"),
    path("cases/<oid:pk>/submit/", cases.case_submit, name="case-submit"),
    path("cases/<oid:pk>/cancel/", cases.case_cancel, name="case-cancel"),
    path("cases/<oid:pk>/void/", cases.case_void, name="case-void"),
    path("cases/<oid:pk>/reinstate/", cases.case_reinstate, name="case-reinstate"),
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
