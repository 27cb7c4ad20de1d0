"""The text for cleaning up copies: it shows first, deletes nothing, and no id can leave its quotes."""

import pandas as pd
import psycopg
import pytest

import dlqanalysis as dlq
from dlqanalysis.errors import SettingsError


def test_the_select_shows_exactly_the_later_copies(shop_url):
    with psycopg.connect(shop_url, autocommit=True) as db:
        db.execute(
            "insert into communications (property_id, template_id, channel) values"
            " (1, 7, 'mail'), (1, 7, 'mail'), (1, 7, 'mail'), (2, 7, 'mail')"
        )
        copies = dlq.queries(dlq.connect(shop_url)).duplicate_communications()
        text = dlq.cleanup_sql(copies, "communications")
        shown = db.execute(text.encode()).fetchall()  # as it stands: the DELETE is a comment
        assert [row[0] for row in shown] == [2, 3]
        assert db.execute("select count(*) from communications").fetchone() == (4,)
        wanted = (
            text.replace("-- BEGIN;", "BEGIN;")
            .replace("-- DELETE", "DELETE")
            .replace("-- COMMIT", "COMMIT")
        )
        db.execute(wanted.encode())
        assert db.execute("select count(*) from communications").fetchone() == (2,)


def test_texts_stay_in_their_quotes():
    assert "'o''x'" in dlq.cleanup_sql(["o'x", 5, "7"], "shop.sent", "key")
    assert "IN ('o''x', 5, 7)" in dlq.cleanup_sql(["o'x", 5, "7", 5], "shop.sent", "key")
    assert dlq.cleanup_sql([], "sent").startswith("-- No copies")


@pytest.mark.parametrize(
    ("rows", "table", "words"),
    [
        ([1], "sent; drop table x", "no plain name"),
        (["a\nb"], "sent", "control characters"),
        (["a\\'"], "sent", "backslashes"),
        ([None], "sent", "no id"),
        (pd.DataFrame({"id": [1]}), "sent", "later_ids"),
        (range(6000), "sent", "too many"),
    ],
)
def test_what_is_refused(rows, table, words):
    with pytest.raises(SettingsError, match=words):
        dlq.cleanup_sql(rows, table)
