"""The `mintong` command. What a subcommand needs is imported when it runs, so that `--help` is instant."""

# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError
from rich.markup import escape
from typer.exceptions import Abort, TyperException

from cli.refusals import explain_refusal
from cli.resources import CommandError, console, output, read_settings, run_async
from domain.access import Role
from domain.account import Grant
from domain.errors import DomainError
from domain.open311 import KeyScope
from store.engines import EngineError, find_running

app = typer.Typer(
    help="Mintong, the backend of a province's citizen app. `mintong run` starts everything.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
import_app = typer.Typer(help="Bring data in from files.", no_args_is_help=True)
demo_app = typer.Typer(help="Make believable data to try the system with.", no_args_is_help=True)
catalogue_app = typer.Typer(help="Publish the catalogue, withdraw and restore items.", no_args_is_help=True)
account_app = typer.Typer(help="Appoint staff and operators, rotate token keys.", no_args_is_help=True)
schema_app = typer.Typer(help="Export the GraphQL schema, or check the exported one.", no_args_is_help=True)
knowledge_app = typer.Typer(help="Import and export guides, list those to review.", no_args_is_help=True)
units_app = typer.Typer(help="Import and export units and classes of complaints.", no_args_is_help=True)
messages_app = typer.Typer(help="Watch, pause and cancel messages, replay failed ones.", no_args_is_help=True)
app.add_typer(messages_app, name="messages")
app.add_typer(units_app, name="units")
complaints_app = typer.Typer(help="Verify complaints, draw their steps.", no_args_is_help=True)
app.add_typer(complaints_app, name="complaints")
statistics_app = typer.Typer(help="The sums behind the statistics of complaints.", no_args_is_help=True)
complaints_app.add_typer(statistics_app, name="statistics")
app.add_typer(knowledge_app, name="knowledge")
app.add_typer(import_app, name="import")
app.add_typer(demo_app, name="demo")
app.add_typer(catalogue_app, name="catalogue")
app.add_typer(account_app, name="account")
open311_app = typer.Typer(help="Partners that use Open311.", no_args_is_help=True)
key_app = typer.Typer(help="Make, list and revoke the keys of partners.", no_args_is_help=True)
open311_app.add_typer(key_app, name="key")
app.add_typer(open311_app, name="open311")
app.add_typer(schema_app, name="schema")


@app.command()
def run(
    demo: Annotated[bool, typer.Option(help="Fill an empty store with the demo catalogue.")] = True,
) -> None:
    """Start the whole system: engines, API, feeds and worker. Ctrl-C stops it."""
    _run_parts(("api", "feeds", "worker"), demo=demo)


@app.command()
def api() -> None:
    """Serve GraphQL. Starts or joins the embedded engines where none are configured."""
    settings = read_settings()
    if not (settings.mongodb_uri and settings.redis_url) and not _join(settings.home):
        _run_parts(("api",), demo=False)
        return
    from api.server import serve

    serve(read_settings())


@app.command()
def feeds() -> None:
    """Run the periodic jobs: popularity, publication, indexes."""
    settings = read_settings()
    if not (settings.mongodb_uri and settings.redis_url) and not _join(settings.home):
        _run_parts(("feeds",), demo=False)
        return
    from feeds.__main__ import main as run_feeds

    run_feeds(read_settings())


@app.command()
def worker() -> None:
    """Fan messages out and deliver them. Several workers share the work."""
    settings = read_settings()
    if not (settings.mongodb_uri and settings.redis_url) and not _join(settings.home):
        _run_parts(("worker",), demo=False)
        return
    from cli.worker import main as run_worker

    run_worker(read_settings())


@messages_app.command("status")
def messages_status_command(
    message: Annotated[str | None, typer.Argument(help="Id of a message; none: the queue.")] = None,
) -> None:
    """Show how far a message has come, or what waits."""
    from cli.messages import show_status

    run_async(show_status(read_settings(), message))


@messages_app.command("dead")
def messages_dead_command(
    first: Annotated[int, typer.Option(min=1, max=1000, help="How many to show.")] = 50,
) -> None:
    """List pushes that failed for good, with the reason."""
    from cli.messages import show_dead

    run_async(show_dead(read_settings(), first))


@messages_app.command("replay")
def messages_replay_command(
    message: Annotated[str | None, typer.Option(help="Only those of this message.")] = None,
) -> None:
    """Try pushes that failed for good again, from the first attempt."""
    from cli.messages import replay

    run_async(replay(read_settings(), message))


@messages_app.command("upgrade")
def messages_upgrade_command() -> None:
    """Bring inboxes and preferences of an earlier version to today's form; once is enough, again harmless."""
    from cli.messages import upgrade

    run_async(upgrade(read_settings()))


@messages_app.command("pause")
def messages_pause_command(message: Annotated[str, typer.Argument(help="Id of a message.")]) -> None:
    """Hold back whatever of a message has not been handed over yet."""
    from cli.messages import change
    from domain.messages import Step

    run_async(change(read_settings(), message, Step.PAUSE))


@messages_app.command("resume")
def messages_resume_command(message: Annotated[str, typer.Argument(help="Id of a message.")]) -> None:
    """Go on with a paused message."""
    from cli.messages import change
    from domain.messages import Step

    run_async(change(read_settings(), message, Step.RESUME))


@messages_app.command("cancel")
def messages_cancel_command(message: Annotated[str, typer.Argument(help="Id of a message.")]) -> None:
    """Stop a message for good."""
    from cli.messages import change
    from domain.messages import Step

    run_async(change(read_settings(), message, Step.CANCEL))


@app.command()
def doctor() -> None:
    """Check settings, engines, versions, indexes, disk and clock, and say what to do."""
    from cli.doctor import examine, show

    if not show(run_async(examine(read_settings()))):
        raise typer.Exit(1)


@app.command("explain")
def explain_command(
    file: Annotated[Path, typer.Argument(help="A file with a GraphQL query.", exists=True, dir_okay=False)],
    *,
    variables: Annotated[str, typer.Option(help="The variables as a JSON object.")] = "{}",
    operation: Annotated[str | None, typer.Option(help="Which operation, where there are several.")] = None,
    source: Annotated[bool, typer.Option("--source", help="Print the generated Python instead.")] = False,
) -> None:
    """Run a query on the published catalogue and show how it is answered: plan, cost, times, caches."""
    from cli.explain import explain, show_source

    if source:
        show_source(read_settings(), file, variables, operation)
    else:
        run_async(explain(read_settings(), file, variables, operation))


@app.command("settings")
def settings_command(
    markdown: Annotated[bool, typer.Option(help="Print the reference (docs/settings.md) instead.")] = False,
) -> None:
    """Show every setting, its value and its meaning."""
    from cli.settings_table import render_settings, show_settings

    if markdown:
        output.out(render_settings(), end="")
    else:
        show_settings(read_settings())


@import_app.command("catalogue")
def import_catalogue_command(
    source: Annotated[str, typer.Argument(help="A JSONL, CSV or XLSX file, a folder of them, or a URL.")],
    *,
    mapping: Annotated[
        str, typer.Option(help="Name of a shipped mapping, or the path of one of your own.")
    ] = "national",
    full: Annotated[
        bool, typer.Option("--full", help="The source is complete: items it lacks are withdrawn.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Allow a full load that is much smaller than the last one.")
    ] = False,
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected rows go, with line, field and reason.")
    ] = None,
    publish: Annotated[
        bool, typer.Option(help="Publish now; else the feeds process does within minutes.")
    ] = True,
) -> None:
    """Import service items; the same source twice changes nothing."""
    from cli.catalogue import import_command

    run_async(
        import_command(
            read_settings(), source, mapping, full=full, force=force, rejects=rejects, publish=publish
        )
    )


