"""Words that mean different things in different texts, and the answers that are known to be wrong."""

import pytest

from dlqanalysis.classify import classify
from dlqanalysis.classify.rules import rulebook
from dlqanalysis.frame import from_records
from dlqanalysis.signals import signals

CLASS = {"T": "transient", "P": "permanent", "D": "data", "U": "unknown"}


def _class_of(kind, message):
    row = {
        "failure_id": "0",
        "task_name": "tasks.run",
        "exception_type": kind,
        "exception_message": message,
        "failed_at": "2026-11-01T10:00:00Z",
        "kwargs": {},
    }
    return classify(from_records([row]))["failure_class"].iloc[0]


# What we get wrong, and know it: (acceptable, what we say, exception type, message). A change that mends one makes
# this table fail: take the row out, and put it into verdicts.tsv.
KNOWN_WRONG = [
    # a bare count that must be another: no word tells that a record is meant
    ("D", "P", "Exception", "Got 500 rows, expected 499"),
    # business rules without a word of the common ones
    ("D", "U", "Exception", "The limit Qty is great than abs(100)"),
    ("DP", "U", "app.PricingError", "SKU 7: two price lists apply"),
    # the vendor's own numbers, which we do not know
    ("D", "U", "RestError", "21610"),
    # a broker's send that fails with the number of a foreign protocol
    (
        "PT",
        "U",
        "UndefinedExchangeException",
        "Unable to send message to topic 'a': status code was 7",
    ),
    # languages other than English
    ("T", "U", "Exception", "Zeitüberschreitung der Verbindung"),
    ("P", "U", "Exception", "权限不足"),
    # a limit of 0 is no rate but a plan; numbers are masked before they are judged
    ("P", "T", "ResourceExhausted", "Quota exceeded for metric: requests per minute, limit: 0"),
    # a step that the text names, and not what it refused
    ("P", "U", "AmqpIllegalStateException", "Fatal exception on listener startup"),
    # words that stand for a record as often as for the code
    ("D", "P", "Error", "invalid palette of the parcel label"),
    # an advice of a tool that looks at the code
    ("P", "U", "UniformNotifier::Exception", "USE eager loading detected"),
    # a step that names what it works on, and no reason
    ("UD", "P", "WorkflowError", "Unable to determine primary image path for job 1194234"),
    # a conflict of versions: a new attempt reads the record again, unless the job itself carries the version
    (
        "DP",
        "T",
        "Elastic::Transport::Transport::Errors::Conflict",
        "[409] version_conflict_engine_exception: [1]: version conflict, current version [3] is different",
    ),
    # Spring's way to say that no method takes a message of this type
    ("P", "U", "ListenerExecutionFailedException", "Listener method 'no match' threw exception"),
    # a word that speaks of values, about a limit of the platform
    ("TP", "D", "FunctionInvocationException", "Exceeded maximum function execution count"),
    # a browser's answers to a command: some pass, some are the page's, some the code's
    (
        "TP",
        "D",
        "ProtocolError",
        "Protocol error (Page.createIsolatedWorld): No frame for given id found",
    ),
    (
        "P",
        "U",
        "ProtocolError",
        "Protocol error (Extensions.loadUnpacked): Could not load javascript 'a.js' for script.",
    ),
    # Django's permissions behind a file's name
    ("P", "D", "app.ConsumerError", "7.pdf: Content type for given perms and klass differs"),
    # an id that has changed, without a word for it
    ("DP", "U", "telegram.error.ChatMigrated", "Group migrated to supergroup. New chat id: 5"),
    # a process that ends by itself, as often a decision of the code as of a deploy
    ("U", "T", "SystemExit", "exit"),
    # a tool's name for an address of another kind, behind the words of a failed connection
    ("P", "D", "OSError", "Exit with code 1 due to network error: ProtocolUnknownError"),
    # code that swallows its cause
    ("T", "U", "Exception", "Could not get exchange rates"),
]


@pytest.mark.parametrize(("accept", "said", "kind", "message"), KNOWN_WRONG)
def test_known_wrong_answers_are_still_wrong(accept, said, kind, message):
    answer = _class_of(kind, message)
    assert answer == CLASS[said]
    assert answer not in [CLASS[letter] for letter in accept]


