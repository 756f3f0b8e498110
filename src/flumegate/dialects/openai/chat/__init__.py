"""OpenAI chat completions: the tap, the codec, and all that servers which speak it do differently (§3, §11)."""

from flumegate.dialects.codecs import Codec
from flumegate.dialects.openai.chat.names import CHAT, SETTINGS
from flumegate.dialects.openai.chat.read_answer import read_answer
from flumegate.dialects.openai.chat.read_request import read_request
from flumegate.dialects.openai.chat.read_stream import ChatStreamReader
from flumegate.dialects.openai.chat.write_answer import write_answer
from flumegate.dialects.openai.chat.write_request import write_request
from flumegate.dialects.openai.chat.write_stream import ChatStreamWriter
from flumegate.dialects.openai.errors import read_error

CODEC = Codec(
    CHAT,
    "OpenAI chat completions",
    "openai",
    read_request,
    write_request,
    read_answer,
    write_answer,
    ChatStreamReader,
    ChatStreamWriter,
    read_error,
    names=SETTINGS,
)