@demo_app.command("catalogue")
def demo_catalogue_command(
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Write the rows to this JSONL file; nothing is imported.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Make at most this many items.")] = None,
) -> None:
    """Make the catalogue of a believable Fujian, import and publish it."""
    from cli.catalogue import demo_command

    run_async(demo_command(read_settings(), seed=seed, out=out, limit=limit))


@demo_app.command("units")
def demo_units_command() -> None:
    """Make the units of a believable Fujian, with their duties, and import them."""
    from cli.units import demo_units_command as make

    run_async(make(read_settings()))


@demo_app.command("knowledge")
def demo_knowledge_command() -> None:
    """Make the guides of a believable Fujian and publish them."""
    from cli.knowledge import demo_knowledge_command as make

    run_async(make(read_settings()))


@demo_app.command("complaints")
def demo_complaints_command() -> None:
    """Make complaints of the last four months, handled by the demo's units."""
    from cli.complaints import demo_command

    run_async(demo_command(read_settings()))


@demo_app.command("desk")
def demo_desk_command() -> None:
    """Make what the desk of a believable Fujian needs: units, guides and complaints."""
    demo_units_command()
    demo_knowledge_command()
    demo_complaints_command()


@knowledge_app.command("import")
def knowledge_import_command(
    file: Annotated[Path, typer.Argument(help="A file of JSON lines.", exists=True, dir_okay=False)],
) -> None:
    """Publish the guides of a file; guides that it does not name stay as they are."""
    from cli.knowledge import import_knowledge_command

    run_async(import_knowledge_command(read_settings(), file))


