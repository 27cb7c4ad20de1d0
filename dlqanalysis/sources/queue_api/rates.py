"""What two looks at the depths say of the time between them."""

import pandas as pd

_COUNTED = ("completed", "failed")


def rates(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """One row a queue: seconds, completed and failed (Int64, new between the looks), per_minute (float, both of
    them), success_rate (float, 0 to 1). Both frames are depths of one place.

    A count that fell was cleaned, replayed or began anew: then that queue's numbers are missing. Jobs that leave
    no trace when they complete (removeOnComplete) are not counted: then completed stays 0, and no rate is given.
    """
    first, last = (_counts(frame) for frame in (before, after))
    rows, notes = [], []
    for queue in last.index:
        if queue not in first.index:
            continue
        seconds = (last.loc[queue, "at"] - first.loc[queue, "at"]).total_seconds()
        new = {name: last.loc[queue, name] - first.loc[queue, name] for name in _COUNTED}
        known = all(pd.notna(value) and value >= 0 for value in new.values())
        if not known or seconds <= 0:
            notes.append(
                f"{queue}: its counts fell or are missing between these looks, so it has no rates."
            )
            rows.append({"queue": queue, "seconds": seconds})
            continue
        done = int(new["completed"] + new["failed"])
        if last.loc[queue, "completed"] == 0 and last.loc[queue, "failed"] > 0:
            notes.append(f"{queue}: no completed job is kept, so it has no success rate.")
            done = 0
        rows.append(
            {
                "queue": queue,
                "seconds": seconds,
                **{name: int(value) for name, value in new.items()},
                "per_minute": 60 * sum(int(v) for v in new.values()) / seconds,
                "success_rate": int(new["completed"]) / done if done else None,
            }
        )
    types = {"queue": "str", "seconds": "float64", "completed": "Int64", "failed": "Int64"}
    types |= {"per_minute": "float64", "success_rate": "float64"}
    found = pd.DataFrame(rows, columns=list(types)).astype(types)
    found.attrs["notes"] = notes
    return found


def _counts(depths: pd.DataFrame) -> pd.DataFrame:
    """completed, failed and the time of the look, by queue."""
    queue, state = depths["queue"].astype("str"), depths["state"].astype("str")
    found = pd.DataFrame({"at": depths.groupby(queue)["at"].max()})
    for name in _COUNTED:
        mine = depths.assign(queue=queue)[state == name]
        found[name] = mine.groupby("queue")["depth"].first().reindex(found.index)
    return found
