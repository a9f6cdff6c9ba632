"""Paper trading: a feed, a subject's live session, a paper account, and a journal of all of it.

Everything that reaches a session is written to its store before it is acted upon, and what the
session does is a function of the store alone; so that a process killed at any moment continues as
if it had not been.
"""