@knowledge_app.command("export")
def knowledge_export_command(
    file: Annotated[Path | None, typer.Argument(help="Where to write it; none: the standard output.")] = None,
) -> None:
    """Write the published guides as the file that `knowledge import` reads."""
    from cli.knowledge import export_knowledge_command

    run_async(export_knowledge_command(read_settings(), file))


@knowledge_app.command("due")
def knowledge_due_command(
    first: Annotated[int, typer.Option(min=1, max=1000, help="How many to show.")] = 20,
) -> None:
    """List guides that somebody has to look at again."""
    from cli.knowledge import knowledge_due_command as show

    run_async(show(read_settings(), first))


_Table = Annotated[Path, typer.Argument(help="A CSV file, complete.", exists=True, dir_okay=False)]
_Out = Annotated[Path | None, typer.Argument(help="Where to write it; none: the standard output.")]


@complaints_app.command("verify")
def complaints_verify_command() -> None:
    """Check every history of a complaint: seals, order, steps, due times."""
    from cli.complaints import verify_command

    run_async(verify_command(read_settings()))


@statistics_app.command("rebuild")
def complaints_rebuild_command() -> None:
    """Count all complaints anew, after a calendar was corrected or sums were lost."""
    from cli.complaints import rebuild_statistics_command

    run_async(rebuild_statistics_command(read_settings()))


@complaints_app.command("diagram")
def complaints_diagram_command() -> None:
    """Print the steps of a complaint as a diagram and a table (docs/complaint-steps.md)."""
    from cli.complaints import diagram_command

    diagram_command()


@units_app.command("import")
def units_import_command(
    file: _Table,
    *,
    force: Annotated[bool, typer.Option("--force", help="Allow over a tenth of the units to close.")] = False,
) -> None:
    """Bring the units to those of a complete table; a unit that it lacks is closed."""
    from cli.units import import_units_command

    run_async(import_units_command(read_settings(), file, force=force))


@units_app.command("export")
def units_export_command(file: _Out = None) -> None:
    """Write the units as the table that `units import` reads."""
    from cli.units import export_units_command

    run_async(export_units_command(read_settings(), file))


@units_app.command("import-city-classes")
def units_import_city_classes_command(file: _Table) -> None:
    """Put a complete table of one's own in place of the components and events of urban management."""
    from cli.units import import_city_classes_command

    run_async(import_city_classes_command(read_settings(), file))


@units_app.command("export-city-classes")
def units_export_city_classes_command(file: _Out = None) -> None:
    """Write the components and events as the table that `units import-city-classes` reads."""
    from cli.units import export_city_classes_command

    run_async(export_city_classes_command(read_settings(), file))


@units_app.command("import-classes")
def units_import_classes_command(file: _Table) -> None:
    """Put a complete table of one's own in place of the classes of complaints."""
    from cli.units import import_classes_command

    run_async(import_classes_command(read_settings(), file))


@units_app.command("export-classes")
def units_export_classes_command(file: _Out = None) -> None:
    """Write the classes of complaints as the table that `units import-classes` reads."""
    from cli.units import export_classes_command

    run_async(export_classes_command(read_settings(), file))


@demo_app.command("clear")
def demo_clear_command() -> None:
    """Withdraw every item of the demo and publish what remains."""
    from cli.catalogue import clear_demo

    run_async(clear_demo(read_settings()))


@catalogue_app.command("publish")
def publish_command() -> None:
    """Build a new version from the store and publish it; readers switch at once."""
    from cli.catalogue import publish

    run_async(publish(read_settings()))


@catalogue_app.command("withdraw")
def withdraw_command(ids: Annotated[list[str], typer.Argument(help="Ids of items.")]) -> None:
    """Withdraw items: gone from every API process within seconds."""
    from cli.catalogue import withdraw

    run_async(withdraw(read_settings(), ids))


@catalogue_app.command("restore")
def restore_command(ids: Annotated[list[str], typer.Argument(help="Ids of items.")]) -> None:
    """Offer withdrawn items again."""
    from cli.catalogue import restore

    run_async(restore(read_settings(), ids))


@catalogue_app.command("status")
def status_command() -> None:
    """Show what is published and what waits."""
    from cli.catalogue import status

    run_async(status(read_settings()))


@account_app.command("grant")
def account_grant_command(
    phone: Annotated[str, typer.Argument(help="Mobile number; an account is made where there is none.")],
    roles: Annotated[list[Role], typer.Argument(help="All the roles it is to have.", case_sensitive=False)],
    *,
    unit: Annotated[str | None, typer.Option(help="Unit of desk staff.")] = None,
    division: Annotated[str | None, typer.Option(help="Division within which desk staff work.")] = None,
    company: Annotated[str | None, typer.Option(help="Unified social credit code of an agent's.")] = None,
) -> None:
    """Give an account roles in place of those it has; its sessions end."""
    from cli.account import grant

    run_async(grant(read_settings(), phone, Grant(frozenset(roles), company, unit, division)))


