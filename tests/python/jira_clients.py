#!/usr/bin/env python3
"""Drives two public Jira clients through user and group management.

    jira_clients.py URL TOKEN USER PASSWORD

The clients (`jira` 3.10.5 and `atlassian-python-api` 4.0.7) know nothing of the emulator: what
they can do with a real Jira they must be able to do with it. Everything is created under names of
this run, except one project `KPY`, which must exist with one component called `core`; it is seeded
through the emulator's control path when the server has one.

Exits with 1 at the first result that is not as a real server's.
"""

import logging
import sys
import time

import requests
from atlassian import Jira as Atlassian
from jira import JIRA, JIRAError
from requests import HTTPError

PROJECT = "KPY"
APPLICATION = "jira-software"

checks = 0


def check(what, got, wanted=True):
    """Compares and counts."""
    global checks
    if got != wanted:
        print(f"FAILED: {what}: got {got!r}, wanted {wanted!r}", file=sys.stderr)
        sys.exit(1)
    checks += 1


def refused(what, status, call, text=""):
    """Checks that the call is refused with this status and text."""
    try:
        result = call()
    except JIRAError as error:
        check(f"{what}: status", error.status_code, status)
        check(f"{what}: {text!r} in {error.text!r}", text in (error.text or ""))
    except HTTPError as error:
        check(f"{what}: status", error.response.status_code, status)
        check(f"{what}: {text!r} in {error.response.text!r}", text in error.response.text)
    else:
        check(what, result, f"status {status}")


def seed_project(url, token):
    """Puts the project there; a server without control paths must have it already."""
    session = requests.Session()
    session.trust_env = False
    state = session.get(f"{url}/__emulator/state", timeout=10)
    if state.status_code != 200 or PROJECT in state.json()["projects"]:
        return
    lead = session.get(
        f"{url}/rest/api/2/myself", headers={"Authorization": f"Bearer {token}"}, timeout=10
    ).json()["name"]
    project = {"key": PROJECT, "lead": lead, "components": [{"name": "core", "lead": lead}]}
    seeded = session.post(f"{url}/__emulator/seed", json={"projects": [project]}, timeout=10)
    check("the project is seeded", seeded.status_code, 200)


def python_jira(client, admin, run):
    """The package `jira`."""
    ada, bob = f"{run}-ada", f"{run}-bob"
    group = f"{run}-Group"

    info = client.server_info()
    check("deploymentType", info["deploymentType"], "Server")
    check("versionNumbers", [int(it) for it in info["versionNumbers"]], info["versionNumbers"])
    check("baseUrl", info["baseUrl"], client.server_url)
    check("myself", client.myself()["name"], admin)

    check("add_user", client.add_user(ada, f"{ada}@example.com", fullname="Ada Byron"))
    check(
        "add_user with everything",
        client.add_user(
            bob, f"{bob}@example.com", password="Xyz-123-abc", notify=True,
            application_keys=[APPLICATION],
        ),
    )
    refused(
        "add_user twice", 400, lambda: client.add_user(ada.upper(), "x@example.com"),
        "A user with that username already exists.",
    )
    check("add_user ignoring it", client.add_user(ada, "x@example.com", ignore_existing=True))
    refused("add_user without a proper address", 400, lambda: client.add_user(f"{run}-c", "nobody"))

    user = client.user(ada, expand="groups,applicationRoles")
    check("user.displayName", user.displayName, "Ada Byron")
    check("user.emailAddress", user.emailAddress, f"{ada}@example.com")
    check("user.active", user.active, True)
    check("user.key", user.key.startswith("JIRAUSER"))
    check("user.groups", [it.name for it in user.groups.items], ["jira-software-users"])
    check("user.applicationRoles", [it.key for it in user.applicationRoles.items], [APPLICATION])
    check("user in another case", client.user(ada.upper()).key, user.key)
    refused("user who is not there", 404, lambda: client.user(f"{run}-none"), "does not exist")

    found = client.search_users(user=run)
    check("search_users", sorted(it.name for it in found), [ada, bob])
    everyone = client.search_users(user=".", maxResults=1000, includeInactive=True)
    check("search_users for everyone", {ada, bob, admin} <= {it.name for it in everyone})
    check("search_users page", len(client.search_users(user=run, startAt=1, maxResults=1)), 1)

    check("add_group", client.add_group(group))
    refused("add_group twice", 400, lambda: client.add_group(group.lower()))
    added = client.add_user_to_group(ada, group)
    check("add_user_to_group", added["name"], group)
    check("add_user_to_group counts", added["users"]["size"], 1)
    refused("add_user_to_group twice", 400, lambda: client.add_user_to_group(ada, group), "already")
    refused("add nobody", 404, lambda: client.add_user_to_group(f"{run}-none", group))
    refused("add to nothing", 404, lambda: client.add_user_to_group(ada, f"{run}-none"))
    check("groups", group in client.groups())
    check("groups by query", client.groups(query=group.lower()), [group])
    check("groups without one", client.groups(query=run, exclude=group), [])

    many = [f"{run}-m{number:02}" for number in range(64)]
    for name in many:
        client.add_user(name, f"{name}@example.com", application_keys=[])
        client.add_user_to_group(name, group)
    members = client.group_members(group)
    check("group_members over two pages", list(members), sorted([ada, *many]))
    check("group_members fullname", members[ada]["fullname"], "Ada Byron")

    lovelace = f"{run}-lovelace"
    client.rename_user(ada, lovelace)
    renamed = client.user(lovelace)
    check("rename_user keeps the key", renamed.key, user.key)
    refused("the old name", 404, lambda: client.user(ada))
    check("rename_user keeps memberships", lovelace in client.group_members(group))
    refused(
        "rename_user to a name that is taken", 400, lambda: client.rename_user(lovelace, bob),
        "A user with that username already exists.",
    )
    check("remove_user_from_group", client.remove_user_from_group(lovelace, group))
    refused(
        "remove_user_from_group twice", 400, lambda: client.remove_user_from_group(lovelace, group)
    )

    project = client.project(PROJECT)
    before = project.lead.name
    project.update(lead=lovelace)
    check("project.update(lead)", project.lead.name, lovelace)
    check("projects(expand=lead)", {
        it.key: it.lead.name for it in client.projects(expand="lead")
    }[PROJECT], lovelace)
    component = client.project_components(PROJECT)[0]
    component = client.component(component.id)
    component.update(leadUserName=lovelace)
    check("component.update(leadUserName)", component.lead.name, lovelace)
    refused("delete_user of a lead", 400, lambda: client.delete_user(lovelace), "lead")
    project.update(lead=before)
    component.update(leadUserName=before)
    check("the leads are given back", client.component(component.id).lead.name, before)

    for name in [lovelace, bob, *many]:
        client.delete_user(name)
    check("delete_user", client.search_users(user=run, includeInactive=True), [])
    check("delete_user empties groups", list(client.group_members(group)), [])
    refused("delete_user twice", 404, lambda: client.delete_user(bob))
    check("remove_group", client.remove_group(group))
    refused("remove_group twice", 404, lambda: client.remove_group(group))


