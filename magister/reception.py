"""The worker class for `gunicorn -k magister.reception.Reception`, at the path that operators know."""

from magister.web.server.worker import Reception

__all__ = ["Reception"]
