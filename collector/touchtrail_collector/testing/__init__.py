"""The conformance kit: one check per kind of plugin, for the tests of plugin authors.

Each check raises AssertionError with a message that names what the plugin did and what the rule is.

Example:
    >>> from touchtrail_collector.testing import check_model
    >>> from touchtrail_plugins.models.linear import touchtrail_attribution_models
    >>> for model in touchtrail_attribution_models():
    ...     check_model(model)
"""

from __future__ import annotations

from .channels import check_channels
from .exporters import check_exporter
from .models import check_model
from .sources import check_source

__all__ = ["check_channels", "check_exporter", "check_model", "check_source"]
