"""Chat templates of several styles for the tiny tokenizer, whose special tokens are ``<|start|>`` and ``<|end|>``."""

from pathlib import Path
from typing import Any, Final

from transformers import AutoTokenizer

_TURN: Final = "<|start|>{{ message.role }}\n{{ message.content }}<|end|>\n"
_PROMPT: Final = "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
_LOOP: Final = "{% for message in messages %}"

#: Each turn as it is.
PLAIN: Final = f"{{{{ bos_token }}}}{_LOOP}{_TURN}{{% endfor %}}{_PROMPT}"
#: The same text, with what an assistant generates in tags.
TAGGED: Final = (
    "{{ bos_token }}" + _LOOP + "{% if message.role == 'assistant' %}<|start|>assistant\n"
    "{% generation %}{{ message.content }}<|end|>\n{% endgeneration %}"
    "{% else %}" + _TURN + "{% endif %}{% endfor %}" + _PROMPT
)
#: The tags leave out the token that ends a turn.
TAGGED_ENDLESS: Final = TAGGED.replace("<|end|>\n{% endgeneration %}", "{% endgeneration %}<|end|>\n")
#: Cuts the reasoning of earlier turns, as templates of reasoning models do; the last turn always has some.
FORGETFUL: Final = (
    _LOOP + "<|start|>{{ message.role }}\n{% if message.role == 'assistant' and loop.last %}<think></think>{% endif %}"
    "{{ message.content }}<|end|>\n{% endfor %}" + _PROMPT
)
#: Knows tools and calls of them.
TOOLS: Final = (
    "{% if tools %}tools {{ tools | tojson }}\n{% endif %}" + _LOOP + "<|start|>{{ message.role }}\n"
    "{{ message.content }}{% if message.tool_calls %}calls {{ message.tool_calls | tojson }}{% endif %}<|end|>\n"
    "{% endfor %}" + _PROMPT
)
#: Refuses a system turn.
REFUSING: Final = PLAIN.replace(
    _TURN, "{% if message.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + _TURN
)
#: Prints the date.
DATED: Final = "{{ strftime_now('%d %b %Y') }}" + PLAIN


def with_template(model: Path, template: str | None) -> Any:
    """The tiny tokenizer with another template."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = template
    return tokenizer


def learned(tokenizer: Any, tokens: Any) -> list[str]:
    """The texts that are learned, one for each stretch."""
    stretches: list[list[int]] = [[]]
    for label in tokens.labels:
        if label != -100:
            stretches[-1].append(label)
        elif stretches[-1]:
            stretches.append([])
    return [tokenizer.decode(stretch) for stretch in stretches if stretch]
