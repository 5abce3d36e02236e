"""The plugin host: finds, checks and calls plugins; owns what happens when one fails."""

from __future__ import annotations

from .plugin_host import PluginHost
from .record import PluginInfo

__all__ = ["PluginHost", "PluginInfo"]
