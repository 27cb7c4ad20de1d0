r"""Sets drawn one after the other, each labelled before redact/ had seen it; its figure is that of the first run.

The forms are those in which secrets and personal data stand in public bug reports, manuals and issuers' formats;
the values are made up. What stands between « and » must go; between ‹ and › must stay; \n is a new line and · nothing.
In the second half of a draw every text stays as it is. After its first run a draw mends redact/, and is spent.
"""

_FIRST = (
    r"""
(sqlite3.IntegrityError) UNIQUE constraint failed: users.email\n[SQL: INSERT INTO users (name, email, password, active) VALUES (?, ?, ?, ?)]\n[parameters: ('«Henrik Lozano»', '«henrik2001@gmail.example»', '«$2b$12$qrYtpZus9tu3K0CyG/UrzeJZihC»', ‹1›)]
(psycopg2.errors.ForeignKeyViolation) insert on table "candidates" violates foreign key\n[SQL: INSERT INTO candidates (id, company_id, full_name, email, phone) VALUES (%s, %s, %s, %s, %s)]\n[parameters: ('‹827f4e3b-1c1f-4f43-9f8e-0c0e6a1f2a11›', 'default', '«nguyen van an»', '«an.nguyen@mail.example»', '«0377815432»')]
(asyncpg.exceptions.DataError) invalid input\n[SQL: INSERT INTO clients (phone_e164, email, display_name) VALUES ($1, $2, $3)]\n[parameters: ('«+84377815432»', '«lan@mail.example»', '«Lan Pham»')]
[parameters: {'first_name': '«Ahmed»', 'email': '«ahmed@mail.example»', 'order_id': ‹8813›}]
ERROR: null value in column "id" of relation "people" violates not-null constraint\nDETAIL:  Failing row contains (‹null›, «John Carver», ‹30›).
ERROR: new row for relation "staff" violates check constraint "has_boss"\nDETAIL:  Failing row contains (‹1042›, ‹1980-04-09›, «joao da Silva», «joao@firm.example», null).
DETAIL:  Failing row contains (‹ff549c4a-e941-4c40-9cc3-3e6633e33aa7›, «Anne Brown», «123 Test Street», null, ‹2026-01-20 13:25:13›).
DETAIL:  Key (lower(email))=(«amel@mail.example») already exists.
Duplicate entry '«amel@mail.example»' for key '‹users.users_email_unique›'
Duplicate entry '«+33612345678»' for key '‹users.phone›'
E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: "«amel@mail.example»" }
Couldnt make connection with connect string 'DRIVER={ODBC Driver 17 for SQL Server};SERVER=‹MyServer›;DATABASE=PMS;uid=myuid;pwd=«mypassword»;'
Server = ‹127.0.0.1›;Database = Shop;Password = «pass@123»;User Id = MyUser
Command failed: mysql -h ‹127.0.0.1› -P ‹32784› -u root -p«MyPassInClear» --default-character-set=utf8 shop
org.apache.kafka.common.security.scram.ScramLoginModule required username="superuser" password="«1234»";
{sasl.mechanism=PLAIN, sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="my-user" password="«my-word»";, bootstrap.servers=‹kafka:9092›}
sasl_plain_password='«kafkapw»', sasl_mechanism='SCRAM-SHA-512'
Error status code ‹500› : http://dog.example/api?key=«3290abeefc68e1bbe852a25252bad88c»
Unexpected response from http://dog.example/api?apikey=«InvalidLength12345abbbb»
random_url_key: http://user:«p@ssw0r)»@host:‹8080›
random_domain_key: 'user:«password»@host:‹8080›'
"Env": ["DD_API_KEY=«3290abeefc68e1bbe852a25252bad88c»", "PATH=‹/usr/local/sbin:/usr/local/bin›", "AGENT_VERSION=‹1:6.0›"]
mysql_pass: «password»
community_string: «public-ro»
snmp: authKey: «auth-secret-1» privKey: «priv-secret-1»
Can't send mail - all recipients were rejected: 550 5.1.1 <«hello@klix.example»>: Recipient address rejected: User unknown
RCPT TO:<«amel@mail.example»>
554 5.7.1 <«anna@firm.example»>: Relay access denied
AxiosError: Request failed with status code ‹401›\n  config: { headers: { Accept: 'application/json', Authorization: '«Bearer sk9fjs02kdlsjf92»', 'User-Agent': 'axios/1.7.2' } }
{"config":{"method":"post","url":"‹https://api.example.test/v1/mail›","headers":{"X-Api-Key":"«k3y-92jd81»","Content-Type":"application/json"}}}
--> GET https://reader:«pass»@private.example/api/list?title=x&token=«abc» http/1.1
aUtHoRiZaTiOn: «another-access-token»
Set-Cookie: «refresh=private-refresh-token; HttpOnly»
> Proxy-Authorization: Basic «Zm9vOmJhcg==»
HTTPS_PROXY=http://«kJ81hs02hsKJ71hsgw»:@127.0.0.1:9100
wrong credentials for LDAP bind: dn=cn=svc,dc=firm,dc=example password=«Winter2024!»
ldap.INVALID_CREDENTIALS: simple_bind_s('cn=svc,dc=firm', '«Winter2024!»')
paramiko.ssh_exception.AuthenticationException: connect('sftp.firm.example', username='svc', password='«Winter2024!»')
File "app/mail.py", line 12, in login\n    server.login("mailer@firm.example", "«Winter2024!»")
boto3.client('s3', aws_access_key_id='«AK·IAZ5QEXAMPLE7UUQTR»', aws_secret_access_key='«8vh2Jd8s/KJd82hds+82hdsJDH28sj2hdKJ82hds»')
Unable to locate credentials: {'AccessKeyId': '«AS·IAZ5QEXAMPLE7UUQTR»', 'SecretAccessKey': '«8vh2Jd8sKJd82hds82hds»', 'SessionToken': '«IQoJb3JpZ2luX2VjEJr»'}
x-amz-security-token: «IQoJb3JpZ2luX2VjEJr2hds»
AWS4-HMAC-SHA256 Credential=«AK·IAZ5QEXAMPLE7UUQTR»/20261101/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=«fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024»
AKCp·artifactory «AKCp·5dKPTYhHjs82hdsKJ82hdsJDH28sj2hdKJ82hdskJ81hs02hsKJ71hsgw82jdhs72hdks»
invalid token «pul-·0123456789abcdef0123456789abcdef01234567»
planetscale: «pscale_tkn_·kJ81hs02hsKJ71hsgw82jdhs72hdks91» is expired
grafana said 401 for «glsa_·kJ81hs02hsKJ71hsgw82jdhs72hdks91_0a1b2c3d»
octopus «API-·ABCDEFGHIJKLMNOPQRSTUVWX12»
notion: «ntn_·12345678901kJ81hs02hsKJ71hsgw82jdhs72hdks91abc»
rubygems push failed: «rubygems_·0123456789abcdef0123456789abcdef0123456789abcdef»
postman «PMAK-·0123456789abcdef01234567-0123456789abcdef0123456789abcdef01»
sendinblue «xkeysib-·0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-aBcD1234eFgH5678» unauthorized
dynatrace token «dt0c01.·ABCDEFGHIJKLMNOPQRSTUVWX.ABCDEFGHIJKLMNOPQRSTUVWXABCDEFGHIJKLMNOPQRSTUVWXABCDEFGHIJKLMNOP»
mailchimp 403: «0123456789abcdef0123456789abcdef-us17»
shippo «shippo_live_·0123456789abcdef0123456789abcdef01234567»
new relic «NRAK-·ABCDEFGHIJKLMNOPQRSTUVWXYZ1»
typeform «tfp_·kJ81hs02hsKJ71hsgw82jdhs72hdks91kJ81hs02hsKJ71hsgw82jdhs7»
openshift «sha256~·kJ81hs02hsKJ71hsgw82jdhs72hdks91kJ81hs02hsK»
age «AGE-SECRET-KEY-·1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE»
doppler «dp.pt.·kJ81hs02hsKJ71hsgw82jdhs72hdks91kJ81hs02hsKA»
terraform «kJ81hs02hsKJ71.atlasv1.·kJ81hs02hsKJ71hsgw82jdhs72hdks91kJ81hs02hsKJ71hsgw82jdhs72hdks91»
gitlab ci «glcbt-·64_kJ81hs02hsKJ71hsgw82»
perplexity «pplx-·kJ81hs02hsKJ71hsgw82jdhs72hdks91kJ81hs02hsKJ71hs»
linear «lin_api_·kJ81hs02hsKJ71hsgw82jdhs72hdks91kJ81hs02»
POST https://«firm.webhook.office.example/webhookb2/0f8fad5b-d9cd-469f-a165-70867728950e@0f8fad5b-d9cd-469f-a165-70867728950e/IncomingWebhook/0123456789abcdef0123456789abcdef/0f8fad5b-d9cd-469f-a165-70867728950e» 429
telegram 403: https://api.telegram.example/bot«110201543:AA·HdqTcvCH1vGWJxfSeofSAs0K5PALDsaw»/sendMessage
export SNOWFLAKE_PASSWORD=«Summer!2024»
REDIS_URL=redis://default:«pZ82hd»@redis.internal:‹6379›
spring.datasource.password=«Summer!2024»
DATABASE_URL: 'postgres://app:«Summer!2024»@db.internal:‹5432›/shop'
"MAIL_PASSWORD" => "«Summer!2024»"
ConnectionString="Endpoint=sb://firm.servicebus.example/;SharedAccessKeyName=Root;SharedAccessKey=«kJ81hs02hsKJ71hsgw82jdhs72hdks91kJ81hs02hsK=»"
InvalidSignatureException: signature «c2lnbmF0dXJlLWlzLWxvbmc=» does not match
User { id: ‹42›, email: '«lan@mail.example»', phone: '«+84 377 815 432»', createdAt: ‹2026-11-01T10:00:00.000Z› }
User(id=‹42›, first_name='«Lan»', last_name='«Pham»', is_active=True)
<User: «lan@mail.example»>
ValidationError: {"billing_address": {"line1": "«12 Rue de la Paix»", "postal_code": "75002"}}
{"shipping":{"name":"«Lan Pham»","phone":"«0377815432»","address":{"line1":"«12 Rue de la Paix»","city":"Hue"}}}
SMS to «+84377815432» failed: ‹30007› Carrier violation
twilio: The 'To' number «(415) 555-2671» is not a valid phone number
{"iban":"«FR1420041010050500013M02606»","amount":‹1250›,"currency":"EUR"}
Your card was declined. card=«4242424242424242» exp=12/30 cvc=«123»
bcrypt hash «$2b$12$KIXQ8YzkzKX1r8kBq7pVUu3F2m1Jw2nq3b8nJvQZ1y5lWq0hM9w6e» does not match
sudo: «hunter2»: command not found, password was «hunter2»
GET /reset-password/«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl» 404
sid=«s%3AkJ81hs02hsKJ71hsgw82.sig»; path=/
""",
    r"""
duplicate key value violates unique constraint "users_email_key"
UNIQUE constraint failed: users.email
(psycopg2.errors.UndefinedColumn) column "phone" does not exist\nLINE 1: SELECT phone FROM users
[SQL: UPDATE rooms SET hotel_id=$1::INTEGER, price=$2::INTEGER WHERE rooms.id = $3::INTEGER]\n[parameters: (1768, 2, 12)]
[parameters: ('827f4e3b-1c1f-4f43-9f8e-0c0e6a1f2a11', 'handoff', None, 3)]
DETAIL:  Key (company_id)=(default) is not present in table "companies".
DETAIL:  Failing row contains (392, null, null, 176).
DETAIL:  Failing row contains (905111c2-877f-11e7-8f15-0a580a2804b4, null, 2017-08-22 21:19:20.991802+00).
container_id: "b32bd6f9b73ba7ccb64953a04b82b48e29dfafab65fd57ca01d3b94a0e024885"
auth_token_file_path: /foo/bar/baz
kubelet_auth_token_path: /foo/bar/kube_token
security.protocol=SASL_SSL
ssl.keystore.location=/etc/kafka/keystore.jks
sasl.mechanism = SCRAM-SHA-512
User was not found for token
SELECT id FROM store.customers WHERE email = $1
Access denied for user 'app'@'10.0.0.5' (using password: YES)
FATAL: no pg_hba.conf entry for host "10.0.0.5", user "app", database "shop", no encryption
connection to server at "orders.cluster-abc.eu-central-1.rds.example" (10.4.2.7), port 5432 failed: FATAL
Cannot open database "RelicDB" requested by the login. The login failed for user 'svc'.
SQLSTATE[23502]: Not null violation: 7 ERROR: null value in column "phone" of relation "locations"
SQLSTATE[HY000] [2002] Connection refused (Connection: pgsql, Host: postgres, Port: 5432)
redis.exceptions.ResponseError: MOVED 3999 127.0.0.1:6381
WRONGTYPE Operation against a key holding the wrong kind of value
READONLY You can't write against a read only replica. script: 4ca238f611c9d0ae4e9a75a5dbac22aedc1e44a9, on @user_script:3.
NOAUTH Authentication required.
Missing lock for job 4812. moveToFinished
job stalled more than allowable limit
bull:emails:4812
PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'emails' in vhost '/'
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
X-Request-Id: 7f3b6a1c-52d7-4d0f-9c1e-2f4a6b8c0d1e
x-amzn-RequestId: 5d2c1f0e-8b7a-4c6d-9e0f-1a2b3c4d5e6f
x-amzn-trace-id: Root=1-67891233-abcdef012345678912345678
cf-ray: 8f1e2d3c4b5a6978-FRA
etag: "33a64df551425fcc55e4d42a148795d9f25f89d4"
git rev 1910c3b2f4d5e6a7b8c9d0e1f2a3b4c5d6e7f809
image: registry.internal/shop/api@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
pod shop-api-7d9c8b6f5d-x2x9z OOMKilled (exit 137)
i-0abcd1234ef567890 in eu-central-1a
arn:aws:sqs:eu-central-1:123456789012:emails-dlq
projects/shop-prod/topics/emails
ObjectId('507f1f77bcf86cd799439011') not found
{"_id": "507f1f77bcf86cd799439011", "__v": 0}
order ORD-2026-000123, invoice INV-88213, ticket JIRA-4411
cus_NffrFeUfNV2Hib not found
pi_3MtwBwLkdIwHu7ix28a3tqPa requires_action
Twilio SID SM0123456789abcdef0123456789abcdef undelivered
message-id: <20261101100000.12345.67890@worker-1.internal>
pydantic_core.ValidationError: 1 validation error for Payment\namount\n  Input should be greater than 0 [type=greater_than, input_value=-5, input_type=int]
KeyError: 'customer_id'
AttributeError: 'NoneType' object has no attribute 'email'
java.lang.NullPointerException: Cannot invoke "com.shop.User.getEmail()" because "user" is null
at com.shop.auth.TokenService.refreshToken(TokenService.java:118)
at Object.<anonymous> (/app/src/password-reset.ts:42:11)
File "/usr/lib/python3.11/site-packages/jwt/api_jwt.py", line 210, in decode
jwt.exceptions.ExpiredSignatureError: Signature has expired
google.api_core.exceptions.PermissionDenied: 403 Missing or insufficient permissions.
grpc_message:"deadline exceeded", grpc_status:4, created_time:"2026-11-01T10:00:00.123456789+00:00"
UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0
OSError: [Errno 28] No space left on device: '/tmp/tmp8x2k1q'
MemoryError: Unable to allocate 1.49 GiB for an array with shape (20000, 10000)
celery.exceptions.Retry: Retry in 180s: ReadTimeout(HTTPSConnectionPool(host='api.example.test', port=443))
Received unregistered task of type 'shop.tasks.send_password_reset'.
billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 4812.
v1.29.3-gke.1282001
Python/3.11.9 aiohttp/3.9.5
expected 6 digits, got 5
rate limit: 5000 per hour, remaining 0, reset 1762000000
latitude=48.137154 longitude=11.576124
2026-11-01T10:00:00Z level=error msg="login failed" user_id=42 attempts=3
max_token_length=4096 pass_through=true
the key is missing from cache
password must match confirmation
""",
)

