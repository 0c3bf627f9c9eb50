#!/usr/bin/env python3
"""Drives two public Bitbucket clients through user and group management.

    bitbucket_clients.py URL USER PASSWORD

The clients (`stashy` 0.7 and `atlassian-python-api` 4.0.7) know nothing of the emulator: what they
can do with a real Bitbucket they must be able to do with it. Neither renames accounts, sets
passwords or adds many members at once, so no call of theirs shows that. Everything is made under
names of this run and taken away again.

Exits with 1 at the first result that is not as a real server's.
"""

import logging
import sys
import time

import stashy
from atlassian import Bitbucket
from requests import HTTPError
from stashy.errors import AuthenticationException, GenericException, NotFoundException

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
    except NotFoundException:
        check(f"{what}: status", 404, status)
    except AuthenticationException:
        check(f"{what}: status", 401, status)
    except GenericException as error:
        check(f"{what}: status", str(error)[:4], f"{status}:")
    else:
        check(what, result, f"status {status}")


def with_stashy(client, run):
    """The package `stashy`, below `/rest/api/1.0`."""
    users, groups = client.admin.users, client.admin.groups
    ada, group, other = f"{run}-ada", f"{run}-Group", f"{run}-other"

    users.add(ada, "first", "Ada Byron", f"{ada}@example.com")
    refused("users.add twice", 409,
            lambda: users.add(ada, "x", "Another", "x@example.com"))
    refused("users.add without an address", 400, lambda: users.add(f"{run}-x", "x", "X", ""))
    found = list(users.all(filter=f"{ada}@exam"))
    check("users.all", [(it["name"], it["displayName"], it["active"]) for it in found],
          [(ada, "Ada Byron", True)])
    check("users.all tells the directory", found[0]["mutableDetails"])
    changed = users.update(ada, displayName="Ada King", emailAddress="ignored@example.com")
    check("users.update", (changed["displayName"], changed["emailAddress"]),
          ("Ada King", f"{ada}@example.com"))
    check("users.update keeps the number", changed["id"], found[0]["id"])
    refused("users.update of nobody", 404, lambda: users.update(f"{run}-none", displayName="x"))

    check("groups.add", groups.add(group)["name"], group)
    refused("groups.add twice", 409, lambda: groups.add(group.upper()))
    groups.add(other)
    check("groups.all", [it["name"] for it in groups.all(filter=run)], [group, other])
    users.add_group(ada, group)
    groups.add_user(other, ada)
    refused("users.add_group to no group", 404, lambda: users.add_group(ada, f"{run}-none"))
    default = {it["name"] for it in users.more_members(ada)} - {group, other}
    check("the default group", len(default), 1)
    check("more_members", [it["name"] for it in groups.more_members(group)], [ada])
    outside = [it["name"] for it in groups.more_non_members(group)]
    check("more_non_members", ada not in outside and len(outside) > 0)
    users.remove_group(ada, group)
    groups.remove_user(other, ada)
    check("more_members afterwards", list(groups.more_members(group)), [])

    # More than one page of 25, which only `nextPageStart` leads through.
    many = [f"{run}-many{i:03}" for i in range(60)]
    for name in many:
        users.add(name, "pw", name, f"{name}@example.com")
        users.add_group(name, group)
    check("many members", sorted(it["name"] for it in groups.more_members(group)), many)

    permissions = client.admin.permissions
    permissions.users.grant(ada, "PROJECT_CREATE")
    granted = [it for it in permissions.users.all(filter=ada)]
    check("permissions.users.grant", [it["permission"] for it in granted], ["PROJECT_CREATE"])
    permissions.users.revoke(ada)
    check("permissions.users.revoke", list(permissions.users.all(filter=ada)), [])
    permissions.groups.grant(other, "LICENSED_USER")
    check("permissions.groups.grant",
          [it["group"]["name"] for it in permissions.groups.all(filter=run)], [other])
    return ada, group, other, many


def with_atlassian(client, group, ada, many):
    """The package `atlassian-python-api`: it only reads."""
    check("get_users_info", [it["name"] for it in client.get_users_info(user_filter=ada)], [ada])
    check("get_users", client.get_users(user_filter=ada)["values"][0]["slug"], ada)
    check("get_groups", list(client.get_groups(group_filter=group)), [group])
    check("group_members", sorted(it["name"] for it in client.group_members(group, limit=7)), many)


def main(url, user, password):
    url = url.rstrip("/")
    run = f"py{int(time.time() * 1000) % 10**9}"
    client = stashy.connect(url, user, password)
    ada, group, other, many = with_stashy(client, run)
    with_atlassian(Bitbucket(url, username=user, password=password), group, ada, many)
    for name in [ada, *many]:
        client.admin.users.delete(name)
    refused("users.delete twice", 404, lambda: client.admin.users.delete(ada))
    refused("users.delete of oneself", 409, lambda: client.admin.users.delete(user))
    for name in [group, other]:
        client.admin.groups.delete(name)
    check("nothing is left", list(client.admin.groups.all(filter=run)), [])
    refused("a wrong password", 401,
            lambda: stashy.connect(url, user, "x").admin.groups.add(f"{run}-no"))
    print(f"{checks} checks passed")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    # The clients log every refusal, and refusals are half of what is checked.
    logging.disable(logging.CRITICAL)
    main(*sys.argv[1:])
