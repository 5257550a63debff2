"""The pages' client: what it reads out of a form, and what it sends."""

from email import message_from_bytes

import pytest

from drservice.supervisor.web_session import PageError, Upload, encode_multipart, parse_page

PAGE = """
<html><head><title>Silent</title></head><body><nav>Menu</nav><h1>New  case</h1>
<a href="/patients/0123456789abcdef01234567/">A patient</a>
<form method="post" action="/cases/new/">
  <input type="hidden" name="csrfmiddlewaretoken" value="token">
  <input name="camera" value="Topcon &amp; Co">
  <input type="checkbox" name="dilated"> <input type="checkbox" name="agrees" checked>
  <input type="file" name="files"> <input type="submit" name="go" value="Go">
  <select name="absent_eye"><option value="">None</option><option value="OD">Right</option></select>
  <select name="field"><option value="disc">Disc</option>
    <option value="macula" selected>Macula</option></select>
  <textarea name="notes">two
lines</textarea>
</form>
<p class="notice" hidden>Later perhaps.</p>
<div class="notice notice-error"><p>The photograph</p> is too dark.</div><p>Not a notice.</p>
<form method="post" id="other"><input name="here" value="1"></form>
<input name="outside" value="x"><input name="named" form="other" value="2">
</body></html>
"""


def test_form_is_read_with_the_values_a_browser_would_send():
    page = parse_page("http://127.0.0.1:8000/somewhere/?page=2", PAGE)
    assert page.form("/cases/new/").fields == {
        "csrfmiddlewaretoken": "token",
        "camera": "Topcon & Co",
        "agrees": "on",
        "absent_eye": "",
        "field": "macula",
        "notes": "two\nlines",
    }
    assert page.form("/somewhere/").fields == {"here": "1", "named": "2"}
    assert page.links == ["http://127.0.0.1:8000/patients/0123456789abcdef01234567/"]


def test_missing_form_says_what_the_page_says_instead():
    page = parse_page("http://127.0.0.1:8000/cases/1/", PAGE)
    with pytest.raises(PageError, match=r"/cases/1/ has no form for /submit/.*too dark") as missing:
        page.form("/submit/")
    assert "Not a notice" not in str(missing.value)
    assert "Later" not in str(missing.value)
    plain = parse_page("http://127.0.0.1:8000/cases/1/", PAGE.replace("notice ", ""))
    assert plain.says.startswith("New case A patient")


def test_upload_arrives_byte_for_byte():
    content = bytes(range(256)) + b"\r\n--\r\n"
    body, content_type = encode_multipart({"token": "t"}, [Upload("a_left.jpg", content)])
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    field, file = message.get_payload()
    assert field.get_param("name", header="Content-Disposition") == "token"
    assert file.get_filename() == "a_left.jpg"
    assert file.get_content_type() == "image/jpeg"
    assert file.get_payload(decode=True) == content
