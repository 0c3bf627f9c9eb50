#!/usr/bin/env python3
"""Drives two public SCIM clients through user and group management of an emulated Guard directory.

    guard_clients.py HOST DIRECTORY KEY

The clients (`CloudAdmin` of `atlassian-python-api` 5, and `scim2-client`) know nothing of the emulator: what
they can do with the real directory they must be able to do with it. The former lives beside the other
packages, in `guard` below the environment, as the older version is needed there.

Exits with 1 at the first result that is not as a real server's.
"""

import os
import sys

sys.path.insert(0, os.path.join(sys.prefix, "guard"))

import atlassian.cloud_admin
import httpx2
from requests import HTTPError
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import Error, PatchOp, PatchOperation

checks = 0


def check(what, got, wanted=True):
    """Compares and counts."""
    global checks
    if got != wanted:
        print(f"FAILED: {what}: got {got!r}, wanted {wanted!r}", file=sys.stderr)
        sys.exit(1)
    checks += 1


def refused(what, status, call):
    """Checks that the call is refused with this status."""
    try:
        result = call()
    except HTTPError as error:
        check(f"{what}: status", error.response.status_code, status)
    else:
        check(what, result, f"status {status}")


def user(name):
    """A record as clients state it."""
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "displayName": name.title(),
        "title": "Engineer",
        "emails": [{"value": f"{name}@example.com", "type": "work", "primary": True}],
        "active": True,
    }


def cloud_admin(host, directory, key):
    """`CloudAdmin`, which sends operations without `schemas`."""
    atlassian.cloud_admin.ADMIN_URL = host
    client = atlassian.cloud_admin.CloudAdmin(key)

    check("config", client.get_scim_service_provider_config(directory)["patch"]["supported"])
    check("schemas", client.get_scim_schemas(directory)["totalResults"], 4)
    check("types", client.get_scim_resource_types(directory, "User")["endpoint"], "/Users")

    ada = client.create_scim_user(directory, user("cloud-ada"))
    account = ada["urn:scim:schemas:extension:atlassian-external:1.0"]["atlassianAccountId"]
    check("create", (ada["userName"], ada["active"], ada["groups"], bool(account)),
          ("cloud-ada", True, [], True))
    refused("create twice", 409, lambda: client.create_scim_user(directory, user("cloud-ada")))
    stranger = user("cloud-eve") | {"emails": [{"value": "eve@elsewhere.org", "primary": True}]}
    refused("another domain", 400, lambda: client.create_scim_user(directory, stranger))

    found = client.get_scim_users(directory, filter='userName eq "CLOUD-ADA"')
    check("filter", [it["id"] for it in found["Resources"]], [ada["id"]])
    refused("another filter", 400,
            lambda: client.get_scim_users(directory, filter='userName sw "cloud"'))
    refused("two filters", 400, lambda: client.get_scim_users(
        directory, filter='userName eq "a" or userName eq "b"'))
    check("count", client.get_scim_users(directory, count=5000)["itemsPerPage"] <= 100)

    patched = client.patch_scim_user(directory, ada["id"], [
        {"op": "replace", "path": "active", "value": False},
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "new@example.com"},
    ])
    check("patch", (patched["active"], patched["emails"][0]["value"], patched["title"]),
          (False, "new@example.com", "Engineer"))
    stated = {key: value for key, value in user("cloud-ada").items() if key != "title"}
    check("a PUT clears", "title" in client.replace_scim_user(directory, ada["id"], stated), False)

    group = client.create_scim_group(directory, {"displayName": "cloud-devs"})
    refused("group twice", 409,
            lambda: client.create_scim_group(directory, {"displayName": "Cloud-Devs"}))
    refused("default group", 400,
            lambda: client.create_scim_group(directory, {"displayName": "jira-users-acme"}))
    refused("no rename", 400, lambda: client.patch_scim_group(directory, group["id"], [
        {"op": "replace", "path": "displayName", "value": "other"}]))
    add = {"op": "add", "path": "members", "value": [{"value": ada["id"]}]}
    members = client.patch_scim_group(directory, group["id"], [add])["members"]
    check("add", [it["display"] for it in members], ["cloud-ada"])
    check("groups of a user",
          [it["display"] for it in client.get_scim_user(directory, ada["id"])["groups"]], ["cloud-devs"])
    nobody = {"op": "add", "path": "members", "value": [{"value": "nobody"}]}
    refused("add nobody", 404, lambda: client.patch_scim_group(directory, group["id"], [nobody]))
    refused("put nobody", 400, lambda: client.replace_scim_group(
        directory, group["id"], {"displayName": "cloud-devs", "members": [{"value": "nobody"}]}))
    # As Entra sends it.
    remove = {"op": "Remove", "path": "members", "value": [{"value": ada["id"]}]}
    check("remove", client.patch_scim_group(directory, group["id"], [remove])["members"], [])

    client.delete_scim_group(directory, group["id"])
    refused("group is gone", 404, lambda: client.get_scim_group(directory, group["id"]))
    client.delete_scim_user(directory, ada["id"])
    refused("user is gone", 404, lambda: client.get_scim_user(directory, ada["id"]))
    again = client.create_scim_user(directory, user("cloud-ada"))
    check("a new id", again["id"] != ada["id"])
    check("the old account",
          again["urn:scim:schemas:extension:atlassian-external:1.0"]["atlassianAccountId"], account)

    wrong = atlassian.cloud_admin.CloudAdmin("wrong")
    refused("wrong key", 403, lambda: wrong.get_scim_users(directory))
    refused("wrong directory", 404, lambda: client.get_scim_users("another"))


def scim2(base, key):
    """`scim2-client`, which checks answers against what the directory says of itself."""
    http = httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    client = SyncSCIMClient(http)
    client.discover()
    User, Group = client.get_resource_model("User"), client.get_resource_model("Group")

    emails = [{"value": "scim-bob@example.com", "type": "work", "primary": True}]
    bob = client.create(User(user_name="scim-bob", display_name="Bob", emails=emails))
    check("scim2 create", (bob.user_name, bob.active), ("scim-bob", True))
    check("scim2 query", client.query(User, bob.id).display_name, "Bob")
    twice = client.create(User(user_name="SCIM-BOB", emails=emails), raise_scim_errors=False)
    check("scim2 create twice", (isinstance(twice, Error), twice.status), (True, 409))

    group = client.create(Group(display_name="scim-devs"))
    patch = PatchOp[Group](operations=[
        PatchOperation(op="add", path="members", value=[{"value": bob.id}])])
    check("scim2 add", [it.value for it in client.modify(Group, group.id, patch).members], [bob.id])
    patch = PatchOp[Group](operations=[
        PatchOperation(op="remove", path=f'members[value eq "{bob.id}"]')])
    check("scim2 remove", client.modify(Group, group.id, patch).members or [], [])
    client.delete(Group, group.id)
    client.delete(User, bob.id)


def main():
    host, directory, key = sys.argv[1:]
    cloud_admin(host, directory, key)
    scim2(f"{host}/scim/directory/{directory}", key)
    print(f"{checks} checks passed")


if __name__ == "__main__":
    main()
