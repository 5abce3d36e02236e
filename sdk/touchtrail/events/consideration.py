"""Events of the stage consideration: looking, comparing, asking."""

from __future__ import annotations

from .base import Amount, Count, Currency, Event, EventSpec, Line


class PageViewed(Event, frozen=True):
    """A page of the shop was seen; the address stands in the envelope's ``page``."""

    spec = EventSpec("page_viewed", "consideration", "visit")

    name: str | None = None
    category: str | None = None


class ScreenViewed(Event, frozen=True):
    """A screen of the shop's app was seen."""

    spec = EventSpec("screen_viewed", "consideration", "visit")

    name: str | None = None
    category: str | None = None


class ContentViewed(Event, frozen=True):
    """A blog post, guide or video of the shop was read or watched."""

    spec = EventSpec("content_viewed", "consideration", "visit", moment="zero")

    title: str | None = None
    content_id: str | None = None
    kind: str | None = None


class ReviewRead(Event, frozen=True):
    """A review was read, on the shop's pages or elsewhere."""

    spec = EventSpec("review_read", "consideration", "visit", moment="zero")

    sku: str | None = None
    portal: str | None = None


class ComparisonViewed(Event, frozen=True):
    """Products or prices were compared."""

    spec = EventSpec("comparison_viewed", "consideration", "visit", moment="zero")

    skus: list[str] | None = None
    portal: str | None = None


class ProductSearched(Event, frozen=True):
    """The shop's own search was used."""

    spec = EventSpec("product_searched", "consideration", "visit")

    query: str
    results: Count | None = None


class ProductListViewed(Event, frozen=True):
    """A list or category of products was seen."""

    spec = EventSpec("product_list_viewed", "consideration", "visit")

    list_id: str | None = None
    category: str | None = None
    products: list[Line] | None = None


class ProductListFiltered(Event, frozen=True):
    """A list of products was filtered or sorted."""

    spec = EventSpec("product_list_filtered", "consideration", "visit")

    list_id: str | None = None
    category: str | None = None
    filters: dict[str, str] | None = None
    sort: str | None = None


class ProductClicked(Event, frozen=True):
    """A product in a list was clicked."""

    spec = EventSpec("product_clicked", "consideration", "visit")

    sku: str
    name: str | None = None
    list_id: str | None = None
    position: Count | None = None


class ProductViewed(Event, frozen=True):
    """A product's page was seen."""

    spec = EventSpec("product_viewed", "consideration", "visit")

    sku: str
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    variant: str | None = None
    price: Amount | None = None
    currency: Currency | None = None


class WishlistItemAdded(Event, frozen=True):
    """A product was put on a wish list."""

    spec = EventSpec("wishlist_item_added", "consideration", "visit", signal="gain")

    sku: str
    name: str | None = None
    wishlist_id: str | None = None


class WishlistItemRemoved(Event, frozen=True):
    """A product was taken off a wish list."""

    spec = EventSpec("wishlist_item_removed", "consideration", "visit")

    sku: str
    name: str | None = None
    wishlist_id: str | None = None


class WishlistItemMovedToCart(Event, frozen=True):
    """A product went from a wish list into the cart."""

    spec = EventSpec("wishlist_item_moved_to_cart", "consideration", "visit", signal="gain")

    sku: str
    name: str | None = None
    wishlist_id: str | None = None


class ProductShared(Event, frozen=True):
    """A product was shared with somebody."""

    spec = EventSpec("product_shared", "consideration", "visit", signal="gain")

    sku: str
    via: str | None = None


class CartShared(Event, frozen=True):
    """A cart was shared with somebody."""

    spec = EventSpec("cart_shared", "consideration", "visit", signal="gain")

    cart_id: str | None = None
    via: str | None = None


class ChatStarted(Event, frozen=True):
    """A conversation in the shop's chat began."""

    spec = EventSpec("chat_started", "consideration", "encounter")

    conversation_id: str | None = None
    agent_id: str | None = None
    topic: str | None = None


class ChatMessageSent(Event, frozen=True):
    """The person wrote in the chat. The text itself is not part of the event."""

    spec = EventSpec("chat_message_sent", "consideration", "notice")

    conversation_id: str | None = None


class ChatMessageReceived(Event, frozen=True):
    """The person got an answer in the chat. The text itself is not part of the event."""

    spec = EventSpec("chat_message_received", "consideration", "notice")

    conversation_id: str | None = None
    agent_id: str | None = None


class ChatEnded(Event, frozen=True):
    """A conversation in the chat ended; ``score`` is what the person gave it, if asked.

    Args:
        score: 0 (bad) to ``scale`` (good).
        scale: the highest score that could be given.
    """

    spec = EventSpec("chat_ended", "consideration", "notice", signal="scored")

    conversation_id: str | None = None
    score: Count | None = None
    scale: Count = 5
    duration_s: Count | None = None


class LeadCaptured(Event, frozen=True):
    """The person left an address or signed up."""

    spec = EventSpec("lead_captured", "consideration", "visit", signal="gain")

    form: str | None = None


class LeadQualified(Event, frozen=True):
    """A lead was found worth following."""

    spec = EventSpec("lead_qualified", "consideration", "notice")

    reason: str | None = None


class LeadDisqualified(Event, frozen=True):
    """A lead was found not worth following."""

    spec = EventSpec("lead_disqualified", "consideration", "notice")

    reason: str | None = None


class LeadConverted(Event, frozen=True):
    """A lead became a customer."""

    spec = EventSpec("lead_converted", "consideration", "notice", signal="gain")


class ExperimentViewed(Event, frozen=True):
    """The person saw one variant of an experiment."""

    spec = EventSpec("experiment_viewed", "consideration", "none")

    experiment_id: str
    variant: str


class StockOutSeen(Event, frozen=True):
    """A product the person wanted was not in stock."""

    spec = EventSpec("stock_out_seen", "consideration", "visit", signal="pain")

    sku: str
    name: str | None = None


class BackInStockRequested(Event, frozen=True):
    """The person asked to be told when a product is there again."""

    spec = EventSpec("back_in_stock_requested", "consideration", "visit")

    sku: str


class StoreProductTried(Event, frozen=True):
    """The person tried a product on or out in a store."""

    spec = EventSpec("store_product_tried", "consideration", "encounter", signal="gain")

    sku: str | None = None
    store_id: str | None = None
