"""What the service says of itself: whole, true, and the same as the file that is checked in."""

from __future__ import annotations

import sys

import jsonschema
import pytest

from tests.support import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import write_openapi

OWN_FORM = {("/v1/token", "400"), ("/v1/token", "401")}


@pytest.fixture(scope="module")
def document():
    return write_openapi.document()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_checked_in_document_is_what_the_service_says(document):
    kept = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert kept == write_openapi.spelt(document), "run: python scripts/write_openapi.py"


def test_it_is_openapi_3_1_with_its_security(document):
    assert document["openapi"].startswith("3.1.")
    scheme = document["components"]["securitySchemes"]["token"]
    flow = scheme["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "/v1/token"
    assert set(flow["scopes"]) == {"customer", "officer", "partner", "regulator", "operator"}


def test_every_operation_but_the_open_ones_names_the_roles_it_lets_in(document):
    without = {
        path
        for path, _, one in operations(document)
        if not any("token" in way for way in one.get("security", []))
    }
    assert without == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/token",
        "/v1/model",
        "/v1/feeds",
        "/v1/feeds/{party}",
    }
    for path, method, one in operations(document):
        for alternative in one.get("security", []):
            assert len(alternative.get("token", ["x"])) == 1, (method, path)


def test_every_error_has_the_one_shape_and_an_example_that_fits_it(document):
    shape = jsonschema.Draft202012Validator(document["components"]["schemas"]["ProblemShape"])
    seen = set()
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) < 400 or (path, status) in OWN_FORM:
                continue
            (kind, content), *more = answer["content"].items()
            assert (kind, more) == ("application/problem+json", []), (method, path, status)
            assert content["schema"] == {"$ref": "#/components/schemas/ProblemShape"}
            shape.validate(content["example"])
            assert content["example"]["status"] == int(status)
            seen.add(int(status))
    assert seen >= {400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 500, 503}


def test_what_changes_something_asks_for_a_key_and_what_reads_does_not(document):
    asked = {}
    for path, method, operation in operations(document):
        names = [one.get("name") for one in operation.get("parameters", [])]
        asked[method, path] = "Idempotency-Key" in names
        assert len(names) == len(set(names)), (method, path)
    assert asked["post", "/v1/lines/{line_id}/drawdowns"]
    assert not asked["post", "/v1/lines/{line_id}/quote"]
    assert not any(found for (method, _), found in asked.items() if method == "get")


def test_no_operation_is_called_like_another(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_examples_in_the_schemas_fit_them(document):
    components = document["components"]
    tried = 0
    for name, schema in components["schemas"].items():
        if "example" in schema:
            # A reference begins at the document, whose components stand beside the schema here.
            shape = jsonschema.Draft202012Validator({**schema, "components": components})
            assert [one.message for one in shape.iter_errors(schema["example"])] == [], name
            tried += 1
    assert tried >= 3
