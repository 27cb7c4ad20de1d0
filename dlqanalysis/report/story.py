"""The headline of a report: what fails, since when, after which change, whom it hits, and whether it gets worse.

One to five sentences out of the frames, the same for the same failures; a quiet time is said to be quiet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from dlqanalysis.changes import suspects
from dlqanalysis.duplicates import duplicates
from dlqanalysis.errors import SettingsError, need
from dlqanalysis.model import duration, moment
from dlqanalysis.patterns.contrast import lift
from dlqanalysis.patterns.lives import affected
from dlqanalysis.patterns.onsets import FEWEST, onsets
from dlqanalysis.profile import Profile
from dlqanalysis.profile import profile as current_profile
from dlqanalysis.redact import redact
from dlqanalysis.report.dossier import episodes as ended
from dlqanalysis.text import many

MOST = 5  #: sentences
_NEAR = pd.Timedelta("45min")  #: episodes of the same tasks or rule that begin so close are one
_ROUNDED = pd.Timedelta("1ms")  #: what the search for onsets may round off
_FEWEST_COPIES = 5
_GROWN = 4.0  #: standard deviations by which the times of a growing group lean to the end
_FEWEST_GROWN = 20
_SHORTEST = pd.Timedelta("2D")
_HOUR = pd.Timedelta("1h")
_GUILTY = 0.9  #: share of a story's failures that hold one value of a field


@dataclass
class _Episode:
    """Groups that began together: one thing that went wrong."""

    onset: pd.Timestamp
    until: Any  #: NaT while it goes on
    groups: list[str]
    tasks: set[str]
    rule: str
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def weight(self) -> int:
        return len(self.rows) * (2 if pd.isna(self.until) else 1)


def story(
    failures: pd.DataFrame,
    changed: pd.DataFrame | None = None,
    before: Mapping[str, Any] | None = None,
    profile: Profile | None = None,
    since: str | datetime | None = None,
    now: str | datetime | None = None,
) -> list[str]:
    """One to five sentences, the weightiest first: what fails, since when, what changed before it, what its
    failures have in common, whether it goes on or grows, which failures are copies; or that it is quiet.

    `changed` is what dlq.changes gives, `before` the numbers of an earlier report (report.read). With `since`
    (24h, a date, a time) the story is of the time from then on, and what was before tells what is usual: a day
    alone cannot. Whether it goes on is asked as the dossier asks, but as of `now`: by default the present where
    `since` counts back from it (24h), else the newest failure, since an export tells of nothing after it.
    Needs `failures` classified and fingerprinted. Texts are redacted.
    """
    need(failures, "fingerprint", "failure_class", "rule")
    begin = moment(since)
    recent = failures if begin is None else failures[failures["failed_at"] >= pd.Timestamp(begin)]
    if recent.empty:
        return [redact(_nothing(failures)) + _than_before(recent, before)]
    profile = profile or current_profile()
    found = onsets(failures)
    if now or _counts_back(since):
        found = ended(failures, now=now, began=found)
    growing = _growing(failures, found)
    grown = {name for group in growing for name in group}
    episodes = _episodes(failures, found, grown)
    episodes = [one for one in episodes if one.rows.index.isin(recent.index).any()]
    episodes.sort(key=lambda one: -one.weight)
    known = grown.union(*(one.groups for one in episodes))
    growing = [group for group in growing if recent["fingerprint"].isin(group).any()]
    tail = [_new(recent, known, before), _copies(recent, profile), _growth(failures, growing)]
    tail = [text for text in tail if text]
    room = MOST - len(tail)
    blamed = _blamed(failures, changed)
    told = [_told(one, failures, blamed, profile) for one in episodes[:room]]
    if told and len(episodes) > room:
        rest = episodes[room:]
        told[-1] = f"{told[-1][:-1]}; besides, {_brief(rest[0])}" + (
            f", and {len(rest) - 1} more." if len(rest) > 1 else "."
        )
    if not told and not growing and not _new(recent, known, before):
        told = [_sudden(failures, before) or _quiet(recent, before)]
    elif before is not None and told:
        told[0] += _than_before(recent, before)
    return [redact(sentence) for sentence in [*told, *tail]]


def _counts_back(since: str | datetime | None) -> bool:
    """Whether it is a duration, whose end is the present."""
    try:
        return isinstance(since, str) and duration(since) > timedelta()
    except SettingsError:  # a date or a time
        return False


def _nothing(failures: pd.DataFrame) -> str:
    """That nothing failed, and when; or that a name that was asked for matches nothing, which is no all-clear."""
    if unmatched := failures.attrs.get("unmatched"):
        return " ".join(["Nothing matches.", *unmatched])
    when = failures.attrs.get("selection", "").partition(";")[0]
    said = failures.attrs.get("settled") or "nothing failed in this time"
    return f"Quiet: {said}{f' ({when})' if when and failures.empty else ''}."


def _new(recent: pd.DataFrame, known: set[str], before: Mapping[str, Any] | None) -> str:
    """Groups that are in no earlier report and belong to no episode: a short time shows no onset."""
    if before is None or "fingerprints" not in before:
        return ""
    counts = recent["fingerprint"].value_counts()
    fresh = [str(name) for name, count in counts.items()
             if count >= FEWEST and name not in before["fingerprints"] and name not in known]  # fmt: skip
    if not fresh:
        return ""
    rows = recent[recent["fingerprint"] == fresh[0]]
    more = f", and {len(fresh) - 1} more" if len(fresh) > 1 else ""
    return (
        f"New since the last report: {rows['task_name'].mode().iloc[0]}, {many(len(rows), 'failures')} since"
        f" {rows['failed_at'].min():%d %b %H:%M} UTC, {_what(rows)}{more}."
    )


def _episodes(failures: pd.DataFrame, began: pd.DataFrame, grown: set[str]) -> list[_Episode]:
    """Onsets, joined where they began together in the same tasks or by the same rule."""
    found: list[_Episode] = []
    rows = {name: part for name, part in failures.groupby("fingerprint", observed=True)}
    for row in began.to_dict("records"):
        name = row["fingerprint"]
        if name in grown:
            continue
        mine = rows[name]
        end = row["until"] if not pd.isna(row["until"]) else mine["failed_at"].max()
        mine = mine[mine["failed_at"].between(row["onset"] - _ROUNDED, end + _ROUNDED)]
        tasks = set(mine["task_name"].astype("str"))
        rule = str(mine["rule"].iloc[0] or "")
        for one in found:
            alike = tasks & one.tasks or (rule and rule == one.rule)
            both = pd.isna(one.until) == pd.isna(row["until"])
            if alike and both and row["onset"] - one.onset <= _NEAR:
                one.groups.append(name)
                one.tasks |= tasks
                one.until = max(one.until, row["until"]) if not pd.isna(one.until) else one.until
                one.rows = pd.concat([one.rows, mine])
                break
        else:
            found.append(_Episode(row["onset"], row["until"], [name], tasks, rule, mine))
    return found


def _told(
    one: _Episode, failures: pd.DataFrame, blamed: Mapping[str, dict[str, Any]], profile: Profile
) -> str:
    """An episode in a sentence."""
    goes_on = pd.isna(one.until)
    verb = ("fails" if len(one.tasks) == 1 else "fail") if goes_on else "failed"
    text = f"{_tasks(one)} {verb} {_when(one)}"
    text += _after(one, blamed)
    text += f"{', and it goes on' if goes_on else ''}: {many(len(one.rows), 'failures')}, {_what(one.rows)}"
    if shared := _shared(one, failures):
        text += f", {shared}"
    if len(hit := affected(one.rows, profile)):
        counts = hit["field"].value_counts()
        several = [f"{count:,} values of {name}" for name, count in counts.items() if count > 1]
        text += f", {' and '.join(several)} hit" if several else ""
    if goes_on:
        text += f"; {_pace(one, failures['failed_at'].max())} since then"
    return text.rstrip(".") + "."


def _brief(one: _Episode) -> str:
    goes_on = ", going on" if pd.isna(one.until) else ""
    return f"{_tasks(one)} {_when(one)} ({many(len(one.rows), 'failures')}{goes_on}, {_what(one.rows)})"


def _tasks(one: _Episode) -> str:
    names = one.rows["task_name"].astype("str").value_counts().index.tolist()
    if len(names) <= 2:
        return " and ".join(names)
    queues = one.rows["queue"].astype("str").nunique()
    return f"{len(names)} kinds of task in {queues} queue{'s' if queues > 1 else ''}"


def _when(one: _Episode) -> str:
    if pd.isna(one.until):
        return f"since {one.onset:%d %b %H:%M} UTC"
    same = one.onset.date() == one.until.date()
    return f"from {one.onset:%d %b %H:%M} to {one.until:{'%H:%M' if same else '%d %b %H:%M'}} UTC"


def _what(rows: pd.DataFrame) -> str:
    """The class, and the most frequent exception and message."""
    top = rows["fingerprint"].value_counts().index[0]
    first = rows[rows["fingerprint"] == top].iloc[0]
    kind = str(first["failure_class"])
    parts = [
        str(first.get(one, "")) for one in ("exception_type", "template")
    ]  # a list has no types
    if parts[1].startswith(f"{parts[0]}:"):  # written before the message as well
        parts[0] = ""
    said = " ".join(" ".join(one for one in parts if one != "nan").split()) or "no message"
    said = said if len(said) <= 90 else said[:90].rpartition(" ")[0] + " ..."
    more = rows["fingerprint"].nunique() - 1
    return f"{kind}: {said}" + (f" and {more} more kind{'s' if more > 1 else ''}" if more else "")


def _blamed(failures: pd.DataFrame, changed: pd.DataFrame | None) -> dict[str, dict[str, Any]]:
    """group -> the change that it began after, where more than chance speaks for it."""
    if changed is None or not len(changed):
        return {}
    rows = suspects(failures, changed).to_dict("records")
    sure = [row for row in rows if not row["says"].startswith(("too few", "chance"))]
    return {row["fingerprint"]: row for row in reversed(sure)}


def _after(one: _Episode, blamed: Mapping[str, dict[str, Any]]) -> str:
    rows = [blamed[name] for name in one.groups if name in blamed]
    if not rows:
        return ""
    row = min(rows, key=lambda row: row["onset"])
    name = f"{row['service']} {row['version']}".strip() or "a change"
    return f", {_span(row['after'])} after {name}"


def _shared(one: _Episode, failures: pd.DataFrame) -> str:
    """Payload values that nearly all failures of an episode hold and few others do."""
    mask = failures.index.isin(one.rows.index)
    if mask.all():
        return ""
    found = lift(failures, pd.Series(mask, index=failures.index))
    payload = found["field"].str.startswith(("kwargs.", "args["))
    guilty = found[payload & (found["inside_share"] >= _GUILTY) & (found["value"] != "(absent)")]
    guilty = guilty[guilty["outside_share"] < 0.5].drop_duplicates("field")
    guilty = guilty.sort_values(["lift", "field"], ascending=[False, True]).head(2)
    if guilty.empty:
        return ""
    said = [
        f"{row.field.removeprefix('kwargs.')} {str(row.value)[:60]}" for row in guilty.itertuples()
    ]
    every = "all" if (guilty["inside_share"] == 1).all() else "nearly all"
    return f"{every} with {' and '.join(said)}"


def _pace(one: _Episode, end: pd.Timestamp) -> str:
    """Whether an episode that goes on gets worse: its last fifth against its own time before, beyond chance. The trend
    of dlq.groups is another question: the last day against what was usual, from before the episode, too."""
    span = end - one.onset
    times = one.rows["failed_at"]
    late = int((times > end - span / 5).sum())
    share, noise = late / len(times), 3 * np.sqrt(0.16 / len(times))
    if share > 0.2 + noise and share > 0.3:
        return "it gets worse"
    return "it gets less" if share < 0.2 - noise and share < 0.1 else "no better and no worse"


def _growing(failures: pd.DataFrame, found: pd.DataFrame) -> list[list[str]]:
    """Groups that come more and more rather than from a moment on, by task.

    Laplace's test says that they lean to the end; growth by a power of time must then explain their times
    better than a step at their onset does (by Bayes' information criterion).
    """
    times = failures["failed_at"]
    start, span = times.min(), times.max() - times.min()
    if not span >= _SHORTEST:  # also where no time is known
        return []
    steps, at_once = found.groupby("fingerprint")["onset"].min(), found.attrs["clumping"]
    told: dict[str, list[str]] = {}
    for name, mine in failures[times.notna()].groupby("fingerprint", observed=True):
        if (count := len(mine)) < _FEWEST_GROWN:
            continue
        place = ((mine["failed_at"] - start) / span).to_numpy().clip(1e-9, 1)
        if (place.mean() - 0.5) * np.sqrt(12 * count / at_once.get(name, 1.0)) < _GROWN:
            continue
        power = -count / np.log(place).sum()
        growth = count * np.log(power) + (power - 1) * np.log(place).sum()
        began = [place.min(), *((steps[[name]] - start) / span if name in steps.index else [])]
        if max(_step(place, at) for at in began) - growth > np.log(count) / 2:
            continue
        told.setdefault(str(mine["task_name"].mode().iloc[0]), []).append(str(name))
    return list(told.values())


def _step(place: np.ndarray, at: float) -> float:
    """How likely (as a logarithm) the times are if they come at one rate before `at` and another after it."""
    after = int((place >= at).sum())
    before, likely = len(place) - after, 0.0
    for count, wide in ((before, at), (after, 1 - at)):
        if count and wide > 0:
            likely += count * np.log(count / len(place) / wide)
    return float(likely)


def _growth(failures: pd.DataFrame, growing: list[list[str]]) -> str:
    if not growing:
        return ""
    rows = failures[failures["fingerprint"].isin(max(growing, key=len))]
    start, end = failures["failed_at"].min(), failures["failed_at"].max()
    third = (end - start) / 3
    first, last = (
        (rows["failed_at"] <= start + third).sum(),
        (rows["failed_at"] > end - third).sum(),
    )
    more = f"; so do {len(growing) - 1} more" if len(growing) > 1 else ""
    what = _what(rows)
    # what needs a fix fails as often as it is asked for; only what may pass points to something that fills up
    guess = "" if what.startswith(("permanent", "data")) else ": something fills up or wears out"
    return (
        f"{rows['task_name'].mode().iloc[0]} fails more and more, from {first:,} in the first third of the time"
        f" to {last:,} in the last, {what}{guess}{more}."
    )


def _copies(failures: pd.DataFrame, profile: Profile) -> str:
    found = duplicates(failures, dict(profile.keys) or None)
    found = found[found["kind"] != "cannot_tell"]
    spare = {str(kind): int((~rows["first"].astype("bool")).sum())
             for kind, rows in found.groupby("kind", observed=True)}  # fmt: skip
    if sum(spare.values()) < _FEWEST_COPIES:
        return ""
    names = {"entry": "of the same entry or payload", "business_key": "of the same business key"}
    said = [f"{count:,} {names.get(kind, kind)}" for kind, count in spare.items() if count]
    copies = found.loc[~found["first"].astype("bool"), ["source", "failure_id"]].drop_duplicates()
    both = ", some of both" if sum(spare.values()) > len(copies) else ""
    return (
        f"{many(len(copies), 'failures are')} copies of others ({', '.join(said)}{both}): replaying them all would do work"
        " twice."
    )


def _sudden(failures: pd.DataFrame, before: Mapping[str, Any] | None) -> str:
    """Failures so close together, or so new, that no earlier time says whether that is usual: no reason to be quiet."""
    times = failures["failed_at"].dropna()
    if times.empty or (span := times.max() - times.min()) >= _HOUR:
        return ""
    count, now = len(failures), pd.Timestamp(moment("0s"))
    if count < FEWEST and times.max() <= now - _HOUR:
        return ""
    some = f"{count:,} failure{'s' if count != 1 else ''}"
    within = f" within {_span(max(span, pd.Timedelta('1s')))}" if count > 1 else ""
    said = f"{some}{within}, since {times.min():%d %b %H:%M} UTC"
    most = "most are" if _one_error(failures) else "most often"
    said += f", {most} {_what(failures)}" if count > 4 else ""
    return f"{said}; there is nothing before to compare with." + _than_before(failures, before)


def _one_error(failures: pd.DataFrame) -> bool:
    """Whether most of them are one error."""
    count = len(failures)
    return count > 4 and failures["fingerprint"].value_counts().iloc[0] / count > 0.5


def _quiet(failures: pd.DataFrame, before: Mapping[str, Any] | None) -> str:
    count, times = len(failures), failures["failed_at"].dropna()
    some = f"{count:,} failure{'s' if count != 1 else ''}"
    if times.empty:
        return f"Quiet as far as can be told: {some}, none with a time."
    days = (times.max() - times.min()) / pd.Timedelta("1D")
    span = f" in {days:.0f} days" if days >= 2 else ""
    said = f"Quiet: {some}{span}, nothing began and nothing grew"
    said += f"; most are {_what(failures)}" if _one_error(failures) else ""
    return said + "." + _than_before(failures, before)


def _than_before(failures: pd.DataFrame, before: Mapping[str, Any] | None) -> str:
    """How the total stands against the last report's, to be added to a sentence."""
    if before is None:
        return ""
    more = len(failures) - int(before["failures"])
    if not more:
        return " (In all as many failures as in the last report.)"
    return f" (In all {abs(more):,} {'more' if more > 0 else 'fewer'} failures than in the last report.)"


def _span(span: pd.Timedelta) -> str:
    seconds = span.total_seconds()
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} second{'s' if round(seconds) != 1 else ''}"
