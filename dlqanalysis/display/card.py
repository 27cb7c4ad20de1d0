"""One failure as a card: what is shown of it is redacted wherever it is shown, plain Python too."""

import pandas as pd

from dlqanalysis.redact import redact_frame

CARD_WIDTH = (
    6_000  #: letters of a cell where a frame is a card: one or two columns, such as one failure
)
READ = 4 * CARD_WIDTH  #: letters of a text that are redacted to show its beginning


class Card(pd.Series):
    """A series of one failure's fields whose values are the source's own and whose repr is redacted.

    What is taken out of it is plain: `card["kwargs"]`, `card.to_dict()`.
    """

    def __repr__(self) -> str:
        values = [value[:READ] if isinstance(value, str | bytes) else value for value in self]
        row = pd.DataFrame([values], columns=[str(name) for name in self.index], dtype=object)
        shown = redact_frame(row)
        fields = zip(shown.columns, shown.iloc[0], strict=True)
        return "\n".join(f"{name}: {_told(str(value))}" for name, value in fields)


def _told(text: str) -> str:
    """The beginning of a text, its lines set in, without what a terminal would obey."""
    cut = text if len(text) <= CARD_WIDTH else f"{text[: CARD_WIDTH - 1]}…"
    plain = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in cut)
    return plain.replace("\n", "\n    ")
