"""Keep a constant number of Vast.ai boxes of one template running, each known, working or on its way out."""

__version__ = "0.1.0"
