"""The script tag that loads the browser tracker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html

from .tracking import current_tracking


def snippet(request: HttpRequest | None = None, *, nonce: object = None) -> str:
    """Return the script tag of the browser tracker; nothing without ``browser_key`` and when tracking is disabled.

    For templates that are not Django's; those have `{% touchtrail_snippet %}`.

    Args:
        request: where the nonce of a Content Security Policy is looked for when none is given.
        nonce: of the page's Content Security Policy.
    """
    tracking = current_tracking()
    own, options = tracking.django, tracking.client.options
    if not own.browser_key or options.disabled:
        return ""
    source = (own.browser_url or options.url).rstrip("/") + "/touchtrail.js"
    nonce = _nonce_of(request) if nonce is None else nonce
    # A nonce that nobody used yet counts as False; as text it comes into being.
    shown = "" if nonce is None else format_html(' nonce="{}"', str(nonce))
    tag: str = format_html('<script defer src="{}" data-key="{}"{}></script>', source, own.browser_key, shown)
    return tag


def snippet_in(context: Mapping[str, Any], nonce: object = None) -> str:
    """Return the script tag for a template's context, with the nonce Django or django-csp made for the page."""
    if nonce is None:
        nonce = context.get("csp_nonce")
    return snippet(context.get("request"), nonce=nonce)


def _nonce_of(request: HttpRequest | None) -> object:
    """Return a request's nonce: django-csp has it in ``csp_nonce``, Django 6 has a function for it."""
    if request is None:
        return None
    nonce: object = getattr(request, "csp_nonce", None)
    if nonce is not None:
        return nonce
    try:
        from django.middleware.csp import get_nonce
    except ImportError:
        return None
    made: object = get_nonce(request)
    return made
