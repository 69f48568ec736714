"""YAML as recipes mean it: numbers are decimal, 1e-3 is one, and no key is given twice."""

from __future__ import annotations

import re
from typing import Any

import yaml

from genloss.errors import InputError

__all__ = ["read_yaml"]

_INTEGER, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_REPLACED = (_INTEGER, _FLOAT, "tag:yaml.org,2002:timestamp")  # YAML 1.1 reads 020 as 16 and 1:30 as 90


class _Twice(yaml.YAMLError):
    """A key stands twice in one mapping."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping; raises where a key is given twice."""
        given: dict[Any, yaml.Node] = {}
        for key_node, value_node in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key_node, yaml.ScalarNode):
                continue
            other = given.setdefault(key_node.value, value_node)
            if other is not value_node:
                first, second = (self.construct_object(each, deep=True) for each in (other, value_node))
                raise _Twice(f"{key_node.value!r} twice, as {first!r} and as {second!r}")
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Returns a decimal whole number."""
        return int(node.value)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INTEGER, re.compile(r"^[-+]?[0-9]+(?:_[0-9]+)*$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$",
    ),
    list("-+.0123456789"),
)
_Loader.add_constructor(_INTEGER, _Loader.construct_integer)


def read_yaml(text: str, what: str) -> Any:
    """Returns the content of a YAML text.

    Args:
        text: the text.
        what: how messages call it, such as `the value of loss`.

    Raises:
        InputError: it is not YAML, or gives a key twice.

    Example:
        >>> read_yaml("{steps: 020, rate: 1e-3}", "the value of train")
        {'steps': 20, 'rate': 0.001}
    """
    try:
        return yaml.load(text, _Loader)
    except _Twice as error:
        raise InputError(f"{what} gives {error}; keep one of them.") from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{what} is not YAML: {reason}; quote text that holds : or braces.") from error
