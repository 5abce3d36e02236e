"""Django: an app, a middleware, a template tag, a management command.

    INSTALLED_APPS = [..., "touchtrail.integrations.django"]
    MIDDLEWARE = [..., "django.contrib.auth.middleware.AuthenticationMiddleware",
                  "touchtrail.integrations.django.middleware.TouchtrailMiddleware"]
    TOUCHTRAIL = {"url": "https://collect.shop.example", "key": os.environ["TOUCHTRAIL_KEY"]}

Views then write ``client().track(…)``, and ``request.touchtrail`` is the visit.
"""

from ..visit import current_visit
from .browser import snippet
from .tracking import client, override_client, track_on_commit

__all__ = ["client", "current_visit", "override_client", "snippet", "track_on_commit"]
