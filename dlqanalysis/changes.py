"""What changed, and which change a group of failures may come from: deploys and config changes, read and weighed."""

import csv
import io
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.errors import SchemaError, SettingsError, did_you_mean
from dlqanalysis.frame import error_of
from dlqanalysis.model import duration, moment
from dlqanalysis.patterns.onsets import FEWEST, SURE, onsets
from dlqanalysis.profile import Profile, plain_environment, read_text
from dlqanalysis.profile import profile as current_profile
from dlqanalysis.redact import redact
from dlqanalysis.text import storable

__all__ = ["changes", "suspects"]

_WAIT = 30
_PLACES = ("file", "git", "command")
#: column -> names it goes by
_NAMES = {
    "at": ("at", "time", "date", "deployed_at", "finished_at", "created_at", "timestamp", "when"),
    "service": ("service", "app", "application", "component", "name", "repo", "project"),
    "version": ("version", "release", "tag", "ref", "sha", "commit", "id"),
    "kind": ("kind", "type", "what"),
    "text": ("text", "title", "subject", "message", "description", "url"),
}
_TEXTS = ("service", "version", "kind", "text")


def changes(
    place: "str | Path | None" = None, profile: Profile | None = None, source: str = ""
) -> pd.DataFrame:
    """Deploys and config changes, the earliest first: at (UTC), service, version, kind, text.

    From a .json, .jsonl or .csv file; from a Git repository (`git:/srv/app` or `git:/srv/app@main`: its
    tags, else its merges). When left out: from the list that lies beside an export which is the `source`
    (shop_deploys.csv beside shop_export.parquet), else from what the profile names in [changes]: `file`, `git`
    or `command` (a list of texts that prints JSON or CSV). Text is redacted. Raises SettingsError for what
    cannot be read and SchemaError for rows without a time.
    """
    if place is None or place == "":
        place = _beside(source)
    if place is None:
        wanted = dict((profile or current_profile()).changes)
        if not wanted:
            return _frame([])
        for name in wanted:
            if name not in _PLACES:
                raise SettingsError(
                    f"The profile's [changes] has '{name}'. {did_you_mean(name, _PLACES)}"
                )
        if "command" in wanted:
            return _frame(_rows(_output(wanted["command"]), "the command's output"))
        place = wanted.get("file") or f"git:{wanted.get('git', '')}"
    text = str(place)
    if text.startswith("git:"):
        return _frame(_from_git(text.removeprefix("git:")))
    return _frame(_rows(read_text(Path(text), "list of changes"), text))


def _beside(source: str) -> Path | None:
    """The deploys that lie beside an export."""
    export = Path(source)
    deploys = (
        export.with_name(f"{export.stem.removesuffix('_export')}_deploys.csv")
        if export.name
        else export
    )
    return deploys if deploys.is_file() and export.is_file() else None


