"""How Vast.ai is reached and what is asked of its market: plain values, taken from the settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Hold where Vast is, the key, the limits of a call and the operator's filters in Vast's own words."""

    api_key: SecretStr
    url: str = "https://console.vast.ai"
    timeout: float = 60.0  # seconds for the answer to begin, and again for all of its body
    connect_timeout: float = 10.0  # seconds
    attempts: int = 3  # of a read or a destroy; a create is sent once
    retry_wait: float = 0.5  # seconds before the second attempt, doubled for each further one
    retry_wait_cap: float = 5.0  # seconds
    patience: float = 30.0  # seconds: a route closed for longer raises RateLimited instead of waiting
    body_limit: int = 32 * 1024 * 1024  # bytes
    filters: Mapping[str, object] = field(default_factory=dict)
    allocated_storage: float = 8.0  # GB that prices are quoted for
    limit: int = 64  # offers a page; Vast never gives more than 64
