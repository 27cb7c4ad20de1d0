"""Codes in all their spellings, causes followed to the root, and nothing read out of what is no statement."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlqanalysis.signals import KINDS, signals
from dlqanalysis.signals.quote import quote

# (kind, code, exception type, message)
CODES = [
    ("http_status", "429", "HTTPError", "429 Client Error: Too Many Requests for url: https://x"),
    ("http_status", "503", "AxiosError", "Request failed with status code 503"),
    ("http_status", "502", "Error", "HTTP/1.1 502 Bad Gateway"),
    ("http_status", "404", "Error", "status: 404"),
    ("http_status", "404", "Error", '{"statusCode":404,"error":"Not Found"}'),
    ("http_status", "404", "WebException", "The remote server returned an error: (404) Not Found."),
    ("http_status", "503", "HTTPError", "Response code 503 (Service Unavailable)"),
    ("http_status", "504", "urllib.error.HTTPError", "HTTP Error 504: Gateway Time-out"),
    ("http_status", "500", "RetryError", "too many 500 error responses"),
    ("http_status", "403", "HttpError", "<HttpError 403 when requesting https://x returned>"),
    ("http_status", "409", "Aws::S3::Errors::ServiceError", "(Service: S3; Status Code: 409; Error Code: X)"),
    ("http_status", "422", "Octokit::UnprocessableEntity", "no number at all"),
    ("http_status", "429", "openai.RateLimitError", "slow"),
    ("http_status", "429", "TooManyRequestsException", "no number at all"),
    ("http_status", "502", "BadGatewayHttpException", "no number at all"),
    ("http_status", "503", "Http503Error", "no number at all"),
    ("http_status", "401", "Exception", "server responded with a 401"),
    ("http_status", "404", "*github.ErrorResponse", "GET https://api.github.com/x: 404 Not Found []"),
    ("http_status", "521", "Exception", "upstream returned 521"),
    ("http_status", "409", "ApiException", "(409)\nReason: Conflict"),
    ("http_status", "403", "ClientException", "`GET x` resulted in a `0 Forbidden` response"),
    ("sqlstate", "40001", "PDOException", "SQLSTATE[40001]: Serialization failure"),
    ("sqlstate", "23505", "*pgconn.PgError", "ERROR: duplicate key value (SQLSTATE 23505)"),
    ("sqlstate", "40P01", "Npgsql.PostgresException", "40P01: deadlock detected"),
    ("sqlstate", "23505", "error", "boom { code: '23505' }"),
    ("sqlstate", "57014", "snowflake.connector.errors.ProgrammingError", "000604 (57014): SQL execution canceled"),
    ("mssql", "-2", "Microsoft.Data.SqlClient.SqlException", "Execution Timeout Expired.\nError Number:-2,State:0,Class:11"),
    ("twilio", "21610", "RestException", "[HTTP 400] 21610 : Attempt to send to unsubscribed recipient"),
    ("twilio", "30007", "SmsError", "Twilio says undelivered, error code 30007"),
    ("twilio", "20429", "Exception", "Too many requests, see https://www.twilio.com/docs/errors/20429: twilio error code 20429"),
    ("sqlstate", "HYT00", "pyodbc.OperationalError", "('HYT00', '[HYT00] [Microsoft] timeout')"),
    ("exit_signal", "SIGKILL", "Error", "waitpid returned 9 for worker 4"),
    ("mysql", "2006", "OperationalError", "(2006, 'MySQL server has gone away')"),
    ("mysql", "1213", "*mysql.MySQLError", "Error 1213 (40001): Deadlock found"),
    ("mysql", "1045", "QueryException", "SQLSTATE[HY000] [1045] Access denied"),
    ("mysql", "1205", "mysql.connector.errors.OperationalError", "1205 (HY000): Lock wait timeout"),
    ("oracle", "ORA-00060", "cx_Oracle.DatabaseError", "ORA-00060: deadlock detected"),
    ("mssql", "1205", "pyodbc.Error", "('40001', '[Microsoft][SQL Server]Transaction was deadlocked. (1205) (SQLExecDirectW)')"),
    ("prisma", "P2002", "PrismaClientKnownRequestError", "Unique constraint failed (P2002)"),
    ("errno", "ECONNREFUSED", "OSError", "[Errno 111] Connection refused"),
    ("errno", "ECONNRESET", "OSError", "[WinError 10054] An existing connection was forcibly closed"),
    ("errno", "EACCES", "PermissionError", "[WinError 5] Access is denied: 'C:\\\\in\\\\7.csv'"),
    ("errno", "EBUSY", "PermissionError", "[WinError 32] The process cannot access the file"),
    ("errno", "ENOBUFS", "OSError", "[Errno 105] No buffer space available"),
    ("http_status", "403", "botocore.exceptions.ClientError", "An error occurred (403) when calling the HeadBucket operation: Forbidden"),
    ("errno", "EAI_AGAIN", "gaierror", "[Errno -3] Temporary failure in name resolution"),
    ("errno", "ECONNREFUSED", "redis.ConnectionError", "Error 111 connecting to redis:6379."),
    ("errno", "ECONNREFUSED", "Error", "connect ECONNREFUSED 127.0.0.1:80"),
    ("errno", "EPIPE", "BrokenPipeError", ""),
    ("errno", "ECONNRESET", "Errno::ECONNRESET", "x"),
    ("errno", "ENOSPC", "Error", "x (os error 28)"),
    ("errno", "ETIMEDOUT", "Error", "queryA ETIMEOUT api.example.org"),
    ("grpc", "UNAVAILABLE", "_InactiveRpcError", "status = StatusCode.UNAVAILABLE"),
    ("grpc", "DEADLINE_EXCEEDED", "*status.Error", "rpc error: code = DeadlineExceeded desc = x"),
    ("grpc", "UNAVAILABLE", "io.grpc.StatusRuntimeException", "UNAVAILABLE: io exception"),
    ("grpc", "UNAVAILABLE", "Error", "14 UNAVAILABLE: no connection"),
    ("smtp", "550", "SMTPRecipientsRefused", "{'a@b.org': (550, b'5.1.1 unknown')}"),
    ("smtp", "5.1.1", "Error", "550 5.1.1 User unknown"),
    ("smtp", "421", "TransportException", 'Expected response code "250" but got code "421"'),
    ("smtp", "421", "Error", "Data command failed: 421 busy"),
    ("amqp", "404", "NotFound", "Queue.declare: (404) NOT_FOUND - no queue 'q'"),
    ("amqp", "320", "AlreadyClosedException", "(reply-code=320, reply-text=CONNECTION_FORCED - x)"),
    ("curl", "28", "ConnectException", "cURL error 28: timed out"),
    ("exit_code", "127", "CalledProcessError", "Command 'x' returned non-zero exit status 127."),
    ("exit_signal", "SIGKILL", "Error", "exited with code 137"),
    ("exit_signal", "SIGKILL", "WorkerLostError", "Worker exited prematurely: signal 9 (SIGKILL)"),
    ("exit_signal", "SIGKILL", "*exec.ExitError", "signal: killed"),
    ("exit_signal", "SIGKILL", "ProcessSignaledException", 'signaled with signal "9".'),
    ("code", "ThrottlingException", "ClientError", "An error occurred (ThrottlingException) when calling"),
    ("code", "insufficient_quota", "RateLimitError", "{'error': {'code': 'insufficient_quota'}}"),
    ("code", "CERTIFICATE_VERIFY_FAILED", "SSLError", "[SSL: CERTIFICATE_VERIFY_FAILED] x"),
    ("code", "ThrottlingException", "ThrottlingException", "x"),
    ("code", "NoSuchKey", "*types.NoSuchKey", "x"),
    ("code", "SlowDown", "*smithy.OperationError", "operation error S3: api error SlowDown: x"),
    ("code", "MessageLockLost", "ServiceBusException", "The lock is invalid. (MessageLockLost)"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "code", "name", "message"), CODES)
def test_a_code_is_found_in_each_spelling(kind, code, name, message):
    assert kind in KINDS
    assert code in signals(name, message).codes.get(kind, {})


# (kind that must not be there, exception type, message)
NOT_CODES = [
    ("http_status", "ValueError", "got 500 rows"),
    ("http_status", "ValueError", "order 404 is late"),
    ("http_status", "ValueError", "took 503 ms"),
    ("http_status", "smtplib.SMTPDataError", "(550, b'5.7.1 rejected')"),
    ("http_status", "NotFound", "(404) NOT_FOUND - no queue 'q' in vhost '/'"),
    ("http_status", "Error", "GET https://api.example.org/status/503"),
    ("smtp", "HTTPError", "Response code 503 (Service Unavailable)"),
    ("grpc", "Error", "INTERNALS: x"),
    ("errno", "Error", "[Errno 99999] x"),
    ("prisma", "Error", "room P2002 is booked"),
    ("code", "sqlalchemy.exc.InternalError", "x"),
    ("smtp", "Error", "The import failed: 421 of 500 rows"),
    ("exit_code", "Error", "get() returned more than one -- it returned 2!"),
    ("http_status", "shop.Item404", "gone"),
    ("http_status", "Error145", "gone"),
    ("http_status", "Http250Error", "gone"),
    ("http_status", "QueryException", "boom (SQL: select 1 where note = 'status: 404')"),
]


@pytest.mark.parametrize(("kind", "name", "message"), NOT_CODES)
def test_a_number_is_not_taken_for_another_kind_of_code(kind, name, message):
    assert signals(name, message).codes.get(kind, {}) == {}


def test_of_many_codes_some_are_kept_but_of_names_all():
    numbers = " ".join(f"status: {n};" for n in range(400, 440))
    assert len(signals("Error", numbers).codes["http_status"]) == 12
    names = [f"E_{letter}_{other}" for letter in "ABCDE" for other in "VWXYZ"]
    assert set(
        signals("Error", " ".join(f"code: '{name}'" for name in names)).codes["code"]
    ) == set(names)


@pytest.mark.parametrize(
    ("reasons", "text", "quoted"),
    [
        (["timed out", re.compile("timed out")], "it timed out", "timed out"),
        ([re.compile("eset")], "was unresettable", "unresettable"),
        ([re.compile("setta")], "an unresettable x", "unresettable"),
        ([re.compile("key '\\w+")], "no key 'a b' here", "key 'a"),
    ],
)
def test_a_quote_is_whole_words_and_said_once(reasons, text, quoted):
    assert quote(reasons, text) == quoted


PYTHON_DIRECT = """Traceback (most recent call last):
  File "/app/db.py", line 7, in connect
    raise ConnectionRefusedError(111, "timeout=5")
