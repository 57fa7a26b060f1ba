"""Pure: the keys by which a callback URL proves for whom it was made.

A key is hex: 16 digits of chance, and 32 of an HMAC-SHA256 over them and the offer id, under the secret that
the database keeps. So whoever knows the secret can check a key without the database, and nobody else can make
one.
"""

import hashlib
import hmac

from pydantic import SecretStr

CHANCE_DIGITS = 16
"""Hex digits of chance in a key, which the caller draws: they tell two rentals of one offer apart."""

SIGNATURE_DIGITS = 32
"""Hex digits of the HMAC that are used: 128 bits cannot be guessed, and the start text has to be short."""

DIGITS = CHANCE_DIGITS + SIGNATURE_DIGITS


def make(secret: str, offer_id: int, chance: str) -> str:
    """Return the callback key for one rental of an offer; `chance` is CHANCE_DIGITS random hex digits."""
    return chance + _signature(secret, offer_id, chance)


def is_signed(secret: str, offer_id: int, key: str) -> bool:
    """Say whether `key` was made for this offer under `secret`; one from before there were secrets is not."""
    if len(key) != DIGITS:
        return False
    chance, signature = key[:CHANCE_DIGITS], key[CHANCE_DIGITS:]
    return same(_signature(secret, offer_id, chance), signature)


def same(one: str, other: str) -> bool:
    """Compare two keys in a time that does not tell how much of them agrees."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def former(token: SecretStr, row_key: str) -> str:
    """Return the key that instances were rented with when `api_token` signed: 32 hex digits.

    It is the HMAC-SHA256 under the token of "drop:" and the key of the row.
    """
    message = f"drop:{row_key}".encode()
    return hmac.new(token.get_secret_value().encode(), message, hashlib.sha256).hexdigest()[:SIGNATURE_DIGITS]


def _signature(secret: str, offer_id: int, chance: str) -> str:
    message = f"{offer_id}:{chance}".encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()[:SIGNATURE_DIGITS]