_SECOND = (
    r"""
INSERT INTO customers (id, name, email, city) VALUES (‹17›, '«Maria Lopez»', '«maria@correo.example»', 'Leon')
UPDATE users SET password = '«Sommer-2025»' WHERE id = ‹4711›
SELECT * FROM accounts WHERE phone = '«0612345678»' AND id > ‹10›
MySQLdb.IntegrityError: (1062, "Duplicate entry '«maria@correo.example»' for key 'email'")
Key (first_name, last_name)=(«Maria, Lopez») already exists.
pymongo.errors.DuplicateKeyError: E11000 dup key: { phone: "«+34612345678»" }, full error: {'index': 0, 'code': ‹11000›}
Illuminate\\Database\\QueryException: SQLSTATE[‹23000›] (SQL: insert into `users` (`name`, `email`, `password`) values («Maria Lopez», «maria@correo.example», «$2y$10$abcdefghijklmnopqrstuuW6»))
ActiveRecord::RecordInvalid: #<User id: ‹7›, email: "«maria@correo.example»", encrypted_password: "«$2a$12$abcdefghijklmnopqrstuu»", reset_password_token: "«aB3dE5fG7hJ9»">
PG::UniqueViolation: DETAIL: Key (phone_number)=(«+34612345678») already exists.
Parameters: {"authenticity_token"=>"«kX92jdLs0P==»", "user"=>{"email"=>"«maria@correo.example»", "password"=>"«Sommer-2025»"}}
array(2) { ["user"]=> string(4) "‹shop›" ["password"]=> string(11) "«Sommer-2025»" }
{Host:‹db.internal› Port:‹5432› User:app Password:«Sommer2025» SSLMode:disable}
&config.SMTP{Host:"‹mail.internal›", Username:"mailer", Password:"«Sommer2025»"}
Config { host: "‹db.internal›", password: "«Sommer2025»", pool: 5 }
DbSettings(host='‹db.internal›', user='app', password='«Sommer2025»')
ConnectionFactory [host=‹mq.internal›, username=app, password=«Sommer2025», vhost=/]
com.mysql.jdbc.Driver url=jdbc:mysql://‹db.internal›/shop?user=app&password=«Sommer2025»
org.springframework.mail.MailAuthenticationException: javax.mail AUTH PLAIN «AGFwcABTb21tZXIyMDI1» failed
< 334 UGFzc3dvcmQ6\n> «U29tbWVyMjAyNSExMjM=»
$ curl -s -X POST https://api.example.test/login -d 'user=maria&password=«Sommer2025»'
curl -H 'PRIVATE-TOKEN: «kX92jdLs0Pa7Qw»' https://gitlab.internal/api/v4/projects/‹42›
curl -H "X-Vault-Token: «kX92jdLs0Pa7Qw»" http://vault.internal:‹8200›/v1/secret
curl -b "sessionid=«kX92jdLs0Pa7Qw81»" https://shop.example.test/cart
curl --data '{"pin":"«4711»","id":‹42›}' https://shop.example.test
wget --http-password=«Sommer2025» https://files.example.test/‹export.csv›
PGPASSWORD=«Sommer2025» pg_dump -h ‹db.internal› -U app shop
mysqldump --user=root --password «Sommer2025» shop
mongodump --uri "mongodb://root:«Sommer2025»@‹db.internal›:27017/shop"
sqlcmd -S ‹db.internal› -U sa -P «Sommer2025»
sqlplus app/«Sommer2025»@SHOP
ldapsearch -x -D cn=admin -w «Sommer2025» -b dc=firm
smbclient //files/share -U svc%«Sommer2025»
keytool -list -storepass «Sommer2025» -keystore app.jks
kubectl create secret generic db --from-literal=password=«Sommer2025»
docker login -u ci -p «Sommer2025» registry.internal
helm upgrade shop ./chart --set db.password=«Sommer2025» --set replicas=‹3›
az storage blob list --account-name shop --account-key «kX92jdLs0Pa7Qw+81/2hdK==»
machine api.example.test login maria password «Sommer2025»
//packages.example/:_authToken=«kX92jdLs0Pa7Qw81»
[remote "origin"] url = https://ci:«kX92jdLs0Pa7Qw81»@git.internal/shop.git
{"auths":{"registry.internal":{"auth":"«Y2k6U29tbWVyMjAyNQ==»"}}}
apiVersion: v1\nkind: Secret\ndata:\n  password: «U29tbWVyMjAyNQ==»\n  username: YXBw
environment:\n  - POSTGRES_PASSWORD=«Sommer2025»\n  - TZ=‹UTC›
api_key: |\n  «kX92jdLs0Pa7Qw81kX92jdLs»
client_secret = "«kX92jdLs0Pa7Qw81»"
  token           = "«kX92jdLs0Pa7Qw81»"
<connectionStrings><add name="Shop" connectionString="Server=‹db.internal›;Uid=app;Pwd=«Sommer2025»;" /></connectionStrings>
<property name="hibernate.connection.password">«Sommer2025»</property>
<property name="password" value="«Sommer2025»"/>
<ds:user>app</ds:user><ds:pwd>«Sommer2025»</ds:pwd>
<customer><firstName>«Maria»</firstName><lastName>«Lopez»</lastName><id>‹42›</id></customer>
name=«Maria+Lopez»&email=«maria%40correo.example»&phone=«%2B34612345678»&order=‹88213›
card%5Bnumber%5D=«4000056655665556»&card%5Bcvc%5D=«314»&amount=‹1250›
grant_type=refresh_token&refresh_token=«kX92jdLs0Pa7Qw81»&client_id=‹shop-web›
grant_type=password&username=maria&password=«Sommer2025»
GET /oauth/callback?code=«4/0AX4XfWgkX92jdLs0Pa7Qw81kX92jd»&state=‹xyz› 302
GET /verify?otp=«481516»&user=‹42› 400
https://storage.example.test/b/o.pdf?X-Goog-Credential=«svc%40p.iam.example%2F20261101»&X-Goog-Signature=«8ab3c9d0e1f2a3b4c5d6»
https://d111.cloudfront.example/a.pdf?Expires=‹1762000000›&Signature=«nitfHRCrtziwO2HwPfWw~yYDhUF5EwRunQA-j19DzZr»&Key-Pair-Id=APKA
https://shop.blob.core.example/c/f?sp=r&st=2026-11-01&se=2026-11-02&sv=2022-11-02&sr=b&sig=«kX92jdLs0Pa7Qw81%2FkX92jdLs%3D»
wss://stream.example.test/ws?access_token=«kX92jdLs0Pa7Qw81»
x-api-key=«kX92jdLs0Pa7Qw81» content-type=application/json
"headers": [["authorization", "«Bearer kX92jdLs0Pa7Qw81»"], ["accept", "*/*"]]
Headers({'host': '‹api.example.test›', 'authorization': '«Token kX92jdLs0Pa7Qw81»'})
{ authorization: '«Basic YXBwOlNvbW1lcjIwMjU=»', host: '‹api.example.test›' }
Cookie: «csrftoken=kX92jdLs0Pa7; sessionid=Qw81kX92»
cookie: «connect.sid=s%3AkX92jdLs0Pa7.Qw81kX92»
{"cookies":{"sessionid":"«kX92jdLs0Pa7Qw81»"}}
JWT «eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtYXJpYSJ9.kX92jdLs0Pa7Qw81» is not yet valid
{"private_key_id":"‹a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0›","private_key":"«-----BEGIN PRIVATE KEY-----\\nMIIEvgIBADANBg\\n-----END PRIVATE KEY-----\\n»"}
"mnemonic": "«witch collapse practice feed shame open»"
wallet privateKey=«0x4c0883a69102937d6231471b5dbb6204fe512961708279feb1be6ae5538da033»
slack webhook returned ‹404›: https://«hooks.slack.com/services/T01ABCDEF/B01ABCDEF/kX92jdLs0Pa7Qw81kX92jdLs»
zapier: https://«hooks.zapier.example/hooks/catch/1234567/abc123d»/
discord «MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs» is invalid
fcm: not registered: «cX1pQ2rS3tU:APA91bkX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81»
DeviceNotRegistered: "«ExponentPushToken[kX92jdLs0Pa7Qw81kX92jd]»" is not a registered push notification recipient
stripe: No such payment_intent client secret «pi_3MtwBwLkdIwHu7ix28a3tqPa_secret_YrKJUKribcBjcG8HVhfZluoGH»
resend 401 «re_·kX92jdLs_0Pa7Qw81kX92jdLs0Pa7Qw81»
groq: Invalid API Key «gsk_·kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX92»
replicate «r8_·kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX92j» unauthenticated
supabase key «sbp_·0123456789abcdef0123456789abcdef01234567»
{"msisdn":"«34612345678»","template":"‹otp_v2›"}
{"to":"«34612345678»","type":"text"}
{"recipient": "«0034612345678»", "body": "hi"}
{"name":"«María López»","phone":"«+34 612 34 56 78»","items":‹3›}
{"customer":{"id":‹42›,"displayName":"«Maria Lopez»","dateOfBirth":"«1980-02-03»"}}
{"patient":{"surname":"«Lopez»","nhs_number":"«943 476 5919»"}}
{"cardholder":"«MARIA LOPEZ»","pan":"«4000056655665556»","exp":"12/30"}
{"dni":"«12345678Z»","order":‹88213›}
{"cpf": "«123.456.789-09»"}
{"street":"«Calle Mayor 5»","zip":"28013"}
To: «Maria Lopez <maria@correo.example>»
recipient «maria@correo.example» bounced: ‹5.1.1›
user maria@correo.example logged in from ‹10.0.0.5›
call to «+34 612 345 678» failed with ‹486› Busy Here
INVITE sip:«+34612345678»@sip.example.test
wa.me/«34612345678»
Dear «Maria Lopez», your order ‹88213› failed
IBAN «ES9121000418450200051332» rejected: ‹AC01›
debtor account «GB29NWBK60161331926819»
Visa ending 5556, full «4000 0566 5566 5556» refused: ‹51›
SSN «123-45-6789» mismatch
passport_no: «X1234567»
password «Tr0ub4dor&3» did not match
wrong password: «Tr0ub4dor&3»
login failed for maria with password '«Tr0ub4dor&3»'
the given api key (kX92jdLs0Pa7Qw81) was «kX92jdLs0Pa7Qw81»
vault token «s.kX92jdLs0Pa7Qw81kX92jdLs» has expired
[2026-11-01 10:00:00] DEBUG auth: secret=«kX92jdLs»
AUTH «Sommer2025»
Using password [«Sommer2025»]
""",
    r"""
{"code": "insufficient_funds", "decline_code": "generic_decline", "charge": "ch_3MtwBwLkdIwHu7ix28a3tqPa"}
{"error": {"code": 190, "type": "OAuthException", "fbtrace_id": "AbCdEfGhIjKlMnOpQrStUvW"}}
{"from": 1762000000, "to": 1762003600, "step": "15s"}
{"from": "2026-11-01", "to": "2026-11-30"}
{"to": "shop-prod-eu", "from": "checkout"}
{"name": "order-confirmation", "subject": "Your order"}
{"name": "Daily Report", "schedule": "0 6 * * *"}
{"name": "shop", "address": "10.0.0.5:8080"}
{"customer": 88213, "user": 42, "contact": 17}
code=ECONNREFUSED errno=-111 syscall=connect
code=23505 severity=ERROR
exit code 139 (SIGSEGV)
status code: 400, request id: 5d2c1f0e-8b7a-4c6d-9e0f-1a2b3c4d5e6f
error code: 0x80131904
HTTP/2 stream 0 was not closed cleanly: INTERNAL_ERROR (err 2)
session 0x7f3c9a2b terminated
session id 4711 not found
license check skipped
signature algorithm ES256 unsupported
token type mismatch: got refresh, want access
token at position 1024 is not allowed
next page token is empty
invalid cookie domain shop.example.test
pin 13 is high
key=orders:2026-11-01:88213 ttl=300
?key=orders/2026/11/01/88213.json&v=2
cache key user_profile_42_v3 missed
routing key emails.high.priority
partition=3 offset=88213441 key=42
x-shop-signature-version: 2
"auth": true, "token": false
auth=none
auth method scram-sha-256
auth: user 42 is locked
contact support with reference 8f1e2d3c
address family not supported by protocol
connect: cannot assign requested address
account 42 is closed
account_id=8813 account_status=past_due
bank holiday 2026-12-25
tax_rate=0.19 tax_region=DE
card_brand=visa card_funding=debit
phone_verified=false phone_type=mobile
email_template=welcome_v2 email_provider=ses
mobile_app_version=4.12.0
national_holiday: true
patient_count=12
holder=worker-3 lock=orders
line1: unexpected indent
File "x.py", line 1
code: 42P01 hint: There is an entry for table "orders"
vatRate=19
birth_rate 1.2
seed_data loaded in 3.2 s
password_reset_sent_at=2026-11-01T10:00:00Z
password_changed: true, attempts: 3
token_expires_at: 1762000000
token_ttl=3600
secret_name=shop/db secret_version=4
secretsmanager: ResourceNotFoundException: Secrets Manager can't find the specified secret.
secret "shop-db" not found
cookie_domain=.shop.example.test cookie_secure=true
session_timeout=1800
ssl_key_file=/etc/ssl/private/app.key
ssh key fingerprint SHA256:uNiVztksCsDhcc0u9e8BrQXVUpKZIDTMczCvj3tD2s
known_hosts: Host key verification failed.
certificate serial 04:ab:cd:ef:12:34
CN=shop.example.test,O=Firm,C=DE
kid=2011-04-29 alg=RS256
-----BEGIN PUBLIC KEY-----
psql -h db -p 5432 -U app -d shop -c "select 1"
scp -P 2222 build.tar.gz ci@build-1:/srv
tar -k -xf a.tar
grep -w ERROR app.log
ssh -p 2222 -i ~/.ssh/id_ed25519 build-1
docker run -p 8080:80 -w /app web:1.2
curl -k https://internal/health
net stop shop
Failing row contains (17, active, 2026-11-01 10:00:00+00, ORD-2026-000123).
INSERT INTO orders (id, status, total) VALUES (17, 'paid', 12.50)
INSERT INTO email_templates (name, subject) VALUES ('welcome', 'Hello')
Duplicate entry 'ORD-2026-000123' for key 'orders.order_no'
Duplicate entry '42-17' for key 'PRIMARY'
[parameters: ('paid', 17, '2026-11-01')]
GET /api/webhooks/stripe 200
POST /hooks/orders 500
webhook delivery 88213 failed after 5 attempts
https://shop.example.test/orders/88213?tab=items
0x00007fff5fbff8c0 in main () at main.c:42
main.go:1234 +0x1a5
goroutine 17 [running]:
at com.shop.Account.login(Account.java:42)
at login (webpack:///./src/login.ts?a1b2:17:9)
SpanContext(trace_id=4bf92f3577b34da6a3ce929d0e0e4736, span_id=00f067aa0ba902b7)
sentry-trace: d49d9bf66f13450b81f65bc51cf49c03-1cc4b26ab9094ef0-1
cus_NffrFeUfNV2Hib, sub_1MowQVLkdIwHu7ixeRlqHVzs, in_1MtHbELkdIwHu7ixl4OzzPMv
chatcmpl-9Kx2jdLs0Pa7Qw81kX92jdLs0Pa7
req_01HXKX92JDLS0PA7QW81KX92JD
re_3MtwBwLkdIwHu7ix28a3tqPa refunded
01ARZ3NDEKTSV4RRFFQ69G5FAV
2Q9Dq8hYk3nE0aR7vT5wX1zB4cJ
V1StGXR8_Z5jdHi6B-myT
SKU-4711-BLK-XL EAN 4006381333931
tracking 1Z999AA10123456784
flight LH1234 PNR ABC123
lat=48.137154, lon=11.576124, zip=80331
AS13335 104.16.0.0/12 2001:db8::1
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0.0.0
celery@worker-3 ready. mingle: sync with 2 nodes
node rabbit@mq-1 down
postgres@db-1:~$ ls
npm ERR! code ELIFECYCLE errno 1 shop@1.2.3 build
Thu, 01 Jan 1970 00:00:00 GMT
P0001 55P03 40P01 57014
java.sql.SQLException: ORA-28000: the account is locked
""",
)

