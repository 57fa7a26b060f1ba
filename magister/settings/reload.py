"""Pure: what settings that were read again change, and what of that has to wait for a restart."""

from dataclasses import dataclass

from magister.errors import BadSettings
from magister.settings import describe
from magister.settings.model import Loaded, Settings, effective, value

FIXED = ("http_port", "web.bind", "database_url")
"""What a running service cannot change: where its boxes call, and where their rows are."""


@dataclass(frozen=True, slots=True)
class Change:
    """Hold a setting that changes, its values as people are shown them, and the origin of the new one."""

    name: str
    before: str
    after: str
    origin: str

    def __str__(self) -> str:
        """Say it in a few words; a secret only by its name."""
        if self.after == self.before == describe.MASK:
            return f"{self.name} ({self.origin})"
        return f"{self.name} = {self.after} instead of {self.before} ({self.origin})"


def between(before: Loaded, after: Loaded) -> tuple[Change, ...]:
    """Return every setting that changes; raises BadSettings if one does that must stay."""
    pairs = zip(describe.known(Settings), effective(before), effective(after), strict=True)
    changes = tuple(
        Change(setting.name, old.value, new.value, new.origin)
        for setting, old, new in pairs
        if value(before.settings, setting) != value(after.settings, setting)
    )
    if problems := tuple(line for change in changes if (line := _refusal(change))):
        raise BadSettings(problems)
    return changes


def _refusal(change: Change) -> str:
    """Say why a running service cannot change it; "" = it can."""
    if change.name not in FIXED:
        return ""
    return (
        f"{change.name} = {change.after} from {change.origin}: "
        f"must stay {change.before} while the service runs; restart it to change that"
    )
