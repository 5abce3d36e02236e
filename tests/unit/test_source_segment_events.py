"""Every event of Segment's specification, with its example's properties, becomes a standard event that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from touchtrail.events import VOCABULARY
from touchtrail_collector.domain.event import CheckedEvent, EventChecker, EventRejected
from touchtrail_collector.domain.privacy import Pseudonymiser
from touchtrail_plugins.sources import segment
from touchtrail_plugins.sources._segment_event import ItemError, Origin, to_event, to_name
from touchtrail_plugins.sources._segment_names import SEGMENT_NAMES

NOW = 1_795_255_200_000  # 2026-11-21T10:00Z
CHECKER = EventChecker(VOCABULARY, Pseudonymiser(b"key"))

PRODUCT = {
    "product_id": "507f1f77bcf86cd799439011", "sku": "G-32", "category": "Games", "name": "Monopoly: 3rd Edition",
    "brand": "Hasbro", "variant": "200 pieces", "price": 18.99, "quantity": 1, "coupon": "MAYDEALS", "position": 3,
    "url": "https://www.example.com/product/path", "image_url": "https://www.example.com/product/path.jpg",
}  # fmt: skip
PRODUCTS = [
    {"product_id": "507f1f77bcf86cd799439011", "sku": "45790-32", "name": "Monopoly: 3rd Edition", "price": 19,
     "quantity": 1, "category": "Games", "url": "https://www.example.com/product/path"},
    {"product_id": "505bd76785ebb509fc183733", "sku": "46493-32", "name": "Uno Card Game", "price": 3, "quantity": 2,
     "category": "Games"},
]  # fmt: skip
ORDER = {
    "checkout_id": "fksdjfsdjfisjf9sdfjsd9f", "order_id": "50314b8e9bcf000000000000", "affiliation": "Google Store",
    "total": 27.50, "subtotal": 22.50, "revenue": 25.00, "shipping": 3, "tax": 2, "discount": 2.5, "coupon": "hasbros",
    "currency": "USD", "products": PRODUCTS,
}  # fmt: skip
PROMOTION = {"promotion_id": "promo_1", "creative": "top_banner_2", "name": "75% off", "position": "home_banner_top"}
COUPON = {"order_id": "5031", "cart_id": "9239", "coupon_id": "may_deals_2016", "coupon_name": "May Deals 2016"}
STEP = {"checkout_id": "5031", "step": 2, "shipping_method": "Fedex", "payment_method": "Visa"}
EMAIL = {"email_id": "18vzF7u3z", "email_subject": "First shirt on us!", "campaign_id": "123",
         "campaign_name": "New Customer Discount"}  # fmt: skip
CHAT = {"agent_id": "bce8", "agent_name": "Peter Gibbons", "conversation_duration": 203, "conversation_id": "abd627",
        "message_body": "But my stapler...", "message_id": "beaf"}  # fmt: skip
PUSH = {"campaign": {"medium": "Push", "source": "Vendor Name", "name": "Referral Flow", "content": "Play a match."}}
TRIAL = {"trial_start_date": "2018-08-28T04:09:47Z", "trial_end_date": "2018-09-20T04:09:47Z",
         "trial_plan_name": "Business"}  # fmt: skip
WISH = PRODUCT | {"wishlist_id": "skdj", "wishlist_name": "Loved Games"}

# Segment's name, the example's properties, our name, and what must stand in the event's own fields.
SPECIFICATION: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("Products Searched", {"query": "blue roses"}, "product_searched", {"query": "blue roses"}),
    ("Products Searched", {"query": {"colour": "blue"}}, "product_searched", {"query": '{"colour":"blue"}'}),
    ("Product List Viewed", {"list_id": "hot", "category": "Deals", "products": PRODUCTS}, "product_list_viewed",
     {"list_id": "hot", "category": "Deals"}),
    ("Viewed Product Category", {"category": "Games"}, "product_list_viewed", {"category": "Games"}),
    ("Product List Filtered",
     {"list_id": "t", "filters": [{"type": "department", "value": "beauty"}, {"type": "price", "value": "under-$25"}],
      "sorts": [{"type": "price", "value": "desc"}], "products": PRODUCTS}, "product_list_filtered",
     {"filters": {"department": "beauty", "price": "under-$25"}, "sort": "price desc"}),
    ("Promotion Viewed", PROMOTION, "promotion_viewed", PROMOTION),
    ("Clicked Promotion", PROMOTION, "promotion_clicked", PROMOTION),
    ("Product Clicked", PRODUCT, "product_clicked", {"sku": "G-32", "position": 3}),
    ("Product Viewed", PRODUCT | {"currency": "usd", "value": 18.99}, "product_viewed",
     {"sku": "G-32", "price": 18.99, "currency": "USD", "brand": "Hasbro", "variant": "200 pieces"}),
    ("Viewed Product", {"id": "507f", "name": "Monopoly", "price": 18.99}, "product_viewed", {"sku": "507f"}),
    ("Product Added", PRODUCT | {"cart_id": "c1"}, "cart_item_added", {"sku": "G-32", "quantity": 1, "cart_id": "c1"}),
    ("Removed Product", PRODUCT, "cart_item_removed", {"sku": "G-32", "price": 18.99}),
    ("Cart Viewed", {"cart_id": "c1", "products": PRODUCTS}, "cart_viewed", {"cart_id": "c1"}),
    ("Checkout Started", {**ORDER, "value": 30} | {"total": None}, "checkout_started",
     {"total": 30, "currency": "USD", "cart_id": "fksdjfsdjfisjf9sdfjsd9f"}),
    ("Checkout Step Viewed", STEP, "checkout_step_viewed", {"step": 2, "cart_id": "5031"}),
    ("Completed Checkout Step", STEP | {"step": "2"}, "checkout_step_completed", {"step": 2}),
    ("Payment Info Entered", STEP | {"order_id": "o"}, "payment_info_added", {"method": "Visa", "cart_id": "5031"}),
    ("Order Completed", ORDER, "order_placed",
     {"order_id": "50314b8e9bcf000000000000", "total": 27.50, "goods": "25.0", "tax": 2, "shipping": 3,
      "discount": 2.5, "coupon_codes": ["hasbros"], "currency": "USD"}),
    ("Order Updated", ORDER, "order_updated", {"total": 27.50, "goods": "25.0"}),
    ("Order Refunded", {"order_id": "5031", "total": 30, "currency": "USD", "products": PRODUCTS}, "order_refunded",
     {"order_id": "5031", "amount": 30, "currency": "USD"}),
    ("Order Refunded", {"order_id": "5031"}, "order_refunded", {"order_id": "5031"}),
    ("Order Cancelled", ORDER, "order_cancelled", {"amount": 27.50}),
    ("Coupon Entered", COUPON, "coupon_entered", {"coupon_code": "may_deals_2016", "order_id": "5031"}),
    ("Coupon Applied", COUPON | {"discount": 23.32}, "coupon_applied", {"discount": 23.32, "cart_id": "9239"}),
    ("Coupon Denied", {"order_id": "5031", "coupon": "may_deals_2016", "reason": "Coupon expired"}, "coupon_denied",
     {"coupon_code": "may_deals_2016", "reason": "Coupon expired"}),
    ("Coupon Removed", COUPON | {"discount": 23.32}, "coupon_removed", {"coupon_code": "may_deals_2016"}),
    ("Product Added to Wishlist", WISH, "wishlist_item_added", {"sku": "G-32", "wishlist_id": "skdj"}),
    ("Product Removed from Wishlist", WISH, "wishlist_item_removed", {"sku": "G-32"}),
    ("Wishlist Product Added to Cart", WISH | {"cart_id": "99"}, "wishlist_item_moved_to_cart", {"sku": "G-32"}),
    ("Product Shared", PRODUCT | {"share_via": "email", "recipient": "friend@example.com"}, "product_shared",
     {"sku": "G-32", "via": "email"}),
    ("Cart Shared", {"share_via": "email", "cart_id": "d9", "products": [{"product_id": "5"}]}, "cart_shared",
     {"via": "email", "cart_id": "d9"}),
    ("Product Reviewed", {"product_id": "507f", "review_id": "kd", "review_body": "I love it", "rating": "5"},
     "product_reviewed", {"sku": "507f", "rating": 5.0, "review_id": "kd"}),
    ("Email Bounced", EMAIL, "email_bounced", {"campaign_id": "123", "message_id": "18vzF7u3z"}),
    ("Email Delivered", EMAIL, "email_delivered", {"subject": "First shirt on us!"}),
    ("Email Link Clicked", EMAIL | {"link_id": "101", "link_url": "https://x.example"}, "email_clicked",
     {"link": "https://x.example"}),
    ("Email Marked as Spam", EMAIL, "email_spam", {"campaign_id": "123"}),
    ("Email Opened", EMAIL, "email_opened", {"campaign_id": "123"}),
    ("Unsubscribed", EMAIL | {"list_id": "1425", "list_name": "New"}, "email_unsubscribed", {"list_id": "1425"}),
    ("Live Chat Conversation Started", CHAT, "chat_started", {"conversation_id": "abd627", "agent_id": "bce8"}),
    ("Live Chat Conversation Ended", CHAT, "chat_ended", {"conversation_id": "abd627", "duration_s": 203}),
    ("Live Chat Message Sent", CHAT, "chat_message_sent", {"conversation_id": "abd627"}),
    ("Live Chat Message Received", CHAT, "chat_message_received", {"agent_id": "bce8"}),
    ("Push Notification Received", PUSH, "push_received", {}),
    ("Push Notification Tapped", PUSH | {"action": "Accept"}, "push_tapped", {}),
    ("Install Attributed", {"provider": "Branch", "campaign": {"source": "Network", "name": "N", "ad_group": "Red"}},
     "campaign_touch", {"kind": "app_install"}),
    ("Experiment Viewed", {"experiment_id": "e1", "experiment_name": "Button", "variation_id": "v2"},
     "experiment_viewed", {"experiment_id": "e1", "variant": "v2"}),
    ("Signed Up", {"type": "organic", "first_name": "Peter", "email": "p@initech.example", "phone": "410-555-9412"},
     "lead_captured", {"form": "organic"}),
    ("Signed In", {"username": "pgibbons"}, "customer_signed_in", {}),
    ("Signed Out", {"username": "pgibbons"}, "customer_signed_out", {}),
    ("Invite Sent", {"invitee_email": "p@gmail.example", "invitee_role": "Owner"}, "referral_sent", {}),
    ("Trial Started", TRIAL, "subscription_started", {"subscription_id": "acct_123", "plan": "Business"}),
]  # fmt: skip


def convert(item: dict[str, Any], **origin: Any) -> dict[str, Any]:
    return to_event(item, Origin(raw=msgspec.json.encode(item), salt="", **origin))


def track(event: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    context = {"groupId": "acct_123"}
    return convert(
        {"type": "track", "userId": "u-1", "event": event, "properties": properties, "context": context, **more}
    )


def check(event: dict[str, Any]) -> CheckedEvent:
    """What the collector itself makes of the event; raises when it would reject it."""
    return CHECKER.check(msgspec.json.encode(event), now_ms=NOW)


@pytest.mark.parametrize(
    ("spoken", "properties", "name", "expected"),
    SPECIFICATION,
    ids=[f"{n} {entry[0]}" for n, entry in enumerate(SPECIFICATION)],
)
def test_every_event_of_the_specification_is_kept_as_a_standard_event(
    spoken: str, properties: dict[str, Any], name: str, expected: dict[str, Any]
) -> None:
    event = track(spoken, properties)
    assert check(event).name == name
    struct = msgspec.json.decode(msgspec.json.encode(event["properties"]), type=VOCABULARY[name])
    assert struct.spec.name == name
    assert {field: event["properties"].get(field) for field in expected} == expected


def test_the_table_covers_every_standard_event_that_segment_has_a_name_for() -> None:
    assert {name for _, _, name, _ in SPECIFICATION} == set(SEGMENT_NAMES)


def test_whatever_has_no_field_goes_into_extra_and_nothing_is_lost() -> None:
    properties = track("Product Viewed", PRODUCT | {"shelf": [1, 2]})["properties"]
    kept = {"product_id", "quantity", "coupon", "position", "url", "image_url", "shelf"}
    assert set(properties["extra"]) == kept
    assert properties["extra"]["shelf"] == [1, 2]


def test_products_become_lines_with_their_article_number_and_unit_price() -> None:
    lines = track("Order Completed", ORDER)["properties"]["lines"]
    first = {"sku": "45790-32", "name": "Monopoly: 3rd Edition", "quantity": 1, "unit_price": 19, "category": "Games"}
    assert {key: value for key, value in lines[0].items() if key != "extra"} == first
    assert lines[0]["extra"]["product_id"] == "507f1f77bcf86cd799439011"


@pytest.mark.parametrize(
    "spelling",
    ["Order Completed", "order completed", "ORDER_COMPLETED", "orderCompleted", " Completed  Order ", "order_placed"],
)
def test_a_name_is_known_in_any_spelling(spelling: str) -> None:
    assert track(spelling, {"orderId": "o", "revenue": 25, "currency": "EUR"})["name"] == "order_placed"


@pytest.mark.parametrize(
    ("money", "goods", "total"),
    [
        ({"revenue": 25, "discount": 2.5, "shipping": 3, "tax": 2}, "25", "27.5"),
        ({"revenue": 22.5, "discount": 2.5, "shipping": 3, "tax": 2, "total": 27.5}, "25.0", 27.5),
        ({"revenue": 22.5, "discount": 2.5, "products": [{"sku": "a", "price": 25}]}, "25.0", "22.5"),
        ({"subtotal": 22.5, "discount": -2.5, "shipping": 3, "tax": 2}, "25.0", "27.5"),
        ({"subtotal": "100", "discount": "10", "shipping": "5", "total": "95"}, "100", "95"),
        ({"total": 30}, None, 30),
        ({}, None, None),
    ],
    ids=["first specification", "revenue after discount", "told by the lines", "discount below zero", "total decides",
         "total only", "no money"],
)  # fmt: skip
def test_an_orders_money_is_kept_apart(money: dict[str, Any], goods: Any, total: Any) -> None:
    event = track("Order Completed", {"order_id": "o", "currency": "EUR", **money})
    check(event)
    assert (event["properties"].get("goods"), event["properties"].get("total")) == (goods, total)


def test_a_refund_below_zero_means_the_same_as_one_above() -> None:
    assert track("Order Refunded", {"order_id": "o", "total": -30})["properties"]["amount"] == "30"


@pytest.mark.parametrize(
    ("spoken", "properties", "field"),
    [
        ("Product Viewed", {"sku": "s", "price": "abc"}, "properties.price"),
        ("Product Viewed", {"name": "no article number"}, "properties.sku"),
        ("Order Completed", {"order_id": "o", "total": "abc", "currency": "EUR"}, "properties.total"),
        ("Order Completed", {"order_id": "o", "revenue": "abc", "currency": "EUR"}, "properties.total"),
        ("Order Completed", {"order_id": "o", "total": 1}, "properties.currency"),
        ("Order Completed", {"order_id": {"a": 1}, "total": 1, "currency": "EUR"}, "properties.order_id"),
        ("Order Completed", {"order_id": "o", "currency": "EUR", "products": [{"sku": "a", "price": "x"}]},
         "properties.lines[0].unit_price"),
        ("Product Added", {"sku": "s", "quantity": "two"}, "properties.quantity"),
        ("Order Completed", {"order_id": "o", "currency": "EUR", "products": "none"}, "properties.lines"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_converted_is_rejected_with_its_field(
    spoken: str, properties: dict[str, Any], field: str
) -> None:
    with pytest.raises(EventRejected) as rejected:
        check(track(spoken, properties))
    assert (rejected.value.field or "").replace("[...]", "[0]") == field


def test_text_nobody_depends_on_goes_into_extra_when_it_is_none() -> None:
    event = track("Product Viewed", {"sku": 4711, "category": ["Games", "Board"], "brand": {"id": 1}})
    assert check(event).name == "product_viewed"
    assert event["properties"] == {"sku": "4711", "extra": {"category": ["Games", "Board"], "brand": {"id": 1}}}


def test_the_settings_currency_stands_in_where_an_amount_has_none() -> None:
    item = {"type": "track", "userId": "u", "event": "Order Completed", "properties": {"order_id": "o", "total": 1}}
    assert convert(item, currency="EUR")["properties"]["currency"] == "EUR"
    item["event"], item["properties"] = "Product Viewed", {"sku": "s"}
    assert "currency" not in convert(item, currency="EUR")["properties"]


def test_what_was_said_in_a_chat_is_no_part_of_the_event() -> None:
    assert "stapler" not in check(track("Live Chat Message Sent", CHAT)).body


def test_an_email_event_names_its_campaign_and_its_medium() -> None:
    event = track("Email Opened", EMAIL)
    assert event["campaign"] == {"medium": "email", "name": "New Customer Discount", "id": "123"}


def test_the_campaign_of_a_push_message_or_install_stands_in_the_envelope() -> None:
    assert track("Push Notification Tapped", PUSH)["campaign"] == PUSH["campaign"]
    installed = track("Install Attributed", {"campaign": {"source": "Network", "ad_group": "Red"}})
    assert installed["campaign"] == {"source": "Network"}
    assert installed["properties"]["extra"] == {"campaign": {"ad_group": "Red"}}


def test_identify_moves_contact_data_out_of_the_traits() -> None:
    traits = {
        "email": "a@b.example",
        "phone": 4930123,
        "segment": "jogger",
        "age": 3,
        "vip": True,
        "address": {"city": "B"},
        "x": None,
    }
    event = convert({"type": "identify", "userId": "u", "anonymousId": "a", "traits": traits})
    assert event["identifiers"] == {"email": "a@b.example", "phone": "4930123"}
    assert event["properties"] == {
        "traits": {"segment": "jogger", "age": 3, "vip": True},
        "extra": {"address": {"city": "B"}},
    }
    assert "a@b.example" not in check(event).body


def test_contact_data_is_taken_from_properties_and_from_the_contexts_traits() -> None:
    event = track("Signed Up", {"email": "a@b.example", "type": "organic"})
    assert event["identifiers"] == {"email": "a@b.example"}
    assert "email" not in event["properties"].get("extra", {})
    item = {"type": "track", "userId": "u", "event": "Signed In", "context": {"traits": {"email": "c@d.example"}}}
    assert convert(item)["identifiers"] == {"email": "c@d.example"}


def test_page_and_screen_are_views() -> None:
    item = {
        "type": "page", "anonymousId": "a", "name": "Home", "category": "Docs",
        "properties": {"url": "https://shop.example/p", "referrer": "https://www.google.com/",
                       "title": "T", "path": "/p", "colour": 1},
        "context": {"page": {"url": "https://other.example"}},
    }  # fmt: skip
    event = convert(item)
    assert event["name"] == "page_viewed"
    assert event["page"] == {
        "url": "https://shop.example/p",
        "referrer": "https://www.google.com/",
        "title": "T",
        "path": "/p",
    }
    assert event["properties"] == {"name": "Home", "category": "Docs", "extra": {"colour": 1}}
    screen = convert({"type": "screen", "anonymousId": "a", "name": "Cart", "properties": {"feed": "x"}})
    assert (screen["name"], screen["properties"]) == ("screen_viewed", {"name": "Cart", "extra": {"feed": "x"}})
    check(event), check(screen)


def test_the_query_string_is_put_back_to_the_address() -> None:
    context = {"page": {"url": "https://shop.example/p#top", "search": "?gclid=1"}}
    event = convert({"type": "page", "anonymousId": "a", "context": context})
    assert event["page"]["url"] == "https://shop.example/p?gclid=1#top"


def test_the_context_fills_the_envelope_and_the_address_of_the_client_is_left_out() -> None:
    context = {
        "ip": "8.8.8.8", "userAgent": "Mozilla/5.0 " + "x" * 600, "locale": "de-DE", "timezone": "Europe/Berlin",
        "screen": {"width": 320, "height": 568, "density": 2}, "device": {"type": "ios"}, "sessionId": 17,
        "campaign": {"source": "Newsletter", "medium": "email", "name": "N", "term": "t", "content": "c", "custom": 1},
        "consent": {"categoryPreferences": {"Analytics": True, "Advertising": False, "C0004": True, "other": True}},
    }  # fmt: skip
    event = convert({"type": "track", "userId": "u", "event": "Signed In", "context": context})
    assert event["device"] == {
        "user_agent": ("Mozilla/5.0 " + "x" * 600)[:512], "locale": "de-DE", "time_zone": "Europe/Berlin",
        "screen": "320x568", "kind": "mobile",
    }  # fmt: skip
    assert event["campaign"] == {"source": "Newsletter", "medium": "email", "name": "N", "term": "t", "content": "c"}
    assert event["consent"] == {"analytics": True, "ads": False}
    assert event["session_id"] == "17"
    assert "8.8.8.8" not in check(event).body


def test_alias_joins_the_new_id_with_the_old_one_whichever_kind_it_was() -> None:
    event = convert({"type": "alias", "userId": "new", "previousId": "old"})
    assert (event["name"], event["customer_id"], event["anonymous_id"]) == ("customer_identified", "new", "old")
    assert event["identifiers"] == {"customer_id": "old"}
    browser = convert({"type": "alias", "userId": "new", "previousId": "a", "anonymousId": "a"})
    assert (browser["anonymous_id"], browser.get("identifiers")) == ("a", None)
    mail = convert({"type": "alias", "userId": "507f", "previousId": "jen@mail.example"})
    assert (mail["identifiers"], mail.get("anonymous_id")) == ({"email": "jen@mail.example"}, None)
    both = convert({"type": "alias", "userId": "new", "previousId": "old", "anonymousId": "a"})
    assert both["identifiers"] == {"anonymous_id": "old", "customer_id": "old"}
    for made in (event, browser, mail, both):
        check(made)


def test_group_is_a_custom_event_and_does_not_identify_the_person_by_the_companys_address() -> None:
    traits = {"name": "Initech", "email": "info@initech.example"}
    event = convert({"type": "group", "userId": "u", "groupId": 17, "traits": traits})
    assert (event["name"], event["properties"]["group_id"]) == ("group_identified", "17")
    assert event["properties"]["traits"]["name"] == "Initech"
    assert "identifiers" not in event
    check(event)


@pytest.mark.parametrize(
    ("spoken", "name"),
    [("Song Played", "song_played"), ("songPlayed", "song_played"), ("Größe gewählt!", "grosse_gewahlt"),
     ("3D View", "_3d_view"),
     ("Trial Ended", "trial_ended"), ("Application Opened", "application_opened"), ("A/B – Test", "a_b_test")],
)  # fmt: skip
def test_an_unknown_event_is_kept_under_a_legal_name_with_the_one_it_had(spoken: str, name: str) -> None:
    event = track(spoken, {"artist": "J"})
    assert check(event).name == name
    assert event["properties"] == {"original_name": spoken, "artist": "J"}


def test_names_that_are_too_long_or_without_latin_letters_stay_different() -> None:
    assert to_name("x" * 100) != to_name("x" * 101)
    assert len(to_name("9" + "x" * 100)) <= 64
    assert to_name("購入") != to_name("閲覧")
    for spoken in ("購入", "x" * 100, "9" * 64):
        assert check(track(spoken, {})).name == to_name(spoken)


def test_more_properties_than_an_event_may_have_are_kept_together() -> None:
    event = track("Song Played", {f"p{n}": n for n in range(100)})
    check(event)
    assert len(event["properties"]) == 64
    assert event["properties"]["_overflow"]["p99"] == 99


@pytest.mark.parametrize(
    ("item", "code", "field"),
    [
        ({"userId": "u"}, "missing_field", "type"),
        ({"type": "purchase"}, "invalid_value", "type"),
        ({"type": 3}, "invalid_value", "type"),
        ({"type": "track", "userId": "u"}, "missing_field", "event"),
        ({"type": "track", "userId": "u", "event": 7}, "invalid_type", "event"),
        ({"type": "track", "userId": "u", "event": "x", "properties": [1]}, "invalid_type", "properties"),
        ({"type": "identify", "userId": "u", "traits": "x"}, "invalid_type", "traits"),
        ({"type": "alias", "previousId": "p"}, "missing_field", "userId"),
        ({"type": "alias", "userId": "u"}, "missing_field", "previousId"),
        ({"type": "group", "userId": "u"}, "missing_field", "groupId"),
        ([], "invalid_type", None),
    ],
)
def test_a_call_that_lacks_what_it_needs_is_named_with_its_member(item: Any, code: str, field: str | None) -> None:
    with pytest.raises(ItemError) as error:
        convert(item)
    assert (error.value.code, error.value.field) == (code, field)


def test_a_person_without_any_id_is_left_to_the_collector_to_reject() -> None:
    with pytest.raises(EventRejected, match="needs anonymous_id") as rejected:
        check(convert({"type": "track", "event": "Signed In", "userId": None, "anonymousId": ""}))
    assert rejected.value.code == "no_identity"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-11-21T10:00:00.123456+00:00", "2026-11-21T10:00:00.123456+00:00"),
        ("2015-2-02T00:30:12.984Z", "2015-02-02T00:30:12.984Z"),
        ("2026-11-21", "2026-11-21T00:00:00.000Z"),
        ("2026-11-21 10:00", "2026-11-21T10:00:00.000Z"),
        ("2026-11-21T10:00:00+0100", "2026-11-21T10:00:00+0100"),
        (NOW, "2026-11-21T10:00:00.000Z"),
        (NOW / 1000, "2026-11-21T10:00:00.000Z"),
    ],
)
def test_the_clients_time_is_kept_in_the_form_the_collector_reads(given: Any, expected: str) -> None:
    event = convert({"type": "track", "userId": "u", "event": "Signed In", "timestamp": given})
    assert event["occurred_at"] == expected
    check(event)


def test_the_time_before_segments_correction_wins_because_the_collector_corrects_clocks_itself() -> None:
    item = {"type": "track", "userId": "u", "event": "Signed In"}
    times = {"timestamp": "2026-11-21T10:00:05Z", "originalTimestamp": "2026-11-21T10:00:00Z"}
    assert convert(item | times)["occurred_at"] == "2026-11-21T10:00:00Z"


@pytest.mark.parametrize("given", ["yesterday", "2026-13-45T10:00:00Z", {"a": 1}, 1e300])
def test_a_time_that_is_none_is_rejected_by_name(given: Any) -> None:
    with pytest.raises(EventRejected) as rejected:
        check(convert({"type": "track", "userId": "u", "event": "Signed In", "timestamp": given}))
    assert rejected.value.field == "occurred_at"


def test_the_message_id_is_the_events_id_and_one_that_is_too_long_is_hashed() -> None:
    item = {"type": "track", "userId": "u", "event": "Signed In"}
    assert convert(item | {"messageId": "m-1"})["event_id"] == "m-1"
    long = convert(item | {"messageId": "m" * 200})["event_id"]
    assert (long[:7], len(long)) == ("sha256:", 71)
    check(convert(item | {"messageId": "m" * 200}))
    assert convert(item)["event_id"] == convert(item)["event_id"] != convert(item | {"userId": "v"})["event_id"]


def test_every_name_path_and_setting_is_documented() -> None:
    text = Path(segment.__file__).with_name("README.md").read_text(encoding="utf-8")
    section = text[text.index("## `source.segment`") : text.index("## `source.csv`")]
    names = {spoken for spellings in SEGMENT_NAMES.values() for spoken in spellings} | set(SEGMENT_NAMES)
    names |= {endpoint.path for source in segment.touchtrail_sources(settings=None) for endpoint in source.endpoints}
    names |= set(segment.SegmentSettings.__struct_fields__)
    assert {name for name in names if f"`{name}`" not in section} == set()
