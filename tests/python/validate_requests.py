#!/usr/bin/env python3
"""Checks recorded requests against a vendor's OpenAPI file.

    validate_requests.py OPENAPI.json REQUESTS.json [--context PATH] [--ignore REGEX]...

REQUESTS.json is what the emulator recorded (`GET /__emulator/requests`): a list of objects with
`method`, `path`, `query` (pairs, an object, or the text after the question mark) and `body`. For
each request there must be a path template with that method, every query parameter must be
declared, the required ones present, and the body must fit the schema, without any member that the
schema does not know. Exits with 1 if a request breaks a rule. `--ignore` leaves out requests whose
"METHOD path" matches.

Needs `jsonschema` (PyPI).
"""

import argparse
import collections
import copy
import json
import re
import sys
from urllib.parse import parse_qsl, unquote

from jsonschema import Draft202012Validator

METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}

# What the files themselves get wrong or leave out.
DEFECTS = {
    # Declared as a path parameter though the template has no such part.
    ("GET", "/api/2/group/member"): {"groupname": {"in": "query", "required": True}},
    # The reference's examples and every client use them; the file does not list them.
    ("GET", "/api/2/user"): {"expand": {"in": "query", "required": False}},
    ("GET", "/api/2/myself"): {"expand": {"in": "query", "required": False}},
    # It answers in pages as all lists do, and the vendor's own examples ask for them so.
    ("GET", "/api/latest/users"): {
        "start": {"in": "query", "required": False},
        "limit": {"in": "query", "required": False},
    },
}


class Operation:
    """One method of one path template."""

    def __init__(self, template, method, item, operation, document):
        self.name = f"{method} {template}"
        self.parameters = {}
        for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]:
            parameter = resolve(parameter, document)
            self.parameters[parameter["name"]] = dict(parameter)
        for name, correction in DEFECTS.get((method, template), {}).items():
            self.parameters[name] = {"name": name, **self.parameters.get(name, {}), **correction}
        self.body = operation.get("requestBody")
        if self.body is not None:
            self.body = resolve(self.body, document)
        self.schemas = {
            media_type: closed(content.get("schema", {}), document)
            for media_type, content in (self.body or {}).get("content", {}).items()
        }
        # `{name}` and `{name: regular expression}` stand for one part of a path.
        parts = re.split(r"(\{[^}]*\})", template)
        pattern = "".join("[^/]+" if it.startswith("{") else re.escape(it) for it in parts)
        self.pattern = re.compile(f"^{pattern}/?$")
        self.literal_length = sum(len(it) for it in parts if not it.startswith("{"))


def mend(document):
    """Puts right what Guard's file says wrongly about bodies."""
    schemas = document.get("components", {}).get("schemas", {})
    properties = schemas.get("RequestPayloadToPatch", {}).get("properties", {})
    if "operations" in properties:
        # The file's own example, and every client, has the capital of the standard.
        properties["Operations"] = properties.pop("operations")
    if "JsonNode" in schemas:
        # Stands for any JSON, and describes the Java class that holds it.
        schemas["JsonNode"] = {}


def resolve(value, document):
    while "$ref" in value:
        target = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        value = target
    return value


def closed(schema, document, seen=()):
    """The schema in plain JSON Schema, taking no members but those it names."""
    if "$ref" in schema:
        if schema["$ref"] in seen:
            return {}
        seen = (*seen, schema["$ref"])
    schema = copy.copy(resolve(schema, document))
    for name in ("example", "xml", "discriminator", "readOnly", "writeOnly", "deprecated"):
        schema.pop(name, None)
    if schema.pop("nullable", False) and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    if "properties" in schema:
        schema["properties"] = {
            name: closed(it, document, seen) for name, it in schema["properties"].items()
        }
        schema.setdefault("additionalProperties", False)
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = closed(schema["additionalProperties"], document, seen)
    if "items" in schema:
        schema["items"] = closed(schema["items"], document, seen)
    for name in ("allOf", "anyOf", "oneOf"):
        if name in schema:
            # Each part alone would refuse the members of the others.
            parts = [closed(it, document, seen) for it in schema[name]]
            if name == "allOf":
                for part in parts:
                    part.pop("additionalProperties", None)
                schema["unevaluatedProperties"] = False
            schema[name] = parts
    return schema


