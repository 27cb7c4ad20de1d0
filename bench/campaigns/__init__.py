"""Replays that are killed, cut off, doubled and lied to, on real servers: what ran is compared with what was planned.

`worlds` makes a system with dead letters and something independent that records every execution; `operators`
replays in processes that can be killed; `account` counts. The other modules are one campaign each.
"""