def atlassian_python_api(client, admin, run):
    """The package `atlassian-python-api`."""
    ada, bob = f"{run}-ada", f"{run}-bob"
    group, other = f"{run}-Group", f"{run}-other"

    check("get_server_info", client.get_server_info()["deploymentType"], "Server")
    check("myself", client.myself()["name"], admin)

    created = client.user_create(ada, f"{ada}@example.com", "Ada Byron", notification=False)
    check("user_create", (created["name"], created["active"]), (ada, True))
    client.user_create(bob, f"{bob}@example.com", "Bob", password="Xyz-123-abc")
    refused("user_create twice", 400, lambda: client.user_create(bob, "x@example.com", "x"), "")
    key = created["key"]
    check("user by key", client.user(key=key)["name"], ada)
    expanded = client.user(username=ada, expand="groups,applicationRoles")
    check("user expand", expanded["groups"]["items"][0]["name"], "jira-software-users")
    check("is_user_in_application", client.user(username=ada, expand="applicationRoles")
          ["applicationRoles"]["items"][0]["key"], APPLICATION)
    check("user unexpanded", client.user(username=ada)["groups"], {"size": 1, "items": []})
    check("is_active_user", client.is_active_user(ada), True)

    updated = client.user_update(ada, {"displayName": "Ada Lovelace"})
    check("user_update", (updated["displayName"], updated["emailAddress"]),
          ("Ada Lovelace", f"{ada}@example.com"))
    check("user_update_email", client.user_update_email(ada, f"{run}@example.org")["emailAddress"],
          f"{run}@example.org")
    refused("user_update with nothing", 400, lambda: client.user_update(ada, {"active": None}),
            "error.no.value.found.to.be.changed")
    refused("user_update of nobody", 404, lambda: client.user_update(f"{run}-none", {"name": "x"}))
    lovelace = f"{run}-lovelace"
    check("user_update_username", client.user_update_username(ada, lovelace)["key"], key)
    refused("user_update_username to a taken name", 400,
            lambda: client.user_update_username(lovelace, bob), "username")

    check("create_group", client.create_group(group)["name"], group)
    check("create another", client.create_group(other)["name"], other)
    refused("create_group twice", 400, lambda: client.create_group(group))
    check("add_user_to_group", client.add_user_to_group(lovelace, group)["name"], group)
    refused("add_user_to_group twice", 400, lambda: client.add_user_to_group(lovelace, group))
    check("get_groups", [it["name"] for it in client.get_groups(query=run, limit=5)["groups"]],
          [group, other])
    check("get_groups total", client.get_groups(query=run, limit=1)["total"], 2)

    many = [f"{run}-m{number:02}" for number in range(64)]
    for name in many:
        client.user_create(name, f"{name}@example.com", name, notification=False)
        client.add_user_to_group(name, group)
    first = client.get_all_users_from_group(group, include_inactive_users=True, limit=200)
    check("get_all_users_from_group is capped", (first["maxResults"], len(first["values"])), (50, 50))
    check("total and isLast", (first["total"], first["isLast"]), (65, False))
    second = client.get_all_users_from_group(group, include_inactive_users=True, start=50)
    check("the second page", (len(second["values"]), second["isLast"]), (15, True))
    names = {it["name"] for it in first["values"] + second["values"]}
    check("both pages", names, {lovelace, *many})

    deactivated = client.user_deactivate(lovelace)
    check("user_deactivate with the text 'false'", deactivated["active"], False)
    check("is_active_user afterwards", client.is_active_user(lovelace), False)
    check("an inactive member is hidden", client.get_all_users_from_group(group)["total"], 64)
    check("an inactive member is there",
          client.get_all_users_from_group(group, include_inactive_users=True)["total"], 65)
    search = client.user_find_by_user_string
    check("search hides inactive ones", search(username=lovelace), [])
    check("search shows inactive ones",
          [it["key"] for it in search(username=lovelace, include_inactive_users=True)], [key])
    check("reactivation", client.user_update(lovelace, {"active": True})["active"], True)
    check("everyone", {lovelace, bob, admin} <= {
        it["name"] for it in search(username=".", limit=1000, include_inactive_users=True)
    })
    check("search page", len(search(username=run, start=60, limit=50)), 6)

    projects = {it["key"]: it for it in client.projects(expand="lead")}
    before = projects[PROJECT]["lead"]["name"]
    check("update_project", client.update_project(PROJECT, {"lead": lovelace})["lead"]["name"],
          lovelace)
    component = client.get_project_components(PROJECT)[0]
    check("update_component_lead",
          client.update_component_lead(component["id"], lovelace)["lead"]["name"], lovelace)
    check("component", client.component(component["id"])["lead"]["name"], lovelace)
    leaders = {it["project_key"]: it["lead_key"] for it in client.project_leaders()}
    check("project_leaders", leaders[PROJECT], lovelace)
    refused("user_deactivate of a project lead", 400, lambda: client.user_deactivate(lovelace),
            f"project lead on these projects: {PROJECT}")
    client.update_project(PROJECT, {"lead": before})
    refused("user_deactivate of a component lead", 400, lambda: client.user_deactivate(lovelace),
            f"component lead on these projects: {PROJECT}")
    client.update_component_lead(component["id"], before)
    check("user_deactivate of nobody's lead", client.user_deactivate(lovelace)["active"], False)

    client.remove_user_from_group(bob, "jira-software-users")
    roles = client.user(username=bob, expand="applicationRoles")["applicationRoles"]
    check("no application", roles["size"], 0)
    check("add_user_to_application", client.add_user_to_application(bob, APPLICATION))
    roles = client.user(username=bob, expand="applicationRoles")["applicationRoles"]
    check("the application is back", roles["items"][0]["key"], APPLICATION)

    client.remove_user_from_group(lovelace, group)
    refused("remove_user_from_group twice", 400,
            lambda: client.remove_user_from_group(lovelace, group))
    refused("user_deactivate of oneself", 400, lambda: client.user_deactivate(admin), "logged in")
    for name in [lovelace, bob, *many]:
        client.user_remove(name)
    check("user_remove", search(username=run, include_inactive_users=True), [])
    client.remove_group(group, swap_group=other)
    client.remove_group(other)
    check("remove_group", client.get_groups(query=run)["total"], 0)
    refused("remove_group twice", 404, lambda: client.remove_group(other))


def main(url, token, user, password):
    url = url.rstrip("/")
    seed_project(url, token)
    stamp = f"py{int(time.time() * 1000) % 10**9}"
    basic, bearer = (user, password), token
    # Both clients with both kinds of credentials.
    for number, options in enumerate([{"token_auth": bearer}, {"basic_auth": basic}]):
        python_jira(JIRA(server=url, max_retries=0, **options), user, f"{stamp}j{number}")
    for number, options in enumerate([{"token": token}, {"username": user, "password": password}]):
        client = Atlassian(url, advanced_mode=False, **options)
        atlassian_python_api(client, user, f"{stamp}a{number}")
    refused(
        "a wrong token", 401,
        lambda: JIRA(server=url, token_auth="wrong", max_retries=0).myself(),
    )
    refused(
        "a wrong password", 401,
        lambda: Atlassian(url, username=user, password="wrong").myself(),
    )
    print(f"{checks} checks passed")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    # python-jira logs every refusal, and refusals are half of what is checked.
    logging.disable(logging.CRITICAL)
    main(*sys.argv[1:])
