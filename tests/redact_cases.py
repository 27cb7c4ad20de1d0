"""Labelled texts: what stands between « and » must go, everything else must stay as it is.

A · is taken out before use: it keeps made-up keys from looking real to scanners of repositories.
"""

GOES = r"""
the customer, date of birth «1980-02-03», called
Failing row contains (7, «Ann Lee»  , «ann@example.org»  ).
Failing row contains (1, «Ann Lee», «a@b.org»). Failing row contains (2, «Bob Ray», «c@d.org»).
db:5432:shop:app:«hunter2»
password=«hunter2»
password=«hunter2»&user=jo
passwd: «S3cr3t!x»
PASSWORD='«hunter2»'
{"password": "«hunter2»"}
{"user": 7, "password": "«hun\"ter2»", "retries": 3}
{"password":"«a,b}c]d»","n":1}
{'password': '«hunter2»', 'user': 'jo'}
{'password': "«it's me»", 'user': 'jo'}
{"new_password_confirmation": "«hunter2»"}
{"userPassword": "«hunter2»"}
{"encrypted_password": "«$2b$12$abcdefghijklmnopqrstuv»"}
{"db": {"host": "db1", "passphrase": "«correct horse battery»"}}
{"pin": «1234»}
{"otp": "«003412»", "attempt": 2}
{"cvv": "«123»", "amount": 1200}
{"cvc2": «999»}
{"api_key": "«f00dfeedf00dfeed»"}
{"apiKey": "«f00dfeedf00dfeed»"}
{"X-Api-Key": "«f00dfeedf00dfeed»"}
{"client_secret": "«0oAbcd»"}
{"clientSecret":"«0oAbcd»"}
{"accessToken":"«opaque-1»","expires_in":3600}
{"refresh_token":"«opaque-2»","token_type":"bearer"}
{"id_token": "«opaque-3»"}
{"session_id": "«s-81»", "task_id": "t-81"}
{"sessionid": "«81»"}
{"csrfmiddlewaretoken": "«x81»"}
{"authToken": null, "auth_token": "«zzz»"}
{"credentials": «{"user": "jo", "value": "x"}»}
{"passwords": «["a1", "b2"]», "n": 2}
{"secrets": «{"a": {"b": ["c]", "}"]}}», "n": 2}
{"private_key": "«MIIEvQ»"}
{"signing_key": "«k1»"}
{"secretKey": "«k1»"}
{"AccountKey": "«abc/def==»"}
{"webhook_url": "«https://example.test/hook/1»"}
{"body": "{\"password\": \"«hunter2»\"}"}
{"body": "{\"pin\": \"«1234»\", \"n\": 1}"}
{"a": "{\\\"token\\\": \\\"«abc»\\\"}"}
Key (password)=(«hunter2») already exists.
params[:api_key] => "«abc123»"
params["token"] = '«abc123»'
:secret=>"«abc123»", :id=>5
Config(token='«abc123»', retries=3)
User(id=5, password_hash='«pbkdf2$x»')
connect(host='db', password=«hunter2», port=5432)
AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»
export STRIPE_SECRET=«abc»; run
DB_PASSWORD: «hunter22»
SECRET_KEY = '«django-insecure-x»'
curl --password «hunter2» https://api.example.test
mysql --user=app --password=«hunter2» shop
tool --api-key «abc123def» run
tool --auth-token=«abc123def» run
<password>«hunter2»</password>
<soap:Password>«hunter2»</soap:Password>
<ApiKey>«abc»</ApiKey><Id>7</Id>
https://api.example.test/v1?api_key=«abc123»&page=2
GET /reset?token=«abc»&next=/home HTTP/1.1
https://x.blob.example.test/c?sv=2020-08-04&sig=«abc%2Fdef%3D»
https://s3.example.test/b/k?X-Amz-Signature=«deadbeef»&X-Amz-Expires=60
https://s3.example.test/b/k?X-Amz-Security-Token=«FwoG»&x=1
https://api.example.test/cb#access_token=«ya»&state=1
Authorization: «Bearer abc.def123»
authorization: «Basic dXNlcjpwYXNz»
Authorization: «Token 0123456789abcdef»
{"Authorization": "«Bearer abc.def123»", "Accept": "*/*"}
headers={'authorization': '«Bearer abc»', 'accept': '*/*'}
[('Authorization', '«Bearer abc»'), ('Accept', '*/*')]
[(b'cookie', b'«sid=1»'), (b'accept', b'*/*')]
her password was «hunter2»
-H "Authorization: «Bearer abc.def123»" https://api.example.test
Proxy-Authorization: «Basic dXNlcjpwYXNz»
Cookie: «sid=abc; theme=dark»
Set-Cookie: «sid=abc; Path=/; HttpOnly»
{"Set-Cookie": "«sid=abc; Path=/»"}
{"cookies": "«a=b»"}
X-CSRF-Token: «1a2b3c4d»
X-Auth-Token: «1a2b3c4d»
401 for token Bearer «abcdef0123456789»
sent header bearer «ZXhhbXBsZQ1234»
auth failed with Basic «dXNlcjpwYXNzd29yZA==»
postgresql://app:«hunter2»@db.internal:5432/shop
could not connect to postgres://app:«p%40ss»@10.0.0.5/shop
mysql+pymysql://root:«toor»@127.0.0.1:3306/x?charset=utf8
redis://:«s3cret»@cache.internal:6379/0
rediss://default:«s3cret»@cache.example.com:6380
amqp://guest:«guest»@rabbit:5672//
amqps://svc:«p@ss»@mq.example.com/vhost
mongodb+srv://u:«pa-ss_w0rd!»@cluster0.example.net/db?retryWrites=true
postgresql://app:«pa/ss»@db/shop
https://deploy:«abc»@git.example.test/repo.git
smtp://mailer:«x»@smtp.example.com:587
sftp://u:«x»@host/path/file@2.csv
https://«0123456789abcdef0123456789abcdef»@errors.example.test/5
app:«hunter2»@tcp(db:3306)/shop?parseTime=true
Server=db;Database=shop;User Id=app;Password=«hunter2»;Encrypt=True
DefaultEndpointsProtocol=https;AccountName=x;AccountKey=«abc+/=»;EndpointSuffix=core
host=db user=app password=«hunter2» dbname=shop
jdbc:postgresql://db/shop?user=app&password=«hunter2»&ssl=true
invalid JWT «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl» expired
«eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.»
bad assertion «eyJhbGciOiJSU0EifQ.a1b2.c3d4.e5f6.g7h8» here
key «AK·IAIOSFODNN7EXAMPLE» is inactive
arn for «AS·IAIOSFODNN7EXAMPLE»
Invalid API Key provided: «sk_·live_4eC39HqLyjWDarjtT1zdp7dc»
No such token: «pk_·test_TYooMQauvdEDq54NiTphI7jx»
restricted «rk_·live_51HqLyjWDarjtT1zdp7dcAbCd»
webhook secret «whsec_·abcdefghijklmnop0123» does not match
bad credentials «ghp_·16C7e42F292c6912E7710c838347Ae178B4a»
«github_pat_·11ABCDEFG0abcdefghijkl_mnopqrstuv»
«ghs_·16C7e42F292c6912E7710c838347Ae178B4a» expired
remote: «glpat-·abcdefghij0123456789»
slack said invalid_auth for «xoxb-·123456789012-abcdefGHIJKL»
«xoxp-·1234-5678-abcd»
«xapp-·1-A012-345-abcdef»
POST https://«hooks.slack.com/services/T000/B000/XXXXXXXX» 404
https://«discord.com/api/webhooks/123456/abc-DEF_ghi» 429
«AIza·SyA1234567890abcdefghijklmnopqrstuv» is not authorised
«ya29.·a0AfH6SMBx-abcdef_1234»
«GOCSPX-·abcdefghijklmnopqrst1234»
Incorrect API key provided: «sk-·proj-abcdefghijklmnopqrst1234».
«sk-·ant-api03-abcdefghijklmnopqrst1234»
«SG.·abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuvwxyz0123» unauthorised
«key-·0123456789abcdef0123456789abcdef»
twilio «SK·0123456789abcdef0123456789abcdef»
«npm_·abcdefghijklmnopqrstuvwxyz0123456789»
«shpat_·0123456789abcdef0123456789abcdef»
«dop_v1_·0123456789abcdef0123456789abcdef0123456789abcdef»
«123456789:AA·Fabcdefghijklmnopqrstuvwxyz012345»
«hf_·abcdefghijklmnopqrstuvwxyz0123456789»
«hvs.·CAESIabcdefghijklmnopqrst»
«dapi·0123456789abcdef0123456789abcdef»
{"k": "«-----BEGIN PRIVATE KEY-----\nMIIEvQ\nAAAA\n-----END PRIVATE KEY-----»\n", "n": 1}
«-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk»
550 mailbox «jo.doe+tag@mail.example.com» unavailable
no user «JO@EXAMPLE.ORG»
<«jo@example.com»>: Recipient address rejected
{"to": ["«a@b.example»", "«c@d.example»"], "n": 2}
{"email": "«jörg@bücher.example»"}
mailto:«jo@example.com»?subject=x
GET /unsubscribe?email=«jo%40example.com»&x=1
Key (email)=(«o'neil@example.com») already exists.
«4915112345678@s.whatsapp.net» not on WhatsApp
user=«jo@example.com» not found
{"customer": "«jo@example.co.uk»", "id": 5}
card «4111 1111 1111 1111» declined
card «4111111111111111» declined
card «4111-1111-1111-1111» declined
{"number": "«5555555555554444»"}
{"number": «378282246310005»}
«6011111111111117» refused
«30569309025904» refused
«3530111333300000» refused
«2223003122003222» refused
to «+49 151 23456789» failed
to «+4915123456789» failed
sms to «+1 (415) 555-2671»: 30003
{"to": "whatsapp:«+14155552671»"}
dial «(415) 555-2671» busy
dial «415-555-2671» busy
dial «0049 30 901820» busy
tel:«+44 20 7946 0958»
{"phone": "«0151 2345678»"}
{"mobileNumber": «15123456789»}
{"recipient": {"phone_number": "«5551234»"}}
Key (phone)=(«0151 2345678») already exists.
IBAN «DE89 3704 0044 0532 0130 00» FROM file
IBAN «DE89370400440532013000» refused
debit «GB82WEST12345698765432», amount 5
«FR1420041010050500013M02606» is closed
{"iban": "«NL91ABNA0417164300»"}
curl -u jo:«x1y2z3» https://api.example.test
mysql -h db -uroot -p«x1y2z3» shop
sshpass -p «hunter2» ssh host
redis-cli -h cache -a «hunter2» PING
AUTH «x1y2z3»
AUTH default «x1y2z3»
CONFIG SET requirepass «hunter»
ALTER USER app WITH PASSWORD '«hunter»'
CREATE USER app IDENTIFIED BY '«hunter»'
jdbc:oracle:thin:app/«hunter»@//db:1521/SHOP
HTTPBasicAuth('app', '«hunter»')
<wsse:Password Type="PasswordText">«hunter»</wsse:Password>
<add key="ApiKey" value="«hunter»" />
{"name": "DB_PASSWORD", "value": "«hunter»", "n": 1}
- name: DB_PASSWORD\n  value: «hunter»
{"Name":"api_key","Value":"«hunter»"}
Authorization: «Digest username="jo", realm="x", response="6de5"»
Ocp-Apim-Subscription-Key: «d2e1726a9800560531aed5f6152934ff»
{"AZURE_STORAGE_KEY": "«c2VjcmV0/AbC+==»", "n": 1}
https://hooks.example.test/in?key=«br4nr7HiMWqNuEZEwDKj32ji»&page=2
API key provided: «x1y2z3». Next
ssn «078-05-1120» is taken
{"ssn": "«078051120»"}
{"first_name": "«Jo»", "last_name": "«Doe»", "plan": "pro"}
{"fullName": "«Jo Doe»", "street": "«Main St 5»"}
{"date_of_birth": "«1980-02-03»", "created": "2026-11-01"}
{"address": "«1 Main St, Springfield»", "n": 1}
"""

