"""The world around the demo shop: which providers are up, which bugs are mended. One small JSON file."""

import json
import os
from pathlib import Path

#: what can go wrong -> how it is on a good day
GOOD_DAY = {
    "mail": "up",  # the mail provider: up, or down (429, 503, timeouts, dropped connections)
    "pdf_release": "mended",  # release 2026.11.3 of the memo renderer: mended, or broken
}


def read(path: str | Path | None = None) -> dict[str, str]:
    """Each thing's state; a good day where no file is named."""
    where = path or os.environ.get("SHOP_WORLD")
    return GOOD_DAY | (json.loads(Path(where).read_text()) if where else {})


def write(path: str | Path, **states: str) -> None:
    """Change some states at once for everybody who reads the file."""
    where = Path(path)
    now = (read(where) if where.exists() else GOOD_DAY) | states
    new = where.with_suffix(".new")
    new.write_text(json.dumps(now))
    new.replace(where)  # a reader sees the old file or the new one, never half of one
