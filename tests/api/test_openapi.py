"""schemas/openapi.yaml says what the code does: references, limits, examples, error codes."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

import contract
from kronosq import BUILD, Reply

yaml = pytest.importorskip("yaml")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"


@pytest.fixture(scope="module")
def document():
    return yaml.safe_load((SCHEMAS / "openapi.yaml").read_text(encoding="utf-8"))


def walk(node, path="#"):
    yield path, node
    if isinstance(node, dict):
        for name, child in node.items():
            yield from walk(child, f"{path}/{name}")
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from walk(child, f"{path}/{i}")


def resolve(document, ref):
    node = document
    assert ref.startswith("#/"), ref
    for part in ref[2:].split("/"):
        node = node[part]
    return node


TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int,
         "boolean": bool, "null": type(None)}


def is_of(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


def problems_of(document, schema, value, at="#"):
    """The part of JSON Schema that openapi.yaml uses."""
    if "$ref" in schema:
        return problems_of(document, resolve(document, schema["$ref"]), value, at)
    found = []
    types = schema.get("type", list(TYPES))
    types = [types] if isinstance(types, str) else types
    if not any(is_of(value, name) for name in types):
        return [f"{at}: {value!r} is not {types}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not in {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: {value!r} is not {schema['const']!r}")
    if "oneOf" in schema:
        fits = [s for s in schema["oneOf"] if not problems_of(document, s, value, at)]
        if len(fits) != 1:
            found.append(f"{at}: fits {len(fits)} of oneOf")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        rest = schema.get("additionalProperties", True)
        for name, member in value.items():
            if name in known:
                found += problems_of(document, known[name], member, f"{at}/{name}")
            elif rest is False:
                found.append(f"{at}: {name} is not known")
            elif isinstance(rest, dict):
                found += problems_of(document, rest, member, f"{at}/{name}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at}: has {len(value)} items")
        for i, item in enumerate(value):
            found += problems_of(document, schema.get("items", {}), item, f"{at}/{i}")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{at}: {value!r} does not match {schema['pattern']}")
        if len(value) > schema.get("maxLength", len(value)) or len(value) < schema.get("minLength", 0):
            found.append(f"{at}: has {len(value)} characters")
    if is_of(value, "number"):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            found.append(f"{at}: {value} is out of range")
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            found.append(f"{at}: {value} is out of range")
    return found


def test_every_reference_leads_somewhere_and_every_schema_is_used(document):
    refs = {node["$ref"] for _, node in walk(document) if isinstance(node, dict) and "$ref" in node}
    for ref in refs:
        resolve(document, ref)
    unused = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} - refs
    assert not unused


def test_no_member_is_listed_as_required_without_being_described(document):
    for path, node in walk(document):
        if isinstance(node, dict) and isinstance(node.get("required"), list):
            assert set(node["required"]) <= set(node.get("properties", {})), path


def test_the_limits_are_those_of_the_code(document):
    header = (ROOT / "common" / "task.h").read_text(encoding="utf-8")
    limits = {name: float(value) for name, value in re.findall(r"#define (TASK_\w+_MAX)\s+([\d.]+)\s", header)}
    request = document["components"]["schemas"]["SingleRequest"]["properties"]
    overrides = document["components"]["schemas"]["Overrides"]["properties"]
    output = document["components"]["schemas"]["Output"]["properties"]
    assert request["candles"]["oneOf"][0]["maxItems"] == limits["TASK_HISTORY_MAX"]
    assert request["timestamps"]["oneOf"][0]["maxItems"] == limits["TASK_HISTORY_MAX"]
    assert request["prediction_timestamps"]["oneOf"][0]["maxItems"] == limits["TASK_HORIZON_MAX"]
    assert overrides["pred_len"]["maximum"] == limits["TASK_HORIZON_MAX"]
    assert overrides["sample_count"]["maximum"] == limits["TASK_SAMPLES_MAX"]
    assert overrides["top_k"]["maximum"] == limits["TASK_TOP_K_MAX"]
    assert overrides["temperature"]["maximum"] == limits["TASK_TEMPERATURE_MAX"]
    assert overrides["seed"]["maximum"] == 2**53 - 1
    assert output["quantiles"]["maxItems"] == limits["TASK_QUANTILES_MAX"]
    assert request["series_id"]["maxLength"] == limits["TASK_SERIES_ID_MAX"]
    assert request["metadata"]["maxProperties"] == limits["TASK_METADATA_MAX"]
    header = (ROOT / "api" / "request.h").read_text(encoding="utf-8")
    batch = {name: int(value) for name, value in re.findall(r"#define (REQUEST_BATCH_\w+_MAX)\s+(\d+)\s", header)}
    schemas = document["components"]["schemas"]
    for items in (schemas["BatchRequest"]["properties"]["items"], schemas["BatchResult"], schemas["TaskDocument"]["properties"]["tasks"]):
        assert items["maxItems"] == batch["REQUEST_BATCH_SERIES_MAX"]
    assert f"at most {batch['REQUEST_BATCH_SAMPLES_MAX']}." in schemas["BatchRequest"]["properties"]["items"]["description"]


def test_the_members_of_a_request_are_those_the_code_knows(document):
    schemas = document["components"]["schemas"]
    for name, source, table in (("SingleRequest", "request_fields.c", "names"),
                                ("Overrides", "request_overrides.c", "names"),
                                ("Output", "request_output.c", "names"),
                                ("Webhook", "request_webhook.c", "names"),
                                ("HistoryGenerator", "request_times.c", "generator_names"),
                                ("HorizonGenerator", "request_times.c", "generator_names"),
                                ("Candle", "request_candles.c", "field_names")):
        text = (ROOT / "api" / source).read_text(encoding="utf-8")
        body = re.search(rf"\*const {table}\[\w+\]\s*=\s*\{{(.*?)\}};", text, re.S).group(1)
        assert set(re.findall(r'"(\w+)"', body)) == set(schemas[name]["properties"]), name


def test_a_batch_has_the_members_of_single_requests_and_two_of_its_own(document):
    schemas = document["components"]["schemas"]
    single = list(schemas["SingleRequest"]["properties"])
    own = re.search(r"own_names\[REST\] = \{(.*?)\};", (ROOT / "api" / "request_batch.c").read_text(encoding="utf-8")).group(1)
    assert set(schemas["BatchRequest"]["properties"]) == set(re.findall(r'"(\w+)"', own)) | set(single[single.index("model"):])
    assert list(schemas["BatchItem"]["properties"]) == single[:single.index("model")]


def test_every_example_of_a_request_fits_the_schema(document):
    schema = document["components"]["schemas"]["SingleRequest"]
    examples = document["paths"]["/v1/predict/single"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert examples
    for example in examples.values():
        value = json.loads((SCHEMAS / example["externalValue"]).read_text(encoding="utf-8"))
        assert problems_of(document, schema, value) == []


def test_the_inline_examples_fit_their_schemas(document):
    seen = 0
    for path, node in walk(document):
        if isinstance(node, dict) and "schema" in node and "example" in node:
            assert problems_of(document, node["schema"], node["example"]) == [], path
            seen += 1
    assert seen >= 4


def test_the_events_of_the_document_are_those_of_webhook_md(document):
    page = (SCHEMAS / "webhook.md").read_text(encoding="utf-8")
    shown = json.loads(re.search(r"^```json\n(.*?)^```", page, re.M | re.S)[1])
    content = document["webhooks"]["task"]["post"]["requestBody"]["content"]["application/json"]
    assert shown == content["example"] and problems_of(document, content["schema"], shown) == []
    ping = json.loads(re.search(r'`(\{"type":"test.ping".*?\})` \|', page)[1])
    content = document["webhooks"]["ping"]["post"]["requestBody"]["content"]["application/json"]
    assert ping == content["example"]
    named = set(re.search(r"^\| `type` \| (.*?) \|$", page, re.M)[1].replace("`", "").split(" (")[0].split(", "))
    assert named == set(document["components"]["schemas"]["TaskEvent"]["properties"]["type"]["enum"]) | {"test.ping"}
    for name in document["components"]["schemas"]["TaskEvent"]["properties"]["data"]["properties"]:
        assert f"`{name}`" in page or name == "series_ids_omitted" and name in page, name


def test_the_malformed_bodies_use_the_listed_error_codes(document):
    errors = document["components"]["schemas"]["ValidationProblem"]["properties"]["errors"]
    listed = set(errors["items"]["properties"]["code"]["enum"])
    rows = json.loads((ROOT / "tests" / "data" / "malformed_bodies.json").read_text(encoding="utf-8"))
    assert {row["code"] for row in rows if row["status"] == 422} <= listed


def test_the_schema_refuses_most_of_what_the_code_refuses(document):
    """Not all: relations, order of a candle and text forms of a time are beyond JSON Schema."""
    schema = document["components"]["schemas"]["SingleRequest"]
    rows = json.loads((ROOT / "tests" / "data" / "malformed_bodies.json").read_text(encoding="utf-8"))
    checked = 0
    for row in rows:
        if row["status"] == 422 and row["code"] in {"required", "choice", "unknown_member"} and row.get("body"):
            checked += 1
            if "generator" in row["name"] or "null price in a column" in row["name"]:
                continue
            assert problems_of(document, schema, json.loads(row["body"])), row["name"]
    assert checked >= 15


def test_every_route_of_the_server_is_described_and_no_other(document):
    table = (ROOT / "api" / "server.c").read_text(encoding="utf-8")
    lines = re.findall(r'\{HEAD_METHOD_(\w+), "([^"]+)",\s*ROUTE_(\w+),\s*([\w|\s]+),\s*(\w+)\}', table)
    served = {(method.lower(), path) for method, path, _, _, handler in lines if handler != "NULL"}
    described = {(method, path) for path, operations in document["paths"].items() for method in operations}
    assert len(served) > 20 and described == served
    for method, path, scope, flags, _ in lines:
        operation = document["paths"][path][method.lower()]
        keyed = [{"ApiKey": [scope.lower()]}]
        assert operation["security"] == {"OPEN": [], "METRICS": [{}, {"ApiKey": ["read"]}]}.get(scope, keyed), path
        assert {"401", "403"} <= set(operation["responses"]) or scope == "OPEN", path
        assert ("429" in operation["responses"]) == ("ROUTE_COUNTS" in flags), path
    for path, operations in document["paths"].items():
        for operation in operations.values():
            named = [resolve(document, p["$ref"]) if "$ref" in p else p for p in operation.get("parameters", [])]
            assert {p["name"] for p in named if p["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path)), path


def test_what_any_route_may_answer_is_said_in_the_document(document):
    said = set(re.findall(r"`(\w+)`\s+\((\d{3})", document["info"]["description"]))
    assert said == {(code, str(status)) for status, codes in contract.GENERAL.items() for code in codes}


@pytest.mark.parametrize("method,target,status,media,body", [
    ("GET", "/v1/healthz", 200, "application/json", b'{"status":"fine"}'), ("GET", "/v1/healthz", 200, "text/html", b"ok"),
    ("GET", "/v1/healthz", 201, "application/json", b'{"status":"ok"}'), ("DELETE", "/v1/healthz", 204, "", b""),
    ("GET", "/v1/models", 503, "application/problem+json", b'{"code":"store_unavailable"}'),
    ("GET", "/nowhere", 404, "application/problem+json", b'{"code":"task_not_found"}'),
])
def test_a_reply_that_is_not_in_the_document_fails_a_test(method, target, status, media, body):
    reply = Reply(status, {"content-type": media} if media else {}, body)
    with pytest.raises(AssertionError):
        contract.check(method, target, reply)


def test_the_served_document_is_the_one_in_schemas(shared_service, document):
    reply = shared_service.get("/openapi.json")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    served = reply.json
    assert served["openapi"].startswith("3.1.")
    assert served["paths"].keys() == document["paths"].keys() and served["webhooks"].keys() == document["webhooks"].keys()
    assert "externalValue" not in reply.body.decode()
    again = shared_service.get("/openapi.json", headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    head = shared_service.request("HEAD", "/openapi.json")
    assert int(head.headers["content-length"]) == len(reply.body)


def test_a_public_validator_calls_the_served_document_openapi_3_1(shared_service, tmp_path):
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no npm: it fetches the validator")
    tools = BUILD.parent / "openapi-check"
    if not (tools / "node_modules" / ".package-lock.json").exists():
        fresh = tmp_path / "tools"
        shutil.copytree(ROOT / "tests/openapi", fresh)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=fresh, check=True, timeout=120,
                       capture_output=True)
        try:
            fresh.rename(tools)
        except OSError:  # another test run was faster, or the folder is on another disk
            shutil.copytree(fresh, tools, dirs_exist_ok=True)
    document = tmp_path / "openapi.json"
    document.write_bytes(shared_service.get("/openapi.json").body)
    validator = tools / "node_modules/.bin/validate-api"
    checked = subprocess.run([validator, document], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    broken = json.loads(document.read_text())
    broken["paths"]["/v1/models"]["get"]["responses"] = []
    document.write_text(json.dumps(broken))
    assert subprocess.run([validator, document], capture_output=True, timeout=60).returncode != 0
