from django.urls import path

from accounts import views
from accounts.sign_in.views import entrance, security

app_name = "accounts"
urlpatterns = [
    path("", views.start, name="start"),
    path("sign-in/", entrance.sign_in, name="sign-in"),
    path("sign-out/", entrance.sign_out, name="sign-out"),
    path("password/", entrance.password_change, name="password-change"),
    path("sessions/", security.session_list, name="session-list"),
    path("sessions/others/", security.session_close_others, name="session-close-others"),
    path("sessions/<oid:pk>/", security.session_close, name="session-close"),
    path("hospital/", views.hospital_switch, name="hospital-switch"),
    path("people/", views.member_list, name="member-list"),
    path("people/add/", views.member_create, name="member-create"),
    path("people/<oid:pk>/", views.member_update, name="member-update"),
    path("people/<oid:pk>/deactivate/", views.member_deactivate, name="member-deactivate"),
    path("people/<oid:pk>/activate/", views.member_activate, name="member-activate"),
]
