"""Made-up exceptions in any number: sixty kinds of errors, most with values that vary in their messages."""

import random
import uuid

_TEXTS = """
psycopg.errors.UniqueViolation | duplicate key value violates unique constraint "users_email_key"\\nDETAIL:  Key (email)=({email}) already exists.
psycopg.errors.UniqueViolation | duplicate key value violates unique constraint "orders_pkey"\\nDETAIL:  Key (id)=({id}) already exists.
psycopg.errors.ForeignKeyViolation | insert or update on table "memos" violates foreign key constraint "memos_user_id_fkey"\\nDETAIL:  Key (user_id)=({id}) is not present in table "users".
psycopg.errors.NotNullViolation | null value in column "{column}" of relation "listings" violates not-null constraint
psycopg.errors.DeadlockDetected | deadlock detected\\nDETAIL:  Process {pid} waits for ShareLock on transaction {id}; blocked by process {pid}.
psycopg.errors.QueryCanceled | canceling statement due to statement timeout
psycopg.errors.SerializationFailure | could not serialize access due to concurrent update
psycopg.OperationalError | connection to server at "{ip}", port 5432 failed: Connection refused
psycopg.OperationalError | FATAL:  sorry, too many clients already
sqlalchemy.exc.TimeoutError | QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00
pymysql.err.OperationalError | (1213, 'Deadlock found when trying to get lock; try restarting transaction')
pymysql.err.OperationalError | (1205, 'Lock wait timeout exceeded; try restarting transaction')
pymysql.err.OperationalError | (2006, 'MySQL server has gone away')
oracledb.exceptions.OperationalError | ORA-00060: deadlock detected while waiting for resource
oracledb.exceptions.IntegrityError | ORA-00001: unique constraint (APP.ORDERS_PK) violated
requests.exceptions.HTTPError | {status} Client Error: Bad Request for url: https://api.example.com/v1/orders/{id}
requests.exceptions.HTTPError | {server} Server Error: Bad Gateway for url: https://api.example.com/v1/users/{uuid}?page={small}
requests.exceptions.HTTPError | 429 Client Error: Too Many Requests for url: https://maps.example.com/geocode?q={id}
AxiosError | Request failed with status code {server}
AxiosError | Request failed with status code 429
requests.exceptions.ConnectionError | HTTPSConnectionPool(host='{host}', port=443): Max retries exceeded with url: /v1/items/{id} (Caused by NewConnectionError('<urllib3.connection.HTTPSConnection object at 0x{hex}>: Failed to establish a new connection: [Errno 111] Connection refused'))
requests.exceptions.ReadTimeout | HTTPSConnectionPool(host='{host}', port=443): Read timed out. (read timeout=30)
Error | connect ECONNREFUSED {ip}:5432
Error | connect ETIMEDOUT {ip}:6379
Error | read ECONNRESET
Error | getaddrinfo ENOTFOUND {host}
Error | socket hang up
redis.exceptions.ConnectionError | Error 111 connecting to {host}:6379. Connection refused.
FileNotFoundError | [Errno 2] No such file or directory: '/var/data/uploads/{uuid}/page_{small}.pdf'
OSError | [Errno 28] No space left on device
ConnectionResetError | [Errno 104] Connection reset by peer
KeyError | '{column}'
AttributeError | 'NoneType' object has no attribute '{column}'
TypeError | render() missing 1 required positional argument: '{column}'
ModuleNotFoundError | No module named '{module}'
ValueError | invalid literal for int() with base 10: '{word}'
json.decoder.JSONDecodeError | Expecting value: line {small} column {small} (char {pid})
shop.errors.PropertyNotFound | property {uuid} not found
shop.errors.UserSuspended | user {id} is suspended
shop.errors.ListingDeleted | listing {id} was deleted at {time}
shop.errors.TokenExpired | token expired at {time}
PIL.UnidentifiedImageError | image {uuid} is corrupt: premature end of file after {pid} bytes
stripe.error.InvalidRequestError | No such customer: 'cus_{token}'
stripe.error.CardError | Request req_{token}: Your card was declined.
openai.RateLimitError | Rate limit reached for model in organization org-{token}: limit 10000, used {pid}
botocore.exceptions.ClientError | An error occurred (ThrottlingException) when calling the SendEmail operation: Rate exceeded
botocore.exceptions.ClientError | An error occurred (AccessDenied) when calling the PutObject operation: Access Denied
smtplib.SMTPRecipientsRefused | {{'{email}': (550, b'5.1.1 The email account does not exist')}}
smtplib.SMTPConnectError | (421, b'4.7.0 Try again later')
billiard.exceptions.WorkerLostError | Worker exited prematurely: signal 9 (SIGKILL) Job: {pid}.
billiard.exceptions.TimeLimitExceeded | TimeLimitExceeded(300,)
UnrecoverableError | job stalled more than allowable limit
Error | Missing lock for job {id}. moveToFinished
TypeError | Cannot read properties of undefined (reading '{column}')
yaml.scanner.ScannerError | mapping values are not allowed here in line {small}, column {small}
dask.distributed.KilledWorker | worker {host} lost after {float} seconds
shop.errors.PayloadTooLarge | payload of {float} MB is too large
grpc.RpcError | 14 UNAVAILABLE: connect ECONNREFUSED {ip}:50051
subprocess.CalledProcessError | exit status {exit}
jinja2.exceptions.TemplateNotFound | template 'emails/{column}.html' not found
"""


def messages(rows: int, seed: int = 7) -> list[str]:
    """That many messages, the same ones for the same seed."""
    return [message for _, message in errors(rows, seed)]


def errors(rows: int, seed: int = 7) -> list[tuple[str, str]]:
    """That many (exception type, message), the same ones for the same seed."""
    pick = random.Random(seed)
    kinds = [line.replace("\\n", "\n").partition(" | ") for line in _TEXTS.strip().splitlines()]
    columns = ["price", "title", "owner", "address1", "address2", "tenant_id"]
    letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

    def values() -> dict[str, str]:
        number = pick.getrandbits(128)
        return {
            "uuid": str(uuid.UUID(int=number)),
            "id": str(number % 9_000_000 + 1),
            "pid": str(number % 65_000 + 1),
            "small": str(number % 240 + 1),
            "ip": f"10.{number % 251}.{number % 241}.{number % 239}",
            "host": f"svc-{number % 97}.internal.example.com",
            "hex": f"{number % 2**47:x}",
            "email": f"user{number % 90_000}@mail{number % 11}.example.org",
            "time": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:{number % 59:02}Z",
            "token": "aB3" + "".join(letters[number >> shift & 31] for shift in range(0, 70, 5)),
            "float": f"{number % 90_000 / 100:.2f}",
            "word": letters[number % 50] * 3 + "x",
            "status": str((400, 403, 404, 409, 422)[number % 5]),
            "server": str((500, 502, 503, 504, 520)[number % 5]),
            "exit": str((1, 2, 137, 139, 143)[number % 5]),
            "column": columns[number % 6],
            "module": ("httpx", "requests", "psycopg2")[number % 3],
        }

    chosen = (pick.choice(kinds) for _ in range(rows))
    return [(kind, text.format_map(values())) for kind, _, text in chosen]


def without_numbers(rows: int, seed: int = 7) -> list[str]:
    """Messages that all differ by a word: nothing collapses."""
    pick = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        f"cannot parse the entry {''.join(pick.choices(letters, k=9))} of the feed {pick.choice(letters)}"
        for _ in range(rows)
    ]