ConnectionRefusedError: [Errno 111] Connection refused

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/tasks.py", line 3, in run
    connect()
app.errors.StepFailed: step 3 failed
"""
JAVA = """com.acme.StepFailed: step 3 failed
\tat com.acme.Timeout.run(Timeout.java:7)
Caused by: com.acme.Wrapped: inner
\tat com.acme.X.run(X.java:7)
Caused by: java.net.SocketTimeoutException: Read timed out
\tat java.base/sun.nio.ch.X.y(Z.java:1)
\t... 14 more
"""
NODE = """Error: step 3 failed
    at run (/app/x.js:3:1)
  [cause]: AxiosError: connect ECONNREFUSED 10.0.0.1:80
      at connect (node:net:1) {
    code: 'ECONNREFUSED'
  }
"""
DOTNET = """Acme.StepFailed: step 3 failed
 ---> System.Net.Sockets.SocketException (111): Connection refused
   at System.Net.X()
   --- End of inner exception stack trace ---
"""


@pytest.mark.parametrize(
    ("traceback", "root", "kind", "code"),
    [
        (PYTHON_DIRECT, "ConnectionRefusedError", "errno", "ECONNREFUSED"),
        (JAVA, "java.net.SocketTimeoutException", None, None),
        (NODE, "AxiosError", "errno", "ECONNREFUSED"),
        (DOTNET, "System.Net.Sockets.SocketException", None, None),
    ],
)
def test_causes_are_followed_through_a_traceback(traceback, root, kind, code):
    found = signals("StepFailed", "step 3 failed", traceback)
    assert found.types[0] == "StepFailed"
    assert root in found.types
    assert kind is None or code in found.codes[kind]


def test_frames_and_source_lines_say_nothing():
    assert "timeout=5" not in signals("StepFailed", "step 3 failed", PYTHON_DIRECT).text
    assert "Timeout.java" not in signals("StepFailed", "step 3 failed", JAVA).text


def test_what_a_traceback_repeats_is_read_once():
    end = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    said = "(0, '')"
    found = signals("pymysql.err.InterfaceError", said, f"{end}pymysql.err.InterfaceError: {said}")
    assert found.text == said
    more = signals("app.Failed", "no", f"{end}app.Failed: no\ncode: 'ECONNRESET'")
    assert more.text == "no\ncode: 'ECONNRESET'"


def test_a_traceback_without_frames_and_one_of_a_group_keep_their_own_lines():
    bare = signals(
        "app.Failed", "no", "Traceback (most recent call last):\nOSError: [Errno 28] full"
    )
    assert "ENOSPC" in bare.codes["errno"]
    group = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "a.py", line 1, in f\n  |     wait(timeout=5)\n'
        "  | ExceptionGroup: two (1 sub-exception)\n"
    )
    assert "timeout=5" not in signals("app.Failed", "no", group).text


def test_what_was_being_handled_is_kept_apart():
    text = PYTHON_DIRECT.replace(
        "The above exception was the direct cause of the following exception:",
        "During handling of the above exception, another exception occurred:",
    )
    found = signals("StepFailed", "step 3 failed", text)
    assert "errno" not in found.codes
    assert found.context is not None
    assert "ECONNREFUSED" in found.context.codes["errno"]


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("x (Caused by NewConnectionError('y: [Errno 111]'))", "NewConnectionError"),
        ("x; nested exception is java.net.ConnectException: refused", "java.net.ConnectException"),
        ("RetryError[<Future at 0x7f state=finished raised ReadTimeout>]", "ReadTimeout"),
        ("(psycopg2.errors.UniqueViolation) duplicate key", "psycopg2.errors.UniqueViolation"),
        ("x ---> Npgsql.NpgsqlException: y", "Npgsql.NpgsqlException"),
    ],
)
def test_a_message_names_its_cause(message, name):
    assert name in signals("Wrapper", message).types


def test_statements_parameters_and_addresses_are_left_out():
    text = signals(
        "IntegrityError",
        "duplicate key\n[SQL: INSERT INTO timeouts VALUES (%s)]\n[parameters: ('deadlock',)]\n(Background on"
        " this error at: https://sqlalche.me/e/20/gkpj)",
    ).text
    assert "duplicate key" in text
    assert not any(word in text for word in ("timeouts", "deadlock", "sqlalche"))
    assert "timeouts" not in signals("HTTPError", "404 for url: https://api/timeouts/503").text


HOSTILE = [
    "a" * 1_000_000, "'" * 1_000_000, "(" * 1_000_000, "[SQL: " * 150_000, "Error" * 200_000, "a.b." * 250_000,
    "500 (404 " * 100_000, "\n" * 1_000_000, "Caused by: " * 90_000, "a_b " * 250_000, " " * 1_000_000,
    "\\" * 1_000_000, '{"code":' * 120_000, "é" * 500_000, "\x00" * 1_000_000, "File \"" * 150_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=[repr(text[:8]) for text in HOSTILE])
def test_hostile_text_takes_no_time(text):
    """A bound so wide that only a pattern that backtracks can break it, on any machine."""
    start = time.process_time()
    signals(text, text, text)
    assert time.process_time() - start < 5


TEXTS = st.text(st.characters(codec=None), max_size=300) | st.sampled_from(
    [message for *_, message in CODES] + [PYTHON_DIRECT, JAVA, NODE, DOTNET]
)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_it_never_raises_and_keeps_its_form(name, message, traceback):
    found = signals(name, message, traceback)
    assert set(found.codes) <= set(KINDS)
    for values in found.codes.values():
        assert values
        assert all(isinstance(code, str) and len(words) <= 80 for code, words in values.items())
    assert found == signals(name, message, traceback)


def test_nothing_is_nothing():
    found = signals(None, None, None)
    assert (found.types, found.text, dict(found.codes)) == ((), "", {})
