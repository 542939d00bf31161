"""fastzero export: describe the stack to other tools."""

from typing import Annotated

import typer

from .options import Run
from .tree import Group

group = Group("export", example="fastzero export compose > compose.yaml")


@group.command(example="fastzero export dockerfile > Dockerfile")
def dockerfile(run: Run) -> None:
    """Print the Dockerfile that fastzero makes for your application.

    It is the one that is used as long as the application has none of its own.
    """
    run.render.text(run.stack.dockerfile())


@group.command(example="fastzero export compose > compose.yaml")
def compose(run: Run) -> None:
    """Print the stack as a compose.yaml.

    For Docker Compose: the same services, images, secrets and volume.
    """
    run.render.text(run.stack.compose())


@group.command(example="fastzero export stack > stack.yml")
def stack(run: Run) -> None:
    """Print the stack as a stack.yml.

    For `docker stack deploy`: the same services, images, secrets and placement, of a project in a swarm.
    """
    run.render.text(run.stack.stack_file())


@group.command(example="fastzero export kubernetes --registry registry.example.com > stack.yaml")
def kubernetes(
    run: Run,
    registry: Annotated[
        str, typer.Option("--registry", metavar="NAME", help="The registry that the built images are pushed to.")
    ] = "",
    backup_to: Annotated[
        str, typer.Option("--backup-to", metavar="URL", help="Where backups of the database go: s3://BUCKET/PREFIX.")
    ] = "",
    secrets: Annotated[bool, typer.Option("--secrets", help="Print the secrets, and nothing else.")] = False,
) -> None:
    """Print the stack as manifests for Kubernetes.

    The database is a cluster of CloudNativePG with three instances. The manifests refer to secrets; --secrets prints
    these, with their values.
    """
    run.render.text(run.stack.kubernetes(registry=registry, backup_to=backup_to, secrets=secrets))


@group.command(example="fastzero export dashboard > dashboard.json")
def dashboard(run: Run) -> None:
    """Print a Grafana dashboard for the built-in application.

    Its graphs are made from what /metrics serves.
    """
    from fastzero_core.todo_app.dashboard import dashboard_json

    run.render.text(dashboard_json())


@group.command(example="fastzero export rules > rules.yaml")
def rules(run: Run) -> None:
    """Print alerting rules for Prometheus, for the built-in application."""
    from fastzero_core.todo_app.dashboard import rules_yaml

    run.render.text(rules_yaml())
