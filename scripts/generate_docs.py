# ruff: noqa: INP001 - a script, not a package
"""Writes the generated files: pages below docs/ that follow from the code, and flumegate.example.yaml.

`python scripts/generate_docs.py` writes them, `--check` only says which are stale (exit 1). A test runs the check, so
that neither a setting nor a loss can change without its page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import management_page
import translation_page

from flumegate.config.aliases import RETRY_MEMBERS, SECTIONS
from flumegate.config.environment import ALIASES, KEYS_VARIABLE
from flumegate.config.load import FILE_VARIABLE
from flumegate.config.problem import dotted
from flumegate.config.sections import Config
from flumegate.config.settings import Setting, rows, section_of
from flumegate.providers.rows import ROWS, Row

ROOT = Path(__file__).parent.parent
_NOTICE = "scripts/generate_docs.py writes this file from the settings' own definitions; change it there."

_API_NOTICE = "scripts/generate_docs.py writes this file from the console's own description; change it there."
_TRANSLATION_NOTICE = "scripts/generate_docs.py writes this file from tests/golden/expected; change the text there."


def pages() -> dict[str, str]:
    """Return the text of every generated file by its path below the root."""
    return {
        "docs/configuration.md": _configuration_page(),
        "docs/providers.md": _providers_page(),
        "docs/management-api.md": management_page.page(_API_NOTICE),
        "docs/translation.md": translation_page.page(ROOT, _TRANSLATION_NOTICE),
        "flumegate.example.yaml": _example(),
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` compare them; return the exit code."""
    stale = [name for name, text in pages().items() if _current(ROOT / name) != text]
    for name in stale:
        if "--check" in arguments:
            sys.stderr.write(f"{name} is stale: run make docs\n")
        else:
            (ROOT / name).write_text(pages()[name], encoding="utf-8")
            sys.stdout.write(f"wrote {name}\n")
    return 1 if stale and "--check" in arguments else 0


