"""What the worker imports when it first needs it, so that ``import touchtrail`` stays light.

No fork happens while the worker imports: the child would keep a half-made module for good. Not to be imported under
this lock is a module that itself has something done before and after forks, as ``logging`` has: a fork that waited
would do the second half only. Such a one is imported before there is a thread.
"""

from __future__ import annotations

from touchtrail._forks import lock_against_forks

importing = lock_against_forks()
