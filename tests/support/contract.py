"""Every reply a test gets over HTTP is held against schemas/openapi.yaml: status, media type, body.

A reply that is not described there fails the test that got it.
"""
import functools
import json
import pathlib
import re
import uuid

import jsonschema
import yaml

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "schemas/openapi.yaml"

# What any route may refuse a request with, by status; `info.description` of the document says so, too.
GENERAL = {
    400: {"malformed_request"}, 403: {"not_whitelisted"}, 404: {"route_not_found"}, 405: {"method_not_allowed"},
    408: {"request_timeout"}, 411: {"length_required"}, 413: {"body_too_large"}, 414: {"uri_too_long"},
    415: {"unsupported_media_type"}, 417: {"expectation_failed"}, 431: {"headers_too_large"}, 500: {"internal"},
    501: {"method_not_implemented"}, 503: {"shutting_down"}, 505: {"version_not_supported"},
}
NO_BODY = (204, 304)


@functools.lru_cache(maxsize=None)
def document():
    return yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=None)
def checker():
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("uuid", raises=ValueError)(lambda value: not isinstance(value, str) or str(uuid.UUID(value)) == value)
    rfc3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
    formats.checks("date-time")(lambda value: not isinstance(value, str) or rfc3339.fullmatch(value) is not None)
    return formats


@functools.lru_cache(maxsize=None)
def validator(pointer):
    """Of the schema at a JSON pointer of the document; references go through the document."""
    resolver = jsonschema.RefResolver("urn:openapi", document(), store={"urn:openapi": document()})
    return jsonschema.Draft202012Validator({"$ref": "urn:openapi#" + pointer}, resolver=resolver, format_checker=checker())


def escape(part):
    return part.replace("~", "~0").replace("/", "~1")


def resolved(node, pointer):
    while "$ref" in node:
        pointer = node["$ref"][1:]
        node = document()
        for part in pointer[1:].split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]
    return node, pointer


@functools.lru_cache(maxsize=None)
def patterns():
    """Paths without braces first, as in the route table."""
    found = [(path, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + r"\Z")) for path in document()["paths"]]
    return sorted(found, key=lambda entry: entry[0].count("{"))


def operation_of(method, target):
    path = target.split("?")[0]
    for template, pattern in patterns():
        operation = document()["paths"][template].get("get" if method == "HEAD" else method.lower())
        if operation is not None and pattern.match(path):
            return operation, f"/paths/{escape(template)}/{'get' if method == 'HEAD' else method.lower()}"
    return None, None


def check(method, target, reply):
    """AssertionError unless the document says that this request may be answered so."""
    what = f"{method} {target} -> {reply.status}"
    media = reply.headers.get("content-type", "").split(";")[0]
    operation, pointer = operation_of(method, target)
    described = (operation or {}).get("responses", {}).get(str(reply.status))
    if described is None:
        assert reply.status in GENERAL, f"{what}: not in schemas/openapi.yaml"
        assert media == "application/problem+json", f"{what}: {media}"
        if method != "HEAD":
            problem = reply.json
            assert problem["code"] in GENERAL[reply.status], f"{what} {problem['code']}: not in schemas/openapi.yaml"
            holds(what, "/components/schemas/Problem", problem)
        return
    described, pointer = resolved(described, f"{pointer}/responses/{reply.status}")
    content = described.get("content", {})
    if reply.status in NO_BODY:
        assert not content and not reply.body and not media, f"{what}: has a body"
        return
    assert media in content, f"{what}: {media!r} is not among {sorted(content)}"
    if method != "HEAD" and media in ("application/json", "application/problem+json"):
        holds(what, f"{pointer}/content/{escape(media)}/schema", json.loads(reply.body))


def holds(what, pointer, value):
    error = next(validator(pointer).iter_errors(value), None)
    if error is not None:
        best = jsonschema.exceptions.best_match([error])
        at = "/".join(map(str, best.absolute_path))
        raise AssertionError(f"{what}: {pointer} says of #/{at}: {best.message[:500]}")