def _current(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _configuration_page() -> str:
    lines = [f"<!-- {_NOTICE} -->", "", _CONFIGURATION_HEAD.strip(), ""]
    for name, settings in groupby(rows(), key=lambda setting: setting.path.split(".")[0]):
        lines += [f"## {name}", "", _section_help(name), ""]
        lines += ["| setting | type | default | environment | what |", "|---|---|---|---|---|"]
        lines += [_setting_line(setting) for setting in settings]
        lines.append("")
    lines += [_ALIASES_HEAD.strip(), ""]
    lines += ["| name | same as |", "|---|---|"]
    lines += [f"| `{name}` | `{dotted(path)}` |" for name, path in ALIASES]
    lines += [f"| {name} | {meaning} |" for name, meaning in _OTHER_ALIASES]
    lines += ["", _ALIASES_TAIL.strip(), "", _FILE_ALIASES_HEAD.strip(), ""]
    lines += ["| name in the file | same as |", "|---|---|"]
    lines += [f"| `{dotted(other)}` | `{dotted(ours)}` |" for other, ours in SECTIONS]
    lines += [f"| `{other}` in either | `{ours}` |" for other, ours in RETRY_MEMBERS]
    lines.append("")
    return "\n".join(lines)


def _section_help(name: str) -> str:
    field = Config.model_fields[name]
    section = section_of(field.annotation)
    return field.description or ((section.__doc__ or "").strip() if section else "")


def _setting_line(setting: Setting) -> str:
    what = setting.help if setting.is_available else f"*Not available in this release yet.* {setting.help}"
    variable = f"`{setting.variable}`" if setting.variable else "with the whole list"
    cells = (f"`{setting.path}`", setting.kind, f"`{setting.default}`", variable, what)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _providers_page() -> str:
    lines = [f"<!-- {_NOTICE} -->", "", _PROVIDERS_HEAD.strip(), ""]
    lines += [
        "| type | provider | base URL | speaks | key from | base URL from | its own models |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_provider_line(row) for row in ROWS]
    return "\n".join([*lines, "", _PROVIDERS_TAIL.strip(), ""])


def _provider_line(row: Row) -> str:
    def names(entries: tuple[str, ...]) -> str:
        return " ".join(f"`{entry}`" for entry in entries) or "-"

    url = f"`{row.base_url}`" if row.base_url else "`base_url` is required"
    base = f"`{row.base_url_variable}`" if row.base_url_variable else "-"
    keys = names(row.key_variables)
    cells = (f"`{row.type}`", row.title, url, ", ".join(row.speaks), keys, base, names(row.models))
    return f"| {' | '.join(cells)} |"


def _example() -> str:
    lines = [f"# {line}".rstrip() for line in _EXAMPLE_HEAD.strip().splitlines()]
    for name, settings in groupby(rows(), key=lambda setting: setting.path.split(".")[0]):
        available = [setting for setting in settings if setting.is_available]
        if name in _EXAMPLES:
            lines += ["", f"# {_section_help(name)}", f"#{name}:", *_EXAMPLES[name].strip("\n").splitlines()]
            lines += _provider_settings(available) if name == "providers" else []
        elif available:
            lines += ["", f"# {_section_help(name)}", f"#{name}:", *_example_lines(available)]
    return "\n".join(lines) + "\n"


def _example_lines(settings: list[Setting]) -> Iterator[str]:
    above: tuple[str, ...] = ()
    for setting in settings:
        *parents, name = setting.path.split(".")[1:]
        if parents and tuple(parents) != above:
            yield f"#{'  ' * len(parents)}{parents[-1]}:"
        above = tuple(parents)
        yield _example_line("  " * (len(parents) + 1), name, setting)


def _provider_settings(settings: list[Setting]) -> Iterator[str]:
    yield "#  everything:                               # each setting that a provider may have, at its default"
    above: tuple[str, ...] = ()
    for setting in settings[1:]:
        *parents, name = setting.path.split(".")[2:]
        if parents and tuple(parents) != above:
            yield f"#{'  ' * (len(parents) + 1)}{parents[-1]}:"
        above = tuple(parents)
        shown = setting._replace(default="openai") if name == "type" else setting
        yield _example_line("  " * (len(parents) + 2), name, shown)


def _example_line(indent: str, name: str, setting: Setting) -> str:
    return f"{f'#{indent}{name}: {setting.default}':<44} # {setting.help}"


_CONFIGURATION_HEAD = f"""
# Configuration

Flumegate needs no configuration file: with none, it takes providers from the environment (see
[providers](providers.md)). A file is one YAML document, `flumegate.yaml` in the working folder, or the one that
`--config` or `{FILE_VARIABLE}` names. `flumegate.example.yaml` lists every setting at its default.

* **Strict.** An unknown setting, a value out of bounds, a key set twice are errors with file, line and column, all
  reported at once. `flumegate config check` reports them without starting anything; a running gateway refuses an
  invalid change and serves on.
* **YAML 1.2.** `no` is a text, not false. Anchors and `<<` work; tags and several documents are refused.
* **Precedence:** environment over file over default. Every setting has a variable, in the column *environment*; lists
  are JSON or separated by commas, mappings are JSON. In names, case and punctuation do not matter: `GPT_4O` is
  `gpt-4o`.
* **Secrets** are references: `env:NAME`, or `file:/path` of a file that only its owner and group can read. The secret
  itself works too, and is warned about. `flumegate config show` never prints one.
* **Paths** are relative to the working folder.
* An entry left empty means its default. Where `null` is among the types it means what the help says.
* A setting that is *not available in this release yet* may stand at its default; any other value is an error.

`flumegate config show --origin` prints what is in force and where each value comes from; `flumegate config schema`
prints a JSON Schema for editors.
"""

_ALIASES_HEAD = f"""
## Other environment variables

`{KEYS_VARIABLE}` holds static client keys, separated by commas; they join those of the file. `{FILE_VARIABLE}` names
the configuration file. These names of other gateways are understood too; the `FLUMEGATE_` names win over them:
"""

_OTHER_ALIASES = (
    (
        "`UPSTREAMS`",
        (
            "`providers`: a JSON list of objects with `name`, `provider` (a type of [providers](providers.md)), "
            "`base_url`, `api_key`, `is_default`, and `timeout`, in seconds until an answer begins (60, at least 1). "
            "The first is the default if none is marked"
        ),
    ),
    (
        "`HTTP_CACHE_ENABLED`, `HTTP_CACHE_BACKEND`, `REDIS_CACHE_URL`",
        "refused where they switch the cache on, which is not available in this release yet",
    ),
)

_ALIASES_TAIL = """
With `UPSTREAMS`, or with providers in the file, the vendors' own variables (`OPENAI_API_KEY`, …) are not looked at.
"""

_FILE_ALIASES_HEAD = """
Files of other gateways name some settings differently; these names are understood where they stand there:
"""

_PROVIDERS_HEAD = """
# Providers

`type` in `providers.<name>` is one of these. Without any provider in the configuration, those join whose key is in the
environment, or whose base URL is; a local Ollama joins if it accepts a connection and there is no configuration file.
With no provider at all the built-in mock answers.

`base_url` is written as the vendor's own SDK wants it, and the other form works too: a bare origin gets the row's path,
a URL with a path of its own is taken at its word. The first provider, or the one marked `default`, takes the model
names that nothing else matches; `provider/model` addresses any provider directly.
"""

_PROVIDERS_TAIL = """
Notes:

* `speaks` can be changed with `dialects` where a server speaks more, or less, than its type says. A request goes to a
  provider as it is, in its own dialect.
* If `OPENAI_BASE_URL` points to a server of one's own and there is no `ANTHROPIC_API_KEY`, that server is handed
  `/v1/messages` too: most compatible servers answer it.
* A base URL from the environment that points at this gateway itself is meant for clients, and is left out.
* Azure: without `api_version`, or with `v1`, the v1 API is used and the body's model names the deployment; with a dated
  version, deployment paths. `AZURE_OPENAI_API_VERSION` sets it.
* Amazon Bedrock is asked in Converse, which no client speaks, so every request is translated. It needs `region` (from
  `AWS_REGION` or `AWS_DEFAULT_REGION` where a key is found in the environment) and either `api_key`, a Bedrock API key,
  or `aws_access_key_id` and `aws_secret_access_key` (with `aws_session_token` for temporary credentials), by which each
  request is signed. Models are named as Bedrock names them: `bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0`, or
  the ARN of an inference profile. `base_url` is for VPC endpoints.
* Vertex AI needs `project`, `location` (`global` or a region) and an OAuth access token as `api_key`: such tokens live
  for an hour, so name a file that is kept fresh, as in `file:/run/secrets/vertex-token`, and reload after each change.
  Models named `claude-…` are asked in Anthropic's dialect, all others in Gemini's, both translated.
* Neither of the two gives embeddings here.
"""

_EXAMPLE_HEAD = """
Flumegate: every setting at its default, commented out. Copy to flumegate.yaml and keep what you change.
docs/configuration.md explains how settings are read; check with: flumegate config check flumegate.yaml
scripts/generate_docs.py writes this file.
"""

_EXAMPLES = {
    "providers": """
#  openai: {api_key: "env:OPENAI_API_KEY"}
#  anthropic: {api_key: "env:ANTHROPIC_API_KEY"}
#  bedrock: {region: eu-central-1, api_key: "env:AWS_BEARER_TOKEN_BEDROCK"}
#  vertex: {project: my-project, location: global, api_key: "file:/run/secrets/vertex-token"}
#  azure: {base_url: "https://NAME.openai.azure.com", api_key: "env:AZURE_OPENAI_API_KEY", api_version: "2024-10-21"}
#  local: {type: ollama, base_url: "http://127.0.0.1:11434"}
#  other: {type: openai_compatible, base_url: "https://llm.example.com/v1", api_key: "file:/run/secrets/llm"}
""",
    "prices": """
#  openai/gpt-4o: {input: 2.5, output: 10, cached_input: 1.25}   # dollars per million tokens
#  "local/*": {input: 0, output: 0}
""",
    "models": """
#  gpt-4o: openai/gpt-4o
#  fast: local/llama3.2
#  "claude-*": anthropic/*
#  smart:                                    # what a route may have; docs/configuration.md lists all of it
#    targets:                                # the second is asked where the first fails or is left alone
#      - anthropic/claude-sonnet-4-5
#      - {use: azure/gpt-4o, max_concurrency: 50, max_queued: 100}
#    fallback: [gpt-4o, fast]                # what is asked where neither answers
#    retry: {max_retries: 3}
#    timeout: 120                            # seconds for all of it
#    rules:                                  # requests that another model serves
#      - {when: {tags: [batch], hours: "22:00-06:00"}, use: fast}
#      - {when: {headers: {x-tier: "free*"}, days: [sat, sun]}, use: local/llama3.2}
#  shared:                                   # requests are spread three to one
#    targets: [{use: openai/gpt-4o, weight: 3}, {use: azure/gpt-4o, weight: 1}]
#    strategy: weighted
""",
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