def suspects(
    failures: pd.DataFrame,
    changed: pd.DataFrame,
    within: str = "2h",
    by: str = "fingerprint",
) -> pd.DataFrame:
    """One row a group that began after a change, the surest first: `by`'s value, error (of one of it), onset, changed_at, service,
    version, after (time from change to onset), before_per_hour, after_per_hour, times, at_least, at_most
    (95 % of what chance leaves), also (other changes in the same stretch of time), says.

    Only changes within `within` before an onset are suspected; the rates are those from the change before
    it (at most a week) to it, and from it to the next change or the end. That a change came first is no
    proof: says tells how strong it is, and when the numbers are too small to say. Where the table is empty,
    `attrs["empty"]` says why.
    """
    found = onsets(failures, by=by)
    span = pd.Timedelta(duration(within))
    grace = pd.Timedelta("2min")  # clocks differ
    changed = changed.sort_values("at", kind="stable")
    named = failures[by].astype("str")
    hit, at_once = named.isin(found[by]), found.attrs["clumping"]
    times = dict(iter(failures.loc[hit, "failed_at"].groupby(named[hit])))
    first = failures[hit & ~named.duplicated()].assign(**{by: named}).set_index(by)
    end = failures["failed_at"].max()
    start = failures["failed_at"].min()
    rows = []
    for episode in found.to_dict("records"):
        onset = episode["onset"]
        near = changed[(changed["at"] <= onset + grace) & (changed["at"] >= onset - span)]
        if not len(near):
            continue
        last = near.iloc[-1]
        others = ", ".join(_named(row) for row in near.iloc[:-1].to_dict("records"))
        begin = min(last["at"], onset)
        earlier = changed["at"][changed["at"] < begin].max()
        since = max(start, begin - pd.Timedelta("7D"))
        since = max(since, earlier) if earlier == earlier and begin - earlier > span else since
        later = changed["at"][changed["at"] > last["at"]].min()
        till = min(end, later) if later == later else end
        mine = times[episode[by]]
        rows.append(
            {
                by: episode[by],
                "error": error_of(first.loc[episode[by]]),
                "onset": onset,
                "changed_at": last["at"],
                "service": last["service"],
                "version": last["version"],
                "after": max(onset - last["at"], pd.Timedelta(0)),
                **_weighed(
                    int(mine.between(since, begin, inclusive="left").sum()),
                    (begin - since) / pd.Timedelta("1h"),
                    int(mine.between(begin, till).sum()),
                    (till - begin) / pd.Timedelta("1h"),
                    len(found) * max(len(changed), 1),
                    at_once.get(episode[by], 1.0),
                ),
                "also": others,
            }
        )
    table = pd.DataFrame(rows, columns=[by, *_WEIGHED])
    table = table.astype({by: "str", **_WEIGHED})
    table = table.sort_values(["at_least", "onset"], ascending=[False, True], ignore_index=True)
    table.attrs["empty"] = (
        f"No change is suspected: nothing began within {within} after one of the {len(changed):,} that are known."
        if len(changed)
        else "No change was named (changes=, or [changes] of the profile), so none is suspected."
    )
    return table


_WEIGHED = {
    "error": "str",
    "onset": "datetime64[us, UTC]",
    "changed_at": "datetime64[us, UTC]",
    "service": "str",
    "version": "str",
    "after": "timedelta64[us]",
    "before_per_hour": "float64",
    "after_per_hour": "float64",
    "times": "float64",
    "at_least": "float64",
    "at_most": "float64",
    "says": "str",
    "also": "str",
}


def _weighed(
    before: int,
    hours_before: float,
    after: int,
    hours_after: float,
    looked_at: int,
    at_once: float,
) -> dict[str, Any]:
    """Two Poisson rates compared exactly (Clopper and Pearson on the share of the later ones). Of what comes
    `at_once`, one counts."""
    from scipy.stats import beta

    told: dict[str, Any] = {
        "before_per_hour": round(before / hours_before, 2) if hours_before > 0 else np.nan,
        "after_per_hour": round(after / hours_after, 2) if hours_after > 0 else np.nan,
        "times": np.nan,
        "at_least": np.nan,
        "at_most": np.nan,
    }
    if after < FEWEST or hours_before <= 0 or hours_after <= 0:
        return {**told, "says": f"too few to say: {after} failures after it"}
    odds = hours_before / hours_after
    told["times"] = round(after / before * odds, 1) if before else np.nan
    later, earlier = after / at_once, before / at_once
    low = float(beta.ppf(0.025, later, earlier + 1))
    high = float(beta.ppf(0.975, later + 1, earlier)) if before else 1.0
    told["at_least"] = round(low / (1 - low) * odds, 1)
    told["at_most"] = round(high / (1 - high) * odds, 1) if high < 1 else np.nan
    part = hours_after / (hours_after + hours_before)
    chance = float(beta.cdf(part, later, earlier + 1)) * looked_at  # the binomial's upper tail
    if chance > SURE:
        return {**told, "says": "chance may explain it"}
    if not before:
        return {**told, "says": "it never came before this change"}
    return {**told, "says": f"at least {told['at_least']:g} times as often since this change"}


