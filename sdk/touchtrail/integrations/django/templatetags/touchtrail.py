"""`{% load touchtrail %}`: `{% touchtrail_snippet %}` loads the browser tracker."""

from __future__ import annotations

from django import template

from touchtrail.integrations.django.browser import snippet_in


def touchtrail_snippet(context: template.Context, nonce: object = None) -> str:
    """Return the script tag; see ``touchtrail.integrations.django.snippet``."""
    return snippet_in(context, nonce)


register = template.Library()
register.simple_tag(touchtrail_snippet, takes_context=True)