STAYS = r"""
POST https://shop.example.org/hooks/orders-and-refunds/new failed
POST https://shop.example.org/hooks/order-2/new failed
sqlplus scott/ ok
token: expired, try again
ref +493012345678-x
lot '01761234567 x'
HTTP 429 Too Many Requests (Retry-After: 30)
HTTPSConnectionPool(host='api.example.test', port=443): Read timed out. (read timeout=30)
(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint "users_pkey"
DETAIL:  Key (id)=(42) already exists.
SQLSTATE[40001]: deadlock detected at character 15
[Errno 111] Connection refused
Error 1213 (40001): Deadlock found when trying to get lock
ORA-00942: table or view does not exist
connect ECONNREFUSED 127.0.0.1:5432
dial tcp 10.0.0.5:6379: i/o timeout
http://host:8080/path@x/y
https://user-service.internal:8443/v1/orders?page=2&limit=50
redis://cache.internal:6379/0
postgresql://app@db.internal/shop
amqp://rabbit:5672//
Task api.tasks.send_email[550e8400-e29b-41d4-a716-446655440000] raised unexpected
worker celery@worker-1.example.com lost
celery@f00.internal.example: OK
2026-11-01T10:00:00.123456+00:00 ERROR
2026-11-01 10:00:00,123 [INFO] 17 done
timestamp 1762000000123456789
started at 1762000000 took 1234567 ms
{"task_id": "550e8400e29b41d4a716446655440000", "attempt": 3}
sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
{"property_id": 4111111111111111}
{"order_id": "4111-1111-1111-1111"}
{"user_id": "+4915123456789"}
{"invoice_number": 4111111111111112, "customer_id": 12345678901234567}
{"snowflake": 1187654321098765432}
order 100-200-300 not found
version 1.2.3.4567 of libfoo-10.20.30
node_modules/pkg@1.2.0-beta.rc/index.js
icons/logo@2x.png missing
npm install foo@1.0.0
git@github.example.com:org/repo.git
import x from '@scope/pkg/index.js'
Invalid token: expired
Unexpected token: } in JSON at position 15
Unexpected token < in JSON at position 0
SyntaxError: Unexpected token: { at 1:5
invalid password: must be at least 12 characters
password is required
password: required
token: expected 5 fields, got 4
missing fields: ['password', 'email']
["password", "username"]
{"errors": {"password": null, "token": ""}}
{"password": null, "has_password": true}
{"max_tokens": 4096, "prompt_tokens": 512, "completion_tokens": 88}
tokens=512
This model's maximum context length is 8192 tokens. However, you requested 9000 tokens
{"token_type": "bearer", "token_count": 5, "tokenizer": "bpe"}
{"idempotency_key": "memo_42_7", "routing_key": "emails.high", "partition_key": "p1"}
{"cache_key": "user:5:profile", "primary_key": "id", "key": "abc"}
KeyError: 'password'
KeyError: 'api_key'
AttributeError: 'NoneType' object has no attribute 'token'
TypeError: send() got an unexpected keyword argument 'auth_token'
column "password" of relation "users" does not exist
null value in column "email" violates not-null constraint
authentication failed for user "app"
password authentication failed for user "app"
basic authentication required
Bearer authentication is required
Authorization: required
Authorization header is missing
session expired, log in again
session: closed by peer
Cookie: missing
address already in use
{"address": "10.0.0.5:6379"}
connect to server address=0x7f00aa11
name=generate_memo retries=3
{"name": "welcome", "template_name": "memo_v2", "hostname": "web-1"}
{"pinned": true, "spinner": 3, "shipping": "fast", "hotpot": 1}
{"author": "x", "authored_at": "2026-11-01", "authority": 5}
{"company": "ACME", "pass_count": 5, "passed": 12, "bypass": false}
compass: north, keyboard: qwerty, monkey: george
signature mismatch for function f(a, b)
def f(password, token): pass
password=None, token=null
password='<secret>' to <email:3fa2c19e>
password=********
{"token": "[REDACTED]", "secret": "[Filtered]"}
exit status 137 (SIGKILL), code -9
0.4111111111111111 ratio
1e+1234567890
GPS 52.520008,13.404954
MAC 00:1b:44:11:3a:b7, IPv6 2001:0db8:85a3:0000:0000:8a2e:0370:7334
id=12345 amount=100.00 currency=EUR
ISO 8601 offset +02:00 and -05:30
C++ 12345678 and +5 retries
RFC 2822: 01 Nov 2026 10:00:00 +0000
ISBN 978-3-16-148410-0
a/b/c//d and x@y
seed=42
PDF page 1111 2222 of 3333
E/0.1.2-3 build 20261101123456
digest c2NyYW0= is no key
sid=SM0123456789
SELECT * FROM users WHERE api_key IS NULL
EAN 4020353959046 is no card
docker run -u 1000:1000 -p 8080:80 web
curl -u https://api.example.test/v1
mysql -h db -p shop
psql -p 5432 -U app
AUTH failed
AUTH LOGIN is not offered
password policy requires 12 characters
the api key is missing
{"name": "welcome", "value": "x1y2z3"}
{"cache_key": "page:AbCdEf123456:AbCdEf123456x"}
{"idempotency_key": "0f8fad5b-d9cd-469f-a165-70867728950e", "etag_key": "e3b0c44298fc1c149afbf4c8996fb924"}
{"lock_key": "orders/AbCdEf123456AbCdEf123456x/7"}
DE00 1234 is no IBAN, GB99WEST12345698765432 neither
000-12-3456
"""

