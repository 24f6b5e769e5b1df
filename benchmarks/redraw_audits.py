"""Draw committed audits as today's code draws them: the numbers of their JSON, the replays out of the old page.

python benchmarks/redraw_audits.py docs/results/audit/*.json

Nothing is played. What the replays show is kept as it was recorded; only the player around it is today's.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import html
import json
import re
from pathlib import Path

from ibal import reading
from ibal.files import replace_text
from ibal.report.audit import page
from ibal.viz.player import drawn

_FILMS = re.compile(r'<script type="text/plain" id="films">(.*?)</script>', re.DOTALL)
_TITLES = re.compile(r"<summary><code>([^<]*)</code></summary><iframe")
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def replays(text: str) -> list[tuple[str, list[str]]]:
    """Return the replays of an audit's page, each with its title, in today's player. Raises ValueError for a page whose
    replays are not kept so."""
    films = _FILMS.search(text)
    if films is None:
        return []
    held = json.loads(gzip.decompress(base64.b64decode(films[1])))
    pages = ["".join(held["pieces"][i] for i in film) for film in held["films"]]
    titles, found = _TITLES.findall(text), [_DATA.search(one) for one in pages]
    if len(titles) != len(pages) or None in found:
        raise ValueError("its replays are kept in another way than today's; audit the team again")
    return [(html.unescape(title), drawn(title, one[1])) for title, one in zip(titles, found, strict=True) if one]


def main() -> None:
    """Draw the page beside each JSON file again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audits", nargs="+", type=Path, metavar="AUDIT.json")
    for file in parser.parse_args().audits:
        there = file.with_suffix(".html")
        text = there.read_text("utf-8")
        replace_text(there, page(reading.table(file), replays(text)))
        print(f"{there}: {len(text):,} letters before, {len(there.read_text('utf-8')):,} now")


if __name__ == "__main__":
    main()
