"""touchtrail: emit standardised touchpoint events from a shop."""

__version__ = "0.1.0"

from . import events
from .client import AsyncClient, Client
from .context import Campaign, Consent, Context, Device, Page, current_context, use_context
from .errors import (
    CurrencyError,
    EventRefusedError,
    MoneyError,
    OptionsError,
    TouchtrailError,
    TransportError,
)
from .money import Money
from .options import Options

__all__ = [
    "AsyncClient",
    "Campaign",
    "Client",
    "Consent",
    "Context",
    "CurrencyError",
    "Device",
    "EventRefusedError",
    "Money",
    "MoneyError",
    "Options",
    "OptionsError",
    "Page",
    "TouchtrailError",
    "TransportError",
    "current_context",
    "events",
    "use_context",
]
