"""A labelled set for measuring redaction: secrets and personal data that must go, values that diagnosis needs.

Written apart from redact_cases.py, from the formats that issuers document, and not from the rules of redact/.
Every value is made here from a fixed seed: nothing in it is real, and nothing in this file looks real.
`GOES` and `STAYS` are lists of (kind, text, value): the value must be gone from the text, or be still in it.
"""

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator

Case = tuple[str, str, str]

_LOWER, _UPPER, _DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
_HEX = "0123456789abcdef"
_ALNUM = _LOWER + _UPPER + _DIGITS
_URLSAFE = _ALNUM + "-_"


def _luhn(rng: random.Random, prefix: str, length: int) -> str:
    body = prefix + "".join(rng.choices(_DIGITS, k=length - len(prefix) - 1))
    total = 0
    for place, digit in enumerate(reversed(body)):
        number = int(digit) * (2 if place % 2 == 0 else 1)
        total += number - 9 if number > 9 else number
    return body + str(-total % 10)


def _iban(rng: random.Random, country: str, length: int) -> str:
    account = "".join(rng.choices(_DIGITS, k=length - 4))
    number = int("".join(str(int(sign, 36)) for sign in account + country + "00"))
    return f"{country}{98 - number % 97:02d}{account}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _jwt(rng: random.Random) -> str:
    head = json.dumps({"alg": "HS256", "typ": "JWT"}).encode()
    body = json.dumps({"sub": str(rng.randrange(10**6)), "exp": 1}).encode()
    return f"{_b64(head)}.{_b64(body)}.{_b64(rng.randbytes(32))}"


def _pem(rng: random.Random, name: str) -> str:
    body = base64.b64encode(rng.randbytes(96)).decode()
    lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    return f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----"


def _of(letters: str, length: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choices(letters, k=length))


def _after(prefix: str, letters: str, length: int) -> Callable[[random.Random], str]:
    return lambda rng: prefix + "".join(rng.choices(letters, k=length))


#: What is a secret or personal wherever it stands: its issuer gave it a shape.
SHAPED: dict[str, Callable[[random.Random], str]] = {
    "aws key id": _after("AKIA", _UPPER + "234567", 16),
    "aws temporary key id": _after("ASIA", _UPPER + "234567", 16),
    "stripe secret key": _after("sk" + "_live_", _ALNUM, 24),
    "stripe restricted key": _after("rk" + "_test_", _ALNUM, 24),
    "stripe webhook secret": _after("whsec" + "_", _ALNUM, 32),
    "github token": _after("ghp" + "_", _ALNUM, 36),
    "github fine-grained token": _after("github" + "_pat_", _ALNUM + "_", 82),
    "gitlab token": _after("glpat" + "-", _URLSAFE, 20),
    "slack bot token": lambda rng: "xoxb" + f"-{rng.randrange(10**11)}-{rng.randrange(10**11)}-" + _of(_ALNUM, 24)(rng),
    "slack webhook": lambda rng: "https://hooks.slack" + f".com/services/T{_of(_UPPER, 8)(rng)}/B{_of(_UPPER, 8)(rng)}/{_of(_ALNUM, 24)(rng)}",
    "google api key": _after("AIza", _URLSAFE, 35),
    "google access token": _after("ya29" + ".", _URLSAFE, 60),
    "sendgrid key": lambda rng: "SG" + f".{_of(_URLSAFE, 22)(rng)}.{_of(_URLSAFE, 43)(rng)}",
    "openai key": _after("sk" + "-proj-", _URLSAFE, 48),
    "twilio key": _after("SK", _HEX, 32),
    "npm token": _after("npm" + "_", _ALNUM, 36),
    "pypi token": _after("pypi" + "-AgEIcHlwaS5vcmc", _URLSAFE, 60),
    "hugging face token": _after("hf" + "_", _ALNUM, 34),
    "vault token": _after("hvs" + ".", _URLSAFE, 24),
    "databricks token": _after("dapi", _HEX, 32),
    "digitalocean token": _after("dop" + "_v1_", _HEX, 64),
    "telegram bot token": lambda rng: f"{rng.randrange(10**8, 10**10)}:AA" + _of(_URLSAFE, 33)(rng),
    "jwt": _jwt,
    "private key": lambda rng: _pem(rng, "RSA " + "PRIVATE KEY"),
    "ec private key": lambda rng: _pem(rng, "EC " + "PRIVATE KEY"),
    "card visa": lambda rng: _luhn(rng, "4", 16),
    "card mastercard": lambda rng: _luhn(rng, "53", 16),
    "card amex": lambda rng: _luhn(rng, "37", 15),
    "card spaced": lambda rng: _spaced(_luhn(rng, "51", 16)),
    "iban de": lambda rng: _iban(rng, "DE", 22),
    "iban fr": lambda rng: _iban(rng, "FR", 27),
    "iban spaced": lambda rng: _spaced(_iban(rng, "ES", 24)),
    "e-mail": lambda rng: f"{_of(_LOWER, 7)(rng)}.{_of(_LOWER, 5)(rng)}@{_of(_LOWER, 6)(rng)}.example.org",
    "e-mail tagged": lambda rng: f"{_of(_LOWER, 6)(rng)}+{_of(_LOWER, 4)(rng)}@{_of(_LOWER, 8)(rng)}.co.uk",
    "phone": lambda rng: f"+49 1{rng.randrange(50, 80)} {rng.randrange(10**6, 10**7)}",
    "phone e.164": lambda rng: f"+1{rng.randrange(2, 10)}{rng.randrange(10**8, 10**9)}",
    "phone us": lambda rng: f"({rng.randrange(201, 990)}) {rng.randrange(200, 999)}-{rng.randrange(1000, 9999)}",
    "us social security": lambda rng: f"{rng.randrange(100, 665)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}",
}  # fmt: skip


