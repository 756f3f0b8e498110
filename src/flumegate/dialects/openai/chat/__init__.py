"""OpenAI chat completions: the tap, the codec, and all that servers which claim to speak it do differently."""
