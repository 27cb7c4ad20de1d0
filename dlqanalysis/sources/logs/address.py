"""Which files a place means, and how their lines begin."""

import glob
import re
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

import re2

from dlqanalysis.errors import SettingsError, did_you_mean

SCHEME = "log+file"
_OPTIONS = ("tz", "line", "time")
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A path or a pattern of paths, and what is said of the lines."""

    path: str
    tz: tzinfo | None = None  #: of times that name none
    line: Any = None  #: compiled expression of one's own for the beginning of a line
    time: str = ""  #: strptime's format for it; ISO 8601 when empty

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The address that a path or a log+file URL gives; SettingsError names what is wrong."""
        if "://" not in url:
            return cls(path=str(Path(url).expanduser()))
        parts = urlsplit(url.replace("?", "%3F", url.split("?")[0].count("?")))
        if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
            raise SettingsError(
                "A log's URL names a file of this machine, with three slashes:"
                " log+file:///var/log/celery.log?tz=UTC."
            )
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for option in options:
            if option not in _OPTIONS:
                raise SettingsError(
                    f"'{option}' is no option of a log's URL. {did_you_mean(option, _OPTIONS)}"
                )
        return cls(
            path=unquote(parts.path),
            tz=_zone(options["tz"]) if "tz" in options else None,
            line=_line(options["line"]) if "line" in options else None,
            time=options.get("time", ""),
        )

    @property
    def groups(self) -> dict[str, int]:
        """The numbers of the groups in `line`."""
        found = self.line.groupindex if self.line is not None else {}
        return {name.decode(): number for name, number in found.items()}

    @property
    def name(self) -> str:
        """The file's name or pattern, without its folder."""
        return Path(self.path).name

    def files(self) -> list[Path]:
        """The files there are now, by name; SettingsError when there is none."""
        there = [Path(self.path)]
        if _PATTERN.search(self.path) and not there[0].is_file():
            # a pattern may stand in the names of folders, too
            there = [Path(one) for one in sorted(glob.glob(self.path))]  # noqa: PTH207
        found = [path for path in there if path.is_file()]
        if not found:
            raise SettingsError(f"There is no log at {self.path}. Check the path.")
        return found


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones
        raise SettingsError(
            f"tz={name[:60]} is no time zone. Write a name such as UTC or Europe/Berlin."
        ) from None


def _line(pattern: str) -> Any:
    """The user's expression, in a language that takes linear time on any line."""
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, whatever they are
    try:
        compiled = re2.compile(pattern.encode(), options=options)
    except re2.error as error:
        why = error.args[0] if error.args else ""
        why = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise SettingsError(
            f"line= is no regular expression ({why}). It may not look around or back."
        ) from None
    if not {b"time", b"message"} <= set(compiled.groupindex):
        raise SettingsError(
            "line= needs the groups (?P<time>...) and (?P<message>...), percent-encoded in the URL, such as"
            " ^(?P<time>\\S+ \\S+) \\w+ (?P<message>.*)."
        )
    return compiled
