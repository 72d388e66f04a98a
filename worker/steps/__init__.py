"""The steps of a job's life on this side: one short function per state that has work to do.

A step returns the seconds after which it wants to be run again, or None when it is done.
"""
