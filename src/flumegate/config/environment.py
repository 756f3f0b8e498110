"""The environment over the file: `FLUMEGATE_SERVER__LISTEN=…` for every setting, and the names of other gateways.

A variable that names no setting is an error as it is in the file. Lists are JSON or separated by commas, mappings are
JSON. Names in `providers` and `models` are matched without regard to case and punctuation: `GPT_4O` is `gpt-4o`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from flumegate.config.document import Document
from flumegate.config.problem import Mark, Path, Problem, nearest
from flumegate.config.sections import Config
from flumegate.config.settings import PREFIX, as_variable_part, is_nullable, item_of, section_of

KEYS_VARIABLE = "FLUMEGATE_KEYS"
LISTEN_VARIABLE = "FLUMEGATE_SERVER__LISTEN"
UPSTREAMS_VARIABLE = "UPSTREAMS"
ALIASES: tuple[tuple[str, Path], ...] = (
    ("PROXY_PREFIX", ("server", "proxy_prefix")),
    ("DATABASE_URL", ("database", "url")),
    ("LOG_LEVEL", ("log", "level")),
    ("LOG_FORMAT", ("log", "format")),
)
_OWN_WORDS = ("KEYS", "CONFIG", "ADMIN_URL", "ADMIN_TOKEN")
"""What the variables that are no settings have behind the prefix."""
_UPSTREAMS = f"${UPSTREAMS_VARIABLE}"
_NOT_YET = "is not available in this release yet: unset it"
_ON = frozenset(("1", "true", "yes", "on"))
_NO_VALUE = frozenset(("", "null"))


def apply(document: Document, environ: Mapping[str, str]) -> list[Problem]:
    """Lay the environment over a document; return what is wrong with it."""
    problems = _refused_aliases(environ)
    problems += _upstreams(document, environ.get(UPSTREAMS_VARIABLE, ""))
    for name, path in ALIASES:
        if environ.get(name, "").strip():
            put(document, path, environ[name].strip(), Mark(f"${name}"))
    for name in sorted(environ):
        if name.startswith(PREFIX):
            problem = _override(document, name, environ[name])
            if problem is not None:
                problems.append(Problem(f"${name}", 0, 0, "", problem))
    if environ.get(KEYS_VARIABLE, "").strip():
        _add_keys(document)
    return problems


def put(document: Document, path: Path, value: object, mark: Mark) -> None:
    """Set a value of a document, in place of what stood there, and note where it comes from.

    Where the document has something else than a mapping on the way, nothing is set: that is an error of its own.
    """
    tree = document.tree
    for part in path[:-1]:
        if not isinstance(tree, dict):
            return
        inner = tree.get(str(part))
        if inner is None:
            inner = tree[str(part)] = {}
        elif isinstance(inner, str) and path[0] == "models":
            # The short form of a route, spelt out so that it can take a further setting.
            inner = tree[str(part)] = {"targets": [{"use": inner}]}
        tree = inner
    if not isinstance(tree, dict):
        return
    tree[str(path[-1])] = value
    for marks in (document.keys, document.values):
        for place in [place for place in marks if place[: len(path)] == path]:
            del marks[place]
        marks[path] = mark


def _add_keys(document: Document) -> None:
    reference = f"env:{KEYS_VARIABLE}"
    tree = document.tree if isinstance(document.tree, dict) else {}
    auth = tree.get("auth")
    listed = auth.get("static_keys") if isinstance(auth, dict) else None
    if listed is None and (auth is None or isinstance(auth, dict)):
        put(document, ("auth", "static_keys"), [reference], Mark(f"${KEYS_VARIABLE}"))
    elif isinstance(listed, list) and reference not in listed:
        listed.append(reference)
        document.values["auth", "static_keys", len(listed) - 1] = Mark(f"${KEYS_VARIABLE}")


def _override(document: Document, name: str, text: str) -> str | None:
    """Apply one variable; return what is wrong with it, if anything is."""
    parts = name.removeprefix(PREFIX).split("__")
    if len(parts) == 1 and parts[0].lower() not in Config.model_fields:
        meant = _meant(parts[0])
        return f'names no setting; did you mean "{PREFIX}{meant}"?' if meant else None
    annotation: object = Config
    tree = document.tree
    path: Path = ()
    for index, part in enumerate(parts):
        section = section_of(annotation)
        before = "__".join([*parts[:index], ""])
        if section is not None:
            key = part.lower()
            field = section.model_fields.get(key)
            if field is None:
                known = (f"{PREFIX}{before}{known.upper()}" for known in section.model_fields)
                return f"names no setting{nearest(name, known) or '; see docs/configuration.md'}"
            annotation = field.annotation
        else:
            annotation = item_of(annotation, dict)
            if annotation is None or not part:
                return f"goes deeper than the setting; set {PREFIX}{before.removesuffix('__')} as a whole"
            known_keys = tree if isinstance(tree, dict) else {}
            key = next((known for known in known_keys if as_variable_part(str(known)) == part.upper()), part.lower())
        path = (*path, key)
        tree = tree.get(key) if isinstance(tree, dict) else None
    try:
        value = _value(annotation, text, nullable=is_nullable(annotation))
    except ValueError as error:
        return str(error)
    put(document, path, value, Mark(f"${name}"))
    return None


def _meant(word: str) -> str:
    """Return what a variable that names no setting seems to mean; empty where it is likely somebody else's.

    Kubernetes sets FLUMEGATE_PORT and more of the kind for a service of our name. But a key that is not asked for, or a
    setting with one underscore too few, would go unnoticed until it hurts.
    """
    if word in _OWN_WORDS:
        return ""
    for known in _OWN_WORDS:
        if nearest(word, (known,)):
            return known
    for name, field in Config.model_fields.items():
        section = section_of(field.annotation)
        rest = word.lower().removeprefix(f"{name}_")
        if section is not None and word.lower() != rest and rest in section.model_fields:
            return f"{name}__{rest}".upper()
    return ""


def _value(annotation: object, text: str, *, nullable: bool) -> object:
    """Return a variable's text as a value of the document.

    Raises:
        ValueError: it is no JSON where JSON is needed.
    """
    stripped = text.strip()
    if nullable and stripped in _NO_VALUE:
        return None
    is_list = item_of(annotation, list) is not None
    if is_list and not stripped.startswith("["):
        return [part.strip() for part in stripped.split(",") if part.strip()]
    # A section given as text is left to its own check: a route has a short form.
    is_json = stripped.startswith("{") if section_of(annotation) else is_list or item_of(annotation, dict) is not None
    if not is_json:
        return text
    try:
        return json.loads(stripped)
    except ValueError:
        wanted = 'a JSON list, as in ["a", "b"], or values separated by commas' if is_list else "a JSON object"
        raise ValueError(f"must be {wanted}") from None


def _refused_aliases(environ: Mapping[str, str]) -> list[Problem]:
    problems = []
    if environ.get("HTTP_CACHE_ENABLED", "").strip().lower() in _ON:
        problems.append(Problem("$HTTP_CACHE_ENABLED", 0, 0, "", f"the cache {_NOT_YET}, or set it to false"))
    if environ.get("HTTP_CACHE_BACKEND", "").strip().lower() == "redis":
        problems.append(Problem("$HTTP_CACHE_BACKEND", 0, 0, "", f"the Redis cache {_NOT_YET}"))
    if environ.get("REDIS_CACHE_URL", "").strip():
        problems.append(Problem("$REDIS_CACHE_URL", 0, 0, "", f"the Redis cache {_NOT_YET}"))
    return problems


def _upstreams(document: Document, text: str) -> list[Problem]:
    """Turn UPSTREAMS (a JSON list of name, provider, base_url, api_key, is_default, timeout) into providers."""
    if not text.strip():
        return []
    try:
        entries = json.loads(text)
    except ValueError as error:
        return [Problem(_UPSTREAMS, 0, 0, "", f"must be a JSON list of upstreams: {error}")]
    if not isinstance(entries, list) or not entries:
        return [Problem(_UPSTREAMS, 0, 0, "", "must be a JSON list with at least one upstream, or be unset")]
    problems: list[Problem] = []
    providers: dict[str, dict[str, object]] = {}
    for index, entry in enumerate(entries):
        found = list(_upstream_faults(entry, providers))
        problems += (Problem(_UPSTREAMS, 0, 0, f"[{index}]{path}", message) for path, message in found)
        if not found:
            providers[entry["name"]] = _as_provider(entry)
    defaults = [name for name, provider in providers.items() if provider["default"]]
    if len(defaults) > 1:
        names = " and ".join(f'"{name}"' for name in defaults)
        problems.append(Problem(_UPSTREAMS, 0, 0, "", f"{names} are both is_default; keep one"))
    if not problems:
        if not defaults:
            next(iter(providers.values()))["default"] = True
        _replace_default(document)
        for name, provider in providers.items():
            put(document, ("providers", name), provider, Mark(_UPSTREAMS))
    return problems


def _upstream_faults(entry: object, earlier: Mapping[str, object]) -> list[tuple[str, str]]:
    if not isinstance(entry, dict):
        return [("", "must be a JSON object with name, provider, base_url and api_key")]
    known = ("name", "provider", "base_url", "api_key", "is_default", "timeout")
    faults = [(f".{field}", f"unknown field{nearest(field, known)}") for field in entry if field not in known]
    faults += [
        (f".{field}", "is required, as text")
        for field in ("name", "provider")
        if not isinstance(entry.get(field), str) or not entry[field].strip()
    ]
    if entry.get("name") in earlier:
        faults.append((".name", f'"{entry["name"]}" is taken by an earlier upstream; names must differ'))
    faults += [
        (f".{field}", "must be text")
        for field in ("base_url", "api_key")
        if not isinstance(entry.get(field, ""), str | None)
    ]
    if not isinstance(entry.get("is_default", False), bool):
        faults.append((".is_default", "must be true or false"))
    timeout = entry.get("timeout", 60)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 1 <= timeout <= 86_400:
        faults.append((".timeout", "must be a number of seconds from 1"))
    return faults


def _as_provider(entry: Mapping[str, object]) -> dict[str, object]:
    provider: dict[str, object] = {"type": entry["provider"], "default": entry.get("is_default", False)}
    provider |= {field: entry[field] for field in ("base_url", "api_key") if entry.get(field)}
    # Seconds until the answer begins: streams may then run on, as they did behind the gateway that this name is from.
    provider["timeouts"] = {"first_byte": entry.get("timeout", 60)}
    return provider


def _replace_default(document: Document) -> None:
    """Take the default mark off the file's providers: the environment's own default wins."""
    tree = document.tree if isinstance(document.tree, dict) else {}
    listed = tree.get("providers")
    for provider in listed.values() if isinstance(listed, dict) else ():
        if isinstance(provider, dict):
            provider.pop("default", None)
