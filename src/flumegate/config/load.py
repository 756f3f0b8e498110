"""The way in: file and environment become one checked configuration, or the list of everything that is wrong.

Precedence: environment over file over default. The file is the one named by the caller, else by FLUMEGATE_CONFIG, else
./flumegate.yaml if there is one. With no file at all, providers come from the environment (zero configuration).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic_core import PydanticCustomError

from flumegate.config import aliases, checks, discovery, environment
from flumegate.config.address import Listen, read_listen
from flumegate.config.document import Document, read
from flumegate.config.problem import ConfigInvalid, Problem
from flumegate.config.problem import Path as SettingPath
from flumegate.config.secret import Secret
from flumegate.config.sections import Config, Server
from flumegate.config.settings import walk
from flumegate.config.validation import locate, mark_text, origin, validate

DEFAULT_FILE = Path("flumegate.yaml")
FILE_VARIABLE = "FLUMEGATE_CONFIG"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used.

    Attributes:
        config: every setting, secrets resolved.
        source: the file it was read from; None = no file.
        warnings: what works but deserves a look, in the order of position.
        needs_mock: there is no provider at all, so the built-in mock is to be started and compiled in.
        watched: files whose change may change the configuration: the file itself, secrets, certificates.
    """

    config: Config
    source: Path | None
    warnings: list[Problem]
    needs_mock: bool
    watched: list[Path]
    _document: Document = field(repr=False)

    def origin(self, path: SettingPath) -> str:
        """Return where a setting's value comes from: `flumegate.yaml:3:5`, `$GROQ_API_KEY`, `default`."""
        return mark_text(origin(self._document, path))

    def secrets(self) -> list[str]:
        """Return the text of every secret, for the log to hide."""
        found: list[str] = []
        for path, _, value in walk(self.config):
            if isinstance(value, Secret) and (value.reference or value.is_literal) and checks.is_secret_place(path):
                found += [value.reveal(), *value.entries()]
        return sorted(set(found))


def load(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    ollama: tuple[str, int] = discovery.OLLAMA,
) -> Loaded:
    """Return the configuration from file and environment.

    Args:
        path: the file; None = look for it.
        environ: the environment; None = this process's own.
        ollama: where a local Ollama is looked for if there is no configuration.

    Raises:
        ConfigInvalid: with everything that is wrong, located; or the file named does not exist.
    """
    environ = os.environ if environ is None else environ
    source = _find(path, environ)
    document = Document(tree={}) if source is None else read(source)
    name = "" if source is None else str(source)
    warnings = _discover(document, environ, None if source is not None else ollama)
    problems = [*document.problems, *aliases.spell_out(document, name), *environment.apply(document, environ)]
    config, faults = validate(document, environ, name)
    problems += faults
    for where, message in checks.refusals(config, _names(document, "providers"), _names(document, "models")):
        problem = locate(document, where, message, name)
        # What was removed as faulty must not be reported again as missing.
        if not any(fault.path.startswith(problem.path) for fault in faults):
            problems.append(problem)
    if problems:
        raise ConfigInvalid(problems)
    warnings += [locate(document, where, message, name) for where, message in checks.warnings(config)]
    # A secret in the environment stands where it belongs.
    kept = sorted(warning for warning in warnings if not _is_literal_in_environment(warning))
    return Loaded(config, source, kept, not config.providers, _watched(config, source), document)


def _names(document: Document, section: str) -> list[str]:
    tree = document.tree if isinstance(document.tree, dict) else {}
    entries = tree.get(section)
    return [str(name) for name in entries] if isinstance(entries, dict) else []


def _is_literal_in_environment(warning: Problem) -> bool:
    return warning.file.startswith("$") and warning.message.startswith("a secret stands")


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = environ.get(FILE_VARIABLE, "").strip()
    if path is None and named:
        path = Path(named)
    wanted = DEFAULT_FILE if path is None else path
    try:
        mode = wanted.stat().st_mode
    except FileNotFoundError:
        if path is None:
            return None
        by = "" if str(path) != named else f" (named by {FILE_VARIABLE})"
        fault = f"there is no such configuration file{by}; correct the path, or start without one"
    except OSError as error:
        fault = f"cannot be reached ({error.strerror}); correct the path or the permissions of its folders"
    else:
        if stat.S_ISREG(mode):
            return wanted
        fault = "is not a regular file; name the file that holds the configuration"
    raise ConfigInvalid([Problem(str(wanted), 0, 0, "", fault)])


def _discover(document: Document, environ: Mapping[str, str], ollama: tuple[str, int] | None) -> list[Problem]:
    """Fill in providers from the environment where the document names none."""
    tree = document.tree if isinstance(document.tree, dict) else {}
    if tree.get("providers") or environ.get(environment.UPSTREAMS_VARIABLE, "").strip():
        return []
    found, warnings = discovery.discover(environ, _own_address(tree, environ))
    local = discovery.local_ollama(ollama) if ollama and all(entry.name != "ollama" for entry in found) else None
    for provider in [*found, *([local] if local else [])]:
        environment.put(document, ("providers", provider.name), provider.entry, provider.mark)
    return warnings


def _own_address(tree: Mapping[str, object], environ: Mapping[str, str]) -> Listen:
    server = tree.get("server")
    text = environ.get(environment.LISTEN_VARIABLE) or (server.get("listen") if isinstance(server, dict) else None)
    try:
        return read_listen(str(text) if text else Server().listen)
    except PydanticCustomError:
        # Reported by its own check.
        return Listen("", 0)


def _watched(config: Config, source: Path | None) -> list[Path]:
    paths = [] if source is None else [source]
    paths += [value.file for _, _, value in walk(config) if isinstance(value, Secret) and value.file is not None]
    paths += [Path(text) for _, _, text in checks.certificate_files(config)]
    return list(dict.fromkeys(paths))
