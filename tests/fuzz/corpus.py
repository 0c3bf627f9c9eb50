"""Unpacks the corpus for the fuzzer, one file an input, and packs what is worth keeping: one line an input, as JSON.

corpus.py unpack FILE FOLDER | corpus.py pack FOLDER FILE
"""

import hashlib
import json
import pathlib
import sys

# Bytes: enough for some thousand short inputs, which are most of what there is to reach.
LIMIT = 1_000_000


def unpack(file, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for line in file.read_text().splitlines():
        data = json.loads(line).encode()
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def pack(folder, file):
    kept = set()
    for path in folder.iterdir():
        try:
            kept.add(path.read_bytes().decode())
        except UnicodeDecodeError:
            # No parser gets to see it.
            continue
    lines, size = [], 0
    for text in sorted(kept, key=lambda text: (len(text), text)):
        lines.append(json.dumps(text) + "\n")
        size += len(lines[-1])
        if size > LIMIT:
            break
    file.write_text("".join(sorted(lines)))


action, one, other = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
{"unpack": unpack, "pack": pack}[action](one, other)
