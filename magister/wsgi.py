"""The application for `gunicorn magister.wsgi:app`, at the path that operators know."""

from magister.service.wsgi import app

__all__ = ["app"]
