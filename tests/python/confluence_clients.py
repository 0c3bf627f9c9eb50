#!/usr/bin/env python3
"""Drives a public Confluence client through what it can do about users and groups.

    confluence_clients.py URL TOKEN USER PASSWORD

The client (`atlassian-python-api` 4.0.7) knows nothing of the emulator: what it can do with a real
Confluence it must be able to do with it. It cannot create or disable accounts, so those calls are
sent as they are; everything is made under names of this run and taken away again.

Exits with 1 at the first result that is not as a real server's.
"""

import logging
import sys
import time

import requests
from atlassian import Confluence
from atlassian.errors import ApiError, ApiNotFoundError
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
    except ApiNotFoundError:
        check(f"{what}: status", 404, status)
    except ApiError as error:
        check(f"{what}: status", error.reason.response.status_code, status)
    else:
        check(what, result, f"status {status}")


def plain(url, token):
    """Sends what the client has no call for."""
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {token}"

    def send(method, path, **arguments):
        return session.request(method, f"{url}/rest/api/{path}", timeout=10, **arguments)

    return send


def manage(client, send, admin, run):
    """Users, groups and memberships."""
    ada, bob = f"{run}-ada", f"{run}-bob"
    group = f"{run}-Group"
    for name in (ada, bob):
        body = {"userName": name, "fullName": "Ada Byron", "email": "ada@example.com",
                "password": "secret-word", "notifyViaEmail": False}
        check(f"create {name}", send("POST", "admin/user", json=body).status_code, 201)

    user = client.get_user_details_by_username(ada, expand="status")
    check("details by name", (user["type"], user["username"], user["displayName"], user["status"]),
          ("known", ada, "Ada Byron", "current"))
    check("no address is shown", "email" in user, False)
    by_key = client.get_user_details_by_userkey(user["userKey"])
    check("details by key", (by_key["username"], "status" in by_key), (ada, False))
    refused("details of nobody", 404, lambda: client.get_user_details_by_username(f"{run}-none"))
    check("the administrator", client.get_user_details_by_username(admin)["username"], admin)

    check("create_group", client.create_group(group)["name"], group)
    refused("create_group twice", 409, lambda: client.create_group(group))
    names = [it["name"] for it in client.get_all_groups()]
    check("get_all_groups", group in names and "confluence-administrators" in names)
    check("get_all_groups by pages",
          [it["name"] for it in client.get_all_groups(start=1, limit=1)], names[1:2])
    for _ in range(2):
        client.add_user_to_group(ada, group)
        client.add_user_to_group(bob, group)
    members = client.get_group_members(group)
    check("get_group_members", [it["username"] for it in members], [ada, bob])
    members = client.get_group_members(group, start=1, limit=5, expand="status")
    check("the second one", [(it["username"], it["status"]) for it in members], [(bob, "current")])
    check("get_all_members", len(client.get_all_members(group)), 2)
    for _ in range(2):
        client.remove_user_from_group(ada, group)
    check("remove_user_from_group", [it["username"] for it in client.get_group_members(group)], [bob])
    refused("add nobody", 404, lambda: client.add_user_to_group(f"{run}-none", group))
    refused("add to nothing", 404, lambda: client.add_user_to_group(ada, f"{run}-none"))

    check("disable", send("PUT", f"admin/user/{bob}/disable").status_code, 204)
    check("a disabled member", client.get_group_members(group, expand="status")[0]["status"],
          "deactivated")
    for name in (ada, bob):
        accepted = send("DELETE", f"admin/user/{name}")
        check("delete", accepted.status_code, 202)
        task = accepted.json()["id"]
        for _ in range(100):
            status = send("GET", f"longtask/{task}").json()
            if status["percentageComplete"] == 100:
                break
            time.sleep(0.05)
        check("the deletion ends", (status["percentageComplete"], status["successful"]), (100, True))
        refused("a deleted user", 404, lambda name=name: client.get_user_details_by_username(name))
    check("an empty group", client.get_group_members(group), [])
    client.remove_group(group)
    refused("remove_group twice", 404, lambda: client.remove_group(group))


def main(url, token, user, password):
    url = url.rstrip("/")
    stamp = f"py{int(time.time() * 1000) % 10**9}"
    send = plain(url, token)
    # With both kinds of credentials.
    for number, options in enumerate([{"token": token}, {"username": user, "password": password}]):
        client = Confluence(url, cloud=False, advanced_mode=False, **options)
        manage(client, send, user, f"{stamp}-{number}")
    wrong = Confluence(url, cloud=False, token="wrong")
    refused("a wrong token", 401, lambda: wrong.get_all_groups())
    wrong = Confluence(url, cloud=False, username=user, password="wrong")
    refused("a wrong password", 401, lambda: wrong.get_user_details_by_username(user))
    print(f"{checks} checks passed")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    # The client logs every refusal, and refusals are half of what is checked.
    logging.disable(logging.CRITICAL)
    main(*sys.argv[1:])