def _spaced(digits: str) -> str:
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


#: Where such a value may stand. No field name gives it away.
PLACES = (
    "ValueError: request with {} was refused",
    'File "/app/tasks.py", line 12, in send\n    raise Refused("{}")\napp.Refused: {}',
    "{json}",
    "{repr}",
    "args=('{}', 3) kwargs={'n': 1}",
    "<item><ref>{}</ref></item>",
    "could not use '{}', trying again in 30 s",
    'ERROR 2026-11-01T10:00:00Z worker-3 value="{}" attempt=2',
    "[{}]",
    "first line\n{}\nlast line",
)

#: Field names, and what stands behind them. No shape gives these away.
FIELDS: dict[str, Callable[[random.Random], str]] = {
    "password": lambda rng: rng.choice("ABC") + _of(_LOWER, 6)(rng) + "!" + _of(_DIGITS, 2)(rng),
    "db_password": _of(_ALNUM, 12),
    "userPassword": _of(_ALNUM + "#%*", 14),
    "passphrase": _of(_ALNUM, 18),
    "client_secret": _of(_ALNUM, 32),
    "clientSecret": _of(_URLSAFE, 40),
    "api_key": _of(_HEX, 32),
    "apiKey": _of(_ALNUM, 24),
    "x-api-key": _of(_ALNUM, 40),
    "access_token": _of(_URLSAFE, 30),
    "refreshToken": _of(_URLSAFE, 43),
    "auth_token": _of(_HEX, 40),
    "secret_key": _of(_ALNUM + "+/", 40),
    "aws_secret_access_key": _of(_ALNUM + "+/", 40),
    "AZURE_STORAGE_KEY": lambda rng: base64.b64encode(rng.randbytes(64)).decode(),
    "encryption_key": _of(_HEX, 64),
    "session_id": _of(_ALNUM, 26),
    "sessionToken": _of(_ALNUM, 60),
    "csrf_token": _of(_ALNUM, 32),
    "otp": _of(_DIGITS, 6),
    "webhook_secret": _of(_ALNUM, 24),
    "signing_secret": _of(_HEX, 32),
    "private_key_passphrase": _of(_ALNUM, 12),
    "service_account_key": _of(_ALNUM, 44),
}

