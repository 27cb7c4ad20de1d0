"""Files that are there as a whole or not at all."""

import os
from pathlib import Path


def keep_whole(path: Path, text: str | bytes, mode: int = 0o666) -> None:
    """Write a file as a whole or not at all: what a full disk cuts off neither stands under its name nor stays."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fresh.touch(mode=mode)
        fresh.write_bytes(
            text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
        )
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
