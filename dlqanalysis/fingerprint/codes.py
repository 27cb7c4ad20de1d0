"""Numbers that carry meaning, and so stay: HTTP and SMTP statuses, SQLSTATE, errno, driver, exit and gRPC codes.

Each line captures one digit as `d`; see table._numbers.
"""

B = r"(?-u:\b)"
X = "[0-9A-Fa-f]"
D = "(?P<d>[0-9])"
ENHANCED = r"[- ]#?[245]\.[0-9]{1,3}\.[0-9]{1,3}"  # what SMTP says after its status: 421 4.4.2

# A word that announces a code, and what may stand between it and the number.
ANNOUNCES = (
    r"(?i-u:(?:code|status|status line|errno|error|err|sqlstate|sqlcode|exit|signal|signum|winerror|hresult|ntstatus|https?|rc"
    r"|retval|returned|returns|response|responded|reply|replied|dsn|smtp"
    r"|(?:exited|failed|responded|rejected|answered|died|terminated|returned|replied) with|got(?: an?)?|received(?: an?)?))"
)
BETWEEN = r"""["']?(?: ?[:=#\[(<] ?| is | of | was |: \(| )["'(\[-]?-?"""
SQLSTATE = (  # the ones without letters
    "(?:(?P<d>0)[0-9]{4}|(?P<e>2)(?:1000|20[0-9]{2}|3(?:00[0-9]|5[0-9]{2})|500[0-9]|[678]000)"
    "|(?P<f>4)(?:000[0-9]|2[0-9]{3}|4000)|(?P<g>5)(?:3[0-4]00|40[0-9]{2}|50[0-9]{2}|7014|80[0-9]{2}))"
)
CODES = (
    rf"{ANNOUNCES}{BETWEEN}{D}[0-9]{{0,5}}(?:{ENHANCED})?{B}",
    rf"resulted in(?: an? [`\"']?| [`\"'])(?P<d>[45])[0-9]{{2}}{B}",  # Guzzle
    rf"{ANNOUNCES}{BETWEEN}(?P<d>0)x{X}{{8}}{B}",
    rf"(?i-u:exit(?:ed)?(?: ?with)?(?:[ _-]?(?:code|status))?)[ :=]{{1,2}}-?{D}[0-9]{{6,9}}{B}",  # NTSTATUS, decimal
    rf"HTTP/{D}[0-9.]{{0,2}}\\?\"? [0-9]{{3}}{B}",
    rf"Msg {D}[0-9]{{2,4}}{B}",
    rf"(?i-u:error number): ?-?{D}[0-9]{{0,4}}{B}",  # SqlClient
    rf"\((?P<d>0)x{X}{{8}}\)",
    rf"""\(-?{D}[0-9]{{0,4}}, ?[b"'uN]{{1,2}}(?:[245]\.[0-9]\.[0-9]{{1,2}})?""",  # pymysql: (1213, 'Deadlock found ...')
    rf"{B}(?:[A-Z]{{2,8}}-|AADSTS|[A-Z]{{1,3}}){D}[0-9]{{3,5}}[A-Z]?{B}",  # ORA-00060, E11000, P2002, SQL0911N
    rf"{B}{D}[0-9][A-Z][0-9]{{2}}{B}",  # SQLSTATE 40P01
    rf"{B}{D}[A-Z][0-9]{{3}}{B}",  # 0A000
    rf"[\[('\"]{SQLSTATE}[\])'\"]",
    rf"SQLSTATE[ \[:=]{{1,3}}{D}[0-9A-Z]{{4}}{B}",  # 2BP01
    rf"^{D}[0-9]{{4}}:",
    rf"{B}{D}[0-9]{{2}}[- ]#?[245]\.[0-9]{{1,3}}\.[0-9]{{1,3}}{B}",  # 550 5.1.1
    rf"[(#=]{D}\.[0-9]{{1,2}}\.[0-9]{{1,2}}{B}",  # dsn=5.1.1
    rf"\] ?\[{D}[0-9]{{3,4}}\]",  # SQLSTATE[HY000] [2002]
    rf"[a-z]: \({D}[0-9]{{0,4}}\)",  # curl: (35)
    rf"\] ?\({D}[0-9]{{2,4}}\)",  # [ODBC] (10060)
    rf"[A-Z0-9]{{5}}/{D}[0-9]{{3}}{B}",  # HY000/2013
    rf"\| {D}[0-9]{{4}}$",  # Twilio
    rf"^\[HTTP [0-9]{{3}}\] {D}[0-9]{{4}}{B}",  # Twilio's Ruby and PHP
    rf"\(#{D}[0-9]{{0,5}}\)",  # Graph API
    rf"(?i-u:varying|varchar|char|numeric|decimal)\({D}[0-9]*",
    rf"\({D}[0-9]{{2,4}}\) \(SQL",  # pyodbc
    rf"^{D}[0-9]? [A-Z_]{{5,}}:",  # 14 UNAVAILABLE:
    rf"{B}{D}[0-9]? (?:required |positional |keyword-only |keyword )+argument",
    rf"argument[s]?(?:\(s\))? but {D}[0-9]?{B}",
    rf"\({D}[0-9]? given\)",
    rf"exactly {D}[0-9]?{B}",
)
STATUS = rf"""(?:^|[\s(\[{{=:"'<>,|])(?:(?P<d>[45])[0-9]{{2}}(?:{ENHANCED})?|(?P<e>3)0[1-8]){B}"""  # may be an HTTP status: decided in table.NUMBERS

REASON = (
    "(?:[Cc]lient [Ee]rr|[Ss]erver [Ee]rr|Bad|Unauth|Payment|Forbid|Not|Method|Prox|Request|Conflict|Gone|Length|Precond"
    "|Payload|URI|Unsupp|Unproc|Locked|Failed|Too|Internal|Service|Gateway|HTTP"
    "|Origin|Web|Connection|Network|Timeout|Unknown|Insufficient|Loop|Mis|I'm|Upgrade|Range|Expect|User|Syntax|Mail|mail"
    "|Temp|temp|Message|message|Relay|relay|Sender|sender|Recipient|recipient|Policy|Spam|Auth|auth)"
)
HTTP = (
    rf"{B}(?P<d>3)0[1-8] [Rr]edirect",
    rf"^(?P<d>[45])[0-9]{{2}}(?:{ENHANCED})?{B}",
    rf"{B}(?P<d>[45])[0-9]{{2}}:? {REASON}",
    r"""(?:^|[ '"])[\[(<](?P<d>[45])[0-9]{2}[)\]>]""",
    rf"[A-Za-z:|] (?P<d>[45])[0-9]{{2}}(?:{ENHANCED}{B}|[ .!;)]|$)",
)
