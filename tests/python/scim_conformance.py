"""Runs scim2-tester against a SCIM server: scim_conformance.py URL TOKEN

Prints every check that did not succeed and the counts; exits with 1 if one failed.
"""

import sys
from collections import Counter

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server


def main(url: str, token: str) -> int:
    http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    results = check_server(SyncSCIMClient(http))
    counts = Counter(result.status.name for result in results)
    for result in results:
        if result.status not in (Status.SUCCESS,):
            print(f"{result.status.name} {result.title}: {result.reason} {result.data or ''}"[:600])
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    bad = counts.get("ERROR", 0) + counts.get("CRITICAL", 0)
    return 1 if bad or not counts.get("SUCCESS") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
