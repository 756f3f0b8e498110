"""Reads the configuration of a LiteLLM proxy as one of ours, and says what became of each of its entries.

Pure: a tree in, a tree and notes out. Nothing is dropped in silence: what has no counterpart is named with the reason,
and secrets that stand in the file are left out, with the variable that is to hold them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from flumegate.config.litellm_providers import Upstream, read_upstream

Outcome = Literal["taken", "changed", "left_out"]
_STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "fastest",
    "cost-based-routing": "cheapest",
}
_TARGET_LEFT = {
    "rpm": "limits of a target are places (max_concurrency), not rates; keys and projects have rates",
    "tpm": "limits of a target are places (max_concurrency), not rates; keys and projects have rates",
    "max_budget": "budgets belong to keys, projects and models: flumegate budget set",
    "max_retries": "retries are settled in routing.retry, or for a model in models.<name>.retry",
    "stream_timeout": "a stream has providers.<name>.timeouts.first_token",
}
_PRICES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
}
_MILLION = 1_000_000
_PARAMS_USED = frozenset(
    {
        "model", "api_key", "api_base", "base_url", "api_version", "custom_llm_provider", "weight", "order", "timeout",
        "max_parallel_requests", "aws_region_name", "aws_access_key_id", "aws_secret_access_key", "aws_session_token",
        "vertex_project", "vertex_location", "vertex_ai_project", "vertex_ai_location", *_PRICES,
    }
)  # fmt: skip
_DONE_OTHERWISE = {
    "litellm_settings.drop_params": "always so: what a provider's dialect cannot say is named in x-flumegate-losses",
    "litellm_settings.set_verbose": "log.level: debug",
    "litellm_settings.json_logs": "log.format: json",
    "litellm_settings.max_budget": "a budget belongs to a key, a project or a model: flumegate budget set",
    "litellm_settings.budget_duration": "a budget is for a day, a month, or in all: flumegate budget set",
    "litellm_settings.default_key_generate_params": "each key is given its own: flumegate key create",
    "litellm_settings.upperbound_key_generate_params": "a project bounds its keys: flumegate project set",
    "litellm_settings.max_internal_user_budget": "keys and projects have budgets: flumegate budget set",
    "litellm_settings.internal_user_budget_duration": "keys and projects have budgets: flumegate budget set",
    "general_settings.max_parallel_requests": "keys and projects have places: flumegate key set --concurrency",
    "general_settings.master_key": "the console has tokens of its own: admin.token in the data folder",
    "general_settings.database_url": "their database cannot be used as ours; set database.url to an empty one",
    "general_settings.store_model_in_db": "models stand in the configuration file, which is reloaded as it changes",
    "router_settings.redis_host": "redis.url",
    "router_settings.redis_port": "redis.url",
    "router_settings.redis_password": "redis.url",
    "router_settings.enable_pre_call_checks": "always so: a target that cannot serve a request is not asked",
}


class Note(NamedTuple):
    """What became of an entry."""

    path: str
    """Where it stands, as in `model_list[2].litellm_params.rpm`."""
    outcome: Outcome
    why: str


class Imported(NamedTuple):
    """A configuration of ours."""

    tree: dict[str, Any]
    notes: list[Note]
    variables: list[str]
    """Environment variables that it reads."""


def convert(given: Mapping[str, Any]) -> Imported:
    """Return what a LiteLLM configuration means here."""
    work = _Conversion()
    settings = {name: _mapping(given.get(name)) for name in ("litellm_settings", "router_settings", "general_settings")}
    work.read_models(_list(given.get("model_list")))
    work.read_router(settings)
    for name, values in settings.items():
        work.tell_rest(name, values)
    for name in given:
        if name not in {"model_list", *settings}:
            work.note(str(name), "left_out", "it has no counterpart here")
    return work.finish()


class _Conversion:
    """The tree as it grows, and the notes."""

    def __init__(self) -> None:
        self._providers: dict[str, dict[str, Any]] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self._routing: dict[str, Any] = {}
        self._prices: dict[str, dict[str, float]] = {}
        self._notes: list[Note] = []
        self._variables: dict[str, None] = {}
        self._read: set[str] = set()

    def note(self, path: str, outcome: Outcome, why: str) -> None:
        self._notes.append(Note(path, outcome, why))

    def read_models(self, entries: Sequence[Any]) -> None:
        for number, entry in enumerate(entries):
            path = f"model_list[{number}]"
            name = _mapping(entry).get("model_name")
            params = _mapping(_mapping(entry).get("litellm_params"))
            upstream = read_upstream(params)
            if not isinstance(name, str) or not name or isinstance(upstream, str):
                why = upstream if isinstance(upstream, str) else "it has no model_name"
                self.note(path, "left_out", why)
                continue
            if name.count("*") > 1:
                self.note(path, "left_out", "a name may hold one * here")
                continue
            use = self._add_target(path, name, params, upstream)
            self._read_prices(path, use, {**_mapping(_mapping(entry).get("model_info")), **params})

    def _read_prices(self, path: str, use: str, told: Mapping[str, Any]) -> None:
        prices = {
            ours: round(float(told[theirs]) * _MILLION, 6)
            for theirs, ours in _PRICES.items()
            if isinstance(told.get(theirs), int | float) and 0 <= told[theirs] <= 1
        }
        if prices and use.count("*") <= 1:
            self._prices[use] = prices
            self.note(f"{path}.prices", "taken", f"prices.{use}, in dollars per million tokens")

    def _add_target(self, path: str, name: str, params: Mapping[str, Any], upstream: Upstream) -> str:
        for warning in upstream.warnings:
            self.note(path, "changed", warning)
        self._variables.update(dict.fromkeys(upstream.variables))
        target: dict[str, Any] = {"use": f"{self._provider(upstream)}/{upstream.model}"}
        for theirs, ours in (("weight", "weight"), ("order", "tier"), ("max_parallel_requests", "max_concurrency")):
            if isinstance(params.get(theirs), int):
                target[ours] = params[theirs]
        model = self._models.setdefault(name, {"targets": []})
        model["targets"].append(target)
        if isinstance(params.get("timeout"), int | float):
            model["timeout"] = max(float(params["timeout"]), model.get("timeout", 0.0))
        for other in params:
            if other not in _PARAMS_USED:
                why = _TARGET_LEFT.get(other, "it has no counterpart here")
                self.note(f"{path}.litellm_params.{other}", "left_out", why)
        self.note(path, "taken", f"models.{name}: {target['use']}")
        return str(target["use"])

    def _provider(self, upstream: Upstream) -> str:
        """Return the name of the provider with these settings, which is made where there is none."""
        wanted = dict(upstream.settings)
        base = upstream.name
        number = 1
        name = base
        while name in self._providers and self._providers[name] != wanted:
            number += 1
            name = f"{base}-{number}"
        self._providers[name] = wanted
        return name

    def read_router(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        for section in ("litellm_settings", "router_settings"):
            values = settings[section]
            self._read_retries(section, values)
            for name in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
                if name in values:
                    self._read_fallbacks(f"{section}.{name}", _list(values[name]), exact=name == "fallbacks")
            if "default_fallbacks" in values:
                self._read.add(f"{section}.default_fallbacks")
                others = [name for name in _list(values["default_fallbacks"]) if name in self._models]
                for name, model in self._models.items():
                    model.setdefault("fallback", [other for other in others if other != name])
                self.note(f"{section}.default_fallbacks", "taken", "fallback of every model without its own")
        router = settings["router_settings"]
        self._read_strategy(router)
        self._read_aliases(router)

    def _read_retries(self, section: str, values: Mapping[str, Any]) -> None:
        for theirs in ("num_retries", "request_timeout", "timeout", "cooldown_time", "allowed_fails"):
            value = values.get(theirs)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            path = f"{section}.{theirs}"
            self._read.add(path)
            if theirs == "num_retries":
                self._routing.setdefault("retry", {})["max_retries"] = min(max(int(value), 0), 100)
                self.note(path, "taken", "routing.retry.max_retries")
            elif theirs == "allowed_fails":
                self._routing.setdefault("breaker", {})["failures"] = int(value) + 1
                self.note(path, "changed", "routing.breaker.failures; theirs are failures a minute, ours are in a row")
            elif value > 0:
                ours = "breaker.open_seconds" if theirs == "cooldown_time" else "timeout"
                place = self._routing.setdefault("breaker", {}) if theirs == "cooldown_time" else self._routing
                place[ours.rpartition(".")[2]] = min(float(value), 86_400.0)
                self.note(path, "taken", f"routing.{ours}")

    def _read_fallbacks(self, path: str, entries: Sequence[Any], *, exact: bool) -> None:
        self._read.add(path)
        for entry in entries:
            for name, others in _mapping(entry).items():
                known = [other for other in _list(others) if isinstance(other, str) and other in self._models]
                if name not in self._models or not known:
                    self.note(f"{path}.{name}", "left_out", "it names models that model_list does not have")
                    continue
                mine = self._models[name].setdefault("fallback", [])
                mine.extend(other for other in known if other not in mine and other != name)
                outcome: Outcome = "taken" if exact else "changed"
                why = f"models.{name}.fallback" + ("" if exact else "; here it holds for every failure")
                self.note(f"{path}.{name}", outcome, why)

    def _read_strategy(self, router: Mapping[str, Any]) -> None:
        theirs = router.get("routing_strategy", "simple-shuffle")
        self._read.add("router_settings.routing_strategy")
        strategy = _STRATEGIES.get(str(theirs))
        if strategy is None:
            strategy = "least_busy"
            self.note("router_settings.routing_strategy", "changed", f"{theirs} is nearest to least_busy here")
        for model in self._models.values():
            if len(model["targets"]) > 1 and not any("tier" in target for target in model["targets"]):
                model["strategy"] = strategy

    def _read_aliases(self, router: Mapping[str, Any]) -> None:
        self._read.add("router_settings.model_group_alias")
        for alias, name in _mapping(router.get("model_group_alias")).items():
            other = name.get("model") if isinstance(name, dict) else name
            path = f"router_settings.model_group_alias.{alias}"
            if other in self._models and alias not in self._models:
                self._models[str(alias)] = dict(self._models[other])
                self.note(path, "taken", f"models.{alias}, with the targets of {other}")
            else:
                self.note(path, "left_out", "it names a model that model_list does not have, or one that it has itself")

    def tell_rest(self, section: str, values: Mapping[str, Any]) -> None:
        for name in values:
            path = f"{section}.{name}"
            if path in self._read:
                continue
            otherwise = _DONE_OTHERWISE.get(path)
            self.note(path, "left_out", otherwise or "it has no counterpart here")

    def finish(self) -> Imported:
        tree: dict[str, Any] = {"providers": self._providers, "models": self._models}
        if self._routing:
            tree["routing"] = self._routing
        if self._prices:
            tree["prices"] = self._prices
        return Imported(tree, self._notes, list(self._variables))


def is_key_hash(text: str) -> bool:
    """Tell whether a text is what LiteLLM keeps of a virtual key: its SHA-256 in hexadecimal."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else []
