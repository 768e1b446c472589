"""Replay: a policy tried on the simulated world, month by month, before it meets people.

`population` is who has a line; `card` tells their risk from what the holders see; `book` opens and
reviews lines with the very rules of the service (`server.limits.batch`); `play` lets the months
pass; `figures` counts. Two policies are tried on the same people with the same luck. `challengers`
finds what optimisers would choose in a process that is `counted` from replays.
"""