# The same word or number, and what it means: (class, exception type, message)
TRAPS = [
    ("permanent", "TypeError", "f() got an unexpected keyword argument 'timeout'"),
    ("transient", "requests.exceptions.ReadTimeout", "Read timed out. (read timeout=5)"),
    ("permanent", "AttributeError", "'NoneType' object has no attribute 'retry'"),
    ("transient", "TypeError", "fetch failed"),
    ("transient", "RateLimitError", "Error code: 429 - {'error': {'code': 'rate_limit_exceeded'}}"),
    ("permanent", "RateLimitError", "Error code: 429 - {'error': {'code': 'insufficient_quota'}}"),
    ("transient", "googleapiclient.errors.HttpError", "<HttpError 403 returned 'userRateLimitExceeded'>"),
    ("permanent", "googleapiclient.errors.HttpError", "<HttpError 403 returned 'forbidden'>"),
    ("permanent", "SSLError", "(Caused by SSLError(SSLCertVerificationError(1, 'certificate verify failed')))"),
    ("transient", "SSLError", "(Caused by SSLError(SSLEOFError(8, 'EOF occurred in violation of protocol')))"),
    ("data", "SMTPDataError", "(550, b'5.1.1 User unknown')"),
    ("transient", "SMTPDataError", "(451, b'4.7.1 Try again later')"),
    ("permanent", "ShutdownSignalException", "(reply-code=406, reply-text=PRECONDITION_FAILED - inequivalent arg)"),
    ("transient", "ShutdownSignalException", "(reply-code=406, reply-text=PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out)"),
    ("transient", "tenacity.RetryError", "RetryError[<Future at 0x7f state=finished raised ReadTimeout>]"),
    ("permanent", "tenacity.RetryError", "RetryError[<Future at 0x7f state=finished raised TypeError>]"),
    ("data", "celery.exceptions.ChordError", "Dependency 1 raised DoesNotExist('Order matching query does not exist.')"),
    ("transient", "UnrecoverableError", "connect ECONNREFUSED 10.0.0.1:80"),
    ("permanent", "UnrecoverableError", "no more"),
    ("data", "UnrecoverableError", "Campaign not found"),
    ("permanent", "FileNotFoundError", "[Errno 2] No such file or directory: 'nix-instantiate'"),
    ("permanent", "RuntimeError", "Docker Compose not found. Install Docker Desktop."),
    ("permanent", "Error", "The client did not initialize yet. Please run \"prisma generate\""),
    ("data", "SyntaxError", "Unexpected token < in JSON at position 0"),
    ("permanent", "SyntaxError", "invalid syntax (tasks.py, line 3)"),
    ("permanent", "Error", "Invalid value for timeout: -1"),
    ("permanent", "sqlalchemy.exc.ProgrammingError", "(psycopg2.errors.UndefinedTable) relation \"timeouts\" does not exist"),
    ("data", "IntegrityError", "duplicate key value violates unique constraint \"deadlock_pkey\""),
    ("permanent", "FileNotFoundError", "[Errno 2] No such file or directory: 'ffmpeg'"),
    ("data", "FileNotFoundError", "[Errno 2] No such file or directory: '/srv/in/7.csv'"),
    ("permanent", "Error", "Wrong password. Please try again."),
    ("transient", "Error", "The register is closed. Please try again later."),
    ("permanent", "IllegalArgumentException", "Could not resolve placeholder 'smtp.host' in value"),
    ("permanent", "Error", "Failed to resolve entry for package 'x'. The package may have an invalid main"),
    ("data", "com.acme.ServiceException", "Order 7 not found"),
    ("permanent", "com.acme.TransportException", "unknown option 'retry'"),
    ("transient", "com.acme.TransportException", "stream 7"),
    ("permanent", "Error", "net::ERR_CERT_DATE_INVALID at https://a.example.org"),
    ("transient", "Error", "net::ERR_CONNECTION_RESET at https://a.example.org"),
    ("transient", "ReplyError", "LOADING Redis is loading the dataset in memory"),
    ("permanent", "app.Violation", "lazy loading of [lines] is not supported"),
    ("permanent", "IllegalStateException", "the poolTimeout cannot be greater than the lease"),
    ("permanent", "org.hibernate.TransientPropertyValueException", "references an unsaved instance"),
    ("permanent", "django.db.utils.ConnectionDoesNotExist", "The connection 'archive' doesn't exist."),
    ("transient", "asyncpg.ConnectionDoesNotExistError", "connection was closed in the middle of operation"),
    ("data", "tarfile.ReadError", "not a gzip file"),
    ("transient", "httpx.ReadError", ""),
    ("permanent", "app.TransportError", "Pager alerts are not enabled"),
    ("permanent", "Error", "No table yet. Please create it and try again."),
    ("transient", "Error", "The answer did not come within 30 seconds"),
    ("transient", "Error", "mail_gateway_overloaded"),
    ("permanent", "psycopg2.OperationalError", 'connection to server at "db" failed: FATAL:  password authentication failed'),
    ("permanent", "Error", "Cannot connect: certificate has expired"),
    ("transient", "SequelizeConnectionError", "sorry, too many clients already"),
    ("permanent", "SequelizeConnectionError", "Client does not support authentication protocol requested by server"),
    ("permanent", "java.lang.IllegalStateException", "Already managing a client with id 0"),
    ("unknown", "Error", "Message rejected by its consumer"),
    ("data", "Error", "The payment was rejected"),
    ("transient", "ActiveJob::DeserializationError", "Error while trying to deserialize arguments: Lost connection to MySQL server during query"),
    ("data", "ActiveJob::DeserializationError", "Error while trying to deserialize arguments: Couldn't find Order with 'id'=7"),
    ("transient", "Error", "Cannot reach the payment service"),
    ("permanent", "IllegalStateException", "Cannot reach statement"),
    ("permanent", "botocore.errorfactory.ResourceNotFoundException", "An error occurred (ResourceNotFoundException) when calling the GetSecretValue operation: not found"),
    ("data", "botocore.errorfactory.NoSuchKey", "An error occurred (NoSuchKey) when calling the GetObject operation: not found"),
    ("data", "app.SyncError", "{'email': ['is taken by somebody else']}"),
    ("data", "app.SyncError", "instance ghost not found"),
    ("transient", "KafkaJSNonRetriableError", "Connection error: connect ECONNREFUSED 10.0.0.1:9092"),
    ("permanent", "KafkaJSNonRetriableError", "Invalid topic"),
    ("data", "ApiClientError", '{"title":"Member Exists","status":400,"detail":"a@example.org is already a list member."}'),
    ("unknown", "Exception", "key not found: :timeout"),
    ("transient", "javax.net.ssl.SSLException", "Tag mismatch!"),
    ("data", "Exception", "XML syntax error on line 1: unexpected EOF"),
    ("permanent", "SyntaxError", "Unexpected token '{' while compiling ejs"),
    ("permanent", "*errors.errorString", "tls: failed to find any PEM data in certificate input"),
    ("data", "pydantic.ValidationError", "1 validation error for Job\nretry\n  Input should be a valid integer [type=int_parsing]"),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "kind", "message"), TRAPS)
