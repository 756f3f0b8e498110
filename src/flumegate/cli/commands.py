"""The commands and what each is for: the one source of the top level's help and of what `main` registers.

Standard library only: `flumegate --help` and `flumegate serve` answer from here without the command line's library,
whose import alone takes half of the 200 ms that help may take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

SUMMARY = "Flumegate: a self-hosted gateway for large language models."


class Command(NamedTuple):
    """One command."""

    words: str
    """As typed after `flumegate`."""
    target: str
    """`module:function` that runs it."""
    summary: str


class ServeOptions(TypedDict, total=False):
    """The options of `serve`, by parameter."""

    config: Path
    listen: str
    workers: int
    data_dir: Path


COMMANDS = (
    Command("serve", "flumegate.cli.serve:serve", "Start the gateway."),
    Command("mock", "flumegate.cli.mock:mock", "Start the fake provider, for tests and trials."),
    Command("config check", "flumegate.cli.config:check", "Report every error in the configuration."),
    Command("config show", "flumegate.cli.config:show", "Print the configuration in force, secrets masked."),
    Command("config schema", "flumegate.cli.config:schema", "Print the JSON Schema of the configuration."),
    Command("logs tail", "flumegate.cli.logs:tail", "Show the newest requests, and follow new ones."),
    Command("logs show", "flumegate.cli.logs:show", "Show all that is known of one request."),
    Command("logs search", "flumegate.cli.logs:search", "Find requests."),
    Command("explain", "flumegate.cli.explain:explain", "Show what would become of a request, and why."),
    Command("target list", "flumegate.cli.targets:list_targets", "Show how all targets fare."),
    Command("target open", "flumegate.cli.targets:open_target", "Send nothing more to a target."),
    Command("target close", "flumegate.cli.targets:close_target", "Keep sending to a target however it fails."),
    Command("target reset", "flumegate.cli.targets:reset_target", "Let a target's breaker decide again."),
    Command("setup", "flumegate.cli.tokens:set_up", "Exchange the setup token for an owner's token."),
    Command("project list", "flumegate.cli.projects:list_projects", "List projects."),
    Command("project create", "flumegate.cli.projects:create_project", "Make a project."),
    Command("project show", "flumegate.cli.projects:show_project", "Show a project."),
    Command("project set", "flumegate.cli.projects:set_project", "Change a project."),
    Command("project deactivate", "flumegate.cli.projects:deactivate_project", "Close a project."),
    Command("key create", "flumegate.cli.keys:create_key", "Make a client key."),
    Command("key list", "flumegate.cli.keys:list_keys", "List client keys."),
    Command("key show", "flumegate.cli.keys:show_key", "Show all that is known of a key."),
    Command("key set", "flumegate.cli.keys:set_key", "Change a key."),
    Command("key rotate", "flumegate.cli.keys:rotate_key", "Replace a key, with an overlap."),
    Command("key revoke", "flumegate.cli.keys:revoke_keys", "Revoke keys."),
    Command("key import", "flumegate.cli.keys:import_keys", "Take over keys that clients have already."),
    Command("budget list", "flumegate.cli.budgets:list_budgets", "List budgets and what was spent."),
    Command("budget set", "flumegate.cli.budgets:set_budget", "Set what may be spent."),
    Command("budget raise", "flumegate.cli.budgets:raise_budget", "Raise a budget for a while."),
    Command("budget remove", "flumegate.cli.budgets:remove_budget", "Take a budget away."),
    Command("usage", "flumegate.cli.budgets:show_usage", "Sum up requests, tokens and money."),
    Command("credential list", "flumegate.cli.tokens:list_credentials", "List stored credentials of providers."),
    Command("credential set", "flumegate.cli.tokens:set_credential", "Give a provider a credential."),
    Command("credential remove", "flumegate.cli.tokens:remove_credential", "Take a stored credential away."),
    Command("token list", "flumegate.cli.tokens:list_tokens", "List who may operate the gateway."),
    Command("token create", "flumegate.cli.tokens:create_token", "Let somebody operate the gateway."),
    Command("token revoke", "flumegate.cli.tokens:revoke_token", "Shut somebody out."),
    Command("audit list", "flumegate.cli.audit:list_audit", "Show who did what."),
    Command("audit verify", "flumegate.cli.audit:verify_audit", "Prove that the audit trail is whole."),
    Command("audit export", "flumegate.cli.audit:export_audit", "Write the audit trail as JSON lines."),
    Command("db migrate", "flumegate.cli.storage:migrate", "Bring the database to this release's schema."),
    Command("db status", "flumegate.cli.storage:status", "Say where the database's schema stands."),
    Command("db rotate-keys", "flumegate.cli.storage:rotate_keys", "Seal stored secrets under a new master key."),
    Command("doctor", "flumegate.cli.doctor:doctor", "Look for what keeps the gateway from working."),
    Command("completion", "flumegate.cli.completion:completion", "Print a completion script for a shell."),
    Command("import litellm", "flumegate.cli.foreign:import_litellm", "Read a LiteLLM configuration as ours."),
)
GROUPS = {
    "config": "Check, show and describe the configuration.",
    "logs": "Read the records of requests.",
    "target": "Show the health of targets, and force it.",
    "project": "Manage projects.",
    "key": "Manage client keys.",
    "budget": "Manage budgets.",
    "credential": "Manage the stored credentials of providers.",
    "token": "Manage who may operate the gateway.",
    "audit": "Read and prove the audit trail.",
    "db": "Look after the database.",
    "import": "Take over from another gateway.",
}
"""First words that several commands share."""


def help_text() -> str:
    """Return the help of `flumegate` itself."""
    rows = [(command.words, command.summary) for command in COMMANDS]
    rows += [("COMMAND --help", "Explain a command and its options."), ("--version", "Print the version.")]
    lines = "".join(f"  {name:<18} {text}\n" for name, text in rows)
    return f"Usage: flumegate COMMAND [OPTIONS]\n\n{SUMMARY}\n\n{lines}"


def plain_serve(arguments: Sequence[str]) -> ServeOptions | None:
    """Return the options of a `serve` command line that is beyond doubt; None for every other one."""
    if not arguments or arguments[0] != "serve":
        return None
    found: ServeOptions = {}
    rest = list(arguments[1:])
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not equals:
            if not rest or rest[0].startswith("-"):
                return None
            value = rest.pop(0)
        if name == "--config":
            found["config"] = Path(value)
        elif name == "--data-dir":
            found["data_dir"] = Path(value)
        elif name == "--listen":
            found["listen"] = value
        elif name == "--workers" and value.isascii() and value.isdigit():
            found["workers"] = int(value)
        else:
            return None
    return found
