"""The one way in which the market says no."""


class Refused(Exception):
    """Carry a refusal as Vast words it: an HTTP status, an error code and a message for people."""

    def __init__(self, status: int, error: str, msg: str) -> None:
        super().__init__(f"{status} {error}: {msg}")
        self.status = status
        self.error = error
        self.msg = msg

    def body(self) -> dict[str, object]:
        """Give the JSON object Vast answers with."""
        return {"success": False, "error": self.error, "msg": self.msg}


def no_such_ask(offer_id: int, *, existed: bool) -> Refused:
    """Say that an offer cannot be rented.

    410 if it was ever published, else 404 (generated OpenAPI of `/asks/{id}/`).
    """
    if existed:
        words = f"error 410/3907: no_such_ask Instance type {offer_id} is no longer available."
        return Refused(410, "no_such_ask", words)
    words = f"error 404/3603: no_such_ask Instance type by id {offer_id} is not available."
    return Refused(404, "no_such_ask", words)


def no_such_instance(contract_id: int) -> Refused:
    """Say that an instance is not (or no longer) there."""
    return Refused(404, "no_such_instance", f"Instance {contract_id} not found.")


def invalid_args(msg: str) -> Refused:
    """Say that the body of a request is not acceptable."""
    return Refused(400, "invalid_args", msg)
