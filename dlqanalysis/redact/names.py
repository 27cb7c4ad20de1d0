"""Names of fields that hold secrets or personal data, in the languages that fields are named in.

A name is split at its seams (clientSecret, client_secret) and its last one to three words are looked up, joined.
"""


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_SECRET = words(
    """
    password passwd passphrase passcode pass pwd pw secret secrets token tokens apikey authkey accesskey
    secretkey privatekey encryptionkey signingkey accountkey masterkey sshkey licensekey sharedkey storagekey
    subscriptionkey functionkey clientkey appkey applicationkey servicekey rolekey integrationkey
    instrumentationkey connectionstring credential credentials authorization auth cookie cookies session
    sessionid sessid jsessionid phpsessid csrf xsrf csrftoken xsrftoken signature sig otp totp mfacode pin
    pincode cvv cvc cvv2 cvc2 securitycode ssn socialsecuritynumber passport passportnumber jwt bearer
    webhookurl privkey mnemonic seedphrase sessionkey connectsid communitystring communitystrings
    clientassertion assertion samlresponse storepass keypass recoverycode backupcode verificationcode accesscode
    securityanswer authcode bindpw userpw rootpw dbpw
    kennwort passwort geheim geheimnis schluessel motdepasse mdp contrasena contrase\xf1a clave senha chave palavrapasse
    parola wachtwoord haslo hasło salasana losenord lösenord adgangskode passord heslo jelszo пароль 密码 密碼 パスワード
    """
)
_PERSONAL = words(
    """
    firstname lastname fullname surname givenname familyname middlename maidenname street streetaddress address
    addressline addressline1 addressline2 postaladdress dob dateofbirth birthdate birthday iban accountnumber
    bankaccount taxid nationalid driverslicense driverlicense driverlicence licenceno cardnumber customername
    recipientname contactname displayname realname legalname patientname patient guestname drivername
    cardholdername cardholder holdername accountholder nameoncard fname lname forename forenames sendername
    receivername contactperson beneficiaryname beneficiary payername buyername billingname shippingname
    ownername employeename studentname personname nickname middleinitial maiden street1 street2 line1 line2
    address1 address2 homeaddress fulladdress formattedaddress streetname housenumber sortcode routingnumber bic
    nin nino cpf curp nif dni bsn pesel aadhaar aadhar pan nhsnumber personnummer steuernummer taxnumber vatid
    dateofdeath placeofbirth birthplace birthyear medicalrecordnumber mrn insurancenumber policyholder
    emailaddress clientname guest username_full bankacct legalentityname
    vorname nachname familienname geburtsname strasse straße anschrift geburtsdatum geburtstag kontoinhaber prenom prénom
    nomfamille nomdefamille nomcomplet rue datenaissance datedenaissance apellido apellidos primerapellido nombrecompleto
    direccion dirección domicilio fechanacimiento fechadenacimiento sobrenome nomecompleto endereco endereço rua
    datanascimento datadenascimento cognome indirizzo datadinascita achternaam voornaam geboortedatum adres nazwisko imie
    imię etunimi sukunimi fornamn efternamn ulica
    """
)
_PHONE = words(
    """
    phone phonenumber mobile mobilenumber telephone tel fax msisdn whatsapp phoneno mobileno cell cellphone
    homephone workphone phonee landline callerid
    telefon telefonnummer handy handynummer mobilnummer rufnummer telefone celular telefono teléfono movil móvil cellulare
    portable telefoonnummer telefonszam puhelin mobil
    """
)
_EMAIL = words(
    "email emails mail emailaddress mailaddress correo courriel correoelectronico correio epost emailid"
)

#: kind -> names.
KINDS = {"secret": _SECRET, "personal": _PERSONAL, "phone": _PHONE, "email": _EMAIL}

#: What a name must hold to be looked at: stems of all of the above, and of names whose value decides.
_STEMS = r"""
    pass pwd \bpw\b secret token key auth cookie sess sid\b csrf xsrf sig otp mfa pin \btan\b cv[vc] security ssn jwt
    bearer webhook connection cred seed mnemonic name street address dob birth iban account bank tax national licen[sc]e
    card \bpan\b phone mobile tel fax msisdn whatsapp community assertion saml code answer patient holder maiden
    line[12]\b housenumber routing \bbic\b \bnino?\b \bcpf\b \bcurp\b \bnif\b \bdni\b \bbsn\b pesel aadha{1,2}r nhs
    personnummer steuer vat \bmrn\b insurance beneficiary cell landline contact \bto\b \bfrom\b recipient receiver
    sender caller callee mail celul kennwort geheim schluessel mdp contrase clave senha chave parola wachtwoord has[lł]o
    salasana l[oö]senord adgangskode heslo jelszo пароль 密[码碼] パスワード strasse straße anschrift geburt prenom
    prénom \bnom nomfamille \brue\b naissance apellido nombre \bnome\b direcc domicilio nacimiento sobrenome endere[cç]o
    \brua\b nascimento indirizzo nascita achternaam voornaam geboorte \badres nazwisko imi[eę]\b etunimi sukunimi
    fornamn efternamn ulica handy rufnummer m[oó]vil portable puhelin mobil correo courriel correio epost mot_?de
    """
STEMS = "|".join(_STEMS.split()).encode()
