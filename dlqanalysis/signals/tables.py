"""Names and numbers that mean the same: HTTP statuses and their classes, errno, gRPC, process signals."""

#: HTTP status -> reason phrases, lower case (RFC 9110 and common practice)
REASONS: dict[str, tuple[str, ...]] = {
    "400": ("bad request",),
    "401": ("unauthorized", "unauthorised"),
    "402": ("payment required",),
    "403": ("forbidden",),
    "404": ("not found", "page not found", "resource not found", "not_found"),
    "405": ("method not allowed",),
    "406": ("not acceptable",),
    "407": ("proxy authentication required",),
    "408": ("request timeout", "request time-out"),
    "409": ("conflict",),
    "410": ("gone",),
    "411": ("length required",),
    "412": ("precondition failed",),
    "413": ("payload too large", "request entity too large", "content too large"),
    "414": ("uri too long", "request-uri too long"),
    "415": ("unsupported media type",),
    "416": ("range not satisfiable", "requested range not satisfiable"),
    "417": ("expectation failed",),
    "421": ("misdirected request",),
    "422": ("unprocessable entity", "unprocessable content", "unprocessable"),
    "423": ("locked",),
    "424": ("failed dependency",),
    "425": ("too early",),
    "426": ("upgrade required",),
    "428": ("precondition required",),
    "429": ("too many requests",),
    "431": ("request header fields too large",),
    "451": ("unavailable for legal reasons",),
    "500": ("internal server error",),
    "501": ("not implemented",),
    "502": ("bad gateway",),
    "503": ("service unavailable", "service temporarily unavailable"),
    "504": ("gateway timeout", "gateway time-out"),
    "505": ("http version not supported",),
    "507": ("insufficient storage",),
    "508": ("loop detected",),
    "511": ("network authentication required",),
}

#: class name, without Error or Exception, lower case -> HTTP status (RestClient, Faraday, werkzeug, google.api_core, ...)
STATUS_CLASSES: dict[str, str] = {
    phrase.replace(" ", "").replace("-", "").replace("_", ""): status
    for status, phrases in REASONS.items()
    for phrase in phrases
    if status not in ("404", "409", "410", "423", "501")
} | {
    "httpnotfound": "404",
    "notfoundhttp": "404",
    "httpclienterror.notfound": "404",
    "internalserver": "500",
    "ratelimit": "429",
    "overloaded": "529",
}

