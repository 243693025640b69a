from __future__ import annotations

import base64
import io
import re

import pytest
from flask import Blueprint
from openapi_spec_validator import validate

from irs import errors
from irs.web import document, schemas
from irs.web.describing import JOB_ID, describes
from irs.web.preferences import JSON
from tests.conformity import Conformity
from tests.unit.web.webkit import picture


def problems(tree, path, method):
    """The codes that an operation declares, by status."""
    found = {}
    for status, response in tree["paths"][path][method]["responses"].items():
        if "$ref" in response:
            told = tree["components"]["responses"][response["$ref"].rpartition("/")[2]]
            schema = told["content"]["application/problem+json"]["schema"]
            found[int(status)] = schema["allOf"][1]["properties"]["code"]["enum"]
    return found


@pytest.fixture
def tree(service):
    return service.client.get("/openapi.json").json


def test_the_document_is_openapi(make):
    for settings in ({}, {"api_keys": "anna:" + "s" * 20}):
        headers = {"X-API-Key": "s" * 20}
        tree = make(**settings).client.get("/openapi.json", headers=headers).json
        validate(tree)
        assert tree["openapi"].startswith("3.1.")


def test_every_route_declares_itself_and_every_declaration_can_be_written(service):
    for rule, method, operation in document.operations(service.app):
        assert operation is not None, f"{method} {rule.rule}: declare it with irs.web.describing.describes"
        assert operation.tag in document.TAGS
        assert document.path(rule, operation)


def test_every_reference_leads_somewhere(tree):
    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                found = tree
                for part in node["$ref"].split("/")[1:]:
                    found = found[part]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(tree)


def test_codes_come_from_the_error_tree(tree):
    submit = problems(tree, "/v1/images", "post")
    assert submit[400] == sorted([errors.BadRequest.code, errors.NoFile.code])
    assert submit[413] == [errors.TooLarge.code]
    assert submit[503] == ["overloaded", "unavailable"]
    assert problems(tree, "/v1/images/{id}", "get")[404] == ["unknown"]
    told = {code for path, item in tree["paths"].items() for method in item
            for codes in problems(tree, path, method).values() for code in codes}
    # Of what is not declared, only what belongs to keys, which this service does not want.
    assert {kind.code for kind in errors.Refused.__subclasses__()} - told == {"unauthorized"}


def test_keys_are_told_of_where_they_are_wanted(make):
    service = make(api_keys="anna:" + "s" * 20)
    tree = service.client.get("/openapi.json", headers={"X-API-Key": "s" * 20}).json
    assert {"bearer": []} in tree["paths"]["/v1/images"]["post"]["security"]
    assert 403 in problems(tree, "/v1/images", "post")
    assert 403 not in problems(tree, "/v1/images/{id}", "get")
    assert "security" not in tree["paths"]["/healthz"]["get"]
    commands = [tree["paths"][path]["get"]["x-codeSamples"][0]["source"]
                for path in ("/healthz", "/v1/stats")]
    assert ["Bearer KEY" in command for command in commands] == [False, True]


def test_each_scheme_that_it_names_opens_the_door(make):
    secret = "s" * 20
    client = make(api_keys=f"anna:{secret}").client
    ways = {
        "bearer": {"Authorization": f"Bearer {secret}"},
        "basic": {"Authorization": "Basic " + base64.b64encode(f"x:{secret}".encode()).decode()},
        "header": {"X-API-Key": secret},
    }
    tree = client.get("/openapi.json", headers=ways["header"]).json
    schemes = tree["components"]["securitySchemes"]
    assert schemes.keys() == ways.keys()
    assert schemes["header"]["name"] == "X-API-Key"
    for name in schemes:
        assert client.get("/v1/stats", headers=ways[name]).status_code == 200, name
    told = ", ".join(client.get("/v1/stats").headers.getlist("WWW-Authenticate")).lower()
    for scheme in schemes.values():
        assert scheme["type"] == "apiKey" or scheme["scheme"] in told


def test_limits_are_those_of_the_settings(make):
    tree = make(max_files=7).client.get("/openapi.json").json
    assert "at most 7" in tree["paths"]["/upload"]["post"]["description"]


