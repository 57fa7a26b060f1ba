"""Every error that crosses a module, named by what a caller can do about it."""


class MagisterError(Exception):
    """Something Magister can say in one line."""

    def __init__(self, message: str | None = None) -> None:
        """Take `message`, or else the class's docstring, as the line to show."""
        super().__init__(message or " ".join((self.__doc__ or type(self).__name__).split()))


class Unusable(MagisterError):
    """The operator must change something before the program can run: exit code 2."""


class BadSettings(Unusable):
    """The settings cannot be used."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        """Keep every problem, one line each, so that all can be mended in one go."""
        self.problems = problems
        super().__init__("\n".join(problems))


class BadUsage(Unusable):
    """The command cannot be carried out as it was given."""


class DatabaseUnusable(Unusable):
    """The database cannot be used."""


class DatabaseReplaced(DatabaseUnusable):
    """The file of the database is not the one that was opened any more."""


class PortTaken(Unusable):
    """The port is in use by another program."""


class Stale(MagisterError):
    """The row was no longer as the caller had seen it; look again."""


class LeaseLost(MagisterError):
    """Another loop holds the lease; send nothing."""


class Stopping(MagisterError):
    """The service was asked to stop; nothing further is sent."""


class UnknownInstance(MagisterError):
    """No instance of ours answers to that id."""


class TooEarly(UnknownInstance):
    """No instance of ours answers to that id yet; what the first listing from Vast shows may still be it."""


class InstanceEnded(MagisterError):
    """That instance is on its way out or gone."""


class WrongKey(MagisterError):
    """The key in the URL is missing or is not this instance's."""


class FromBrowser(MagisterError):
    """Browsers can neither verify nor drop, for any page could make them: use curl, or `magister drop`."""


class VastError(MagisterError):
    """Vast did not do what was asked."""


class Transient(VastError):
    """Vast could not answer a call that may safely be made again."""


class NotSent(Transient):
    """The request never left, so nothing took effect."""


class RateLimited(VastError):
    """Vast answered 429: the call was not carried out and may be made again later."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        """Keep the seconds until the route opens again; None = nothing was said."""
        super().__init__(message)
        self.retry_after = retry_after


class Ambiguous(VastError):
    """A create may or may not have taken effect; only listings can tell."""


class BadKey(VastError):
    """Vast does not know the API key: set vast_api_key to a valid one."""


class Refused(VastError):
    """Vast refused in its own words; nothing took effect."""


class OfferGone(Refused):
    """The offer is no longer available; take another."""


class NoCredit(Refused):
    """The Vast account lacks credit; add some at console.vast.ai."""


class StartedStopped(VastError):
    """Vast made the box but did not start it, so its disk bills."""

    def __init__(self, contract_id: int) -> None:
        """Keep the contract that has to be destroyed."""
        super().__init__(f"Vast made contract {contract_id} without starting it")
        self.contract_id = contract_id


class OtherAccount(VastError):
    """The key is of another Vast account than the pool's boxes are on."""

    def __init__(self, *, boxes: int, answers: int | None, ours: int | None) -> None:
        """Say how many boxes the account lacks, which one answers and which is ours; None = not known."""
        many = f"the {boxes} boxes of the pool are" if boxes != 1 else "the 1 box of the pool is"
        if answers is not None and ours is not None:
            said = f"vast_api_key is a key of Vast account {answers}, and {many} on account {ours}"
        else:
            which = "which Vast does not name" if answers is None else f"which is {answers}"
            said = f"vast_api_key seems to be a key of another Vast account: {many} not on this one, {which}"
        super().__init__(said)


class IncompleteListing(Transient):
    """The listing of instances was not complete, so it proves nothing."""


class Unreachable(MagisterError):
    """Hierophant could not be asked or gave no list of workers, which is evidence about nothing."""


class IllegalMove(MagisterError):
    """The table of moves has no such move."""
