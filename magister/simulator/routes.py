"""Which routes there are."""

from magister.simulator import account_routes, instance_routes, market_routes
from magister.simulator.calls import Effect

ROUTES: tuple[tuple[str, str, str, Effect], ...] = (
    ("POST", "/api/v0/bundles/", "search", market_routes.search),
    ("GET", "/api/v0/bundles/", "search_get", market_routes.search),
    ("PUT", "/api/v0/search/asks/", "search_new", market_routes.search),
    ("PUT", "/api/v0/asks/<ident>/", "create", market_routes.create),
    ("GET", "/api/v1/instances/", "list", instance_routes.list_instances),
    ("GET", "/api/v0/instances/", "list_v0", instance_routes.list_v0),
    ("GET", "/api/v0/instances/count/", "count", instance_routes.count),
    ("GET", "/api/v0/instances/<ident>/", "show", instance_routes.show),
    ("DELETE", "/api/v0/instances/<ident>/", "destroy", instance_routes.destroy),
    ("PUT", "/api/v0/instances/<ident>/", "update", instance_routes.update),
    ("PUT", "/api/v0/instances/request_logs/<ident>/", "logs", instance_routes.request_logs),
    ("GET", "/instance_logs/<ident>", "log_text", instance_routes.log_text),
    ("GET", "/api/v0/users/current/", "user", account_routes.user),
    ("GET", "/api/v0/users/spend-rate/", "spend_rate", account_routes.spend_rate),
    ("GET", "/api/v0/charges/", "charges", account_routes.charges),
    ("GET", "/api/v0/template/", "templates", account_routes.templates),
    ("GET", "/api/v0/gpu_names/unique/", "gpu_names", market_routes.gpu_names),
)
"""Method, path, name (for limits, faults and counts) and effect of every route."""
PUBLIC = frozenset({"search", "search_get", "search_new", "gpu_names", "log_text"})
"""Routes that need no key, though a wrong one is refused (logs excepted)."""
