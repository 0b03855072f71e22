"""Requests that break one rule of the published schema each.

broken(schema, document, components) walks a schema of schemas/openapi.yaml beside a valid document and
yields (pointer, what was broken, the document with it). Every rule that JSON Schema states there is
broken once at each place it holds for: types, limits, lengths, choices, patterns, required and unknown members.
"""
import copy

SAMPLES = {"string": "no such thing", "number": 1.5, "boolean": True, "object": {"a": 1}, "array": [[]], "null": None}
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array", type(None): "null"}


def resolve(schema, components):
    while "$ref" in schema:
        name, *rest = schema["$ref"].removeprefix("#/components/schemas/").split("/")
        schema = components[name]
        for part in rest:
            schema = schema[part]
    return schema


def types_of(schema, components):
    schema = resolve(schema, components)
    if "oneOf" in schema:
        return set().union(*(types_of(choice, components) for choice in schema["oneOf"]))
    if "enum" in schema:
        return {TYPES[type(value)] for value in schema["enum"]}
    kinds = schema.get("type", "object")
    return {kinds} if isinstance(kinds, str) else set(kinds)


def branch_for(schema, value, components):
    """Of several alternatives, the one the valid value takes."""
    schema = resolve(schema, components)
    kind = TYPES[type(value)]
    for choice in schema.get("oneOf", []):
        kinds = types_of(choice, components)
        if kind in kinds or kind == "integer" and "number" in kinds:
            return branch_for(choice, value, components)
    return schema


def wrong_values(schema, value, components):
    """(what is broken, a value that breaks it) for one place."""
    kinds = types_of(schema, components)
    for kind, sample in SAMPLES.items():
        if kind not in kinds and not (kind == "number" and "integer" in kinds) and not (kind == "boolean" and "enum" in schema):
            yield f"a {kind}", sample
    if "string" in kinds and kinds & {"number", "integer"} and "Z" not in str(value):
        yield "a text that is no number", "12 apples"
    if "integer" in kinds and "number" not in kinds:
        yield "a fraction", 1.5
    schema = branch_for(schema, value, components)
    step = 1 if "integer" in kinds else 1e-6
    if "minimum" in schema:
        yield "below the minimum", schema["minimum"] - step
    if "exclusiveMinimum" in schema:
        yield "at the exclusive minimum", schema["exclusiveMinimum"]
    if "maximum" in schema:
        yield "above the maximum", schema["maximum"] + (1 if schema["maximum"] >= 1 else step) * (1 if schema["maximum"] < 1e9 else 1e-6 * schema["maximum"])
    if "enum" in schema and "string" in kinds:
        yield "no such choice", "nope"
        yield "a choice in capitals", str(schema["enum"][0]).upper()
    if "pattern" in schema:
        yield "outside the pattern", "../etc"
    if "maxLength" in schema and "string" in kinds and not kinds & {"number", "integer"}:
        yield "too long", "x" * (schema["maxLength"] + 1)
    if "minLength" in schema:
        yield "empty", ""
    if isinstance(value, list):
        if schema.get("minItems", 0) > 0:
            yield "no element", []
        if "maxItems" in schema:
            yield "too many elements", [value[0]] * (schema["maxItems"] + 1)
    if isinstance(value, dict) and "maxProperties" in schema:
        yield "too many members", {f"m{i}": "x" for i in range(schema["maxProperties"] + 1)}


def broken(schema, document, components):
    def put(path, value):
        made = copy.deepcopy(document)
        place = made
        for part in path[:-1]:
            place = place[part]
        if value is KeyError:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return made

    def walk(schema, value, path):
        pointer = "#" + "".join(f"/{part}" for part in path)
        if path:
            for what, wrong in wrong_values(resolve(schema, components), value, components):
                yield pointer, what, put(path, wrong)
        schema = branch_for(schema, value, components)
        if isinstance(value, dict):
            for name in schema.get("required", []):
                if name in value:
                    yield f"{pointer}/{name}", "missing", put(path + [name], KeyError)
            if schema.get("additionalProperties") is False:
                yield f"{pointer}/nonsense", "unknown member", put(path + ["nonsense"], 1)
            named = schema.get("properties", {})
            for name, inner in value.items():
                rule = named.get(name, schema.get("additionalProperties"))
                if isinstance(rule, dict):
                    yield from walk(rule, inner, path + [name])
        elif isinstance(value, list) and value and "items" in schema:
            place = len(value) // 2  # one element stands for all: they share a rule
            yield from walk(schema["items"], value[place], path + [place])

    yield from walk(schema, document, [])
