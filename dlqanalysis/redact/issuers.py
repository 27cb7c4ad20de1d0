"""How the keys of known issuers look, as the issuers document them."""

#: What a key begins with; - or _ and at least 20 signs follow, a digit among them.
_BEGINNINGS = """
    pscale_tkn pscale_oauth pscale_pw glsa glc ntn rubygems PMAK xkeysib xsmtpsib shippo_live shippo_test NRAK NRII
    tfp pplx pul pnu rdme glcbt gloas glsoat glft glffct glagent glimt HRKU-AA duffel_live duffel_test fio-u FLWSECK
    FLWSECK_TEST FLWPUBK_TEST CLOJARS ico gsk sm_aat sm_pat sm_sat tk-us dnkey fo1 fm1a fm1r fm2 sbp sb_secret phx
    nvapi xai sgp squ sqp sqa s-s4t2ud s-s4t2af SWMTKN-1 api_org vercel_blob_rw figd lsv2_pt lsv2_sk pcsk tvly
    GR1348941 p8e secret_live secret_test key_live key_test sntrys sntryu hvs hvb dckr_pat dckr_oat
"""

#: Keys of another form.
_FORMS = (
    # clouds
    r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b", r"\bABSK[A-Za-z0-9+/=]{60,}",
    r"\b(?:IQoJb3JpZ2lu|FwoG)[\w+/=]{4,}", r"\bAIza[\w-]{30,}", r"\bya29\.[\w-]{10,}", r"\bGOCSPX-[\w-]{20,}",
    r"\b1//0[\w-]{20,}", r"\b[\w~.]{3}\dQ~[\w~.-]{31,34}", r"\bdo[opr]_v1_[0-9a-f]{32,}", r"\bLTAI[A-Za-z0-9]{16,}",
    r"\bAQVN[\w-]{30,}", r"\bv1\.0-[0-9a-f]{24}-[0-9a-f]{100,}", r"\bdapi[0-9a-f]{32}\b",
    # code and delivery
    r"\bgh[pousr]_[A-Za-z0-9]{20,}", r"\bgithub_pat_\w{20,}", r"\bgl(?:pat|ptt|rt|dt)-[\w-]{16,}",
    r"\bnpm_[A-Za-z0-9]{30,}", r"\bpypi-[\w-]{30,}", r"\bATATT3[\w=-]{30,}", r"\bAPI-[A-Z0-9]{26}\b",
    r"\b(?:AKCp|cmVmd)[A-Za-z0-9]{50,}", r"\b\w{14}\.atlasv1\.[\w-]{40,}", r"\b(?:pat|sat)\.[\w-]{20,}\.\w{20,}\.\w{16,}",
    r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{30,}", r"\bhv[sb]\.[\w-]{20,}", r"\bdckr_pat_[\w-]{20,}",
    r"\bAGE-SECRET-KEY-1[0-9A-Z]{40,}", r"\bsha256~[\w-]{40,}", r"\bops_eyJ[\w+/=]{20,}", r"\bA3-[A-Z0-9]{6}-[A-Z0-9-]{23,}",
    # money, shops, mail, messages
    r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}", r"\bwhsec_[\w+/=]{16,}", r"\b(?:pi|seti|cs)_\w{10,}_secret_\w{10,}",
    r"\bsq0[a-z]{3}-[\w-]{22,}", r"\bEAA[A-Za-z0-9]{60,}", r"\bshp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}", r"\bEZ[AT]K[A-Za-z0-9]{40,}",
    r"\bSG\.[\w-]{16,}\.[\w-]{16,}", r"\bkey-[0-9a-f]{32}\b", r"\b[0-9a-f]{32}-us\d{1,2}\b", r"\bSK[0-9a-f]{32}\b",
    r"\bxox[a-z]-[\w-]{8,}", r"\bxapp-[\w-]{8,}", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]+",
    r"/services/T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/\w{12,}",
    r"discord(?:app)?\.com/api/webhooks/\d+/[\w-]+", r"\b[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}",
    r"\b(?:bot)?\d{8,10}:AA[\w-]{32,}", r"\b[\w-]{11,22}:APA91b[\w-]{60,}", r"\bExponentPushToken\[[^\]\s]{10,}\]",
    # the rest
    r"\bsk-(?:[a-z]+-)*[\w-]{20,}", r"\bhf_[A-Za-z0-9]{30,}", r"\blin_api_\w{20,}", r"\bsl\.[\w-]{100,}",
    r"\bre_[A-Za-z0-9]{8,}_[A-Za-z0-9]{20,}", r"\br8_\w{36,}",
    r"\bdt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{40,}", r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{50,}", r"\bA{16,}[A-Za-z0-9%]{30,}",
    r"\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b", r"\bs(?:%3A|:)[\w-]{12,}\.[\w%+/=-]{3,}",
)  # fmt: skip

#: Passwords as they are stored: of use to whoever has time to guess.
HASH = (
    r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{16,53}|\$argon2(?:id|i|d)\$[\w$=,+/.-]{20,}|\$[156y]\$[\w./$=+,-]{20,}"
    r"|\b(?:pbkdf2(?:_sha\d+)?|scrypt|bcrypt_sha256)\$[\w$=,+/.:-]{16,}|\{S?SHA\d*\}[\w+/=]{20,}"
)

#: The path of a webhook lets anybody post.
HOOK = r"""(?i:\b(?:[\w-]+\.)*(?:hooks?|webhooks?)\.[\w.-]+/|/(?:web-?)?hooks?[\w-]*/)[^\s"'<>\\,;?#]{12,}"""

FORM = "|".join(_FORMS)
BEGUN = rf"\b(?:{'|'.join(_BEGINNINGS.split())})[_.-][\w.=+/-]{{20,}}"