#: names of operating-system errors that speak, by number on Linux, macOS/BSD and Windows
ERRNO: dict[str, str] = {
    "1": "EPERM", "2": "ENOENT", "4": "EINTR", "5": "EIO", "7": "E2BIG", "8": "ENOEXEC", "9": "EBADF",
    "11": "EAGAIN", "12": "ENOMEM", "13": "EACCES", "16": "EBUSY", "17": "EEXIST", "18": "EXDEV",
    "20": "ENOTDIR", "21": "EISDIR", "22": "EINVAL", "23": "ENFILE", "24": "EMFILE", "26": "ETXTBSY",
    "27": "EFBIG", "28": "ENOSPC", "30": "EROFS", "32": "EPIPE", "36": "ENAMETOOLONG", "39": "ENOTEMPTY",
    "98": "EADDRINUSE", "99": "EADDRNOTAVAIL", "100": "ENETDOWN", "101": "ENETUNREACH",
    "103": "ECONNABORTED", "104": "ECONNRESET", "107": "ENOTCONN", "108": "ESHUTDOWN", "110": "ETIMEDOUT",
    "111": "ECONNREFUSED", "112": "EHOSTDOWN", "113": "EHOSTUNREACH", "116": "ESTALE", "122": "EDQUOT",
    "19": "ENODEV", "25": "ENOTTY", "34": "ERANGE", "37": "ENOLCK", "38": "ENOSYS", "40": "ELOOP", "71": "EPROTO",
    "75": "EOVERFLOW", "84": "EILSEQ", "88": "ENOTSOCK", "90": "EMSGSIZE", "93": "EPROTONOSUPPORT", "95": "EOPNOTSUPP",
    "97": "EAFNOSUPPORT", "102": "ENETRESET", "105": "ENOBUFS", "106": "EISCONN", "121": "EREMOTEIO", "125": "ECANCELED",
    "-8": "EAI_SERVICE", "-7": "EAI_SOCKTYPE", "-2": "EAI_NONAME", "-3": "EAI_AGAIN", "-4": "EAI_FAIL", "-5": "EAI_NODATA",
    "48": "EADDRINUSE", "51": "ENETUNREACH", "53": "ECONNABORTED", "54": "ECONNRESET", "57": "ENOTCONN",
    "60": "ETIMEDOUT", "61": "ECONNREFUSED", "64": "EHOSTDOWN", "65": "EHOSTUNREACH", "69": "EDQUOT",
    "10013": "EACCES", "10048": "EADDRINUSE", "10050": "ENETDOWN", "10051": "ENETUNREACH",
    "10053": "ECONNABORTED", "10054": "ECONNRESET", "10057": "ENOTCONN", "10060": "ETIMEDOUT",
    "10061": "ECONNREFUSED", "10064": "EHOSTDOWN", "10065": "EHOSTUNREACH", "11001": "EAI_NONAME",
    "10022": "EINVAL", "10024": "EMFILE", "10035": "EAGAIN", "10038": "ENOTSOCK", "10040": "EMSGSIZE",
    "10047": "EAFNOSUPPORT", "10049": "EADDRNOTAVAIL", "10052": "ENETRESET", "10055": "ENOBUFS", "10056": "EISCONN",
    "10058": "ESHUTDOWN", "11003": "EAI_FAIL", "11002": "EAI_AGAIN", "11004": "EAI_NODATA", "-111": "ECONNREFUSED", "-104": "ECONNRESET",
    "-110": "ETIMEDOUT", "-3001": "EAI_AGAIN", "-3008": "EAI_NONAME", "-32": "EPIPE", "-28": "ENOSPC",
    "-13": "EACCES",
    # what a resolver library (c-ares) calls the same
    "ETIMEOUT": "ETIMEDOUT", "ESERVFAIL": "EAI_FAIL", "EREFUSED": "EAI_FAIL",
}  # fmt: skip
#: errors of Windows by number, where it differs from errno's
WINERROR: dict[str, str] = {
    "3": "ENOENT", "5": "EACCES", "6": "EBADF", "8": "ENOMEM", "14": "ENOMEM", "17": "EXDEV", "19": "EROFS",
    "32": "EBUSY", "33": "EBUSY", "39": "ENOSPC", "53": "EHOSTUNREACH", "64": "ECONNRESET", "67": "ENOENT",
    "80": "EEXIST", "87": "EINVAL", "109": "EPIPE", "112": "ENOSPC", "121": "ETIMEDOUT", "123": "EINVAL",
    "145": "ENOTEMPTY", "183": "EEXIST", "193": "ENOEXEC", "206": "ENAMETOOLONG", "995": "ECANCELED",
    "1225": "ECONNREFUSED", "1231": "ENETUNREACH", "1236": "ECONNABORTED", "1314": "EPERM", "1326": "EACCES",
    "1450": "ENOMEM", "1455": "ENOMEM",
}  # fmt: skip
ERRNO_NAMES = frozenset(ERRNO.values()) | {
    "ENOTFOUND",
    "ECONNABORTED",
    "EPROTO",
    "ESOCKETTIMEDOUT",
    "ELOOP",
    "EAI_BADFLAGS",
    "EAI_FAMILY",
    "EAI_MEMORY",
}

#: classes that are an errno by name
ERRNO_CLASSES = {
    "ConnectionRefusedError": "ECONNREFUSED",
    "ConnectionResetError": "ECONNRESET",
    "ConnectionAbortedError": "ECONNABORTED",
    "BrokenPipeError": "EPIPE",
    "FileNotFoundError": "ENOENT",
    "FileExistsError": "EEXIST",
    "NotADirectoryError": "ENOTDIR",
    "IsADirectoryError": "EISDIR",
    "PermissionError": "EACCES",
    "NoRouteToHostException": "EHOSTUNREACH",
}

GRPC = (
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
#: every spelling, without underscores, lower case -> the name of the specification
GRPC_SPELLINGS = {name.replace("_", "").lower(): name for name in GRPC} | {"canceled": "CANCELLED"}

#: number -> POSIX signal
SIGNALS = {
    "1": "SIGHUP", "2": "SIGINT", "3": "SIGQUIT", "4": "SIGILL", "6": "SIGABRT", "7": "SIGBUS", "8": "SIGFPE",
    "9": "SIGKILL", "11": "SIGSEGV", "13": "SIGPIPE", "14": "SIGALRM", "15": "SIGTERM", "24": "SIGXCPU",
}  # fmt: skip
