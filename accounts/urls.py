from django.urls import path

from accounts import views
from accounts.audit_pages import views as audit
from accounts.people.views import answer, invitations, members, roster, rules
from accounts.sign_in.views import entrance, first_factor, security

app_name = "accounts"
urlpatterns = [
    path("", views.start, name="start"),
    path("sign-in/", entrance.sign_in, name="sign-in"),
    path("sign-out/", entrance.sign_out, name="sign-out"),
    path("password/", entrance.password_change, name="password-change"),
    path("security/first/", first_factor.first_factor, name="first-factor"),
    path("security/first/mail/", first_factor.first_factor_mail, name="first-factor-mail"),
    path("sessions/", security.session_list, name="session-list"),
    path("sessions/others/", security.session_close_others, name="session-close-others"),
    path("sessions/<oid:pk>/", security.session_close, name="session-close"),
    path("audit/", audit.audit_list, name="audit-list"),
    path("audit/export/", audit.audit_export, name="audit-export"),
    path("audit/head/", audit.audit_head, name="audit-head"),
    path("hospital/", views.hospital_switch, name="hospital-switch"),
    path("usage/", views.usage_detail, name="usage-detail"),
    path("people/", members.member_list, name="member-list"),
    path("people/add/", members.member_create, name="member-create"),
    path("people/<oid:pk>/", members.member_update, name="member-update"),
    path("people/<oid:pk>/deactivate/", members.member_deactivate, name="member-deactivate"),
    path("people/<oid:pk>/activate/", members.member_activate, name="member-activate"),
    path("people/<oid:pk>/sign-out/", members.member_sign_out, name="member-sign-out"),
    path("people/<oid:pk>/transfer/", members.member_transfer, name="member-transfer"),
    path("people/invitations/", invitations.invitation_list, name="invitation-list"),
    path("people/invitations/new/", invitations.invitation_new, name="invitation-new"),
    path(
        "people/invitations/<oid:pk>/resend/",
        invitations.invitation_resend,
        name="invitation-resend",
    ),
    path(
        "people/invitations/<oid:pk>/withdraw/",
        invitations.invitation_withdraw,
        name="invitation-withdraw",
    ),
    path("people/import/", roster.roster_upload, name="roster-upload"),
    path("people/import/confirm/", roster.roster_confirm, name="roster-confirm"),
    path("people/rules/", rules.hospital_rules, name="hospital-rules"),
    path("invitation/", answer.invitation_detail, name="invitation"),
    path("invitation/sign-out/", answer.invitation_sign_out, name="invitation-sign-out"),
    path("invitation/<slug:token>/", answer.invitation_link, name="invitation-link"),
]
