from __future__ import annotations

import pytest

from flumegate.providers import bedrock


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("us-east-1", True),
        ("eu-central-1", True),
        ("us-gov-west-1", True),
        ("ap-southeast-12", True),
        ("", False),
        ("frankfurt", False),
        ("us-east-1.evil.example/", False),
        ("US-EAST-1", False),
    ],
)
def test_regions_look_like_regions(text: str, is_one: bool) -> None:
    """The region becomes a part of the host's name, so nothing else may pass."""
    assert bedrock.is_region(text) is is_one


def test_the_slashes_and_colons_of_a_name_belong_to_the_name() -> None:
    """An ARN is one segment of the path."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab1"
    assert bedrock.model_path(arn, streamed=True) == (
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fab1/converse-stream"
    )
    assert bedrock.model_path("amazon.nova-lite-v1:0", streamed=False) == "/model/amazon.nova-lite-v1%3A0/converse"


def test_each_region_has_its_host() -> None:
    """As the API reference lists its endpoints."""
    assert bedrock.origin("eu-west-3") == "https://bedrock-runtime.eu-west-3.amazonaws.com"
