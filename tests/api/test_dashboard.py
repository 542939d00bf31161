"""The dashboard and the rules, asked of a real Prometheus that scrapes a served application."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastzero_core import Stack, load_settings
from fastzero_core.polling import wait_until
from fastzero_core.todo_app.dashboard import ALERTS, INTERVAL, PANELS, dashboard_json, rules_yaml
from tests.ports import any_free_port

from .client import PATIENCE
from .conftest import Client, ServeApp

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
METRIC = re.compile(r"\bfastzero_\w+")

Ask = Callable[[str], list[Any]]


@pytest.fixture
def archived(folder: Path) -> Iterator[str]:
    """The URL of a database that is archived."""
    settings = load_settings(project="demo", home=folder / "home", runtime="embedded", app=False)
    stack = Stack(settings).up(port=any_free_port())
    (folder / "archive").mkdir()
    stack.enable_archive((folder / "archive").as_uri())
    yield stack.database_url
    stack.down(volumes=True)


@pytest.fixture
def busy(serve_app: ServeApp, archived: str) -> Client:
    """An application that has answered requests of all kinds."""
    client = serve_app(archived)
    ana = client.sign_up()
    client.get("/todos/", ana.token)
    client.get("/todos/1000000", ana.token)
    client.log_in(ana.username, "wrong")
    return client


@pytest.fixture
def ask(busy: Client, folder: Path) -> Iterator[Ask]:
    """Asks a Prometheus that has scraped the application twice or more."""
    if PROMETHEUS is None:
        pytest.skip("prometheus is not installed")
    port = any_free_port()
    scrape = {"job_name": "fastzero", "static_configs": [{"targets": [f"127.0.0.1:{busy.port}"]}]}
    configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "error",
    }
    process = subprocess.Popen([PROMETHEUS, *(f"--{name}={value}" for name, value in options.items())])

    def ask(query: str) -> list[Any]:
        url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            found = json.load(answer)
        assert found["status"] == "success", query
        return list(found["data"]["result"])

    def has_scraped_twice() -> bool:
        try:
            return bool(ask("rate(fastzero_http_requests_total[1m])"))
        except OSError:
            return False

    try:
        assert wait_until(has_scraped_twice, PATIENCE)
        yield ask
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_every_graph_and_every_rule_has_an_answer(ask: Ask) -> None:
    queries = [query for panel in PANELS for query in panel.queries.values()]
    without = [query for query in queries if not ask(query.replace(INTERVAL, "1m"))]
    assert not without
    assert not [alert.name for alert in ALERTS if ask(alert.query)], "nothing is wrong with it"


@pytest.mark.slow
def test_every_metric_of_a_graph_or_rule_exists(busy: Client) -> None:
    served = set(METRIC.findall(busy.get("/metrics").text))
    queries = [query for panel in PANELS for query in panel.queries.values()] + [alert.query for alert in ALERTS]
    assert {name for query in queries for name in METRIC.findall(query)} <= served


@pytest.mark.slow
def test_a_login_that_is_refused_counts_under_the_route_of_the_rule(busy: Client) -> None:
    text = busy.get("/metrics").text
    assert re.search(r'requests_total\{method="POST",route="/auth/token",status="401"\} [1-9]', text)


def test_a_database_that_is_not_archived_has_no_metrics_of_an_archive(serve_app: ServeApp, database_url: str) -> None:
    assert "fastzero_archive_" not in serve_app(database_url).get("/metrics").text


def test_grafana_gets_each_panel_once() -> None:
    panels = json.loads(dashboard_json())["panels"]
    assert [panel["title"] for panel in panels] == [panel.title for panel in PANELS]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_accepts_the_rules(folder: Path) -> None:
    file = folder / "rules.yaml"
    file.write_text(rules_yaml())
    checked = subprocess.run([str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(ALERTS)} rules found" in checked.stdout
