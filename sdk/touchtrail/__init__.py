"""touchtrail: emit standardised touchpoint events from a shop."""

__version__ = "0.1.0"
