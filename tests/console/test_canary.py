"""No secret leaves its place: it stands in the one answer of its making, and in no other answer, log line or row."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from flumegate.console.application import ENDPOINTS
from flumegate.snapshot import Provider, Snapshot
from rig.console import TOKEN, opened
from rig.desk import Bench

CANARIES = ("sk-canary-of-a-provider", "sk-canary-of-a-project", "sk-canary-of-the-file", "sk-canary-from-elsewhere")


async def test_a_scan_of_every_answer_log_and_row_finds_none(
    tmp_path: Path, desk: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    provider, project, configured, foreign = CANARIES
    snapshot = Snapshot(
        version=1,
        providers={
            "openai": Provider("openai", "openai", "https", "h", 443, "/v1", ("openai",), credential=configured)
        },
    )
    secrets = [*CANARIES, TOKEN]
    said: list[str] = []
    async with opened(tmp_path, desk, snapshot) as (client, _):
        await client.put("/manage/providers/openai/credential", json={"secret": provider})
        made = await client.post("/manage/projects", json={"name": "a", "credentials": {"openai": project}})
        ids = {"project_id": made.json()["id"], "sequence": "1", "name": "openai"}
        headers = {"idempotency-key": "once"}
        key = (await client.post("/manage/keys", json={}, headers=headers)).json()
        rotated = (await client.post(f"/manage/keys/{key['id']}/rotate", json={})).json()
        token = (await client.post("/manage/admin-tokens", json={"name": "t", "role": "viewer"})).json()
        await client.post("/manage/keys/import", json={"keys": [{"token": foreign}]})
        secrets += [key["key"], rotated["key"], token["token"]]
        # A secret in the wrong place is not repeated either.
        for wrong in secrets:
            answers = [
                await client.get(f"/manage/keys/{wrong}"),
                await client.get(f"/manage/projects?cursor={wrong}"),
                await client.get(f"/manage/usage?since={wrong}"),
                await client.post("/manage/keys", json={"networks": [wrong], "unknown": wrong}),
            ]
            said += [answer.text for answer in answers]
        ids |= {"key_id": key["id"], "token_id": token["id"]}
        for endpoint in ENDPOINTS:
            if endpoint.method == "GET":
                path = endpoint.path
                for name, value in ids.items():
                    path = path.replace("{" + name + "}", value)
                answer = await client.get(path)
                said.append(answer.text + repr(answer.headers))
    with desk.reading() as connection:
        said += [
            repr(connection.execute(text(f'SELECT * FROM "{table}"')).all())  # noqa: S608 - the database's own names
            for table in inspect(connection).get_table_names()
        ]
    captured = capfd.readouterr()
    everything = "\n".join([*said, captured.out, captured.err])
    assert [secret for secret in secrets if secret in everything] == []
