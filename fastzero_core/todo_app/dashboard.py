"""A Grafana dashboard and Prometheus rules for the metrics that the built-in application serves.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/ and
https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INTERVAL = "$__rate_interval"  # Grafana replaces it
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT, COLUMNS = 12, 8, 2  # of a panel, in the grid of 24 columns

_REQUESTS = "fastzero_http_requests_total"
_BUCKETS = "fastzero_http_request_duration_seconds_bucket"
_FAILED_ARCHIVING = "increase(fastzero_archive_failures_total[5m])"
_LOGIN = '{route="/auth/token", status=~"401|429"}'


@dataclass(frozen=True)
class Panel:
    """One graph: its title, the unit of its values as Grafana names it, and its queries by legend."""

    title: str
    unit: str
    queries: Mapping[str, str]


@dataclass(frozen=True)
class Alert:
    """One rule: the query that is true while something is wrong, for how long, how urgent it is, and what to tell."""

    name: str
    query: str
    lasting: str
    severity: str
    summary: str


def _rate(metric: str, interval: str = INTERVAL) -> str:
    return f"rate({metric}[{interval}])"


def _quantile(quantile: float, *labels: str, interval: str = INTERVAL) -> str:
    return f"histogram_quantile({quantile}, sum by ({', '.join(['le', *labels])}) ({_rate(_BUCKETS, interval)}))"


def _failed(interval: str = INTERVAL) -> str:
    failures = _REQUESTS + '{status=~"5.."}'
    return f"(sum({_rate(failures, interval)}) or vector(0)) / sum({_rate(_REQUESTS, interval)})"


def _age(of: str) -> str:
    return f"time() - max(fastzero_archive_{of}_timestamp_seconds)"


PANELS = (
    Panel("Requests", "reqps", {"{{status}}": f"sum by (status) ({_rate(_REQUESTS)})"}),
    Panel("Requests that failed (5xx)", "percentunit", {"share": _failed()}),
    Panel("Duration", "s", {"median": _quantile(0.5), "99 %": _quantile(0.99)}),
    Panel("Duration of the slowest routes, 99 %", "s", {"{{route}}": f"topk(5, {_quantile(0.99, 'route')})"}),
    Panel(
        "Requests waiting for the database",
        "none",
        {"{{route}}": f"sum by (route) ({_rate('fastzero_database_seconds_total')})"},
    ),
    Panel(
        "Connections to the database",
        "none",
        {
            "in use": "sum by (instance) (fastzero_pool_connections_in_use)",
            "at most": "sum by (instance) (fastzero_pool_connections_max)",
        },
    ),
    Panel("Logins refused", "reqps", {"{{status}}": f"sum by (status) ({_rate(_REQUESTS + _LOGIN)})"}),
    Panel("Replicas that answer", "none", {"replicas": "count(fastzero_pool_connections_max)"}),
    Panel("Archive: since the last segment", "s", {"age": _age("last_segment")}),
    Panel("Archive: attempts that failed", "none", {"in 5 minutes": f"max({_FAILED_ARCHIVING})"}),
    Panel("Archive: age of the base backup", "s", {"age": _age("base_backup")}),
)

ALERTS = (
    Alert(
        "FastzeroAbsent",
        "absent(fastzero_pool_connections_max)",
        "2m",
        "critical",
        "No replica of the application answers",
    ),
    Alert("FastzeroErrors", f"{_failed('5m')} > 0.01", "5m", "critical", "More than 1 % of the requests fail"),
    Alert(
        "FastzeroSlow", f"{_quantile(0.99, interval='5m')} > 1", "10m", "warning", "1 % of the requests take over 1 s"
    ),
    Alert(
        "FastzeroPoolExhausted",
        "fastzero_pool_connections_in_use / fastzero_pool_connections_max > 0.9",
        "5m",
        "warning",
        "Nearly all database connections of {{ $labels.instance }} are in use",
    ),
    Alert(
        "FastzeroLoginsRefused",
        f"sum({_rate(_REQUESTS + _LOGIN, '5m')}) > 1",
        "10m",
        "warning",
        "More than one login a second is refused: somebody may be guessing passwords",
    ),
    Alert(
        "FastzeroArchiveFailing",
        f"max({_FAILED_ARCHIVING}) > 0",
        "10m",
        "critical",
        "The database cannot archive: see fastzero db archive status",
    ),
    Alert(
        "FastzeroBaseBackupOld",
        f"{_age('base_backup')} > 8 * 86400",
        "1h",
        "warning",
        "The newest base backup is older than 8 days: fastzero db archive backup",
    ),
)


def dashboard_json() -> str:
    """Return the dashboard, to import into Grafana, which asks for the Prometheus to use."""
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    content = {
        "title": "fastzero",
        "uid": "fastzero",
        "tags": ["fastzero"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(content, indent=2) + "\n"


def rules_yaml() -> str:
    """Return the rules, for `rule_files` of Prometheus."""
    import yaml

    rules = [
        {
            "alert": alert.name,
            "expr": alert.query,
            "for": alert.lasting,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary},
        }
        for alert in ALERTS
    ]
    return yaml.safe_dump({"groups": [{"name": "fastzero", "rules": rules}]}, sort_keys=False, width=120)


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    queries = [
        {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": SOURCE}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": queries,
    }