def test_it_can_be_cached(service):
    first = service.client.get("/openapi.json")
    assert first.headers["Cache-Control"] == "max-age=300"
    again = service.client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_examples_are_what_they_stand_for(tree):
    from jsonschema import Draft202012Validator

    shown = 0
    for schema in tree["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            Draft202012Validator({**schema, "components": tree["components"]}).validate(example)
            shown += 1
    assert shown >= 4


# -- the mechanism -----------------------------------------------------------------------
def _with(make, view):
    blueprint = Blueprint("more", "more", url_prefix="/v1")
    blueprint.delete("/more/<text>")(view)
    service = make()
    service.app.register_blueprint(blueprint)
    return service


def test_a_route_that_declares_nothing_is_left_out(make):
    service = _with(make, lambda text: "")
    assert "/v1/more/{id}" not in service.client.get("/openapi.json").json["paths"]
    silent = [rule.rule for rule, _, told in document.operations(service.app) if told is None]
    assert "/v1/more/<text>" in silent


def test_a_route_costs_one_declaration(make):
    @describes("Do it", tag="images", params=(JOB_ID,), example="-X DELETE",
               answers={200: ("Done.", "Result | Queued"), 204: ("Gone.", None)},
               refuses=(errors.BadRequest, (409, "already_started")))
    def view(text):
        return ""

    operation = _with(make, view).client.get("/openapi.json").json["paths"]["/v1/more/{id}"]["delete"]
    assert operation["operationId"] == "delete_v1_more_id"
    assert [ref["$ref"] for ref in operation["responses"]["200"]["content"][JSON]["schema"]["oneOf"]] == [
        "#/components/schemas/Result", "#/components/schemas/Queued"]
    assert "content" not in operation["responses"]["204"]
    assert "409" in operation["responses"]
    assert operation["x-codeSamples"][0]["source"].startswith("curl -X DELETE http://127.0.0.1:8080/v1/more/7f3c")


def test_parameters_of_the_path_that_are_not_declared_are_an_error(make):
    view = describes("Do it", tag="images", answers={})(lambda text: "")
    service = _with(make, view)
    with pytest.raises(ValueError, match="1 parameters, 0 are declared"):
        _ = service.app.extensions["irs"].document.tree


# -- the tests' own eye ------------------------------------------------------------------
@pytest.mark.parametrize(("status", "headers", "body", "fault"), [
    (418, {}, b"", "the status is not declared"),
    (200, {"Content-Type": "text/csv"}, b"", "text/csv is not declared"),
    (200, {"Content-Type": JSON, "ETag": "x"}, b"{}", "ETag is not declared"),
    (200, {"Content-Type": JSON}, b"{}", "is not valid under any of the given schemas"),
    (404, {"Content-Type": "application/problem+json"},
     b'{"type": "", "title": "", "status": 404, "detail": "", "code": "other"}', "'other' is not one of"),
    (404, {"Content-Type": "application/problem+json"},
     b'{"type": "", "title": "", "status": 404, "detail": "", "code": "unknown", "new": 1}',
     "'new' was unexpected"),
    (503, {"Content-Type": "application/problem+json"}, b"{}", "Retry-After is missing"),
])
def test_an_answer_that_the_document_does_not_tell_of_is_seen(tree, status, headers, body, fault):
    found = Conformity(tree).faults("GET", "/v1/images/x", status, headers, body)
    assert re.search(re.escape(fault), "\n".join(found)), found


def test_an_answer_that_it_tells_of_is_not(service, tree):
    answer = service.client.post("/v1/images", headers={"Prefer": "wait=5"},
                                 data={"x": (io.BytesIO(picture()), "a.jpg")})
    assert not Conformity(tree).faults("POST", "/v1/images", 200, answer.headers, answer.data)


def test_models_have_a_sentence_for_each_field():
    for model in schemas.Model.__subclasses__():
        assert model.__doc__
        for name, told in model.model_fields.items():
            kind = str(told.annotation)
            assert told.description or "Literal" in kind or "schemas" in kind, f"{model.__name__}.{name}"


def test_the_body_of_a_stream_is_not_looked_at(tree):
    headers = {"Content-Type": JSON}
    assert not Conformity(tree).faults("GET", "/v1/images/x", 200, headers, None)
    assert Conformity(tree).faults("GET", "/v1/images/x", 200, {"Content-Type": "text/csv"}, None)
