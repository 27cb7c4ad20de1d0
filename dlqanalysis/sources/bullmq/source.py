"""Failed jobs of BullMQ, read in short steps: no command here takes Redis more than some milliseconds."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dlqanalysis.model import Read, Selection
from dlqanalysis.sources._redis import answers
from dlqanalysis.sources._redis_link import Link
from dlqanalysis.sources.bullmq import jobs, raw
from dlqanalysis.sources.bullmq.address import Address
from dlqanalysis.sources.bullmq.keys import Failure, Keys, failure, shown
from dlqanalysis.sources.bullmq.pages import Page, Pages, find_queues, no_queue, unheard_of
from dlqanalysis.text import many

if TYPE_CHECKING:
    import redis

_OURS = ("keeps", "gone", "odd")  # columns that only the notes need
_AT_ONCE = 200  # hashes fetched whole in one round
_TRACES = pa.schema([("failure_id", pa.string()), ("traceback", pa.string())])
_TOGETHER, _BYTES = 20_000, 256 * 2**20  # jobs, and bytes of their data, mapped in one go


class BullSource:
    """The failed jobs of one prefix in one Redis database."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.link = Link(address)

    def __repr__(self) -> str:
        return f"BullSource({self.name})"

    @property
    def name(self) -> str:
        """`bullmq:host:6379/0`."""
        return self.address.name

    def close(self) -> None:
        """Give connections back."""
        self.link.close()

    def queues(self) -> list[str]:
        """The queues that are read: those of the URL, else all that have failed jobs."""
        return [shown(queue) for queue in self._queues([])]

    def read(self, selection: Selection, columns: Sequence[str]) -> Read:
        """The failures asked for: every column of the frame that BullMQ has; traceback and raw when named.

        Queue and time are asked of Redis, the rest is filtered here. Without the traceback comes
        `traceback_bytes`, the length of its text.
        """
        notes: list[str] = []
        with self.link.clear():
            absent = self._absent()
            notes += absent
            tables = list(self._tables(selection, columns, notes))
        table = pa.concat_tables([_empty(columns), *tables]).unify_dictionaries()
        table = _filtered(table, selection)
        truncated = bool(selection.limit) and table.num_rows > selection.limit
        if truncated:
            order = pc.sort_indices(
                table, [("failed_at", "descending"), ("failure_id", "descending")]
            )
            table = table.take(order.slice(0, selection.limit))
            notes.append(
                f"Cut at {many(selection.limit, 'rows')}, the newest first. Raise limit=, or narrow the selection."
            )
        _note(table, notes)
        one = pa.DictionaryArray.from_arrays(
            pa.nulls(table.num_rows, pa.int32()).fill_null(0), pa.array([self.name])
        )
        whole = table.drop_columns(_OURS).append_column("source", one)
        return Read(whole, truncated, tuple(notes), tuple(absent))

    def details(self, failure_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """`failure_id` and the columns asked for, of the failures that are still there."""
        wanted = {name for name in columns if name != "failure_id"}
        asked: dict[bytes, list[Failure]] = {}
        for one in map(failure, failure_ids):
            asked.setdefault(one.queue, []).append(one)
        with self.link.clear():
            if wanted == {"traceback"}:
                parts = [self._traces(queue, ones) for queue, ones in asked.items()]
                return pa.concat_tables([_TRACES.empty_table(), *parts])
            tables = [
                self._details(queue, ones[start : start + _AT_ONCE], wanted)
                for queue, ones in asked.items()
                for start in range(0, len(ones), _AT_ONCE)
            ]
        table = pa.concat_tables([_empty(columns), *tables]).unify_dictionaries()
        names = pa.array([self.name] * table.num_rows, pa.string())
        table = table.append_column("source", names.dictionary_encode())
        return table.select(["failure_id", *(n for n in table.column_names if n in wanted)])

    def _details(self, queue: bytes, ones: Sequence[Failure], wanted: set[str]) -> pa.Table:
        """Rows of one queue that are in `failed` with this very score."""
        keys = Keys(self.address.prefix.encode(), queue)
        scores = _scores(self.link.client, keys, ones)
        there = [one for one, score in zip(ones, scores, strict=True) if score == float(one.score)]
        whole = fetch(self.link.client, [keys(one.job) for one in there])
        fields = {name: [hash_.get(name.encode()) for hash_, _ in whole] for name in jobs.FIELDS}
        stacks = jobs.Stacks.of(
            [hash_.get(b"stacktrace") for hash_, _ in whole], "traceback" in wanted
        )
        found = jobs.columns(
            queue, [one.job for one in there], [one.score for one in there], fields, stacks
        )
        odd = pa.array([kind not in ("hash", "none") for _, kind in whole], pa.bool_())
        found = _odd(found.append_column("odd", odd))
        if "raw" in wanted:
            found = found.append_column("raw", pa.array(self._raw(keys, there, whole), pa.binary()))
        return found

    def _traces(self, queue: bytes, ones: Sequence[Failure]) -> pa.Table:
        """Only the tracebacks: a load asks for those of some thousand representatives, whose rows it has."""
        import redis

        keys = Keys(self.address.prefix.encode(), queue)
        ids, stacks = [], []
        for start in range(0, len(ones), _AT_ONCE):
            part = ones[start : start + _AT_ONCE]
            scores = _scores(self.link.client, keys, part)
            there = [one for one, n in zip(part, scores, strict=True) if n == float(one.score)]
            asked = [("HMGET", keys(one.job), "stacktrace") for one in there]
            told = answers(self.link.client, asked)
            for answer in told:
                if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
                    raise answer
            ids += [one.text for one in there]
            stacks += [None if isinstance(one, redis.ResponseError) else one[0] for one in told]
        return pa.table([ids, jobs.Stacks.of(stacks, True).traces()], schema=_TRACES)

    def _raw(
        self, keys: Keys, ones: Sequence[Failure], whole: Sequence[tuple[dict[bytes, bytes], str]]
    ) -> list[bytes | None]:
        return [
            raw.encode(hash_) if kind == "hash" else None if kind == "none"
            else foreign(self.link.client, keys(one.job), kind)
            for one, (hash_, kind) in zip(ones, whole, strict=True)
        ]  # fmt: skip

    def _tables(
        self, selection: Selection, columns: Sequence[str], notes: list[str]
    ) -> Iterator[pa.Table]:
        if selection.status and "failed" not in selection.status:
            return
        low, high = _score_of(selection.since), _score_of(selection.until)
        # only where nothing is filtered here is the newest of Redis the newest of the selection
        last = None if selection.task or selection.exception else selection.limit
        for queue in self._queues(notes):
            if selection.queue and shown(queue) not in selection.queue:
                continue
            keys = Keys(self.address.prefix.encode(), queue)
            pages = Pages(
                self.link.client, keys, low, high, last and last + 1, "traceback" in columns
            )
            for page in _gathered(pages):
                yield self._framed(keys, page, columns)
            notes += pages.notes

    def _framed(self, keys: Keys, page: Page, columns: Sequence[str]) -> pa.Table:
        ids, scores, fields, stacks, odd = page
        table = jobs.columns(keys.queue, ids, scores, fields, stacks)
        table = _odd(table.append_column("odd", pa.array(odd, pa.bool_())))
        if "raw" in columns:
            ones = [Failure(keys.queue, *pair) for pair in zip(ids, scores, strict=True)]
            whole = fetch(self.link.client, [keys(one.job) for one in ones])
            table = table.append_column("raw", pa.array(self._raw(keys, ones, whole), pa.binary()))
        return table

    def _absent(self) -> list[str]:
        named = [queue.encode() for queue in self.address.queues]
        return unheard_of(self.link.client, self.address.prefix.encode(), named)

    def _queues(self, notes: list[str]) -> list[bytes]:
        if self.address.queues:
            return [queue.encode() for queue in self.address.queues]
        prefix = self.address.prefix.encode()
        found, complete = find_queues(self.link.client, prefix)
        if not found and complete and not find_queues(self.link.client, prefix, b"meta", "hash")[0]:
            notes.append(no_queue(prefix))
        if not complete:
            notes.append(
                "The search for queues was stopped: this Redis has too many keys. Name them: ?queues=a,b"
                " in the URL."
            )
        return found


def _gathered(pages: Pages) -> Iterator[Page]:
    """Small pages put together: thinking about twenty thousand jobs at once costs as much as about some."""
    whole: Page | None = None
    size = 0
    for page in pages:
        if whole is None:
            whole = page
        else:
            for have, more in ((whole[0], page[0]), (whole[1], page[1]), (whole[4], page[4])):
                have.extend(more)
            for name, values in whole[2].items():
                values.extend(page[2][name])
            whole[3].extend(page[3])
        size += sum(map(len, filter(None, page[2]["data"])))
        if len(whole[0]) >= _TOGETHER or size > _BYTES:
            yield whole
            whole, size = None, 0
    if whole is not None:
        yield whole


def fetch(client: "redis.Redis", keys: Sequence[bytes]) -> list[tuple[dict[bytes, bytes], str]]:
    """Each key's hash and its type (`hash`, `none`, ...); an empty hash where it is none."""
    import redis

    found: list[tuple[dict[bytes, bytes], str]] = []
    for start in range(0, len(keys), _AT_ONCE):
        part = keys[start : start + _AT_ONCE]
        hashes = answers(client, [("HGETALL", key) for key in part])
        for one in hashes:
            if isinstance(one, Exception) and not isinstance(one, redis.ResponseError):
                raise one
        strange = [n for n, one in enumerate(hashes) if not one or isinstance(one, Exception)]
        kinds = ["hash"] * len(part)
        for n, kind in zip(
            strange, answers(client, [("TYPE", part[n]) for n in strange]), strict=True
        ):
            if isinstance(kind, Exception):
                raise kind
            kinds[n] = kind.decode()
        found += [
            (
                dict(zip(one[::2], one[1::2], strict=True))
                if kind == "hash" and isinstance(one, list)
                else {},
                kind,
            )
            for one, kind in zip(hashes, kinds, strict=True)
        ]
    return found


def foreign(client: "redis.Redis", key: bytes, kind: str) -> bytes | None:
    """The raw bytes of a key that stands where a job's hash should be; None when it is large."""
    import redis

    try:
        if (client.execute_command("MEMORY", "USAGE", key) or 0) > 2**20:
            return None
        dump = client.execute_command("DUMP", key)
    except redis.ResponseError:  # a reader need not have DUMP
        return None
    return None if dump is None else raw.dumped(kind.encode(), dump)


def _scores(client: "redis.Redis", keys: Keys, ones: Sequence[Failure]) -> list[float | None]:
    """The score that each has in `failed` now."""
    failed, found = keys(b"failed"), []
    for answer in answers(client, [("ZSCORE", failed, one.job) for one in ones]):
        if isinstance(answer, Exception):
            raise answer
        found.append(None if answer is None else float(answer))
    return found


def _score_of(when: datetime | None) -> bytes | None:
    """The score of a moment: milliseconds; the next whole one, as scores are whole."""
    if when is None:
        return None
    microseconds = int((when - datetime.fromtimestamp(0, when.tzinfo)).total_seconds() * 1e6 + 0.5)
    return b"%d" % -(-microseconds // 1000)


def _odd(table: pa.Table) -> pa.Table:
    """A key of another type has no payload at all; that is worse than missing."""
    state = table["payload_state"].cast(pa.string())
    state = pc.if_else(table["odd"], "unreadable", state)
    position = table.column_names.index("payload_state")
    return table.set_column(position, "payload_state", state.dictionary_encode())


def _empty(columns: Sequence[str]) -> pa.Table:
    stacks = jobs.Stacks.of([], "traceback" in columns)
    table = jobs.columns(b"", [], [], {name: [] for name in jobs.FIELDS}, stacks)
    table = _odd(table.append_column("odd", pa.array([], pa.bool_())))
    return table.append_column("raw", pa.array([], pa.binary())) if "raw" in columns else table


def _filtered(table: pa.Table, selection: Selection) -> pa.Table:
    """The rows of these tasks and exceptions: whole names, or their last part."""
    for name, words in (("task_name", selection.task), ("exception_type", selection.exception)):
        if not words:
            continue
        text = table[name].cast(pa.string())
        wanted = pa.array(words, pa.string())
        last = pc.replace_substring_regex(text, r"(?s)^.*\.", "")
        hit = pc.or_(pc.is_in(text, wanted), pc.is_in(last, wanted))
        table = table.filter(hit)
    for when, compare in ((selection.since, pc.greater_equal), (selection.until, pc.less)):
        if when is not None:  # a score without a time may have one as finishedOn
            moment = pa.scalar(when, pa.timestamp("us", tz="UTC"))
            table = table.filter(compare(table["failed_at"].cast(moment.type), moment))
    return table


def _note(table: pa.Table, notes: list[str]) -> None:
    """What one should know of these failures."""
    odd, gone = table["odd"], table["gone"]
    lost = pc.sum(pc.and_not(gone, odd)).as_py() or 0
    if lost:
        notes.append(
            f"{lost:,} failed ids have no job any more: somebody removed the job and left its id in"
            " the failed set."
        )
    if strange := pc.sum(odd).as_py() or 0:
        notes.append(f"{strange:,} failed ids name a key that is no job.")
    kept = table.filter(pc.is_valid(table["keeps"]))
    if kept.num_rows:
        count = kept["keeps"][0].as_py()
        notes.append(
            f"{kept.num_rows:,} of these jobs say removeOnFail: only the newest {count} failures are"
            " kept, so that older ones are gone already."
        )
    aged = table.num_rows - table["expires_at"].null_count
    if aged:
        notes.append(
            f"{aged:,} of these jobs say removeOnFail with an age: BullMQ deletes them at expires_at, and"
            " older ones are gone already."
        )