def test_the_same_word_means_different_things(expected, kind, message):
    assert _class_of(kind, message) == expected


# Classes that name only the layer that failed, and sentences that refuse: the sentence counts.
LAYERS = [
    "SequelizeConnectionError", "requests.exceptions.ConnectionError", "kombu.exceptions.OperationalError", "MongoNetworkError",
    "redis.exceptions.ConnectionError", "KafkaConnectionError", "NetworkError", "java.net.ConnectException", "APIConnectionError",
    "DatabaseConnectionError", "amqp.AMQPConnectionError", "TransportError", "SSHException", "FetchError",
]  # fmt: skip
REFUSALS = [
    "Client does not support authentication protocol requested by server", "Permission denied", "password authentication failed",
    "certificate has expired", "Unknown database 'dev'", "Cannot use a string as a port", "invalid proxy url",
    "Customer 7 not found", "Unsupported scheme", "the address is missing",
]  # fmt: skip


@pytest.mark.parametrize("kind", LAYERS)
def test_a_class_that_names_its_layer_yields_to_a_sentence_that_refuses(kind):
    book = rulebook()
    said = [str(book.judge(signals(kind, text)).rule.failure_class) for text in REFUSALS]
    assert "transient" not in said
    assert book.judge(signals(kind, "")).rule.failure_class == "transient"