_THIRD = (
    r"""
{"nome":"«Carlos Souza»","senha":"«@adm123»","celular":"«11987654321»","id":‹42›}
{ usuario: 'gestor1', senha: '«q1w2e3»', nome: '«Carlos Souza»', tipo: 'adm' }
{"usuario":"carlos","contraseña":"«q1w2e3r4»"}
{"benutzer":"karl","passwort":"«q1w2e3r4»","telefon":"«0151 2345678»"}
{"identifiant":"luc","mot_de_passe":"«q1w2e3r4»"}
kennwort=«q1w2e3r4» benutzer=karl
{"vorname":"«Karl»","nachname":"«Meier»","strasse":"«Hauptstr. 5»","plz":"80331"}
{"prenom":"«Luc»","nom":"«Martin»","telephone":"«06 12 34 56 78»"}
{"nombre":"«Ana Ruiz»","apellidos":"«Ruiz Gil»","direccion":"«Calle Mayor 5»","telefono":"«612345678»"}
{"clientName":"«Ihor Koval»","phoneNumber":"«+380999999999»","amount":‹100.0›}
{'customer_name': '«Nusrat Jahan»', 'customer_phone': '«1439280432»', 'delivery_address': '«House 4, Road 2»', 'order_number': '‹A-1001›'}
{'customer_name': '«Иван Петров»', 'customer_email': '«ivan@mail.example»', 'seats': ‹0›}
{"fullName":"«محمد علي»","phoneNumber":"«+966501234567»","carType":"sedan"}
{"personal_details":{"name":"«Raviraj»","email":"«ravi@mail.example»","selectedBirthDate":"«1999-10-24»","bloodGroup":"AB+"}}
Telegram token expired: «kX92jdLs0Pa7Qw81»
Invalid api key: «invalid-api-key-123»
⚠ Invalid API key: «f3a9c1d7e5b2» - allowing anyway
Logged in with credentials: carlos «q1w2e3r4T5»
Login with credentials: «admin@shop.example» / «admin12345»
Login failed for password: «q1w2e3r4»
ERROR login failed password=«q1w2e3r4» phone=«13812345678»
X-Hub-Signature-256: «sha256=8ab3c9d0e1f2a3b4c5d6e7f80910a1b2c3d4e5f60718293a4b5c6d7e8f901a2b»
response Set-Cookie: «session=first-part; token=second-part; HttpOnly»
Set-Cookie: «PHPSESSID=5uqmmjiu2gfnbtqcthrvmk1lg6; path=/; HttpOnly»
MySQLdb.connect(host="‹localhost›", user="geolife", passwd="«geolife77»", db="geolife")
pymysql.err.OperationalError: connect(host='‹db-1›', user='root', passwd='«12345678»', db='shop')
psycopg2.connect("dbname=shop user=app password=«q1w2e3r4» host=‹db-1›")
redis.Redis(host='‹cache-1›', port=6379, password='«q1w2e3r4»')
pika.PlainCredentials('app', '«q1w2e3r4»')
requests.get(url, auth=('app', '«q1w2e3r4»'))
httpx.BasicAuth(username='app', password='«q1w2e3r4»')
create_engine('mysql+pymysql://app:«q1w2e3r4»@‹db-1›/shop')
Faraday::UnauthorizedError: {"headers"=>{"Authorization"=>"«Bearer kX92jdLs0Pa7»"}}
Guzzle: POST https://api.example.test/v1 with options {"auth":["app","«q1w2e3r4»"]}
GuzzleHttp\\Exception\\ClientException: Client error: `GET https://api.example.test/v2/users?apikey=«kX92jdLs0Pa7Qw81»&limit=‹10›` resulted in a `401`
retrofit: --> POST https://api.example.test/login\nAuthorization: «Bearer kX92jdLs0Pa7Qw81»\nContent-Length: ‹42›
feign.FeignException$Unauthorized: [401] during [GET] to [https://api.example.test/u?token=«kX92jdLs0Pa7Qw81»]
rpc error: code = Unauthenticated desc = invalid token "«kX92jdLs0Pa7Qw81kX92»"
panic: dial: postgres://app:«q1w2e3r4»@‹db-1›:5432/shop?sslmode=disable: connection refused
System.Data.SqlClient.SqlException: Data Source=‹db-1›;Initial Catalog=Shop;User ID=sa;Password=«q1w2e3r4»;MultipleActiveResultSets=True
Error: SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string, got «q1w2e3r4»
KafkaJSSASLAuthenticationError { username: 'app', password: '«q1w2e3r4»', mechanism: '‹plain›' }
nodemailer auth: { user: '«mailer@shop.example»', pass: '«q1w2 e3r4 t5y6 u7i8»' }
S3Client config: {"credentials":{"accessKeyId":"«AK·IAZ5QEXAMPLE7UUQTR»","secretAccessKey":"«kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX92jdLs»"}}
AWS_SESSION_TOKEN=«FwoGZXIvYXdzEKX92jdLs0Pa7Qw81»
azure: AADSTS7000215: Invalid client secret provided «aB~8Q~kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX»
ALGOLIA_ADMIN_KEY=«0123456789abcdef0123456789abcdef»
const STRIPE = '«sk_·test_4eC39HqLyjWDarjtT1zdp7dc»'
os.environ['SENDGRID_API_KEY'] = '«SG.·kX92jdLs0Pa7Qw81kX92jd.kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX92jdLs0Pa»'
ENV: {'DJANGO_SECRET_KEY': '«9#k2!xz(8q»', 'DEBUG': '‹False›'}
- name: SMTP_PASS\n  value: "«q1w2e3r4»"
smtp_pass: «q1w2e3r4»
    proxy_password: «q1w2e3r4»
ansible_become_pass=«q1w2e3r4»
sshpass -p «q1w2e3r4» scp a.tar ci@build-1:/srv
mysql -uapp -p'«q1w2e3r4»' shop < dump.sql
mongosh -u root -p «q1w2e3r4» --host ‹db-1›
psql "host=‹db-1› user=app password=«q1w2e3r4»"
rabbitmqctl change_password app «q1w2e3r4»
htpasswd -b /etc/nginx/.htpasswd app «q1w2e3r4»
gpg --batch --passphrase «q1w2e3r4» -d a.gpg
7z x -p«q1w2e3r4» a.7z
net use Z: \\\\files\\share «q1w2e3r4» /user:app
git push https://«kX92jdLs0Pa7Qw81kX92jdLs»@git.example.test/shop.git
SSH_PRIVATE_KEY="«-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----»"
PuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 1\n«AAAAgQCkX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81kX92jdLs0Pa7Qw81»
Mailbox unavailable: «ana.ruiz@mail.example»
Invalid email: «ana.ruiz@mail.example,»
unsubscribe link for «ana.ruiz+news@mail.example»
could not deliver to "«Ana Ruiz»" <«ana.ruiz@mail.example»>
From: «Ana Ruiz <ana.ruiz@mail.example>»
Can't text «+1 415-555-0132»: opted out
phone «(415) 555-0132» is a landline
whatsapp:«+4915123456789» outside of the 24 h window (‹131047›)
customer called from «+49 (0) 151 2345678»
card ending 0005, number «3714 496353 98431»
PAN=«5105105105105100» declined ‹05›
{"card":{"no":"«6011000990139424»","cvv2":"«123»"}}
IBAN: «NL91 ABNA 0417 1643 00»
{"account_number":"«000123456789»","routing_number":"«110000000»"}
{"sort_code":"«12-34-56»","account":‹88213›}
SSN=«219099999»
{"tax_id":"«DE123456789»"}
{"passport":"«C01X00T47»","country":"DE"}
{"driver_license":"«D1234567»"}
date of birth «1980-02-03» does not match
{"dob":"«03/02/1980»"}
pydantic: 1 validation error\nemail\n  value is not a valid email address [type=value_error, input_value='«ana.ruiz@mail»', input_type=str]
pydantic: 1 validation error\npassword\n  String should have at least 12 characters [type=string_too_short, input_value='«q1w2e3r4»', input_type=str]
TypeError: create_user() got multiple values for argument 'password': '«q1w2e3r4»'
KeyError: '«ana.ruiz@mail.example»'
ValueError: invalid literal for int() with base 10: '«4111 1111 1111 1111»'
send_sms(to='«612345678»', body='hi')
[SQL: UPDATE users SET email=%(email)s, phone=%(phone)s WHERE id=%(id_1)s]\n[parameters: {'email': '«ana@mail.example»', 'phone': '«612345678»', 'id_1': ‹42›}]
[SQL: INSERT INTO leads (full_name, phone) VALUES (%(full_name)s, %(phone)s)]\n[parameters: {'full_name': '«Ana Ruiz»', 'phone': '«612345678»'}]
INSERT INTO tokens(user_id, token) VALUES (‹42›, '«kX92jdLs0Pa7»')
INSERT INTO users (email, full_name) VALUES ('«a@b.example»', '«Ana Ruiz»'), ('«c@d.example»', '«Bo Li»')
DETAIL: Failing row contains (‹42›, «Ana Ruiz», «ana@mail.example», «Calle Mayor 5», ‹active›, ‹2026-11-01›).
Duplicate entry '«Ana Ruiz»' for key '‹customers.full_name›'
CONTEXT: COPY users, line 7, column email: "«ana@mail»"
""",
    r"""
{"nome":"pedido_confirmado","tipo":"email","id":42}
{"name":"emails","waiting":3,"failed":17}
{"telefon_count":3,"adresse_id":42}
Invalid API key: API key invalid
API key is valid, 401 INVALID_API_KEY
Token expired: false
Token expired: fetching a new one
Session token expired: please log in
Login failed for user: karl
Logged in with credentials: true
CORS with credentials: include
Error: Failed to persist credit card invoice header
Task wf3.card_invoice[edb419e3-9418-4f34-80ac-33f69b9f9eaf] raised unexpected: RuntimeError('x')
HTTPError('404 Client Error: Not Found for url: http://django:8000/w16/pdfa/1')
module 'core.settings' has no attribute 'WALLET_X_TOKEN_MAX_AGE'
Retry in 0s: APIConnectionError('Connection error.')
[2026-11-01 10:00:00,123: ERROR/ForkPoolWorker-2] Task shop.tasks.sync[56c62089-08bd-46e9-afa2-cb89e73348c2]
qa_pass=True qa_total=12 all_gates_pass=false
SPF_PASS=-0.001 DKIM_SIGNED=0.1
RCVD_IN_DNSWL_MED=-2.3
sort_code_invalid
account=88213 card=visa
No such customer: 'cus_NffrFeUfNV2Hib'
No such charge: ch_3MtwBwLkdIwHu7ix28a3tqPa
Invoice in_1MtHbELkdIwHu7ixl4OzzPMv is already paid
User with id 4711 does not exist
user_id=550e8400-e29b-41d4-a716-446655440000 tenant=acme
relation "public.user_addresses" does not exist
constraint "fk_user_phone" of relation "phones"
index users_name_email_idx is corrupted
type 'email' is not registered
unsupported credential type: service_account
secret manager unavailable, retrying in 2s
password hash algorithm bcrypt not available
passwordless login disabled
two-factor code required
Missing required parameter: 'token'
missing 1 required positional argument: 'password'
field required (type=value_error.missing) loc=('body', 'email')
cannot read properties of undefined (reading 'password')
auth.signIn is not a function
at AuthService.validatePassword (/app/dist/auth/auth.service.js:88:19)
at PasswordEncoder.matches(PasswordEncoder.java:51)
in `authenticate!': Unauthorized (Warden)
from /usr/local/bundle/gems/jwt-2.8.1/lib/jwt/decode.rb:42:in `decode'
/var/www/html/vendor/symfony/security/Token.php(118)
main.(*Server).handleToken(0xc0000b4000, {0x7f1c2a, 0x10})
thread 'tokio-runtime-worker' panicked at src/token.rs:42:10
panicked at 'called `Option::unwrap()` on a `None` value', src/auth.rs:17:5
Segmentation fault (core dumped) at 0x7ffd5e8c
errno: -3008, code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: 'api.example.test'
write EPROTO 140735:error:1408F10B:SSL routines:ssl3_get_record:wrong version number
x509: certificate signed by unknown authority
SSL_ERROR_SYSCALL 104 in connection to api.example.test:443
remote error: tls: handshake failure
Sync token 17 is stale; expected 18
fencing token 33 < 34
BullMQ job 42 lock 5c2f1f0e-8b7a-4c6d-9e0f-1a2b3c4d5e6f:17 expired
Lua script f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4 not found (NOSCRIPT)
sha1:2fd4e1c67a2d28fced849ee1bb76e7391b93eb12 md5:9e107d9d372bb6826bd81d3542a419d6
docker.io/library/postgres@sha256:9d3ca7b2e1a0c4f5b6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c
commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b (tag: v1.2.3)
Build 20261101.17, release 2026.11.0-rc.2+g9f86d08
spanId=00f067aa0ba902b7 parentSpanId=53995c3f42cd8ad8
correlation-id 01HXKX92JDLS0PA7QW81KX92JD
order 1000000423, lot 20261101-0042, PO 4500012345
parcel 00340434161094042557 not found
GTIN 04006381333931, SKU-88213
meter 0123456789 offline
lat 52.5200, lon 13.4050, alt 34.5
range bytes=0-1048575/88213441
memory 1288490188 bytes, rss 982 MB
took 1234567890 ns
ts=1762000000.123456 dur=0.00342
at 10:00:00.123 on 01/11/2026
week 2026-W44, quarter 2026-Q4
10.0.0.5:5432 -> 10.0.0.9:40122 RST
2001:db8:85a3::8a2e:370:7334 unreachable
eth0 02:42:ac:11:00:02
kafka offset 88213441 out of range for partition emails-3
ER_LOCK_DEADLOCK 1213 (40001)
ORA-01017: invalid username/password; logon denied
SQLSTATE 28P01, 42501, 53300
gRPC 16 UNAUTHENTICATED
AADSTS50076 trace ID: 8a2e0370-7334-4c6d-9e0f-1a2b3c4d5e6f
AMQP 406 PRECONDITION_FAILED - unknown delivery tag 17
XADD emails-stream 1762000000123-0
MISCONF Redis is configured to save RDB snapshots
Hello World
Hi there, this is a test
Dear customer, your order failed
Dear user,
To: undisclosed-recipients
From: scheduler
Sender class: SmtpSender
contact: ops
""",
)

