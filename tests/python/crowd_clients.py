#!/usr/bin/env python3
"""Drives two public Crowd clients through user and group management.

    crowd_clients.py URL APPLICATION PASSWORD

The clients (`Crowd` 3.1.0 and `atlassian-python-api` 4.0.7) know nothing of the emulator: what they
can do with a real Crowd they must be able to do with it. Everything is created under names of this
run.

Exits with 1 at the first result that is not as a real server's.
"""

import logging
import sys
import time

from atlassian import Crowd as Atlassian
from crowd import CrowdServer
from requests import HTTPError

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


def raises(what, text, call):
    """Checks that the call fails with this text in Crowd's message."""
    try:
        result = call()
    except RuntimeError as error:
        check(f"{what}: {text!r} in {error}", text in str(error))
    else:
        check(what, result, f"an error with {text!r}")


def python_crowd(client, run):
    """The package `Crowd`."""
    ada, bob = f"{run}-ada", f"{run}-bob"
    group, other = f"{run}-Group", f"{run}-other"

    check("auth_ping", client.auth_ping())
    check("get_cookie_conf", client.get_cookie_conf()["name"], "crowd.token_key")

    check("add_user", client.add_user(
        ada, password="first", email=f"{ada}@example.com", first_name="Ada", last_name="Byron",
        display_name="Ada Byron",
    ))
    check("add_user with less", client.add_user(bob, password="pw", email=f"{bob}@example.com"))
    check("add_user twice", client.add_user(bob, password="pw", email="x@example.com"), False)
    raises("add_user twice, raising", "already exists",
           lambda: client.add_user(bob, raise_on_error=True, password="pw", email="x@example.com"))
    user = client.get_user(ada)
    check("get_user", (user["name"], user["display-name"], user["email"], user["active"]),
          (ada, "Ada Byron", f"{ada}@example.com", True))
    check("user_exists", (client.user_exists(ada.upper()), client.user_exists("nobody")),
          (True, None))
    check("get_user of nobody", client.get_user("nobody"), None)

    check("set_user_attribute", client.set_user_attribute(ada, "lang", "en"))
    attributes = client.get_user(ada)["attributes"]["attributes"]
    check("attributes", [(it["name"], it["values"]) for it in attributes], [("lang", ["en"])])

    check("auth_user", client.auth_user(ada, "first")["name"], ada)
    check("auth_user with a wrong password", client.auth_user(ada, "wrong"), None)
    check("change_password", client.change_password(ada, "second"))
    check("auth_user with the new one", client.auth_user(ada, "second")["email"],
          f"{ada}@example.com")
    session = client.get_session(ada, "second")
    check("get_session", session["user"]["name"], ada)
    check("validate_session", client.validate_session(session["token"])["user"]["name"], ada)
    check("terminate_session", client.terminate_session(session["token"]))
    check("validate_session afterwards", client.validate_session(session["token"]), None)

    check("set_active", client.set_active(ada, False))
    user = client.get_user(ada)
    check("set_active keeps the rest", (user["active"], user["email"], user["last-name"]),
          (False, f"{ada}@example.com", "Byron"))
    check("auth_user of an inactive one", client.auth_user(ada, "second"), None)
    check("set_active back", client.set_active(ada, True))
    check("the password is untouched", client.auth_user(ada, "second")["name"], ada)

    check("create_group", client.create_group(group, "words"), None)
    check("create another", client.create_group(other), None)
    raises("create_group twice", "already exists",
           lambda: client.create_group(group, raise_on_error=True))
    check("add_user_to_group", client.add_user_to_group(ada, group, raise_on_error=True))
    raises("add_user_to_group twice", "already",
           lambda: client.add_user_to_group(ada, group, raise_on_error=True))
    raises("add_user_to_group of none", "does not exist",
           lambda: client.add_user_to_group(ada, f"{run}-none", raise_on_error=True))
    check("add_child_group", client.add_child_group(group, other), None)
    raises("add_child_group twice", "already",
           lambda: client.add_child_group(group, other, raise_on_error=True))
    check("update_group", client.update_group(group, {"description": "more", "active": True}), None)
    check("get_groups", client.get_groups(ada), [group])
    check("get_nested_groups", sorted(client.get_nested_groups(ada)), sorted([group, other]))
    check("get_nested_group_users", client.get_nested_group_users(other), [ada])
    memberships = client.get_memberships()
    check("get_memberships", (memberships[group], memberships[other]),
          ({"users": [ada], "groups": []}, {"users": [], "groups": [group]}))

    found = client.search("user", "email", f"{run}-")
    check("search", sorted(it["name"] for it in found["users"]), sorted([ada, bob]))
    check("search expands", {it["display-name"] for it in found["users"]}, {"Ada Byron", bob})
    part = client.search("user", "email", f"{run}-", start_index=1, max_results=5)
    check("search from the second", len(part["users"]), 1)
    check("search groups", [it["name"] for it in client.search("group", "name", other)["groups"]],
          [other])

    check("remove_child_group", client.remove_child_group(group, other), None)
    raises("remove_child_group twice", "not a member",
           lambda: client.remove_child_group(group, other, raise_on_error=True))
    check("remove_user_from_group", client.remove_user_from_group(ada, group))
    raises("remove_user_from_group twice", "not a member",
           lambda: client.remove_user_from_group(ada, group, raise_on_error=True))
    check("get_groups afterwards", client.get_groups(ada), [])
    for name in [group, other]:
        check("remove_group", client.remove_group(name), None)
    raises("remove_group twice", "does not exist",
           lambda: client.remove_group(other, raise_on_error=True))