#: Written after redact/ had been mended on the sets above: 41 of 50 at first sight, which is the figure to expect of
#: texts that nobody thought of. Two of the misses were mended since. What is still missed is counted so.
BLIND = r"""
com.zaxxer.hikari.pool: jdbcUrl=jdbc:postgresql://db/x, username=app, password=«Qx81kk!z»
{"smtp": {"host": "mail", "smtpPass": "«Qx81kkz7»"}}
SMTPAuthenticationError: (535, b'5.7.8 bad') login('jo', '«Qx81kkz7»')
{"webhookSecret":"«Qx81kkz7aa»","url":"https://x.example"}
PAYPAL_CLIENT_SECRET=«EL1tVxAjhT7cJimnz5-Nsx9k2reTKSVfErNQF-CmrwJgxRtylkGTKlU4RvrX»
requests.post(url, auth=HTTPDigestAuth('jo', '«Qx81kkz7»'))
{"oauth": {"access": "x", "refresh_token": "«1//0gQx81kkz7»"}}
botocore: InvalidAccessKeyId «AK·IAQ3EGSDFKJ4X2N7PL»
{'authorization': ['«Bearer Qx81kkz7aa»']}
ConnectionError: redis://user:«Qx81kkz7»@10.1.1.1:6379/0 refused
x-goog-api-key: «AIza·SyB81kkz7aaSyB81kkz7aaSyB81kkz7aa1»
TWILIO_AUTH_TOKEN: «9f86d081884c7d659a2feaa0c55ad015»
elasticsearch https://elastic:«Qx81kkz7»@es.internal:9200 401
{"snowflake": {"user": "svc", "password": "«p w d!»", "role": "X"}}
MongoServerError: auth failed mongodb://svc:«Qx81kkz7»@m1,m2/db?replicaSet=rs0
Set-Cookie: «_session=Qx81kkz7aa; Secure»
secret_key_base: «9f86d081884c7d659a2feaa0c55ad015»
{"card": {"number": "«4242 4242 4242 4242»", "exp": "12/30"}}
Email address «anna.schmidt@firma.example» is on the suppression list
recipient=«anna@firma.example», template=welcome
smtplib.SMTPRecipientsRefused: {'«anna@firma.example»': (550, b'no such user')}
duplicate key: (email)=(«anna@firma.example»)
{"to": "«+33612345678»", "body": "hi"}
{"billing": {"iban": "«DE75512108001245126199»"}}
{"contact": {"lastName": "«Schmidt»", "city": "Ulm"}}
urllib3: /v2/x?access_token=«Qx81kkz7aa»&v=2 HTTP/1.1
grpc metadata authorization=«Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln»
psycopg.OperationalError: postgresql+asyncpg://app:«Qx81kkz7»@db/x
ssh-keygen «-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----»
NpmAuthError: //packages.example/:_authToken=«npm_·Qx81kkz7Qx81kkz7Qx81kkz7Qx81kkz7abcd»
{"DATABASE_URL": "postgres://u:«Qx81kkz7»@h:5432/d"}
sentry dsn https://«9f86d081884c7d659a2feaa0c55ad015»@o1.ingest.example/1
{"nonce": "a", "signature": "«Qx81kkz7aaQx81kkz7aa»"}
kwargs: {'pin_code': '«4411»', 'n': 1}
user=app pwd=«Qx81kkz7» sslmode=require
SharedAccessSignature sr=x&sig=«Qx81kkz7%2Faa%3D»&se=1
{"stripeToken": "«tok_Qx81kkz7»"}
{"ssn_last4": 1120, "ssn": "«219-09-9999»"}
git clone https://oauth2:«glpat-·Qx81kkz7Qx81kkz7aa»@gitlab.example/x.git
export OPENAI_API_KEY='«sk-·Qx81kkz7Qx81kkz7Qx81kkz7»'
the token is «9f86d081884c7d659a2feaa0c55ad015»
the secret was «Qx81kkz7aa»
User Anna Schmidt, born «12.03.1981»
http://x.example/login?user=jo&pass=«Qx81kkz7»
Basic auth jo / «Qx81kkz7»
zip -P «Qx81kkz7» out.zip in
openssl enc -k «Qx81kkz7» -in a
{"username": "jo", "pw": "«Qx81kkz7»"}
<config passwd="«Qx81kkz7»"/>
rabbitmqctl add_user jo «Qx81kkz7»
"""

#: Seen, and not found: said here so that nobody believes otherwise.
MISSED = r"""
the passphrase is correct horse battery
Jo Doe called about the memo
jo\u0040example.com
call 0151 2345678 today
"""


def cases(table: str) -> list[str]:
    return [line.replace("·", "") for line in table.splitlines() if line.strip()]