_FOURTH = (
    r"""
requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://api.mail.example/v3/send?apikey=«c0ffee11aa22bb33cc44dd55ee66ff77»
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='‹api.example.test›', port=443): Max retries exceeded with url: /v1/users?access_token=«tQ83hdKs92jdPl02» (Caused by NewConnectionError('x'))
urllib.error.URLError: <urlopen error ftp://app:«tQ83hdKs»@‹files.internal›/in.csv>
kombu.exceptions.OperationalError: Cannot connect to amqp://app:«tQ83hdKs»@‹mq.internal›:5672/prod
sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) could not translate host name, dsn: user=app password=«tQ83hdKs» host=‹db.internal›
pymongo.errors.ServerSelectionTimeoutError: mongodb+srv://app:«tQ83hdKs»@‹c0.mongo.example›/shop
redis.exceptions.AuthenticationError: AUTH <password> called, url=rediss://:«tQ83hdKs»@‹cache.internal›:6380/2
stripe.error.AuthenticationError: Invalid API Key provided: «sk_·live_tQ83hdKs92jdPl02tQ83hdKs»
openai.AuthenticationError: Error code: ‹401› - {'error': {'message': 'Incorrect API key provided: «sk-·proj-tQ83hdKs92jdPl02tQ83hdKs»'}}
slack_sdk.errors.SlackApiError: The request to the Slack API failed. token=«xoxb-·123456789012-tQ83hdKs92jd»
botocore.exceptions.ClientError: An error occurred (InvalidClientTokenId): «AK·IAZ5QEXAMPLE7UUQTR»
google.auth.exceptions.RefreshError: ('invalid_grant: Bad Request', {'refresh_token': '«1//0tQ83hdKs92jdPl02tQ83»'})
jwt.exceptions.InvalidSignatureError: token=«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.tQ83hdKs92jd»
smtplib.SMTPRecipientsRefused: {'«pia.berg@mail.example»': (‹550›, b'5.1.1 User unknown')}
smtplib.SMTPDataError: (‹554›, b'Message rejected: Email address is not verified: «pia.berg@mail.example»')
twilio.base.exceptions.TwilioRestException: HTTP ‹400› error: The number «+491701234567» is unverified
phonenumbers.phonenumberutil.NumberParseException: (1) '«0170 1234567»' is no phone number
django.db.utils.IntegrityError: duplicate key value violates unique constraint "users_email_key"\nDETAIL:  Key (email)=(«pia.berg@mail.example») already exists.
django.db.utils.DataError: value too long for type character varying(20)\nCONTEXT: unnamed portal parameter $3 = '«pia.berg@mail.example»'
asyncpg.exceptions.UniqueViolationError: DETAIL: Key (phone)=(«+491701234567») already exists.
marshmallow.exceptions.ValidationError: {'iban': ['Invalid: «DE02120300000000202051»']}
ValueError: Card «4111111111111111» is expired
File "/app/tasks/pay.py", line ‹88›, in charge\n    client = Client(api_key="«tQ83hdKs92jdPl02»")
File "/app/settings.py", line ‹12›, in <module>\n    SECRET_KEY = "«django-insecure-tQ83hdKs92jdPl02»"
locals: {'self': <Task>, 'password': '«tQ83hdKs»', 'n': ‹3›}
Error: connect failed\n    at Client.connect (mysql://root:«tQ83hdKs»@‹db.internal›:3306/shop)
{"user_id": ‹42›, "email": "«pia.berg@mail.example»", "template": "‹welcome›"}
{"order_id": ‹88213›, "customer": {"first_name": "«Pia»", "last_name": "«Berg»", "phone": "«0170 1234567»"}}
{"payment": {"card_number": "«4111111111111111»", "cvc": "«123»", "amount": ‹1999›}}
{"shipping_address": {"name": "«Pia Berg»", "street": "«Seestr. 7»", "city": "Ulm", "country": "DE"}}
{"event": "user.created", "data": {"id": "‹usr_42›", "email_addresses": [{"email_address": "«pia.berg@mail.example»"}]}}
{"webhook": {"url": "‹https://shop.example.test/in›", "secret": "«whsec_·tQ83hdKs92jdPl02tQ83hdKs»"}}
{"args": ["«pia.berg@mail.example»", "‹reset›"], "kwargs": {"token": "«tQ83hdKs92jdPl02»"}}
{"config": {"db": {"user": "app", "pass": "«tQ83hdKs»"}, "pool": ‹5›}}
{"oauth": {"client_id": "‹shop-web›", "client_secret": "«tQ83hdKs92jdPl02»", "scope": "read"}}
{"headers": {"Authorization": "«Bearer tQ83hdKs92jdPl02»", "X-Request-Id": "‹7f3b6a1c-52d7-4d0f-9c1e-2f4a6b8c0d1e›"}}
{"session": {"id": "«tQ83hdKs92jd»", "user": ‹42›}}
{"to": "«+491701234567»", "from": "‹SHOP›", "body": "Your code is 123"}
{"birth_date": "«1980-02-03»", "plan": "‹pro›"}
{"ssn": "«219-09-9999»", "case": ‹17›}
Authorization: «Basic YXBwOnRRODNoZEtz»
authorization: «Bearer tQ83hdKs92jdPl02»
X-Api-Key: «tQ83hdKs92jdPl02»
x-access-token: «tQ83hdKs92jdPl02»
Cookie: «sessionid=tQ83hdKs92jd; csrftoken=Pl02tQ83»
X-Amz-Security-Token: «IQoJb3JpZ2luX2VjEJrtQ83hdKs»
X-Shopify-Access-Token: «shpat_·0123456789abcdef0123456789abcdef»
Stripe-Signature: «t=1762000000,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd»
https://app:«tQ83hdKs»@‹registry.internal›/v2/
https://shop.example.test/reset?token=«tQ83hdKs92jdPl02»&lang=‹de›
https://shop.example.test/u?email=«pia.berg%40mail.example»&page=‹2›
https://s3.example.test/b/k?X-Amz-Credential=«AK·IAZ5QEXAMPLE7UUQTR»%2F20261101&X-Amz-Signature=«fe5f80f77d5fa3beca038a248ff027d0»
https://maps.example.test/geocode?key=«AIza·SyTQ83hdKs92jdPl02tQ83hdKs92jdPl02»
DATABASE_URL=postgres://app:«tQ83hdKs»@‹db.internal›:5432/shop
SECRET_KEY_BASE=«0123456789abcdef0123456789abcdef0123456789abcdef»
AWS_SECRET_ACCESS_KEY=«tQ83hdKs/92jdPl02+tQ83hdKs92jdPl02tQ83h»
SMTP_PASSWORD='«tQ83hdKs»'
SENTRY_DSN=https://«0123456789abcdef0123456789abcdef»@‹o1.ingest.example›/42
JWT_SECRET: «tQ83hdKs92jdPl02»
GITHUB_TOKEN=«ghp_·tQ83hdKs92jdPl02tQ83hdKs92jdPl02tQ83»
SELECT id FROM users WHERE email='«pia.berg@mail.example»' AND active=true
UPDATE users SET phone='«+491701234567»' WHERE id=‹42›
ALTER ROLE app WITH PASSWORD '«tQ83hdKs»'
INSERT INTO users (id, email, first_name, last_name) VALUES (‹42›, '«pia.berg@mail.example»', '«Pia»', '«Berg»')
[SQL: INSERT INTO users (email, full_name, phone) VALUES (%s, %s, %s)]\n[parameters: ('«pia.berg@mail.example»', '«Pia Berg»', '«0170 1234567»')]
DETAIL: Failing row contains (‹42›, «Pia Berg», «pia.berg@mail.example», ‹pending›).
curl -u app:«tQ83hdKs» https://api.example.test/v1/orders
curl -H "Authorization: «Bearer tQ83hdKs92jdPl02»" https://api.example.test/v1
curl -X POST -d '{"password":"«tQ83hdKs»","user":"pia"}' https://api.example.test/login
2026-11-01 10:00:00,123 INFO login user=‹42› password=«tQ83hdKs»
2026-11-01T10:00:00Z WARN auth failed token=«tQ83hdKs92jdPl02» ip=‹10.0.0.5›
level=error msg="send failed" to=«pia.berg@mail.example» smtp_code=‹550›
[2026-11-01 10:00:00] production.ERROR: SQLSTATE[28000] {"password":"«tQ83hdKs»"}
10.0.0.5 - - [01/Nov/2026:10:00:00 +0000] "GET /api?api_key=«tQ83hdKs92jdPl02» HTTP/1.1" ‹401› 42
Sending SMS to «+49 170 1234567» via ‹provider-2›
Refund to IBAN «DE02 1203 0000 0000 2020 51» failed
Subject: Order ‹88213›\nTo: «Pia Berg <pia.berg@mail.example>»
""",
    r"""
Task shop.tasks.send_email[550e8400-e29b-41d4-a716-446655440000] raised unexpected: ReadTimeout()
task_id=550e8400e29b41d4a716446655440000 retries=3 max_retries=5
HTTPSConnectionPool(host='api.example.test', port=443): Read timed out. (read timeout=30)
requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: https://api.example.test/v1/orders/88213
kombu.exceptions.OperationalError: [Errno 111] Connection refused
redis.exceptions.ConnectionError: Error 111 connecting to cache.internal:6379. Connection refused.
redis.exceptions.ResponseError: OOM command not allowed when used memory > 'maxmemory'.
sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached
psycopg2.errors.DeadlockDetected: deadlock detected\nDETAIL:  Process 4711 waits for ShareLock on transaction 88213441; blocked by process 4712.
psycopg2.errors.SerializationFailure: could not serialize access due to concurrent update
psycopg2.errors.UndefinedTable: relation "orders_2026" does not exist
pymysql.err.OperationalError: (2006, 'MySQL server has gone away')
django.core.exceptions.ObjectDoesNotExist: User matching query does not exist.
KeyError: 'order_id'
TypeError: 'NoneType' object is not subscriptable
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
botocore.exceptions.ClientError: An error occurred (ThrottlingException) when calling the SendEmail operation: Maximum sending rate exceeded.
botocore.exceptions.ClientError: An error occurred (NoSuchKey) when calling the GetObject operation
stripe.error.RateLimitError: Request req_tQ83hdKs92jdPl: Too many requests
stripe.error.CardError: Your card was declined. code=card_declined decline_code=insufficient_funds
twilio error 21211 on Message SM0123456789abcdef0123456789abcdef
openai.RateLimitError: Error code: 429 - {'error': {'type': 'tokens', 'code': 'rate_limit_exceeded'}}
smtplib.SMTPServerDisconnected: Connection unexpectedly closed
ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)
socket.gaierror: [Errno -2] Name or service not known
File "/app/tasks/mail.py", line 42, in send
File "/usr/local/lib/python3.11/site-packages/celery/app/trace.py", line 451, in trace_task
at Worker.processJob (/app/node_modules/bullmq/dist/cjs/classes/worker.js:389:28)
at process.processTicksAndRejections (node:internal/process/task_queues:95:5)
com.shop.order.OrderService.place(OrderService.java:118)
{"order_id": 88213, "tenant_id": "acme", "template": "welcome", "attempt": 3}
{"property_id": 42, "memo_id": "m-17", "created_at": "2026-11-01T10:00:00Z"}
{"job_id": "4812", "queue": "emails", "priority": 5, "delay": 1000}
{"status": 429, "retry_after": 30, "request_id": "7f3b6a1c-52d7-4d0f-9c1e-2f4a6b8c0d1e"}
{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}
{"sku": "SKU-4711-BLK-XL", "ean": "4006381333931", "qty": 2, "price": "19.99"}
{"version": "1.29.3", "commit": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"}
{"idempotency_key": "memo_42_7", "routing_key": "emails.high", "dedup_key": "a1b2c3"}
{"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
{"channel": "sms", "country": "DE", "locale": "de_DE", "segments": 2}
X-Request-Id: 7f3b6a1c-52d7-4d0f-9c1e-2f4a6b8c0d1e
Retry-After: 30
Content-Type: application/json; charset=utf-8
ETag: "33a64df551425fcc55e4d42a148795d9f25f89d4"
https://shop.example.test/orders/88213?tab=items&page=2
https://api.example.test/v1/memos/42/send
amqp://mq.internal:5672/prod
postgresql://db.internal/shop
APP_ENV=production LOG_LEVEL=info PORT=8080
DB_HOST=db.internal DB_PORT=5432 DB_NAME=shop DB_USER=app
QUEUE_CONCURRENCY=4 WORKER_MAX_TASKS=100
SELECT id, status FROM orders WHERE tenant_id = 'acme' AND created_at > '2026-11-01'
UPDATE orders SET status='paid' WHERE id=88213
DETAIL:  Key (order_no)=(ORD-2026-000123) already exists.
DETAIL:  Key (tenant_id, slug)=(acme, welcome) already exists.
curl -X POST https://api.example.test/v1/orders -d '{"id":88213}'
2026-11-01 10:00:00,123 ERROR worker-3 attempt=2 queue=emails duration=0.312
2026-11-01T10:00:00.123456789Z INFO lag=17 offset=88213441 partition=3
level=warn msg="slow query" rows=1288 ms=4312
10.0.0.5 - - [01/Nov/2026:10:00:00 +0000] "GET /api/orders/88213 HTTP/1.1" 502 42
exit status 137, OOMKilled, restart count 4
SQLSTATE 40001, 23505, 08006, 57P01
errno 104 ECONNRESET, 110 ETIMEDOUT, 111 ECONNREFUSED
550 5.7.1 Message rejected due to DMARC policy
421 4.7.0 Try again later, closing connection
grpc status 14 UNAVAILABLE: upstream connect error
shop_api-7d9c8b6f5d-x2x9z node ip-10-0-0-5.ec2.internal
""",
)

