"""Which routes there are."""

from magister.simulator.http import account, instances, market
from magister.simulator.http.calls import Effect

ROUTES: tuple[tuple[str, str, str, Effect], ...] = (
    ("POST", "/api/v0/bundles/", "search", market.search),
    ("GET", "/api/v0/bundles/", "search_get", market.search),
    ("PUT", "/api/v0/search/asks/", "search_new", market.search),
    ("PUT", "/api/v0/asks/<ident>/", "create", market.create),
    ("GET", "/api/v1/instances/", "list", instances.list_instances),
    ("GET", "/api/v0/instances/", "list_v0", instances.list_v0),
    ("GET", "/api/v0/instances/count/", "count", instances.count),
    ("GET", "/api/v0/instances/<ident>/", "show", instances.show),
    ("DELETE", "/api/v0/instances/<ident>/", "destroy", instances.destroy),
    ("PUT", "/api/v0/instances/<ident>/", "update", instances.update),
    ("PUT", "/api/v0/instances/request_logs/<ident>/", "logs", instances.request_logs),
    ("GET", "/instance_logs/<ident>", "log_text", instances.log_text),
    ("GET", "/api/v0/users/current/", "user", account.user),
    ("GET", "/api/v0/users/spend-rate/", "spend_rate", account.spend_rate),
    ("GET", "/api/v0/charges/", "charges", account.charges),
    ("GET", "/api/v0/template/", "templates", account.templates),
    ("GET", "/api/v0/gpu_names/unique/", "gpu_names", market.gpu_names),
)
"""Method, path, name (for limits, faults and counts) and effect of every route."""
PUBLIC = frozenset({"search", "search_get", "search_new", "gpu_names", "log_text"})
"""Routes that need no key, though a wrong one is refused (logs excepted)."""
