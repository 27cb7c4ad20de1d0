"""The innermost application frames of a traceback, for failures whose message says nothing."""

import re2

NOTHING = re2.compile(  # a template that tells no error from another
    r"(?i)(?:an? |the |some |unknown |unexpected |internal |server |task |job |generic |general |fatal |critical )*"
    r"(?:error|errors|exception|failure|failed|fail|none|null|undefined|true|false|unknown|crashed|oops|something went wrong"
    r"|error occurred|exception occurred|has failed|assertion failed|<[a-z]+>|\W)*"
    r"(?: (?:occurred|happened|was raised|has occurred))?[.!: ]*",
)
_PYTHON = re2.compile(r'(?m)^ *File "(?P<file>[^"\n]+)", line \d+, in (?P<function>[^\n]+)')
_NODE = re2.compile(
    r"(?m)^ *at (?:async )?(?:(?P<function>[^\n(]+?) )?\(?(?P<file>(?:file://|node:|webpack:|[A-Za-z]:[\\/]|[./])[^\n():]+):\d+(?::\d+)?\)?",
)
_JAVA = re2.compile(
    r"(?m)^\s*at (?P<file>[\w.$/@-]+)\.(?P<function>[\w$<>]+)\((?:[\w.$]+\.(?:java|kt|scala|groovy)|Native|Unknown)"
)
_RUBY = re2.compile(r"(?m)^\s*(?:from )?(?P<file>[^\s:]+\.rb):\d+:in [`'](?P<function>[^'\n]+)'")
_PHP = re2.compile(r"(?m)^#\d+ (?P<file>[^\n(]+)\(\d+\): (?P<function>[^\n(]+)\(")
_GO = re2.compile(r"(?m)^(?P<function>[\w./()*-]+)\([^\n]*\)\n\t(?P<file>[^\s:]+):\d+")
#: grammar -> whether its innermost frame is the last one
_GRAMMARS = (
    (_PYTHON, True),
    (_JAVA, False),
    (_NODE, False),
    (_RUBY, False),
    (_PHP, False),
    (_GO, False),
)
_LIBRARY = re2.compile(
    r"site-packages|dist-packages|/lib/python\d|\\lib\\|<frozen|<string>|node_modules|^node:|internal/|/gems/|/vendor/"
    r"|/usr/(?:local/)?(?:lib|go)|/pkg/mod/|^runtime[./]|^(?:java|javax|jdk|sun|kotlin|kotlinx|scala|org\.springframework"
    r"|org\.apache|org\.hibernate|io\.netty|io\.grpc|reactor|com\.fasterxml|com\.zaxxer|com\.google\.common|java\.base/.*"
    r"|com\.rabbitmq|com\.mysql|org\.postgresql|io\.lettuce|redis\.clients)[./]"
)
_CAUSES = re2.compile(
    r"(?m)^Caused by: |^During handling of the above exception|^The above exception was the direct cause"
)
_FRAMES, _LONGEST = (
    2,
    60_000,
)  #: frames that refine; characters of a traceback that are looked at, from its end


def says_nothing(template: str, exception_type: str) -> bool:
    """Whether a message leaves its error unnamed: empty, generic, or its own type said again.

    >>> says_nothing("Error", "Error"), says_nothing("'price'", "KeyError")
    (True, False)
    """
    words = template.strip(" .:!'\"()")
    return (
        words == exception_type.rpartition(".")[2] or NOTHING.fullmatch(template[:200]) is not None
    )


def innermost(traceback: str | None) -> str:
    """The innermost application frames as `file:function`, innermost first; no line numbers, no folders of a release.

    Frames of libraries count only where there is nothing else; no traceback gives the empty text.
    """
    text = (traceback or "")[-_LONGEST:]
    if not text:
        return ""
    blocks = _CAUSES.split(text)
    for grammar, last in _GRAMMARS:
        found: list[tuple[str, str]] = []
        for block in reversed(blocks) if last or "Caused by: " in text else blocks:
            found = [(frame["file"], frame["function"] or "") for frame in grammar.finditer(block)]
            if found:
                break
        if found:
            inner_first = found[::-1] if last else found
            own = [frame for frame in inner_first if not _LIBRARY.search(frame[0])]
            return " < ".join(
                f"{_short(file)}:{name.strip()}"
                for file, name in (own or inner_first[:1])[:_FRAMES]
            )
    return ""


def _short(file: str) -> str:
    """The last two parts of a path: releases and virtual environments move, modules do not."""
    return "/".join(file.removeprefix("file://").replace("\\", "/").split("/")[-2:])
