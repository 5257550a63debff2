from django.urls import path

from accounts import views
from accounts.sign_in import views as sign_in

app_name = "accounts"
urlpatterns = [
    path("", views.start, name="start"),
    path("sign-in/", sign_in.sign_in, name="sign-in"),
    path("sign-out/", sign_in.sign_out, name="sign-out"),
    path("password/", sign_in.password_change, name="password-change"),
    path("hospital/", views.hospital_switch, name="hospital-switch"),
    path("people/", views.member_list, name="member-list"),
    path("people/add/", views.member_create, name="member-create"),
    path("people/<oid:pk>/", views.member_update, name="member-update"),
    path("people/<oid:pk>/deactivate/", views.member_deactivate, name="member-deactivate"),
    path("people/<oid:pk>/activate/", views.member_activate, name="member-activate"),
]
