"""Sending one batch: the seam between delivery and the network, the transport over HTTP, the collector's answer."""

from __future__ import annotations

from .answer import Ack, Reject, Reply, read_ack, read_date, retry_after_s
from .http import HttpTransport, Transport

__all__ = ["Ack", "HttpTransport", "Reject", "Reply", "Transport", "read_ack", "read_date", "retry_after_s"]
