"""Unpacks the corpus for the fuzzer, one file an input, and packs what is worth keeping: one line an input, as JSON.

corpus.py unpack FILE FOLDER | corpus.py pack FOLDER FILE
"""

import hashlib
import json
import pathlib
import sys


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
    file.write_text("".join(json.dumps(text) + "\n" for text in sorted(kept)))


action, one, other = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
{"unpack": unpack, "pack": pack}[action](one, other)