#: Ways to write a field and its value.
WRITTEN = (
    '{{"{name}": "{value}", "n": 1}}',
    "{{'{name}': '{value}', 'n': 1}}",
    "{name}={value}",
    '{name}="{value}" attempt=2',
    '{{"body": "{{\\"{name}\\": \\"{value}\\"}}"}}',
    "https://api.example.test/v1/x?page=2&{name}={query}&sort=asc",
    "{name}: '{value}'",
    "Settings({name}='{value}', retries=3)",
    "    {name} = '{value}'",
    '{{"a": [{{"b": {{"{name}": "{value}"}}}}]}}',
)

#: A secret in the place where its system's own language has it.
_WORD = _of(_ALNUM, 14)
_IDIOMS: tuple[tuple[str, str, Callable[[random.Random], str]], ...] = (
    ("dsn", "postgresql://app:{}@db.internal:5432/shop?sslmode=require", _WORD),
    ("dsn", "mysql+pymysql://root:{}@10.0.0.4/shop", _WORD),
    ("dsn", "redis://:{}@cache.internal:6379/0", _WORD),
    ("dsn", "rediss://default:{}@cache.example.com:6380", _WORD),
    ("dsn", "amqps://svc:{}@mq.example.com/vhost", _WORD),
    ("dsn", "mongodb+srv://u:{}@cluster0.example.net/db", _WORD),
    ("dsn", "connection to server failed: host=db port=5432 user=app password={} dbname=shop", _WORD),
    ("dsn", "Server=tcp:db.example.net,1433;Database=shop;User ID=app;Password={};Encrypt=True;", _WORD),
    ("dsn", "Data Source=db;User Id=app;Pwd={};", _WORD),
    ("dsn", "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={};EndpointSuffix=core.windows.net", lambda rng: base64.b64encode(rng.randbytes(64)).decode()),
    ("dsn", "Endpoint=sb://shop.example.net/;SharedAccessKeyName=Root;SharedAccessKey={}", lambda rng: base64.b64encode(rng.randbytes(32)).decode()),
    ("dsn", "jdbc:mysql://db/shop?user=app&password={}&useSSL=true", _WORD),
    ("dsn", "jdbc:oracle:thin:app/{}@//db:1521/SHOP", _WORD),
    ("dsn", "root:{}@tcp(db:3306)/shop?parseTime=true", _WORD),
    ("dsn", "https://x-access-token:{}@git.example.com/org/repo.git", _WORD),
    ("dsn", "sqlserver://sa:{}@db:1433?database=shop", _WORD),
    ("dsn", "ldap://cn=admin:{}@ldap.internal", _WORD),
    ("header", "Authorization: Bearer {}", _of(_URLSAFE, 40)),
    ("header", "Authorization: Basic {}", lambda rng: base64.b64encode(rng.randbytes(18)).decode()),
    ("header", "authorization: token {}", _of(_HEX, 40)),
    ("header", '{"headers": {"Authorization": "Bearer {}", "Accept": "*/*"}}', _of(_URLSAFE, 40)),
    ("header", "headers={'Authorization': 'Bearer {}'}", _of(_URLSAFE, 40)),
    ("header", "> Authorization: Bearer {}\n> Accept: */*", _of(_URLSAFE, 40)),
    ("header", "Proxy-Authorization: Basic {}", lambda rng: base64.b64encode(rng.randbytes(12)).decode()),
    ("header", "X-Api-Key: {}", _of(_ALNUM, 32)),
    ("header", "x-auth-token: {}", _of(_HEX, 32)),
    ("header", "X-Vault-Token: {}", _of(_ALNUM, 26)),
    ("header", "X-Amz-Security-Token: {}", _of(_ALNUM, 80)),
    ("header", "Ocp-Apim-Subscription-Key: {}", _of(_HEX, 32)),
    ("header", "[('authorization', 'Bearer {}'), ('accept', '*/*')]", _of(_URLSAFE, 40)),
    ("header", "(b'authorization', b'Bearer {}')", _of(_URLSAFE, 40)),
    ("header", 'curl -H "Authorization: Bearer {}" https://api.example.test', _of(_URLSAFE, 40)),
    ("header", "Authorization: AWS4-HMAC-SHA256 Credential=x/20261101/eu/s3/aws4_request, SignedHeaders=host, Signature={}", _of(_HEX, 64)),
    ("header", 'Authorization: Digest username="jo", realm="x", response="{}"', _of(_HEX, 32)),
    ("header", "Authorization: ApiKey {}", _of(_ALNUM, 44)),
    ("cookie", "Cookie: sessionid={}; theme=dark", _of(_ALNUM, 32)),
    ("cookie", "Cookie: theme=dark; connect.sid={}", _of(_ALNUM, 32)),
    ("cookie", "Set-Cookie: PHPSESSID={}; Path=/; HttpOnly", _of(_LOWER + _DIGITS, 26)),
    ("cookie", '{"cookies": {"sid": "{}"}}', _of(_ALNUM, 32)),
    ("cookie", "{'Cookie': 'a=1; JSESSIONID={}'}", _of(_HEX, 32)),
    ("cookie", "document.cookie = 'token={}'", _of(_ALNUM, 32)),
    ("command line", "mysql -u root --password={} shop", _WORD),
    ("command line", "curl -u jo:{} https://api.example.test", _WORD),
    ("command line", "curl --user jo:{} https://api.example.test", _WORD),
    ("command line", "mysql -uroot -p{} shop", _WORD),
    ("command line", "sshpass -p {} ssh host", _WORD),
    ("command line", "redis-cli -h cache -a {} PING", _WORD),
    ("command line", "tool --token {} run", _WORD),
    ("command line", "tool --api-key={} run", _WORD),
    ("command line", "export DB_PASSWORD={}; run", _WORD),
    ("command line", "docker login -u jo --password {} registry.example.com", _WORD),
    ("command line", "PGPASSWORD={} psql -h db", _WORD),
    ("sql", "ALTER USER app WITH PASSWORD '{}'", _WORD),
    ("sql", "CREATE USER app IDENTIFIED BY '{}'", _WORD),
    ("sql", "CREATE ROLE app LOGIN ENCRYPTED PASSWORD '{}'", _WORD),
    ("sql", "Key (api_key)=({}) already exists.", _WORD),
    ("sql", "UPDATE users SET password = '{}' WHERE id = 5", _WORD),
    ("redis", "AUTH {}", _WORD),
    ("redis", "AUTH default {}", _WORD),
    ("redis", "CONFIG SET requirepass {}", _WORD),
    ("repr", "map[password:{} user:app]", _WORD),
    ("repr", "{password={}, user=app}", _WORD),
    ("repr", 'Credentials { user: "app", password: "{}" }', _WORD),
    ("repr", '"password"=>"{}"', _WORD),
    ("repr", "[password] => {}", _WORD),
    ("repr", 'password:"{}" user:"app"', _WORD),
    ("repr", "auth=('app', '{}')", _WORD),
    ("repr", "HTTPBasicAuth('app', '{}')", _WORD),
    ("repr", "connect(user='app', passwd='{}')", _WORD),
    ("repr", "SecretStr('{}')", _WORD),
    ("xml", "<Password>{}</Password>", _WORD),
    ("xml", "<wsse:Password Type=\"PasswordText\">{}</wsse:Password>", _WORD),
    ("xml", '<add key="ApiKey" value="{}" />', _WORD),
    ("xml", '<user name="app" password="{}"/>', _WORD),
    ("yaml", "database:\n  user: app\n  password: {}\n  host: db", _WORD),
    ("yaml", "stripe:\n  api_key: \"{}\"\n", _WORD),
    ("yaml", "- name: DB_PASSWORD\n  value: {}\n", _WORD),
    ("ini", "[smtp]\nuser = app\npassword = {}\n", _WORD),
    ("ini", "machine api.example.com login jo password {}", _WORD),
    ("ini", "spring.datasource.password={}", _WORD),
    ("ini", "db:5432:shop:app:{}", _WORD),
    ("json", '{"name": "DB_PASSWORD", "value": "{}"}', _WORD),
    ("json", '{"key": "api_key", "value": "{}"}', _WORD),
    ("json", '{"password": ["{}"]}', _WORD),
    ("json", '{"credentials": {"user": "app", "value": "{}"}}', _WORD),
    ("json", '{"auth": {"type": "basic", "password": "{}"}}', _WORD),
    ("json", '{"password" : "{}"}', _WORD),
    ("json", '{\n  "token":\n    "{}"\n}', _WORD),
    ("url", "GET /reset?token={}&next=/ HTTP/1.1", _WORD),
    ("url", "https://app.example.test/cb#access_token={}&state=1", _WORD),
    ("url", "https://x.blob.example.net/c/f?sv=2024&sig={}%3D", _of(_ALNUM, 43)),
    ("url", "https://s3.example.test/b/k?X-Amz-Credential=x&X-Amz-Signature={}", _of(_HEX, 64)),
    ("url", "https://storage.example.test/b/o?GoogleAccessId=x&Signature={}", _of(_ALNUM, 60)),
    ("url", "https://hooks.example.test/in?key={}", _of(_ALNUM, 39)),
    ("url", "POST /login username=jo&password={}&remember=1", _WORD),
    ("url", "https://api.example.test/?apikey={}", _of(_HEX, 32)),
    ("prose", "invalid password {} for user app", _WORD),
    ("prose", "Incorrect API key provided: {}.", _of(_ALNUM, 32)),
    ("prose", "token {} has expired", _of(_ALNUM, 32)),
    ("prose", "the password is {}", _WORD),
    ("personal", '{"first_name": "{}", "plan": "pro"}', _of(_LOWER, 8)),
    ("personal", '{"lastName": "{}"}', _of(_LOWER, 8)),
    ("personal", "Customer(full_name='{}', id=5)", _of(_LOWER, 8)),
    ("personal", '{"street": "{} 5", "n": 1}', _of(_LOWER, 9)),
    ("personal", '{"date_of_birth": "{}"}', lambda rng: f"19{rng.randrange(50, 99)}-0{rng.randrange(1, 9)}-1{rng.randrange(9)}"),
    ("personal", '{"phone": "{}"}', lambda rng: f"0151 {rng.randrange(10**6, 10**7)}"),
    ("personal", '{"mobile_number": {}}', lambda rng: f"1{rng.randrange(10**9, 10**10)}"),
    ("personal", '{"tax_id": "{}"}', _of(_DIGITS, 11)),
    ("personal", '{"passport_number": "{}"}', lambda rng: "C" + _of(_DIGITS, 8)(rng)),
    ("personal", '{"account_number": "{}"}', _of(_DIGITS, 10)),
    ("personal", "Key (phone)=({}) already exists.", _of(_DIGITS, 11)),
    ("personal", '{"shipping_address": "{} Road 7, Town"}', _of(_LOWER, 8)),
    ("personal", "unsubscribe?email={}", lambda rng: f"{_of(_LOWER, 6)(rng)}%40{_of(_LOWER, 6)(rng)}.example"),
    ("personal", "tel:{}", lambda rng: f"+44207946{rng.randrange(1000, 9999)}"),
)  # fmt: skip


