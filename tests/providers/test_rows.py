from __future__ import annotations

import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from flumegate.providers.address import is_loopback, is_own_host, locate
from flumegate.providers.rows import BY_TYPE, ROWS, Row


def test_a_worker_may_load_the_table() -> None:
    """It brings no validation library, no YAML and no event loop."""
    code = "import sys, flumegate.providers.rows, flumegate.providers.address; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "flumegate" in loaded
    assert not loaded & {"pydantic", "ruamel", "asyncio", "msgspec"}


def test_types_and_variables_are_unique() -> None:
    """A key belongs to one provider, whatever else is in the environment."""
    assert len(BY_TYPE) == len(ROWS)
    variables = [name for row in ROWS for name in (*row.key_variables, row.base_url_variable) if name]
    assert len(variables) == len(set(variables))


def test_no_model_name_belongs_to_two_vendors() -> None:
    """Routing without a list of models must not depend on the order of the table."""
    claims = [(pattern.rstrip("*"), row.type) for row in ROWS for pattern in row.models]
    clashes = [(one, other) for one in claims for other in claims if one[1] != other[1] and one[0].startswith(other[0])]
    assert clashes == []
    assert all(pattern.count("*") <= 1 for row in ROWS for pattern in row.models)


@pytest.mark.parametrize("row", [row for row in ROWS if row.base_url], ids=lambda row: row.type)
def test_every_base_url_stands_where_its_row_says(row: Row) -> None:
    """Hosted vendors speak TLS, servers of one's own are on this machine, and the path is the row's own."""
    address = locate(row, region="eu-west-4", project="p")
    assert address.base_path == ("/v1/projects/p/locations/eu-west-4" if row.type == "vertex" else row.base_path)
    assert is_own_host(row, address.host)
    assert (address.scheme == "https") != row.local
    assert is_loopback(address.host) == row.local
    assert urlsplit(row.base_url).path in {"", row.base_path}
    assert set(row.speaks) <= {"openai", "anthropic", "gemini", "ollama", "bedrock", "vertex"}
