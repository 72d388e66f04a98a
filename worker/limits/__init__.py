"""The limits of requests to Kie.

`throttle` limits requests per sliding window, as Kie's published limits do. `account_brake` slows
down and pauses the submits of one account that Kie refuses, and `family_brake` pauses those of one
model family after outcomes that may have cost money. `submit_gates` applies all three to a claim,
and `account_concurrency` limits the polls of one account that run at once.
"""