def _goes() -> Iterator[Case]:
    rng = random.Random(20261122)
    for number, (kind, make) in enumerate(SHAPED.items()):
        for turn in range(5):
            value = make(rng)
            place = PLACES[(number + 3 * turn) % len(PLACES)]
            yield kind, _placed(place, value), value
    for number, (name, make) in enumerate(FIELDS.items()):
        for turn in range(6):
            value = make(rng)
            way = WRITTEN[(number + turn) % len(WRITTEN)]
            query = value.replace("%", "%25").replace("+", "%2B").replace("#", "%23")
            text = way.format(name=name, value=value, query=query)
            yield f"field {name}", text, query if query in text else value
    for kind, way, make in _IDIOMS:
        value = make(rng)
        yield kind, way.replace("{}", value), value


def _placed(place: str, value: str) -> str:
    if place == "{json}":
        return json.dumps({"id": 7, "data": {"v": value}})
    if place == "{repr}":
        return repr({"id": 7, "items": [value, 1]})
    return place.replace("{}", value)


#: What is harmless, and often the very thing that tells what happened.
PLAIN: dict[str, Callable[[random.Random], str]] = {
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "uuid without dashes": lambda rng: uuid.UUID(int=rng.getrandbits(128), version=4).hex,
    "sha1": _of(_HEX, 40),
    "sha256": _of(_HEX, 64),
    "md5": _of(_HEX, 32),
    "short commit": _of(_HEX, 7),
    "integer id": lambda rng: str(rng.randrange(1, 10**7)),
    "long integer id": lambda rng: str(rng.randrange(10**17, 10**18)),
    "sixteen digits, no card": lambda rng: _no_card(rng),
    "epoch seconds": lambda rng: str(rng.randrange(1_700_000_000, 1_800_000_000)),
    "epoch milliseconds": lambda rng: str(rng.randrange(1_700_000_000_000, 1_800_000_000_000)),
    "iso time": lambda rng: f"2026-0{rng.randrange(1, 9)}-1{rng.randrange(9)}T0{rng.randrange(9)}:12:33.{rng.randrange(10**5, 10**6)}+00:00",
    "date": lambda rng: f"2026-0{rng.randrange(1, 9)}-2{rng.randrange(9)}",
    "version": lambda rng: f"{rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(200)}",
    "sku": lambda rng: f"SKU-{_of(_UPPER, 3)(rng)}-{rng.randrange(1000, 9999)}",
    "invoice number": lambda rng: f"INV-2026-{rng.randrange(10**5, 10**6)}",
    "ticket": lambda rng: f"{_of(_UPPER, 3)(rng)}-{rng.randrange(1, 9999)}",
    "object id": _of(_HEX, 24),
    "ulid": lambda rng: "01" + "".join(rng.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=24)),
    "stripe object": _after("cus" + "_", _ALNUM, 14),
    "payment object": _after("pi" + "_", _ALNUM, 24),
    "ipv4": lambda rng: f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
    "ipv4 and port": lambda rng: f"192.168.{rng.randrange(256)}.{rng.randrange(1, 255)}:{rng.randrange(1024, 65535)}",
    "ipv6": lambda rng: "fe80::" + ":".join(_of(_HEX, 4)(rng) for _ in range(3)),
    "host": lambda rng: f"{_of(_LOWER, 5)(rng)}-{rng.randrange(9)}.internal.example.com",
    "path": lambda rng: f"/srv/app/{_of(_LOWER, 6)(rng)}/{_of(_LOWER, 7)(rng)}.py",
    "dotted task": lambda rng: f"app.tasks.{_of(_LOWER, 6)(rng)}.send_{_of(_LOWER, 5)(rng)}",
    "exception": lambda rng: f"{_of(_LOWER, 6)(rng).title()}Error",
    "sqlstate": lambda rng: rng.choice(["40001", "23505", "57P01", "08006", "42P01", "53300"]),
    "http status": lambda rng: str(rng.choice([400, 401, 403, 404, 409, 422, 429, 500, 502, 503])),
    "amount": lambda rng: f"{rng.randrange(1, 9999)}.{rng.randrange(10, 99)} EUR",
    "hex address": lambda rng: "0x7f" + _of(_HEX, 10)(rng),
    "image digest": lambda rng: "sha256:" + _of(_HEX, 64)(rng),
    "etag": lambda rng: 'W/"' + _of(_HEX, 16)(rng) + '"',
    "trace id": _of(_HEX, 32),
    "user agent": lambda rng: f"Mozilla/5.0 (X11; Linux x86_64) Chrome/{rng.randrange(90, 150)}.0.0.0",
    "package": lambda rng: f"@scope/{_of(_LOWER, 6)(rng)}@{rng.randrange(9)}.{rng.randrange(9)}.1",
    "coordinates": lambda rng: f"{rng.randrange(90)}.{rng.randrange(10**6)},{rng.randrange(90)}.{rng.randrange(10**6)}",
    "isbn": lambda rng: f"978-3-16-{rng.randrange(10**5, 10**6)}-0",
    "ean": lambda rng: "40" + _of(_DIGITS, 11)(rng),
    "arn": lambda rng: f"arn:aws:sqs:eu-west-1:{rng.randrange(10**11, 10**12)}:{_of(_LOWER, 6)(rng)}",
    "mime": lambda rng: f"application/vnd.{_of(_LOWER, 6)(rng)}+json",
    "cron": lambda rng: f"*/{rng.randrange(2, 30)} * * * *",
    "locale": lambda rng: rng.choice(["de_DE", "en_GB", "fr_FR", "pt_BR", "ja_JP"]),
    "duration": lambda rng: f"{rng.randrange(2, 900)}.{rng.randrange(10, 99)}s",
}  # fmt: skip