_FIFTH = (
    r"""
requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://api.sms.example/v2/send?api_key=«k8Jd72hsLq»&to=«%2B4915112345678»&ref=‹88213›
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='‹hooks.chat.example›', port=443): Max retries exceeded with url: /services/«T02AB3CD4/B05EF6GH7/k3Jd8sLq0PzX7w» (Caused by NewConnectionError)
aiohttp.client_exceptions.ClientResponseError: 403, message='Forbidden', url=URL('https://geo.example/v1/lookup?access_token=«pk.ey·J1Ijoiam9obiJ9.x8Kd72»&q=‹berlin›')
urllib.error.HTTPError for https://‹ops›:«Winter2026!»@feeds.example/daily.csv: ‹404›
httpx.ConnectTimeout while calling https://storage.example/memos/‹m-17›.pdf?X-Amz-Credential=«AK·IAQ7DJ2KS9XPLM4TYZ»%2F20261101&X-Amz-Signature=«7c9e6679f4d2b8a1e0c35d7f9b2a4c6e8d0f1a3b5c7e9d2f4a6b8c0e1d3f5a7b»
https://blob.example/container/‹file.pdf›?sv=2022-11-02&se=2026-12-01&sr=b&sp=r&sig=«h2Kd9sLq%2FzX7wPm3Jd8%2BaQe%3D»
botocore.exceptions.ClientError: UserNotFoundException: user «jane.roe@corp.example» does not exist in pool ‹eu-west-1_a1B2c3›
smtplib.SMTPRecipientsRefused: {'«t.okafor@mail.example»': (550, b'5.1.1 User unknown')}
smtplib.SMTPAuthenticationError: (535, b'5.7.8 Authentication failed for «billing@shop.example»')
javax.mail.SendFailedException: Invalid Addresses; nested: ‹553› <«m_lopez+memo@mail.example»>: Recipient address rejected
Error: Invalid login: 535 Authentication failed\n    at SMTPConnection ... auth: { user: 'apikey', pass: '«SG·.x7Kd82»' }
twilio.base.exceptions.TwilioRestException: Unable to create record: The 'To' number «+14155550134» is not a valid phone number. status=‹400› code=‹21211›
ValueError: invalid phone number: '«+44 7700 900123»'
stripe._error.InvalidRequestError: No such customer for key «sk·_live_51H8xK2eZvKYlo2C0aBcDeF»; request ‹req_8Kd72hsLqPzX›
openai.AuthenticationError: Error code: 401 - {'error': {'message': 'Incorrect API key provided: «sk·-proj-x8Kd72hsLq0PzX7wPm3Jd8»'}}
slack_sdk.errors.SlackApiError: invalid_auth, token=«xo·xb-2847-9182-kd72hsLq0PzX»
github.GithubException: 401 {"message": "Bad credentials"} with «gh·p_k8Jd72hsLq0PzX7wPm3Jd8sLq0PzX7wPm3J»
google.auth.exceptions.RefreshError: ('invalid_grant: Bad Request', {'refresh_token': '«1//0gk8Jd72hsLq0PzX7wPm3Jd8»'})
jwt.exceptions.ExpiredSignatureError: token «ey·JhbGciOiJIUzI1NiJ9.ey·JzdWIiOiI0MiJ9.k8Jd72hsLq0PzX7w» expired at ‹2026-11-01T10:00:00Z›
psycopg2.OperationalError: connection to server at "‹db.internal›", port 5432 failed: FATAL: password authentication failed; dsn: user=app password=«W1nter-26» host=db.internal
sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) could not connect: postgresql+psycopg2://app:«s3nha%21forte»@db.internal:5432/‹shop›
pymongo.errors.OperationFailure: Authentication failed., mongodb+srv://svc_memo:«hX72kdLq»@cluster0.example.mongodb.net/‹memos›
redis.exceptions.AuthenticationError: invalid username-password pair for redis://default:«kd72hsLq0Pz»@cache.internal:6379/‹2›
kombu.exceptions.OperationalError: [Errno 111] Connection refused: amqp://tasks:«r4bb1t!»@mq.internal:5672/‹prod›
org.postgresql.util.PSQLException: ERROR: duplicate key value violates unique constraint "users_email_key" Detail: Key (email)=(«anna.k@mail.example») already exists.
psycopg2.errors.UniqueViolation: duplicate key value violates unique constraint "‹customers_phone_key›"\nDETAIL:  Key (phone)=(«+4930123456») already exists.
psycopg2.errors.NotNullViolation: null value in column "‹order_id›" violates not-null constraint\nDETAIL:  Failing row contains (‹17›, null, «jo.d@mail.example», «$2b$12$k8Jd72hsLq0PzX7wPm3Jd8sLq0PzX7wPm3Jd8sLq0PzX7wPm3J»).
mysql.connector.errors.IntegrityError: 1062 (23000): Duplicate entry '«sam@mail.example»' for key '‹users.email›'
[SQL: UPDATE users SET email=%(email)s, password_hash=%(password_hash)s WHERE id=%(id)s]\n[parameters: {'email': '«lea@mail.example»', 'password_hash': '«pbkdf2_sha256$600000$k8Jd72hs$Lq0PzX7wPm3Jd8sLq0PzX7wP»', 'id': ‹42›}]
django.db.utils.DataError: value too long; params ('«Kowalczyk Anna»@', ‹42›) email «anna@mail.example»
MongoServerError: E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: "«pat.q@mail.example»" }
Prisma P2002 Unique constraint failed on {"email": "«kim@mail.example»"} for model ‹User›
{"to": "«noor@mail.example»", "template": "‹welcome›", "vars": {"reset_link": "https://app.example/reset?token=«a81bKd72hsLq0PzX»"}}
{"user_id": ‹42›, "password": "«correct horse»", "remember": true}
{"order_id": ‹88213›, "card": {"number": "«4242424242424242»", "exp": "12/28", "cvc": "«314»"}}
{"iban": "«DE75512108001245126199»", "amount": "‹19.99›", "mandate": "‹MD-0042›"}
{"customer": {"first_name": "«Beatriz»", "last_name": "«Souza»", "phone": "«+55 11 91234-5678»"}, "sku": "‹SKU-4711›"}
{"webhook": {"url": "https://hooks.crm.example/in", "signing_secret": "«whs_k8Jd72hsLq»"}, "event": "‹order.paid›"}
{"smtp": {"host": "‹mx.internal›", "username": "‹mailer›", "password": "«p@55w0rd»"}}
{"headers": {"Authorization": "Bearer «k8Jd72hsLq0PzX7wPm»", "X-Request-Id": "‹7f3b6a1c›"}}
{"headers": {"authorization": "Basic «b3BzOldpbnRlcjIwMjYh»"}, "timeout": ‹30›}
{"headers": [["Cookie", "sessionid=«k8Jd72hsLq0PzX»; csrftoken=«Pm3Jd8sLq0Pz»"], ["Accept", "‹application/json›"]]}
{"client_id": "‹memo-service›", "client_secret": "«Lq0~PzX7wPm3Jd8»", "grant_type": "‹client_credentials›"}
{"aws_access_key_id": "«AK·IAZ7DJ2KS9XPLM4TQW»", "aws_secret_access_key": "«k8Jd72hsLq0PzX7wPm3Jd8sLq0PzX7wPm3Jd8sL»", "bucket": "‹memos-prod›"}
{"ssn": "«536-22-8145»", "tenant": "‹acme›"}
{"dob": "«1984-03-17»", "member_no": "‹M-4711›"}
{"passport_no": "«C01X00T47»", "country": "‹DE›"}
{"tax_id": "«12/345/67890»", "invoice": "‹INV-2026-17›"}
{"address": {"street": "«Lindenallee 12»", "zip": "‹10115›", "city": "‹Berlin›"}}
{"push": {"device_token": "«dK72hsLq0PzX7wPm3Jd8sLq0PzX7:AP·A91bHk8Jd72hs»", "badge": ‹3›}}
{"otp": "«482913»", "channel": "‹sms›", "ttl": ‹300›}
{"pin": "«4711»", "door": "‹north›"}
{"api_token": "«k8Jd-72hs-Lq0P»", "shop": "‹acme.example›"}
{"auth": {"type": "‹basic›", "user": "ops", "pass": "«Sommer26»"}}
{"dsn": "https://«k8jd72hslq0pzx7wpm3jd8slq0pzx7wp»@o42.ingest.example/‹17›"}
{"connectionString": "Server=‹tcp:db.internal›,1433;User ID=app;Password=«W1nter!26»;Encrypt=true"}
{"conn": "Endpoint=sb://bus.example/;SharedAccessKeyName=‹send›;SharedAccessKey=«k8Jd72hsLq0PzX7wPm3Jd8sLq0Pz=»"}
{"connection": "DefaultEndpointsProtocol=https;AccountName=‹memos›;AccountKey=«k8Jd72hsLq0PzX7wPm3Jd8sLq0PzX7wPm3Jd8sLq0PzX==»"}
{"args": ["«ines@mail.example»", ‹42›], "kwargs": {"lang": "‹pt›"}}
{"recipients": ["«a.b@mail.example»", "«c.d@mail.example»"], "memo_id": "‹m-17›"}
{"body": "Dear Ms «Novak», your code is «839 201»", "order": ‹88213›}
{"query": "email=«li.wei@mail.example»&page=‹2›"}
{"raw_request": "POST /login HTTP/1.1\r\nHost: ‹app.example›\r\nAuthorization: Bearer «k8Jd72hsLq0PzX7w»\r\n\r\n{\"password\":\"«hunter22»\"}"}
{"payload": "{\"token\": \"«k8Jd72hsLq0P»\", \"id\": ‹42›}"}
{'api_key': '«k8Jd72hsLq0P»', 'retries': ‹3›, 'verify': True}
{'user': <User: «jo.doe@mail.example»>, 'plan': '‹pro›'}
Authorization: Bearer «k8Jd72hsLq0PzX7wPm3Jd8sLq»
Proxy-Authorization: Basic «cHJveHk6czNjcjN0»
Cookie: session=«k8Jd72hsLq0PzX7w»; theme=dark
Set-Cookie: refresh_token=«Pm3Jd8sLq0PzX7w»; Path=/; HttpOnly
X-Api-Key: «k8Jd72hsLq0P»
X-Amz-Security-Token: «IQ·oJb3JpZ2luX2VjEJr//////////wEaCWV1LXdlc3QtMSJ»
X-Hub-Signature-256: sha256=«757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17»
X-Vault-Token: «hv·s.CAESIk8Jd72hsLq0PzX7wPm3»
X-Shopify-Access-Token: «sh·pat_7c9e6679f4d2b8a1e0c35d7f9b2a4c6e»
PRIVATE-TOKEN: «gl·pat-k8Jd72hsLq0PzX7wPm3J»
X-Forwarded-User: «maria.silva@corp.example»
From: "«Maria Silva»" <«maria@corp.example»>
  File "/app/tasks/mail.py", line 42, in send\n    client.login("‹mailer›", "«Winter2026!»")\nsmtplib.SMTPServerDisconnected
  File "/app/db.py", line 9, in connect\n    conn = psycopg2.connect("host=db.internal user=app password=«s3cr3t-26»")
  File "/app/pay.py", line 7, in charge\n    stripe.api_key = "«sk·_test_4eC39HqLyjWDarjtT1zdp7dc»"
  File "/app/http.py", line 31, in call\n    headers={"Authorization": f"Token «9944b09199c62bcf9418ad846dd0e4bb»"}
  File "/app/cache.py", line 5, in <module>\n    r = Redis(host="‹cache›", password="«kd72hsLq»")
locals: {'password': '«hunter22»', 'attempt': ‹3›}
    token = '«k8Jd72hsLq0PzX7w»'\n    user_id = ‹42›\n    email = '«bo@mail.example»'
 self = <Client url='https://api.example' secret='«k8Jd72hsLq0P»'>
Error: connect ECONNREFUSED ‹10.0.0.5:5432›\n    at /app/db.js:4 config: { user: 'app', password: '«s3cr3t26»', database: 'shop' }
AxiosError: Request failed with status code ‹401›\n  config: { headers: { Authorization: 'Bearer «k8Jd72hsLq0PzX7wPm»' } }
AxiosError: data: '{"username":"ops","password":"«Winter26»"}', method: 'post'
FetchError: request to https://api.example/v1/u/«erik@mail.example»/memos failed, reason: connect ETIMEDOUT
GaxiosError: invalid_grant { refresh_token: '«1//0gk8Jd72hsLq0PzX7wPm3Jd8»', client_id: '‹42.apps›' }
ReplyError: WRONGPASS invalid username-password pair\n command: { name: 'auth', args: [ '‹worker›', '«kd72hsLq0»' ] }
SequelizeUniqueConstraintError: email must be unique, value: '«olga@mail.example»', path: '‹email›'
java.sql.SQLException: Access denied for user '‹app›'@'10.0.0.5' jdbc:mysql://db.internal/shop?user=app&password=«W1nter26»
org.springframework.web.client.HttpClientErrorException: 401 on GET request for "https://api.example/v1?apikey=«k8Jd72hsLq0P»"
Caused by: com.amazonaws.SdkClientException: secretKey=«k8Jd72hsLq0PzX7wPm3Jd8sLq0PzX7wPm3Jd8sL», region=‹eu-west-1›
System.Data.SqlClient.SqlException: Login failed. Connection: Data Source=‹db›;Initial Catalog=shop;uid=app;pwd=«W1nter26»
Net::SMTPAuthenticationError: 535 5.7.8 «ruby@shop.example»
ActiveRecord::RecordInvalid: Validation failed: Email «zoe@mail.example» has already been taken
panic: dial tcp: ftp://sync:«Kd72hsLq»@files.example/in: no such host
paramiko.ssh_exception.AuthenticationException: sync@files.example password '«Kd72hsLq»' rejected
ldap3.core.exceptions.LDAPInvalidCredentialsResult: bind as uid=‹j.smith›,ou=people with password «Kd72hsLq!» failed
ERROR could not deliver to «+49 (0) 151 23456789»: carrier said ‹30005›
WARN retry 3 for user «hana@mail.example» tenant=‹acme› in 30s
DEBUG curl -H 'Authorization: Bearer «k8Jd72hsLq0P»' https://api.example/v1/orders/‹88213›
celery.exceptions.Retry: send_memo(«'ivo@mail.example'», ‹42›) retry in 60s
subprocess.CalledProcessError: Command '['pg_dump', '--dbname=postgresql://app:«s3cr3t26»@db/shop']' returned non-zero exit status ‹1›.
subprocess.CalledProcessError: Command 'mysqldump -u root -p«R00tPw26» shop' returned non-zero exit status ‹2›.
KeyError in template: {{ card }} «5555 5555 5555 4444» for order ‹88213›
ValidationError: 1 validation error for Login\npassword\n  String should have at least 12 characters [type=string_too_short, input_value='«Kd72hsLq»', input_type=str]
ValidationError: email\n  value is not a valid email address [input_value='«jo@@mail.example»']
--·---BEGIN RSA PRIVATE KEY-----\n«MI·IEowIBAAKCAQEAk8Jd72hsLq0PzX7wPm3Jd8sLq0PzX7wPm3Jd8sLq0PzX7w»\n-----END RSA PRIVATE KEY-----
""",
    r"""
celery.exceptions.SoftTimeLimitExceeded: SoftTimeLimitExceeded(300,)
kombu.exceptions.EncodeError: Object of type Decimal is not JSON serializable
billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 17.
job stalled more than allowable limit
Missing lock for job 4812. moveToFinished
redis.exceptions.BusyLoadingError: Redis is loading the dataset in memory
psycopg2.errors.LockNotAvailable: canceling statement due to lock timeout
psycopg2.errors.ForeignKeyViolation: Key (order_id)=(88213) is not present in table "orders".
psycopg2.errors.CheckViolation: new row for relation "memos" violates check constraint "memos_qty_check"
sqlalchemy.exc.StatementError: (builtins.KeyError) 'tenant_id'
requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='api.example.test', port=443): Read timed out. (read timeout=10)
requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://api.example.test/v1/memos/42?page=3
AxiosError: Request failed with status code 503
Error: connect ECONNREFUSED 10.0.0.5:5432
TypeError: Cannot read properties of undefined (reading 'id')
java.lang.NullPointerException: Cannot invoke "Order.getId()" because "order" is null
KeyError: 'password_reset_template'
ImportError: cannot import name 'TokenBackend' from 'auth.backends'
AttributeError: 'Session' object has no attribute 'token_type'
jinja2.exceptions.UndefinedError: 'secret_santa' is undefined
InvalidTokenError: Not enough segments
TokenExpiredError: token expired 17 seconds ago
invalid_grant: Token has been expired or revoked.
{"memo_id": "m-17", "property_id": 42, "template_id": 7, "retry": 2}
{"token_count": 4096, "max_tokens": 8192, "model": "large-v2"}
{"password_policy": "strict", "password_expired": true}
{"key": "memo_42_7", "keys": ["a", "b"], "partition_key": "tenant-42"}
{"author_id": 17, "authorized": false, "auth_method": "oauth2"}
{"session_count": 3, "cookie_consent": true, "card_type": "visa", "last4": "4242"}
{"phone_verified": true, "email_verified": false, "email_template": "welcome"}
{"address_id": 4711, "name": "send_memo", "queue_name": "emails"}
{"started_at": 1762000000123, "finished_at": 1762000004123, "attempts": 3}
{"sha": "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12", "size": 1048576}
{"order_no": "ORD-2026-000423", "parcel": "00340434161094042557"}
X-RateLimit-Reset: 1762000000
X-Correlation-Id: 01HXKX92JDLS0PA7QW81KX92JD
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
User-Agent: python-requests/2.32.3
WWW-Authenticate: Bearer realm="api", error="invalid_token"
File "/app/auth/token_refresh.py", line 88, in refresh_token
File "/app/tasks/password_reset.py", line 17, in send_password_reset
at TokenService.verify (/app/src/token.service.ts:42:11)
at async Promise.all (index 3)
com.shop.auth.PasswordEncoder.encode(PasswordEncoder.java:31)
https://app.example.test/reset-password/help
amqp://mq.internal:5672/prod and redis://cache.internal:6379/2
exit status 139 (core dumped), pid 4711, uid 1000
2026-11-01 10:00:00,123 WARNING retry 3/5 in 30s memo=m-17 tenant=acme
release 2026.11.2 (build 4812), node v20.11.1, python 3.11.7
SMTP 450 4.2.1 The user you are trying to contact is receiving mail too quickly
""",
)

#: Each draw: what must go, what must stay.
DRAWS = {"first": _FIRST, "second": _SECOND, "third": _THIRD, "fourth": _FOURTH, "fifth": _FIFTH}
