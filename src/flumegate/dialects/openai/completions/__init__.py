"""OpenAI's legacy completions, as a client's dialect only: nobody is asked in it (dialects: §5, §13.8).

A prompt becomes what a user says, so a chat model answers it instead of going on with it: an approximation, reported
with every answer.
"""

from flumegate.dialects.codecs import Codec
from flumegate.dialects.openai.completions.read_request import COMPLETIONS, SETTINGS, read_request
from flumegate.dialects.openai.completions.write_answer import write_answer
from flumegate.dialects.openai.completions.write_stream import CompletionsStreamWriter
from flumegate.dialects.openai.errors import read_error

CODEC = Codec(
    COMPLETIONS,
    "OpenAI completions",
    "openai",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=CompletionsStreamWriter,
    read_error=read_error,
    names=SETTINGS,
)
