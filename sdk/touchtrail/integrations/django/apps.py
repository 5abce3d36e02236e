"""The Django app: connects sign-in, settings and checks when Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core import checks
from django.core.signals import setting_changed


class TouchtrailConfig(AppConfig):  # type: ignore[misc] # Django has no types
    """`INSTALLED_APPS += ["touchtrail.integrations.django"]`."""

    name = "touchtrail.integrations.django"
    label = "touchtrail"
    verbose_name = "touchtrail"

    def ready(self) -> None:
        """Connect what Django calls by itself."""
        from .checks import check_deployment, check_settings
        from .customer import on_sign_in, on_sign_out
        from .tracking import on_setting_changed

        user_logged_in.connect(on_sign_in, dispatch_uid="touchtrail")
        user_logged_out.connect(on_sign_out, dispatch_uid="touchtrail")
        setting_changed.connect(on_setting_changed, dispatch_uid="touchtrail")
        checks.register(check_settings, "touchtrail")
        checks.register(check_deployment, "touchtrail", deploy=True)