def operations_of(document):
    operations = collections.defaultdict(list)
    for template, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                method = method.upper()
                operations[method].append(Operation(template, method, item, operation, document))
    for found in operations.values():
        # `/component/page` before `/component/{id}`.
        found.sort(key=lambda it: -it.literal_length)
    return operations


def pairs(query):
    if not query:
        return []
    if isinstance(query, str):
        return parse_qsl(query.lstrip("?"), keep_blank_values=True)
    if isinstance(query, dict):
        return list(query.items())
    return [tuple(it) for it in query]


def fits(text, schema):
    kind = schema.get("type")
    if kind == "integer":
        return re.fullmatch(r"-?\d+", text) is not None
    if kind == "number":
        return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
    if kind == "boolean":
        return text in ("true", "false")
    return text in schema["enum"] if "enum" in schema else True


def problems(request, operation):
    found = []
    declared = {n: p for n, p in operation.parameters.items() if p["in"] == "query"}
    given = pairs(request.get("query"))
    for name, value in given:
        if name not in declared:
            found.append(f"query parameter {name} is not declared")
        elif not fits(value, declared[name].get("schema", {})):
            found.append(f"query parameter {name}={value} is no {declared[name]['schema']}")
    names = {name for name, _ in given}
    for name, parameter in declared.items():
        if parameter.get("required") and name not in names:
            found.append(f"query parameter {name} is missing")
    body = request.get("body")
    if operation.body is None:
        if body is not None:
            found.append("there is a body but none is declared")
        return found
    if body is None:
        # Where the file does not say so, a JSON body described by a schema is needed all the same.
        if operation.body.get("required") or operation.schemas:
            found.append("the body is missing")
        return found
    schema = operation.schemas.get("application/json")
    if schema is None:
        found.append("a JSON body is not declared")
        return found
    for error in Draft202012Validator(schema).iter_errors(body):
        found.append(f"body at {error.json_path}: {error.message}")
    return found


def base_paths(document):
    """Path of each server: `http://{baseurl}/rest` gives `/rest`."""
    for server in document.get("servers", []) or [{"url": ""}]:
        url = re.sub(r"^[a-z]+://[^/]+", "", server["url"])
        yield "" if url.startswith("{") else url.rstrip("/")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("openapi")
    arguments.add_argument("requests")
    arguments.add_argument("--context", default="", help="context path in front, such as /jira")
    arguments.add_argument("--ignore", action="append", default=[], help="METHOD path, a regex")
    arguments = arguments.parse_args()
    with open(arguments.openapi, encoding="utf-8") as file:
        document = json.load(file)
    with open(arguments.requests, encoding="utf-8") as file:
        requests = json.load(file)
    mend(document)
    operations = operations_of(document)
    bases = list(base_paths(document))

    counts, violations, ignored = collections.Counter(), collections.Counter(), 0
    for request in requests:
        method = request["method"].upper()
        # As it stood on the wire: an encoded slash is part of a name.
        raw = request["path"].removeprefix(arguments.context.rstrip("/"))
        # Jira's file names the version, Bitbucket's the alias for the newest.
        named = "latest" if any("/api/latest/" in it for it in document["paths"]) else "2"
        raw = re.sub(r"^/rest/api/(latest|1\.0|2)/", f"/rest/api/{named}/", raw)
        path = unquote(raw)
        if any(re.search(it, f"{method} {path}") for it in arguments.ignore):
            ignored += 1
            continue
        below = [raw.removeprefix(base) for base in bases if raw.startswith(base)]
        operation = next(
            (it for it in operations[method] for rest in below if it.pattern.match(rest)), None
        )
        if operation is None:
            violations[f"{method} {path}: no such operation"] += 1
            continue
        counts[operation.name] += 1
        for problem in problems(request, operation):
            violations[f"{operation.name}: {problem}"] += 1

    for name, count in sorted(counts.items()):
        print(f"{count:7} {name}")
    checked = sum(counts.values())
    print(
        f"{len(requests)} requests: {checked} checked against {len(counts)} operations, "
        f"{ignored} ignored, {sum(violations.values())} violations"
    )
    for violation, count in violations.most_common():
        print(f"VIOLATION ({count} times) {violation}", file=sys.stderr)
    if not requests:
        print("VIOLATION there are no requests at all", file=sys.stderr)
    sys.exit(1 if violations or not requests else 0)


if __name__ == "__main__":
    main()
