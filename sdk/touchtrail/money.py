"""Money as integer minor units with an ISO 4217 currency; shared out so that nothing is lost or invented."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from math import lcm
from typing import Final, Protocol

import msgspec

from .errors import CurrencyError, MoneyError

# Source: ISO 4217 list one, minor units. Codes withdrawn since 2015 stay, because old orders carry them.
_OTHER_EXPONENTS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_TWO_DECIMALS: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ "
    "GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL LTL MAD MDL MGA "
    "MKD MMK MNT MOP MRO MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR "
    "RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STD STN SVC SYP SZL THB TJS TMT TOP TRY TTD "
    "TWD TZS UAH USD USN UYU UZS VED VEF VES WST XAD XCD XCG YER ZAR ZMW ZWG ZWL"
)
_EXPONENTS: Final[dict[str, int]] = dict.fromkeys(_TWO_DECIMALS.split(), 2) | {
    code: digits for digits, codes in _OTHER_EXPONENTS.items() for code in codes.split()
}
# An order beyond 10^15 units is a mistake or an attack; a bound also keeps 1E+1000000 from becoming a huge integer.
_MAX_ADJUSTED: Final = 15
_EXACT: Final = Context(prec=80)


class Ratio(Protocol):
    """A finite number that is exactly a fraction: int, float, Decimal, Fraction."""

    def as_integer_ratio(self) -> tuple[int, int]:
        """Return numerator and positive denominator in lowest terms."""


def exponent(currency: str) -> int:
    """Return how many decimals the currency's minor unit has: 2 for EUR, 0 for JPY, 3 for KWD.

    Raises:
        CurrencyError: the code is none of ISO 4217's; codes are written in capitals.
    """
    try:
        return _EXPONENTS[currency]
    except (KeyError, TypeError):
        raise CurrencyError(f"{currency!r} is no ISO 4217 currency code, such as EUR") from None


def to_minor(amount: Decimal, currency: str) -> int:
    """Return the amount in minor units, rounded half up (away from zero) to the minor unit.

    Raises:
        CurrencyError: unknown currency.
        MoneyError: the amount is not finite or has more than 15 digits before the point.
    """
    digits = _EXPONENTS.get(currency)
    if digits is None:
        digits = exponent(currency)
    if not amount.is_finite() or amount.adjusted() > _MAX_ADJUSTED:
        raise MoneyError(f"the amount is not finite or too large to be money in {currency}")
    return int(amount.scaleb(digits, _EXACT).to_integral_value(ROUND_HALF_UP))


class Money(msgspec.Struct, frozen=True):
    """An amount of money.

    Args:
        amount_minor: minor units (cents for EUR); negative for money that goes back.
        currency: ISO 4217 code.

    Example:
        >>> [share.amount_minor for share in Money(1000, "EUR").allocate([1, 1, 1])]
        [334, 333, 333]
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        exponent(self.currency)

    @classmethod
    def from_decimal(cls, amount: Decimal | int | str, currency: str, *, round_half_even: bool = False) -> Money:
        """Return the amount as money.

        Args:
            round_half_even: round what is finer than the minor unit; without it such an amount is an error.

        Raises:
            CurrencyError: unknown currency.
            MoneyError: not a finite number, too large, or finer than the minor unit.
        """
        try:
            exact = Decimal(amount)
        except (InvalidOperation, TypeError, ValueError):
            raise MoneyError("the amount is not a decimal number") from None
        digits = exponent(currency)
        if not exact.is_finite() or exact.adjusted() > _MAX_ADJUSTED:
            raise MoneyError(f"the amount is not finite or too large to be money in {currency}")
        # Normalised first: 1.000 EUR has three decimals written and none too many.
        scaled = exact.scaleb(digits, _EXACT)
        rounded = scaled.to_integral_value(ROUND_HALF_EVEN)
        if rounded != scaled and not round_half_even:
            raise MoneyError(f"the amount has more than the {digits} decimals of {currency}")
        return cls(int(rounded), currency)

    @classmethod
    def parse(cls, text: str, *, round_half_even: bool = False) -> Money:
        """Return the money written as ``129.90 EUR`` or ``EUR 129.90``; errors as in ``from_decimal``."""
        parts = text.split()
        if len(parts) != 2:
            raise MoneyError("write an amount and a currency, such as '129.90 EUR'")
        amount, currency = parts if parts[1].isalpha() else reversed(parts)
        return cls.from_decimal(amount, currency, round_half_even=round_half_even)

    def to_decimal(self) -> Decimal:
        """Return the amount in major units with all the currency's decimals: ``Decimal("129.90")``."""
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency), _EXACT)

    def __add__(self, other: Money) -> Money:
        return Money(self.amount_minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount_minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount_minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount_minor <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.amount_minor > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.amount_minor >= self._same(other)

    def __str__(self) -> str:
        return f"{self.to_decimal():f} {self.currency}"

    def allocate(self, weights: Sequence[Ratio]) -> tuple[Money, ...]:
        """Share the amount out in proportion to the weights.

        Args:
            weights: not negative, finite, at least one above zero.

        Returns:
            One share per weight, in order. The shares sum to the amount exactly; each differs from its exact
            share by less than one minor unit. Units left over go to the largest remainders, ties to the earliest;
            a negative amount is shared like its positive twin.

        Raises:
            MoneyError: no weights, a negative or not finite one, or all zero.

        Source:
            Hamilton's method of largest remainder.
        """
        parts = _integer_weights(weights)
        total = sum(parts)
        sign = -1 if self.amount_minor < 0 else 1
        amount = abs(self.amount_minor)
        shares, remainders = zip(*(divmod(amount * part, total) for part in parts), strict=True)
        left = amount - sum(shares)
        by_remainder = sorted(range(len(parts)), key=lambda place: -remainders[place])
        favoured = set(by_remainder[:left])
        return tuple(Money(sign * (share + (place in favoured)), self.currency) for place, share in enumerate(shares))

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise CurrencyError(f"{self.currency} and {other.currency} do not go into one sum; convert one first")
        return other.amount_minor


def _integer_weights(weights: Sequence[Ratio]) -> list[int]:
    try:
        ratios = [weight.as_integer_ratio() for weight in weights]
    except (ValueError, OverflowError, AttributeError):
        raise MoneyError("weights must be finite numbers") from None
    if not any(numerator for numerator, _ in ratios) or any(numerator < 0 for numerator, _ in ratios):
        raise MoneyError("weights must not be negative, and at least one must be above zero")
    common = lcm(*(denominator for _, denominator in ratios))
    return [numerator * (common // denominator) for numerator, denominator in ratios]