def _no_card(rng: random.Random) -> str:
    good = _luhn(rng, "4", 16)
    return good[:-1] + str((int(good[-1]) + 1 + rng.randrange(8)) % 10)


#: Names of fields that tell what failed, though they sound like secrets or people.
_HARMLESS: tuple[tuple[str, str, str], ...] = (
    ("field", '{"idempotency_key": "{}", "n": 1}', "memo_42_7"),
    ("field", '{"routing_key": "{}"}', "emails.high"),
    ("field", '{"partition_key": "{}"}', "p-17"),
    ("field", '{"cache_key": "{}"}', "user:5:profile"),
    ("field", '{"primary_key": "{}"}', "order_id"),
    ("field", '{"foreign_key": "{}"}', "orders_user_fk"),
    ("field", '{"sort_key": "{}"}', "created#2026"),
    ("field", '{"s3_key": "{}"}', "invoices/2026/11.pdf"),
    ("field", '{"object_key": "{}"}', "exports/day.csv"),
    ("field", '{"message_key": "{}"}', "order-17"),
    ("field", '{"dedup_key": "{}"}', "welcome:5"),
    ("field", '{"key": "{}"}', "welcome_mail"),
    ("field", '{"max_tokens": {}}', "4096"),
    ("field", '{"prompt_tokens": {}}', "512"),
    ("field", '{"token_type": "{}"}', "bearer"),
    ("field", '{"token_count": {}}', "88"),
    ("field", '{"tokenizer": "{}"}', "cl100k"),
    ("field", '{"author": "{}"}', "importer"),
    ("field", '{"authority": "{}"}', "example.com"),
    ("field", '{"auth_method": "{}"}', "oauth2"),
    ("field", '{"auth_type": "{}"}', "basic"),
    ("field", '{"password_reset_sent": {}}', "true"),
    ("field", '{"password_changed_at": "{}"}', "2026-11-01"),
    ("field", '{"has_password": {}}', "true"),
    ("field", '{"secret_name": "{}"}', "shop-db"),
    ("field", '{"secret_version": "{}"}', "v17"),
    ("field", '{"session_count": {}}', "17"),
    ("field", '{"session_timeout": {}}', "3600"),
    ("field", '{"cookie_domain": "{}"}', "example.com"),
    ("field", '{"signature_version": "{}"}', "s3v4"),
    ("field", '{"pin_count": {}}', "12"),
    ("field", '{"hostname": "{}"}', "web-1"),
    ("field", '{"filename": "{}"}', "report.pdf"),
    ("field", '{"template_name": "{}"}', "memo_v2"),
    ("field", '{"task_name": "{}"}', "send_email"),
    ("field", '{"queue_name": "{}"}', "emails"),
    ("field", '{"username_field": "{}"}', "login"),
    ("field", '{"account_id": {}}', "7741"),
    ("field", '{"account_status": "{}"}', "suspended"),
    ("field", '{"account_type": "{}"}', "business"),
    ("field", '{"card_brand": "{}"}', "visa"),
    ("field", '{"card_last4": "{}"}', "4242"),
    ("field", '{"bank_code": "{}"}', "SEPA"),
    ("field", '{"tax_rate": {}}', "0.19"),
    ("field", '{"phone_verified": {}}', "false"),
    ("field", '{"mobile_app_version": "{}"}', "4.11.2"),
    ("field", '{"fax_enabled": {}}', "false"),
    ("field", '{"address_id": {}}', "5512"),
    ("field", '{"ip_address": "{}"}', "10.1.2.3"),
    ("field", '{"mac_address": "{}"}', "00:1b:44:11:3a:b7"),
    ("field", '{"email_template": "{}"}', "welcome_v2"),
    ("field", '{"email_status": "{}"}', "bounced"),
    ("field", '{"connection_id": "{}"}', "c-8812"),
    ("field", '{"connection_timeout": {}}', "30"),
    ("field", '{"webhook_id": "{}"}', "wh-17"),
    ("field", '{"webhook_event": "{}"}', "invoice.paid"),
    ("field", '{"license_type": "{}"}', "enterprise"),
    ("field", '{"security_group": "{}"}', "sg-workers"),
    ("field", '{"credential_type": "{}"}', "oauth"),
    ("field", '{"key_id": "{}"}', "k-2026-11"),
    ("field", '{"public_key_id": "{}"}', "pk-17"),
    ("field", '{"birthday_mail_sent": {}}', "true"),
    ("field", '{"passed": {}}', "12"),
    ("field", '{"bypass": {}}', "false"),
    ("field", '{"design": "{}"}', "dark"),
    ("field", '{"assignee_team": "{}"}', "billing"),
    ("field", '{"monkey": "{}"}', "george"),
    ("message", "KeyError: '{}'", "api_key"),
    ("message", "AttributeError: 'NoneType' object has no attribute '{}'", "token"),
    ("message", "null value in column \"{}\" violates not-null constraint", "email"),
    ("message", "password authentication failed for user \"{}\"", "app"),
    ("message", "permission denied for table {}", "user_tokens"),
    ("message", "Key (id)=({}) already exists.", "42"),
    ("message", "Invalid token: {}", "expired"),
    ("message", "Unexpected token {} in JSON at position 15", "}"),
    ("message", "password must be at least {} characters", "12"),
    ("message", "secret {} not found in namespace shop", "shop-db"),
    ("message", "Bearer {} is required", "authentication"),
    ("message", "session {} by peer", "closed"),
    ("message", "connect ECONNREFUSED {}", "127.0.0.1:5432"),
    ("message", "could not translate host name \"{}\" to address", "db.internal"),
    ("message", "redis://{}/0 is read only", "cache.internal:6379"),
    ("message", "postgresql://{}/shop", "app@db.internal"),
    ("message", "token: {} 5 fields, got 4", "expected"),
    ("message", "Authorization {} is missing", "header"),
    ("message", "missing fields: ['password', '{}']", "username"),
    ("message", "worker celery@{} lost", "worker-1.example.com"),
    ("message", "git@{}:org/repo.git", "git.example.com"),
    ("message", "exit status {} (SIGKILL)", "137"),
    ("message", "duplicate key value violates unique constraint \"{}\"", "users_api_key_key"),
    ("message", "column \"{}\" of relation \"users\" does not exist", "password_hash"),
    ("message", "TypeError: send() got an unexpected keyword argument '{}'", "auth_token"),
    ("message", "auth failed: {}", "certificate expired"),
    ("message", "AUTH {} called without any password configured", "<password>"),
    ("message", "basic {} needed", "information"),
    ("message", "user {} logged in", "4711"),
    ("message", "SELECT * FROM tokens WHERE id = {}", "17"),
    ("message", "mysql -P {} -h db", "3306"),
    ("message", "ssh -p {} host", "2222"),
    ("message", "docker run -p {} web", "8080:80"),
    ("message", "curl -u https://api.example.test/{}", "v1/orders"),
)  # fmt: skip

_AROUND = (
    "ValueError: request with {} was refused",
    '{"id": 7, "ref": "{}"}',
    "{'id': 7, 'ref': '{}'}",
    "could not use {}, trying again in 30 s",
    'ERROR worker-3 value="{}" attempt=2',
    "args=('{}', 3)",
    "https://api.example.test/v1/{}?page=2",
    "first line\n{}\nlast line",
)


def _stays() -> Iterator[Case]:
    rng = random.Random(11222026)
    for number, (kind, make) in enumerate(PLAIN.items()):
        for turn in range(8):
            value = make(rng)
            place = _AROUND[(number + turn) % len(_AROUND)]
            yield kind, place.replace("{}", value), value
    for kind, way, value in _HARMLESS:
        yield kind, way.replace("{}", value), value


def leaks(value: str, text: str) -> bool:
    """Whether six letters in a row of a value, or a shorter value, still stand in a text."""
    value = value.removeprefix("https://")
    parts = {value[at : at + 6] for at in range(max(1, len(value) - 5))}
    return any(part in text for part in parts)


GOES: list[Case] = list(_goes())
STAYS: list[Case] = list(_stays())
