"""Batching: calls made at the same time become one round trip.

A step calls one function for one job. Calls that come within one interval are sent as one batch. An
idle worker sends at once. A busy one sends at most 25 batches a second of each kind, at ticks that
all kinds share, because each round trip wakes another process.

`redis_scripts` batches Lua calls, `store.statement_batches` SQL statements and reads,
`poll_delivery` first polls, and `change_publisher` the ids of changed jobs. An urgent call is sent
at once, together with every call that waits.
"""
