"""The steps of a job in the worker: one function for each lane.

A step returns the seconds after which it is run again, or None when it is done.
"""