def atlassian_python_api(client, run):
    """The package `atlassian-python-api`, below `/rest/usermanagement/latest`."""
    ada, group = f"{run}-ada", f"{run}-Group"

    created = client.user_create(ada, True, "Ada", "Byron", "Ada Byron", f"{ada}@example.com", "pw")
    check("user_create", (created["name"], created["active"]), (ada, True))
    refused("user_create twice", 400,
            lambda: client.user_create(ada, True, "A", "B", "A B", "x@example.com", "pw"))
    check("user", client.user(ada)["email"], f"{ada}@example.com")
    refused("user of nobody", 404, lambda: client.user(f"{run}-none"))

    client.user_deactivate(ada)
    user = client.user(ada)
    check("user_deactivate", (user["active"], user["first-name"], user["email"]),
          (False, "Ada", f"{ada}@example.com"))
    client.user_activate(ada)
    check("user_activate", client.user(ada)["active"])

    client.group_create(group, "words")
    refused("group_create twice", 400, lambda: client.group_create(group))
    client.group_add_user(ada, group)
    refused("group_add_user twice", 409, lambda: client.group_add_user(ada, group))
    check("user_groups", client.user_groups(ada), [group])
    check("user_groups nested", client.user_groups(ada, kind="nested"), [group])
    check("group_members", client.group_members(group), [ada])
    check("is_user_in_group", client.is_user_in_group(ada, group))
    check("is_user_in_group of none", client.is_user_in_group(ada, f"{run}-none"), False)
    check("memberships", client.memberships[group], [ada])

    client.user_delete(ada)
    refused("user_delete twice", 404, lambda: client.user_delete(ada))
    check("user_delete empties groups", client.group_members(group), [])


def main(url, application, password):
    url = url.rstrip("/")
    run = f"py{int(time.time() * 1000) % 10**9}"
    python_crowd(CrowdServer(url, application, password), f"{run}c")
    atlassian_python_api(Atlassian(url, application, password), f"{run}a")
    check("auth_ping with a wrong password", CrowdServer(url, application, "x").auth_ping(), False)
    refused("a wrong password", 401, lambda: Atlassian(url, application, "x").user("ada"))
    print(f"{checks} checks passed")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    # The clients log every refusal, and refusals are half of what is checked.
    logging.disable(logging.CRITICAL)
    main(*sys.argv[1:])
