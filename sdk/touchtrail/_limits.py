"""What the collector takes of an event, in figures: a test holds each of them against the collector."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

EVENT_ID_LENGTH: Final = 128
"""Characters of an event's id."""
ID_LENGTH: Final = 256
"""Characters of a person's or session's id, and of an identifier."""
NAME_LENGTH: Final = 64
"""Characters of an event's name, and of the name of a kind of identifier."""
MOST_PROPERTIES: Final = 64
"""Properties of an event of the shop's own, or in ``extra``."""
DEEPEST: Final = 16
"""Levels of nesting; the event itself is the first."""
OLDEST: Final = "2000-01-01T00:00:00.000Z"
NEWEST: Final = "2100-01-01T00:00:00.000Z"
"""Between these an event can have happened; as text, because in this form texts compare as the times do."""
LARGEST_AMOUNT: Final = Decimal(10) ** 12
"""Of money; the smallest is 0."""
MOST_PIECES: Final = 1_000_000
"""Pieces of one line."""
