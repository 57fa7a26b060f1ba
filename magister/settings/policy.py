"""The settings by which Magister judges, chooses and spends, a class a table."""

from typing import Annotated, Literal

from pydantic import Field

from magister.settings.types import Allowed, Amount, Few, Group, Interval, Many, Share, Wait, Waits


class Health(Group):
    """Say how long to wait before an instance or a machine is held to have failed, and what is asked then."""

    create_grace_secs: Interval = Field(
        default=300, description="How long listings may lag: before that nothing new is judged gone, seconds."
    )
    provisioning_grace_secs: Interval = Field(
        default=600, description="Most time an image pull may stop the verification clock, seconds."
    )
    offline_grace_secs: Interval = Field(
        default=600,
        description="How long a verified box may be offline or unknown before it is replaced, seconds.",
    )
    clock_jump_secs: Wait = Field(
        default=5, description="How far the clocks may part before deadlines wait for a new listing, seconds."
    )
    beat_timeout_secs: Wait = Field(
        default=300,
        description="How long a box that used to beat may be silent, never less than three beats, seconds.",
    )
    offer_reuse_secs: Interval = Field(
        default=86400,
        description="How long the offer of an instance without a callback key rests after its end, seconds.",
    )
    autopsy: Annotated[bool, Allowed("true or false")] = Field(
        default=True,
        description="Whether the last lines of its logs are kept before a box that failed is destroyed.",
    )


class Caution(Group):
    """Say how rentals that failed slow further ones down."""

    launch_backoff_secs: Waits = Field(
        default=(0, 60, 120, 300, 600, 1800),
        description="Seconds to rent nothing after 1, 2, … failed tries in a row; the last repeats.",
    )
    recent_secs: Interval = Field(
        default=1800,
        description="How long a failure lets fewer boxes be tried at once if no worker verifies, seconds.",
    )
    window: Few = Field(default=6, description="The last rentals that are looked at together, 1 to 64.")
    trip: Few = Field(
        default=4,
        description="Failures among those that let only one box at a time be tried until a worker verifies.",
    )
    short_life_secs: Interval = Field(
        default=300,
        description="How soon after verifying a worker's end still counts as a failed rental, seconds; "
        "0 = never.",
    )
    loss_window_secs: Interval = Field(
        default=600, description="How close together losses of verified boxes count as one event, seconds."
    )
    loss_share: Share = Field(
        default=0.34,
        description="Share of the verified boxes, and more than one, whose loss at once is not believed.",
    )
    canary_after_secs: Interval = Field(
        default=120, description="How long after such a loss one box is replaced to see, seconds."
    )
    quarantine_secs: Interval = Field(
        default=3600,
        description="How long a machine is tried last after a failure before its worker verified, each time "
        "four times as long, seconds.",
    )
    quarantine_cap_secs: Interval = Field(
        default=604800, description="Longest such time, after which a failure is forgotten, seconds."
    )
    quarantine_host_machines: Few = Field(
        default=3, description="Machines in quarantine that put their whole host there, 1 to 64."
    )


class Placement(Group):
    """Say how boxes are spread over offers."""

    rank: Annotated[Literal["expected_cost", "price", "score"], Allowed("expected_cost, price or score")] = (
        Field(
            default="expected_cost",
            description="What is taken first: the least expected cost per hour of work, the least price, or "
            "Vast's best score.",
        )
    )
    max_per_machine: Few = Field(
        default=1,
        description="Boxes preferred at most on one machine; exceeded only when nothing else is offered.",
    )
    max_per_host: Few | None = Field(
        default=None,
        description="Boxes preferred at most on one host, likewise; unset = any number.",
        examples=[4],
    )
    spread: Share = Field(
        default=0.02,
        description="Share by which an offer counts as dearer for each of our boxes on its host, 0 to 1.",
    )
    search_limit: Few = Field(
        default=64, description="Most offers to ask for in one search, 1 to 64 (Vast's cap)."
    )
    surge: Many = Field(
        default=0,
        description="Boxes that may be rented beyond the target while dropped ones are not proved gone.",
    )


class Budget(Group):
    """Say how much may be spent, in USD; unset = no such cap. Days and months are those of UTC."""

    usd_per_hour: Annotated[Amount | None, Allowed("a number of USD, 0 or more")] = Field(
        default=None, description="Most that all boxes together may cost, USD per hour.", examples=[5]
    )
    usd_per_day: Annotated[Amount | None, Allowed("a number of USD, 0 or more")] = Field(
        default=None, description="Most that is spent in a UTC day, USD.", examples=[100]
    )
    usd_per_month: Annotated[Amount | None, Allowed("a number of USD, 0 or more")] = Field(
        default=None, description="Most that is spent in a UTC month, USD.", examples=[2000]
    )
    usd_total: Annotated[Amount | None, Allowed("a number of USD, 0 or more")] = Field(
        default=None, description="Most that is ever spent with this database, USD.", examples=[10000]
    )
    traffic_reserve_gb: Annotated[Amount, Allowed("a number of GB, 0 or more")] = Field(
        default=0,
        description="Download of each new box for which its offer's price is set aside under these caps, GB.",
    )
    min_runway_hours: Annotated[Amount | None, Allowed("a number of hours, 0 or more")] = Field(
        default=None, description="How long the credit must last after a rental, hours.", examples=[12]
    )


class Billing(Group):
    """Say how often the estimate is held against what Vast charged."""

    poll_secs: Interval = Field(
        default=86400, description="How often Vast's charges are read, seconds; 0 = never."
    )
    reread_days: Few = Field(
        default=3, description="Days before today that are read each time, for charges lag, 1 to 64."
    )
