"""A browser without a browser: forms filled in as they stand on the page, and cookies kept."""

from __future__ import annotations

from html.parser import HTMLParser

from fastapi.testclient import TestClient

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Form:
    """A form as it stands on a page."""

    def __init__(self, attributes):
        self.action = attributes.get("action", "")
        self.method = attributes.get("method", "get")
        self.fields = []

    def filled(self, **changes):
        """The fields as pairs, some of them changed; a list gives a field several values."""
        kept = [pair for pair in self.fields if pair[0] not in changes]
        for name, value in changes.items():
            kept += [(name, one) for one in (value if isinstance(value, list) else [value])]
        return kept


class Page(HTMLParser):
    """What a test looks at: text, links, forms, ids."""

    def __init__(self, answer):
        super().__init__()
        self.status, self.headers, self.html = answer.status_code, answer.headers, answer.text
        self.words, self.links, self.forms, self.ids, self.tags = [], [], [], [], []
        self._option = None
        self.feed(answer.text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        told = {name: value or "" for name, value in attrs}
        self.tags.append((tag, told))
        if "id" in told:
            self.ids.append(told["id"])
        if tag == "a":
            self.links.append(told.get("href", ""))
        if tag == "form":
            self.forms.append(Form(told))
        if tag == "select" and self.forms:
            self._select = told.get("name", "")
        if tag == "option" and self.forms and "selected" in told:
            self.forms[-1].fields.append((self._select, told.get("value", "")))
        if tag == "textarea" and self.forms:
            self.forms[-1].fields.append((told.get("name", ""), ""))
        if tag == "input" and self.forms and told.get("name"):
            ticked = told.get("type") not in {"checkbox", "radio"} or "checked" in told
            if ticked:
                self.forms[-1].fields.append((told["name"], told.get("value", "")))

    def handle_data(self, data):
        self.words.append(data)

    def form(self, action):
        """The form that goes to an address."""
        [found] = [one for one in self.forms if one.action == action]
        return found


class Browser:
    """Somebody with a cookie jar.

    Parameters
    ----------
    office : Office
    secure : bool
        Whether the service is reached over TLS, under a name of its own.
    """

    def __init__(self, office, *, secure=False, lang="en"):
        base = "https://credit.example" if secure else "http://127.0.0.1:8080"
        self.http = TestClient(
            office.app, base_url=base, raise_server_exceptions=False, follow_redirects=False
        )
        self.http.headers.update(HTML | {"Accept-Language": lang})

    def get(self, path, status=200, **query):
        answer = self.http.get(path, params=query or None)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:2000])
        return Page(answer)

    def send(self, form, status=303, headers=None, **changes):
        """Send a form, as it stands or changed; return the answer."""
        pairs = form.filled(**changes)
        data = {}
        for name, value in pairs:
            data.setdefault(name, []).append(value)
        answer = self.http.post(form.action, data=data, headers=headers)
        assert answer.status_code == status, (form.action, answer.status_code, answer.text[:2000])
        return answer

    def sign_in(self, name, secret, place=""):
        form = self.get("/sign-in", **({"next": place} if place else {})).form("/sign-in")
        return self.send(form, client=name, secret=secret)