def _named(row: Mapping[str, Any]) -> str:
    return " ".join(
        str(row[name]) for name in ("service", "version") if row[name] == row[name] and row[name]
    )


def _rows(text: str, place: str) -> list[dict[str, Any]]:
    """Records of JSON (a list, or one a line) or CSV."""
    start = text.lstrip()[:1]
    try:
        if start == "[":
            rows = json.loads(text)
        elif start == "{":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            table = csv.DictReader(io.StringIO(text))
            rows = list(table)
            names = {name.lower() for name in table.fieldnames or ()}
            if not rows and names and names.isdisjoint(_NAMES["at"]):  # a sentence, most likely
                raise ValueError("it has one line, which names no time")
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("not every entry is a record")
    except (ValueError, RecursionError, csv.Error) as error:
        raise SettingsError(
            f"The changes in {place} cannot be read: {error}. Write a list of JSON records or one a line, or CSV with"
            " a line of names."
        ) from None
    return rows


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    made = []
    for number, row in enumerate(rows):
        lower = {str(name).lower(): value for name, value in row.items()}
        record = {
            column: next((lower[name] for name in names if lower.get(name) not in (None, "")), None)
            for column, names in _NAMES.items()
        }
        if record["at"] is None:
            raise SchemaError(
                f"Change {number} has no time. Name it one of {', '.join(_NAMES['at'])}, in ISO 8601 with a zone."
            )
        try:
            record["at"] = moment(str(record["at"]).replace("Z", "+00:00"))
        except SettingsError as error:  # which holds what stands there
            raise SettingsError(f"Change {number}: {redact(str(error))}") from None
        record["kind"] = record["kind"] or "deploy"
        for name in _TEXTS:
            told = record[name]
            record[name] = redact(storable(str(told))) if told is not None else ""
        made.append(record)
    frame = pd.DataFrame(made, columns=list(_NAMES)).astype(dict.fromkeys(_TEXTS, "str"))
    frame["at"] = pd.to_datetime(frame["at"], utc=True).astype("datetime64[us, UTC]")
    return frame.sort_values("at", kind="stable", ignore_index=True)


def _from_git(place: str) -> list[dict[str, Any]]:
    folder, _, ref = (place, "", "") if Path(place).is_dir() else place.partition("@")
    if not folder or not Path(folder).is_dir():
        raise SettingsError(f"git:{place} names {folder}, which is no folder. Check the path.")
    tags = _run(
        ["git", "-C", folder, "for-each-ref", "refs/tags",
         "--format=%(creatordate:iso-strict)%09%(refname:short)%09%(contents:subject)"]
    )  # fmt: skip
    lines = tags.splitlines()
    if ref or not lines:
        log = ["git", "-C", folder, "log", "--first-parent", "--max-count=2000"]
        log += ["--format=%cI%x09%h%x09%s", "--end-of-options", ref or "HEAD", "--"]
        lines = _run(log).splitlines()
    parts = [[*line.split("\t", 2), "", ""][:3] for line in lines if line.strip()]
    name = Path(folder).resolve().name
    return [{"at": at, "service": name, "version": v, "text": text} for at, v, text in parts if at]


def _output(command: Any) -> str:
    if not command or not isinstance(command, list) or not all(map(_is_word, command)):
        raise SettingsError(
            'The profile\'s [changes] needs its command as a list of texts: command = ["deployctl", "list"].'
        )
    return _run(command)


def _is_word(part: Any) -> bool:
    return isinstance(part, str) and "\0" not in part


def _run(argv: Sequence[str]) -> str:
    """A command's output; it runs as it stands, without a shell."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_WAIT, check=True,
            env=plain_environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SettingsError(
            f"{argv[0]} did not end within {_WAIT} seconds. Try it by hand."
        ) from None
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", b"") or b"").decode("utf-8", "replace").strip()
        why = redact(said.partition("\n")[0][:200]) or type(error).__name__
        raise SettingsError(f"The changes cannot be listed: {argv[0]} failed ({why}).") from None
    return done.stdout.decode("utf-8", "replace")
