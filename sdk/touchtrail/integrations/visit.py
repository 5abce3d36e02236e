"""The rules of a visit, the same in every framework: who is served, what the context may carry, when a landing counts.

A framework's module builds one ``Visits``, asks it to ``begin`` a ``Visit`` for each request, enters it around the
shop's code, and adds what ``finish`` returns to the answer's head. Nothing here raises into the shop or waits.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Final, Self

import msgspec
from msgspec.structs import force_setattr

from .._envelope import text_id
from ..client import Tracker
from ..context import Consent, Context, Device, Page, replace_context, restore_context
from ..errors import OptionsError
from ..events import ConsentGiven, ConsentWithdrawn, Event, PageViewed
from . import landing
from .address import Origin, Proxies, address_text
from .cookies import (
    CONSENT_AGE_S,
    CookieWriter,
    consent_text,
    cookie_of,
    is_living_id,
    new_visitor_id,
    read_consent,
)
from .exchange import HttpAnswer, HttpRequest
from .page import PageAddresses
from .web_options import WebOptions

__all__ = ["HttpAnswer", "HttpRequest", "Visit", "Visits", "WebOptions", "current_visit"]

PURPOSES: Final = ("analytics", "ads", "personalisation")
_MARK_ENDING: Final = "_landed"
_MARK_AGE_S: Final = 30
"""How long after a landing that was counted ahead of its page (on a redirect, on consent) that page may come."""

_visit: ContextVar[Visit | None] = ContextVar("touchtrail_visit", default=None)


def current_visit() -> Visit | None:
    """Return the visit of the request that is served now; None outside one.

    Example: the banner's view calls ``current_visit().set_consent(analytics=True)``.
    """
    return _visit.get()


class Visits:
    """Looks at an app's requests; build one per app.

    Args:
        client: takes the landings and consent events; ``Client`` or ``AsyncClient``.
        options: None = the defaults.
        consent: for a shop with a consent manager of its own: returns what the visitor answered there, None when
            nothing yet; then the consent cookie is looked at. When it raises, the visitor stays unknown for the
            request.
        clock: epoch seconds.

    Attributes:
        problems: how often something failed in here instead of in the shop, by what was being done.

    Raises:
        OptionsError: something cannot work; nothing is raised later.
    """

    def __init__(
        self,
        client: Tracker,
        options: WebOptions | None = None,
        *,
        consent: Callable[[HttpRequest], Consent | None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        wrong: list[str] = []
        if not isinstance(client, Tracker):
            wrong.append("client: must be a Client or an AsyncClient")
        if not isinstance(options, WebOptions | None):
            wrong.append("options: must be WebOptions(…)")
        if consent is not None and not callable(consent):
            wrong.append("consent: must be a function of the request")
        if wrong:
            raise OptionsError(wrong)
        self.client = client
        self.options = options or WebOptions()
        self.problems: Counter[str] = Counter()
        self.ask_consent = consent
        self.clock = clock
        self.proxies = Proxies(self.options.trusted_proxies, wants_address=self.options.client_address != "none")
        self.addresses = PageAddresses(self.options.own_hosts, self.options.hidden_parameters)
        self.writer = CookieWriter(self.options)
        self._lock = threading.Lock()

    def begin(self, request: HttpRequest, *, customer_id: str | None = None) -> Visit:
        """Return the visit a request belongs to. Never raises, never waits.

        Args:
            customer_id: of the customer who is signed in; numbers become text.
        """
        visit = Visit(self, request)
        try:
            visit.look()
        # The one place per call that catches everything: a bug in here must not take a page of the shop away.
        except Exception as problem:  # noqa: BLE001
            self.count("begin", problem)
            visit.forget()
        if customer_id is not None:
            visit.identify(customer_id)
        return visit

    def count(self, what: str, problem: Exception | str) -> None:
        """Count what went wrong and log it once a minute, without anything of the request."""
        with self._lock:
            self.problems[what] += 1
        kind = problem if isinstance(problem, str) else type(problem).__name__
        self.client._delivery.tally.say(f"integration:{what}", f"the web integration could not {what} ({kind})")


class Visit:
    """One request of a visitor.

    Attributes:
        anonymous_id: the visitor's id; None when there is none or it may not be known.
        consent: what holds for this request, Global Privacy Control counted in; None = nobody was asked yet.
        context: what events tracked during the request carry; ``identify`` and ``set_consent`` change it at once for
            all threads and tasks of the request.
    """

    __slots__ = (
        "_campaign",
        "_cookies",
        "_has_said",
        "_is_counted",
        "_is_finished",
        "_is_new",
        "_mark",
        "_origin",
        "_request",
        "_tokens",
        "_visits",
        "anonymous_id",
        "consent",
        "context",
    )

    def __init__(self, visits: Visits, request: HttpRequest) -> None:
        self._visits = visits
        self._request = request
        self._cookies = ""
        self._origin: Origin | None = None
        self._campaign: landing.Pairs = []
        self._has_said = self._is_new = self._is_counted = self._is_finished = False
        self._mark: str | None = None
        self._tokens: list[tuple[Token[Context | None], Token[Visit | None]]] = []
        self.anonymous_id: str | None = None
        self.consent: Consent | None = None
        self.context = Context()

    def enter(self) -> None:
        """Make this the current visit and its context the current one, whatever held before."""
        self._tokens.append((replace_context(self.context), _visit.set(self)))

    def leave(self) -> None:
        """Give back what held before ``enter``; in another task or thread, nothing holds afterwards."""
        if not self._tokens:
            return
        context, visit = self._tokens.pop()
        restore_context(context)
        try:
            _visit.reset(visit)
        except (ValueError, RuntimeError):
            _visit.set(None)

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def identify(self, customer_id: str | None) -> None:
        """Say who signed in during the request; the context carries it from now on. None = signed out.

        Tracks nothing: track ``CustomerSignedIn`` or call the client's ``identify`` afterwards.
        """
        try:
            text = text_id(customer_id, "customer_id")
            # Half a character has no JSON form: taken into the context, it would cost every event of the request.
            (text or "").encode()
            force_setattr(self.context, "customer_id", text)
        except Exception as problem:  # noqa: BLE001 - see Visits.begin
            self._visits.count("identify", problem)

    def set_consent(self, *, analytics: bool, ads: bool = False, personalisation: bool = False) -> None:
        """Take the visitor's answer to the consent banner; call it before the answer to the request begins.

        Tracks `consent_given` and `consent_withdrawn`, has the answer written into the consent cookie, and makes or
        takes away the visitor's cookie. When the banner stood on the page the visitor landed on, that landing is
        tracked now that it may be. An answer of somebody unknown tracks nothing: there is nobody to tell of.
        """
        try:
            if self._is_finished:
                self._visits.count("set_consent", "the answer has begun, no cookie can be written any more")
                return
            self._answer(Consent(analytics=bool(analytics), ads=bool(ads), personalisation=bool(personalisation)))
        except Exception as problem:  # noqa: BLE001 - see Visits.begin
            self._visits.count("set_consent", problem)

    def finish(self, answer: HttpAnswer) -> list[str]:
        """Return the `Set-Cookie` values for an answer, and track the landing if the request was one.

        Call it when the head of the answer is known. A second call, for an error page that takes the first one's
        place, returns the cookies again and counts nothing twice.
        """
        self._is_finished = True
        try:
            may_write = not (landing.is_shared(answer.cache_control) or landing.is_subresource(self._request.headers))
            if self._has_said and not may_write:
                self._visits.count("set_consent", "the answer may be kept by a shared cache, no cookie is written")
            self._count_landing(answer, may_write=may_write)
            return self._written() if may_write else []
        except Exception as problem:  # noqa: BLE001 - see Visits.begin
            self._visits.count("finish", problem)
            return []

    def look(self) -> None:
        """Read the request; ``Visits.begin`` calls it."""
        visits, request = self._visits, self._request
        self._cookies = request.headers.get("cookie", "")
        said = None if visits.ask_consent is None else visits.ask_consent(request)
        if said is None:
            said = read_consent(cookie_of(self._cookies, visits.options.consent_cookie_name))
        self.consent = self._honouring_gpc(said)
        if self._may_know():
            self._know(may_make=request.method == "GET")
        else:
            self.forget()

    def forget(self) -> None:
        """Leave nothing in the context but the customer and the answer to the banner."""
        self.anonymous_id, self._is_new = None, False
        for name in ("anonymous_id", "page", "campaign", "device"):
            force_setattr(self.context, name, None)
        force_setattr(self.context, "consent", self.consent)

    def _where_from(self) -> Origin:
        # Only when it is asked for: before consent nobody needs it.
        if self._origin is None:
            self._origin = self._visits.proxies.origin(self._request)
        return self._origin

    def _honouring_gpc(self, said: Consent | None) -> Consent | None:
        """Refuse what Global Privacy Control refuses; an own answer about analytics outranks it.

        Source:
            Global Privacy Control, section 2 (`Sec-GPC: 1` asks not to sell or share data).
        """
        if self._request.headers.get("sec-gpc", "").strip() != "1":
            return None if said is None else msgspec.convert(said, Consent, from_attributes=True)
        return Consent(analytics=bool(said and said.analytics), ads=False, personalisation=False)

    def _may_know(self) -> bool:
        analytics = None if self.consent is None else self.consent.analytics
        if self._visits.options.visitor_id == "unless_refused":
            return analytics is not False
        return analytics is True

    def _know(self, *, may_make: bool) -> None:
        """Fill the context with all that may be known."""
        visits, request, origin = self._visits, self._request, self._where_from()
        self.anonymous_id = self._known_id()
        if self.anonymous_id is None and may_make and self._may_keep_new_id():
            self.anonymous_id, self._is_new = new_visitor_id(visits.clock()), True
        self._campaign = landing.campaign_pairs(request.query)
        url = visits.addresses.url(origin.scheme, origin.host, request.path, request.query)
        referrer = visits.addresses.referrer(request.headers.get("referer", ""))
        facts = {
            "anonymous_id": self.anonymous_id,
            "page": Page(url=url, referrer=referrer) if url else None,
            "campaign": landing.campaign_of(self._campaign) if self._campaign else None,
            "device": self._device(),
            "consent": self.consent,
        }
        for name, value in facts.items():
            force_setattr(self.context, name, value)

    def _known_id(self) -> str | None:
        options = self._visits.options
        if options.visitor_id == "never":
            return None
        if self._is_new:
            return self.anonymous_id
        value = cookie_of(self._cookies, options.cookie_name)
        is_living = value is not None and is_living_id(value, self._visits.clock(), options.cookie_max_age_s)
        return value if is_living else None

    def _may_keep_new_id(self) -> bool:
        """False where the browser would not keep a new cookie, or has one already that it may not send now.

        On the way back from a payment page by POST no `SameSite=Lax` cookie is sent, but one that is set there is
        kept: a new id would take the place of the visitor's own.
        """
        headers, options = self._request.headers, self._visits.options
        if options.visitor_id == "never" or landing.is_subresource(headers):
            return False
        if headers.get("sec-fetch-site", "").strip().lower() != "cross-site" or options.cookie_same_site == "None":
            return True
        return (
            options.cookie_same_site == "Lax" and self._request.method == "GET" and landing.is_document(self._request)
        )

    def _device(self) -> Device | None:
        headers = self._request.headers
        agent = landing.clean_text(headers.get("user-agent", ""), landing.AGENT_CHARS) or None
        locale = landing.locale_of(headers.get("accept-language", ""))
        ip = address_text(self._where_from().address, self._visits.options.client_address)
        return Device(user_agent=agent, locale=locale, ip=ip) if agent or locale or ip else None

    def _answer(self, said: Consent) -> None:
        before, known_id, knew = self.consent, self.anonymous_id, self._may_know()
        self._has_said = True
        self.consent = self._honouring_gpc(said)
        if self._may_know():
            self._know(may_make=True)
        else:
            self.forget()
        self._track_consent(before, known_id)
        if self._may_know() and not knew:
            self._count_landing_before_consent()

    def _track_consent(self, before: Consent | None, known_id: str | None) -> None:
        given = [purpose for purpose in PURPOSES if getattr(self.consent, purpose)]
        withdrawn = [purpose for purpose in PURPOSES if before and getattr(before, purpose) and purpose not in given]
        if given and (self.anonymous_id or self.context.customer_id):
            self._track(ConsentGiven(purposes=given), self.context)
        if not given and (known_id or self.context.customer_id):
            withdrawn = withdrawn or list(PURPOSES)
        # With the id that is being forgotten: without it nobody would know whose consent ended.
        whose = msgspec.structs.replace(self.context, anonymous_id=known_id or self.anonymous_id)
        if withdrawn and (whose.anonymous_id or whose.customer_id):
            self._track(ConsentWithdrawn(purposes=withdrawn), whose)

    def _count_landing_before_consent(self) -> None:
        visits, url = self._visits, self._request.headers.get("referer", "")
        campaign = landing.campaign_pairs(landing.query_of(url))
        if not (visits.options.landings and campaign and visits.addresses.is_own(url, self._where_from().host)):
            return
        if self.anonymous_id or self.context.customer_id:
            page = Page(url=visits.addresses.referrer(url))
            facts = msgspec.structs.replace(self.context, page=page, campaign=landing.campaign_of(campaign))
            self._mark = landing.fingerprint(campaign)
            self._track(PageViewed(), facts)

    def _count_landing(self, answer: HttpAnswer, *, may_write: bool) -> None:
        if self._is_counted or not self._visits.options.landings or not self._may_know():
            return
        is_known = self.anonymous_id is not None and (may_write or not self._is_new)
        if not (is_known or self.context.customer_id) or not landing.is_document(self._request):
            return
        is_left = landing.drops_campaign(answer, self._campaign)
        if not (is_left or landing.is_page_shown(answer)) or not self._comes_from_outside():
            return
        self._is_counted = True
        if is_left:
            self._mark = landing.fingerprint(self._campaign)
        self._track(PageViewed(), self.context)

    def _comes_from_outside(self) -> bool:
        """True for a campaign or a foreign referrer that was not counted on the way here."""
        visits, campaign = self._visits, self._campaign
        referrer = self._request.headers.get("referer", "")
        mark = cookie_of(self._cookies, visits.options.cookie_name + _MARK_ENDING)
        if mark and (not campaign or mark == landing.fingerprint(campaign)):
            return False
        is_foreign = bool(referrer) and not visits.addresses.is_own(referrer, self._where_from().host)
        if is_foreign or not campaign:
            return is_foreign and visits.addresses.referrer(referrer) is not None
        # From a page of ours that carried the same campaign: it was counted there.
        return sorted(landing.campaign_pairs(landing.query_of(referrer))) != sorted(campaign)

    def _track(self, event: Event, facts: Context) -> None:
        token = replace_context(facts)
        try:
            self._visits.client.track(event)
        except Exception as problem:  # noqa: BLE001 - a strict client raises; the cookies are due all the same
            self._visits.count(f"track {event.spec.name}", problem)
        finally:
            restore_context(token)

    def _written(self) -> list[str]:
        options, written = self._visits.options, []
        if self._has_said and self.consent is not None:
            written.append(self._cookie(options.consent_cookie_name, consent_text(self.consent), CONSENT_AGE_S))
        if self._is_new and self.anonymous_id:
            written.append(self._cookie(options.cookie_name, self.anonymous_id, options.cookie_max_age_s))
        elif self._is_refused() and cookie_of(self._cookies, options.cookie_name) is not None:
            written.append(self._cookie(options.cookie_name, "", 0))
        if self._mark:
            written.append(self._cookie(options.cookie_name + _MARK_ENDING, self._mark, _MARK_AGE_S))
        return written

    def _is_refused(self) -> bool:
        return self.consent is not None and self.consent.analytics is False

    def _cookie(self, name: str, value: str, max_age_s: int) -> str:
        return self._visits.writer.cookie(name, value, max_age_s=max_age_s, scheme=self._where_from().scheme)