@account_app.command("rotate-keys")
def account_rotate_keys_command(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="A key has leaked: void every access token signed so far.")
    ] = False,
) -> None:
    """Make a new key for access tokens; without --at-once the old ones stay good until they run out."""
    from cli.account import rotate_keys

    run_async(rotate_keys(read_settings(), at_once=at_once))


@key_app.command("create")
def open311_key_create_command(
    name: Annotated[str, typer.Argument(help="Name of the partner.")],
    contact: Annotated[str, typer.Argument(help="How to reach whoever runs the partner's service.")],
    *,
    scope: Annotated[
        KeyScope, typer.Option(help="READ, or WRITE for posting as well.", case_sensitive=False)
    ] = KeyScope.WRITE,
    division: Annotated[
        str | None, typer.Option(help="Division in which its requests lie; none: any.")
    ] = None,
    per_minute: Annotated[int, typer.Option(min=1, max=10_000, help="Calls in a minute.")] = 60,
    per_day: Annotated[int, typer.Option(min=1, max=1_000_000, help="Calls in a day.")] = 5_000,
) -> None:
    """Make a key for a partner and print it, this once."""
    from cli.open311 import create_key

    settings = read_settings()
    run_async(
        create_key(settings, name, contact, scope, division=division, per_minute=per_minute, per_day=per_day)
    )


@key_app.command("list")
def open311_key_list_command() -> None:
    """List the keys, revoked ones too."""
    from cli.open311 import list_keys

    run_async(list_keys(read_settings()))


@key_app.command("revoke")
def open311_key_revoke_command(key: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """Revoke a key for good."""
    from cli.open311 import revoke_key

    run_async(revoke_key(read_settings(), key))


@schema_app.command("export")
def schema_export_command(
    file: Annotated[Path, typer.Argument(help="Where to write it; - for the standard output.")] = Path(
        "schema.graphql"
    ),
) -> None:
    """Write the schema that the code defines."""
    from cli.schema import export_schema

    export_schema(None if str(file) == "-" else file)


@schema_app.command("check")
def schema_check_command(
    file: Annotated[Path, typer.Argument(help="The exported schema.")] = Path("schema.graphql"),
) -> None:
    """Compare the exported schema with the code's; print the difference and fail if there is one."""
    from cli.schema import check_schema

    check_schema(file)


def _join(home: Path) -> bool:
    """Put the addresses of the home's running engines into the environment; tell whether there are any."""
    running = find_running(home)
    if running is None:
        return False
    for name, address in (("MONGODB_URI", running.mongodb_uri), ("REDIS_URL", running.redis_url)):
        if address and not os.environ.get(name):
            os.environ[name] = address
    return True


def _run_parts(parts: tuple[str, ...], *, demo: bool) -> None:
    from cli.run import run_system

    try:
        run_async(run_system(read_settings(), parts, demo=demo))
    except KeyboardInterrupt:
        console.print("Stopped.")


def main() -> None:
    """Run the command line: errors are one line, with a traceback only when MINTONG_DEBUG is set."""
    if os.environ.get("MINTONG_DEBUG"):
        app()
    try:
        sys.exit(app(standalone_mode=False))
    except KeyboardInterrupt:
        console.print("Stopped.")
        sys.exit(130)
    except Abort:
        sys.exit(130)
    except TyperException as error:
        # Usage errors: typer's own display with the usage line.
        show = getattr(error, "show", None)
        if callable(show):
            show()
        else:
            _print_error(error.format_message())
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort of a command line
        code, text = _explain(error)
        _print_error(text)
        sys.exit(code)


def _explain(error: Exception) -> tuple[int, str]:
    if isinstance(error, CommandError):
        return error.code, str(error)
    if isinstance(error, EngineError):
        return 1, str(error)
    if isinstance(error, DomainError):
        return 1, explain_refusal(error)
    if isinstance(error, PyMongoError):
        return 1, f"MongoDB: {_shorten(error)}. `mintong doctor` tells more."
    if isinstance(error, RedisError):
        return 1, f"Redis: {_shorten(error)}. `mintong doctor` tells more."
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return 1, f"{place}{error.strerror or error}"
    return 1, f"Unexpected {type(error).__name__}: {_shorten(error)}. Set MINTONG_DEBUG=1 for the traceback."


def _shorten(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300].rstrip(".") if lines else type(error).__name__


def _print_error(text: str) -> None:
    console.print(f"[red]Error:[/] {escape(text)}", soft_wrap=True)


if __name__ == "__main__":
    main()
