"""A person's session with the pages, over HTTP: forms with their hidden fields, cookies, uploads.

Only what the pages offer without JavaScript: when this works, so does a browser without it.
"""

import http.cookiejar
import json
import mimetypes
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

TIMEOUT_S = 60


class PageError(Exception):
    """A page did not answer as expected; the text names the page and what it said."""


@dataclass
class Form:
    """A form as the page offers it, with the values that a person finds filled in."""

    action: str
    key: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class Page:
    """A page as a person sees it: forms, links, what it tells (`notices`), all its words."""

    url: str
    forms: list[Form]
    links: list[str]
    notices: list[str]
    words: list[str]

    @property
    def path(self) -> str:
        return urllib.parse.urlsplit(self.url).path

    @property
    def says(self) -> str:
        """Return what matters on the page to somebody who expected another one."""
        return " ".join(self.notices or self.words)[:600]

    def form(self, path: str) -> Form:
        """Return the form that posts to `path`."""
        for form in self.forms:
            if urllib.parse.urlsplit(urllib.parse.urljoin(self.url, form.action)).path == path:
                return form
        raise PageError(f"{self.path} has no form for {path}. The page says: {self.says}")


@dataclass(frozen=True)
class Upload:
    """A file for a form: the name that the server sees, and its bytes."""

    name: str
    content: bytes


class WebSession:
    """One browser window on the service at `address` (http://host:port/)."""

    def __init__(self, address: str) -> None:
        self.address = address
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        # Addresses on this machine never go through a proxy, whatever the environment says.
        self._opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Page:
        return self._page(self._request(path))

    def get_json(self, path: str) -> dict:
        _, text = self._open(self._request(path))
        return json.loads(text)

    def post(
        self, page: Page, path: str, fields: Mapping[str, str], uploads: Iterable[Upload] = ()
    ) -> Page:
        """Fill in the form of `page` that posts to `path`, send it, and follow where it leads."""
        values = {**page.form(path).fields, **fields}
        body, content_type = encode_multipart(values, uploads)
        headers = {"Content-Type": content_type, "Referer": page.url}
        return self._page(self._request(path, body, headers))

    def url(self, path: str) -> str:
        return urllib.parse.urljoin(self.address, path)

    def _request(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> urllib.request.Request:
        return urllib.request.Request(self.url(path), body, headers or {})  # noqa: S310  (our own address)

    def _page(self, request: urllib.request.Request) -> Page:
        url, text = self._open(request)
        return parse_page(url, text)

    def _open(self, request: urllib.request.Request) -> tuple[str, str]:
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                said = parse_page(request.full_url, error.read().decode(errors="replace"))
            raise PageError(
                f"{urllib.parse.urlsplit(request.full_url).path} answered {error.code}. "
                f"The page says: {said.says}"
            ) from error
        except OSError as error:
            raise PageError(f"{request.full_url} can't be reached: {error}") from error


def encode_multipart(
    fields: Mapping[str, str], uploads: Iterable[Upload], file_field: str = "files"
) -> tuple[bytes, str]:
    """Return a form's body and its content type."""
    boundary = secrets.token_hex(16)
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in fields.items()
    ]
    for upload in uploads:
        kind = mimetypes.guess_type(upload.name)[0] or "application/octet-stream"
        head = (
            f'Content-Disposition: form-data; name="{file_field}"; filename="{upload.name}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        )
        parts.append(head.encode() + upload.content)
    separator = b"--" + boundary.encode()
    body = b"".join(separator + b"\r\n" + part + b"\r\n" for part in parts)
    return body + separator + b"--\r\n", f"multipart/form-data; boundary={boundary}"


def parse_page(url: str, text: str) -> Page:
    reader = _PageReader(url)
    reader.feed(text)
    return Page(url, reader.forms, reader.links, reader.notices, reader.words)


class _PageReader(HTMLParser):
    """Read forms, links and words, as far as the client needs them."""

    SILENT = frozenset({"script", "style", "nav", "header", "footer", "head", "option"})

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.notices: list[str] = []
        self.words: list[str] = []
        self._form: Form | None = None
        self._select = ""
        self._text_area = ""
        self._notice_tag = ""
        self._silent = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag in self.SILENT:
            self._silent += 1
        if tag == "a" and values.get("href"):
            self.links.append(urllib.parse.urljoin(self.url, values["href"]))
        if "notice" in values.get("class", "").split() and "hidden" not in values:
            self._notice_tag = tag
            self.notices.append("")
        if tag == "form":
            self._form = Form(values.get("action") or self.url, values.get("id", ""))
            self.forms.append(self._form)
        elif form := self._form_of(values):
            self._read_field(form, tag, values)

    def _form_of(self, values: dict[str, str]) -> Form | None:
        """Return the form a field belongs to: the one it names, or the one around it."""
        if "form" in values:
            return next((form for form in self.forms if form.key == values["form"]), None)
        return self._form

    def _read_field(self, form: Form, tag: str, values: dict[str, str]) -> None:
        name = values.get("name", "")
        if tag == "input" and name:
            self._read_input(form, name, values)
        elif tag == "textarea":
            self._text_area = name
            form.fields[name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and ("selected" in values or self._select not in form.fields):
            # The first option counts until a selected one comes, as in a browser.
            form.fields[self._select] = values.get("value", "")

    def _read_input(self, form: Form, name: str, values: dict[str, str]) -> None:
        kind = values.get("type", "text")
        if kind in ("checkbox", "radio"):
            if "checked" in values:
                form.fields[name] = values.get("value", "on")
        elif kind not in ("file", "submit", "button", "image", "reset"):
            form.fields[name] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.SILENT:
            self._silent = max(0, self._silent - 1)
        if tag == "form":
            self._form = None
        if tag == "select":
            self._select = ""
        if tag == "textarea":
            self._text_area = ""
        if tag == self._notice_tag:
            self._notice_tag = ""

    def handle_data(self, data: str) -> None:
        if self._text_area and self._form:
            self._form.fields[self._text_area] += data
            return
        said = " ".join(data.split())
        if not said or self._silent:
            return
        self.words.append(said)
        if self._notice_tag:
            self.notices[-1] = f"{self.notices[-1]} {said}".strip()
