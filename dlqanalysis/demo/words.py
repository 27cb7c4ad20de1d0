"""Words that vary from row to row in the demo incident, made for many rows at once, the same for the same seed."""

import re
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TENANTS = (
    *("osprey", "merlin", "goshawk", "hobby", "harrier", "kite", "buzzard", "falcon"),
    *("sparrowhawk", "eagle", "owl", "heron", "egret", "crane", "stork", "ibis"),
)
IMPORT_TENANT = "kestrel"  # whose import was rolled back
PROPERTIES = 4_000  #: ids 1 to this exist in the table properties
GONE = (9_120_000, 9_121_100)  #: ids of the import that was rolled back: they do not

Words = pa.StringArray
_SLOT = re.compile(r"\$([a-z_]+[0-9]*)")
FIELD = re.compile(r"\{(\w+)\}")  #: how a business key's template names its fields


def integers(low: int, high: int) -> Callable[[np.random.Generator, int], Words]:
    """Whole numbers from low up to, not including, high."""
    return lambda rng, rows: pa.array(rng.integers(low, high, rows)).cast(pa.string())


def one_of(*names: str) -> Callable[[np.random.Generator, int], Words]:
    """Earlier names more often than later ones."""
    weights = 1 / (np.arange(len(names)) + 2)
    return lambda rng, rows: pa.DictionaryArray.from_arrays(
        pa.array(rng.choice(len(names), rows, p=weights / weights.sum()).astype("int32")),
        pa.array(names),
    ).cast(pa.string())


def hexadecimal(digits: int) -> Callable[[np.random.Generator, int], Words]:
    """So many hexadecimal digits."""

    def make(rng: np.random.Generator, rows: int) -> Words:
        text = rng.bytes(rows * digits // 2).hex().encode()
        return pa.array(np.frombuffer(text, f"S{digits}")).cast(pa.string())

    return make


def joined(*parts: str | Callable[[np.random.Generator, int], Words]):  # type: ignore[no-untyped-def]
    """Texts and made words, one after the other."""

    def make(rng: np.random.Generator, rows: int) -> Words:
        made = [part if isinstance(part, str) else part(rng, rows) for part in parts]
        return pc.binary_join_element_wise(*made, "")

    return make


def uuids(rng: np.random.Generator, rows: int) -> Words:
    """Version 4 UUIDs as text."""
    text = hexadecimal(32)(rng, rows)
    cuts = ((0, 8), (8, 12), (13, 16), (17, 20), (20, 32))
    a, b, c, d, e = (pc.utf8_slice_codeunits(text, start, stop) for start, stop in cuts)
    return pc.binary_join_element_wise(a, b, pc.binary_join_element_wise("4", c, ""),
                                       pc.binary_join_element_wise("a", d, ""), e, "-")  # fmt: skip


MAKERS: Mapping[str, Callable[[np.random.Generator, int], Words]] = {
    "property_id": integers(1, PROPERTIES + 1),
    "gone_id": integers(*GONE),
    "template_id": integers(1, 9),
    "tenant": one_of(*TENANTS),
    "user_id": integers(1, 20_000),
    "email": joined("user", integers(1, 20_000), "@", one_of("inbox.example", "corp.example", "mail.example")),
    "template": one_of("welcome", "offer", "reminder", "contract", "receipt"),
    "provider": one_of("parcels", "schools", "zoning"),
    "invoice_id": integers(100_000, 900_000),
    "amount": integers(500, 250_000),
    "customer": joined("cus_", hexadecimal(14)),
    "endpoint_id": integers(1, 140),
    "host": joined(one_of("hooks", "api", "in", "events"), ".", one_of(*TENANTS), "-crm.example"),
    "report": one_of("occupancy", "ledger", "leads", "audit"),
    "trace": hexadecimal(32),
    "hex8": hexadecimal(8),
    "hex16": hexadecimal(16),
    "pid": integers(300, 32_000),
    "pid2": integers(300, 32_000),
    "xid": integers(10_000_000, 99_000_000),
    "octet": integers(2, 250),
    "street_no": integers(1, 400),
}  # fmt: skip


class Slots:
    """The words of some rows, each made when first asked for, then kept."""

    def __init__(self, rng: np.random.Generator, rows: int, given: Mapping[str, Words]) -> None:
        self._rng, self._rows = rng, rows
        self.made = dict(given)

    def __getitem__(self, name: str) -> Words:
        if name not in self.made:
            self.made[name] = MAKERS[name](self._rng, self._rows)
        return self.made[name]

    def fill(self, template: str, slot: re.Pattern[str] = _SLOT) -> Words:
        """The template with its $words filled in, for each row."""
        pieces = slot.split(template)  # text, name, text, name, ..., text
        parts = [self[piece] if odd % 2 else piece for odd, piece in enumerate(pieces)]
        if len(parts) == 1:
            return pa.repeat(pa.scalar(template), self._rows)
        return pc.binary_join_element_wise(*parts, "")
