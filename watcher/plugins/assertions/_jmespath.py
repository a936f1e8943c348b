"""JMESPath with a bound: an expression read once, evaluated in so many steps at most.

The library evaluates a tree of nodes; each node visited is a step, and so are 64 elements of what it gives. What could
grow beyond that within one step (doubling lists, joining with a text of the page) is refused when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

from watcher.match import cut

if TYPE_CHECKING:
    from jmespath.visitor import TreeInterpreter

LENGTH_MAX = 1_000
GROWTH_MAX = 64  # how many times as large as the page a value may become
ELEMENTS_A_STEP_LOG2 = 6
TO_STRING_GROWTH = 6  # "é" becomes "\\u00e9"
ONE_OF = frozenset({"comparator", "and_expression", "or_expression", "not_expression", "key_val_pair"})
MAPPING = frozenset({"map", "max_by", "min_by", "sort_by"})
COMPARATORS = {"eq": "==", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


class TooManySteps(Exception):
    """The evaluation took more steps than it was given."""


class NotApplicable(Exception):
    """A function was given a value that it cannot work on."""


class Expression:
    """An expression that can be evaluated; `left` is the text before its comparison, if it is just one."""

    __slots__ = ("left", "shown", "tree")

    def __init__(self, text: str, tree: dict[str, Any], left: str) -> None:
        self.tree = tree
        self.left, self.shown = (cut(" ".join(part.split())) for part in (left, text))

    def value(self, page: Any, steps: int) -> Any:
        """Evaluate it on a page.

        Raises:
            TooManySteps: it took more than `steps`.
            NotApplicable: a function cannot work on what it was given.
        """
        return evaluate(self.tree, page, steps)

    def verdict(self, page: Any, steps: int, found: Any, written: Callable[[Any], str]) -> str:
        """Say what is not true about it: of a comparison both sides."""
        if not self.left:
            return f"{self.shown} is {written(found)}, wanted true"
        left, right = (evaluate(side, page, steps) for side in self.tree["children"])
        sign = COMPARATORS[self.tree["value"]]
        return f"{self.left} is {written(left)}, wanted {'' if sign == '==' else sign + ' '}{written(right)}"


def evaluate(tree: dict[str, Any], page: Any, steps: int) -> Any:
    """Evaluate a tree on a page."""
    from jmespath.exceptions import JMESPathError

    try:
        return interpreter()(steps).evaluate(tree, page)
    except JMESPathError as error:
        name = getattr(error, "function_name", "")
        received = getattr(error, "actual_type", "another value")
        raise NotApplicable(f"{name}() cannot be had of {received}" if name else "cannot be evaluated") from None
    except (TypeError, ValueError, ArithmeticError) as error:  # `"a" < 1`, a sum of texts, an average of nothing
        raise NotApplicable(f"cannot be evaluated: {str(error)[:80]}") from None


@lru_cache(maxsize=1)
def interpreter() -> type[TreeInterpreter]:
    """Give the library's interpreter, made to count its steps."""
    from jmespath.visitor import TreeInterpreter

    class Counting(TreeInterpreter):  # pylint: disable=abstract-method  # default_visit raises on purpose
        """Raises TooManySteps."""

        def __init__(self, steps: int) -> None:
            super().__init__()
            self.left = steps

        def evaluate(self, tree: dict[str, Any], page: Any) -> Any:
            """Evaluate a tree, once."""
            try:
                return self.visit(tree, page)
            finally:
                self._method_cache.clear()  # bound methods, which refer to this

        def visit(self, node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            """Visit a node, and take from what is left."""
            value = super().visit(node, *args, **kwargs)
            self.left -= 1 + (len(value) >> ELEMENTS_A_STEP_LOG2 if isinstance(value, (list, str, dict)) else 0)
            if self.left < 0:
                raise TooManySteps
            return value

    return Counting


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Read an expression, once for all endpoints that use it.

    Raises:
        ValueError: it is none, or one that could take without bound; with words for users.
    """
    import jmespath
    from jmespath.exceptions import JMESPathError
    from jmespath.lexer import Lexer

    if len(text) > LENGTH_MAX:
        raise ValueError(f"an expression has {LENGTH_MAX} characters at most, this one {len(text)}")
    try:
        tree = jmespath.compile(text).parsed
        tokens = list(Lexer().tokenize(text))
    except RecursionError:
        raise ValueError("the expression is nested too deeply") from None
    except JMESPathError as error:
        raise ValueError(complaint(text, error)) from None
    for before, token in zip(tokens, tokens[1:]):
        if before["type"] in COMPARATORS and token["type"] == "quoted_identifier":
            name = token["value"]
            raise ValueError(f"\"{name}\" names a field; write '{name}' for a text, @.\"{name}\" for the field")
    if growth(tree) > GROWTH_MAX:
        raise ValueError("the expression could make too much of a page; use fewer [a, b] and {a: b} within each other")
    return Expression(text, tree, compared(text, tree, tokens))


def complaint(text: str, error: Exception) -> str:
    """Say what the parser did not like, in one line."""
    what = str(error).partition(", for expression")[0].partition(":\n")[0].replace("\n", " ")
    hint = ""
    if getattr(error, "token_type", None) == "NUMBER":
        hint = f"; write numbers as `{getattr(error, 'token_value', 1)}`"
    elif "'='" in what:
        hint = "; write == to compare"
    return f"bad JMESPath expression {text[:80]!r}: {what}{hint}"


def compared(text: str, tree: dict[str, Any], tokens: list[dict[str, Any]]) -> str:
    """Give the text to the left of a comparison, an empty one where it is none or one of several."""
    found = [token for token in tokens if token["type"] in COMPARATORS]
    return text[: found[0]["start"]].strip() if tree["type"] == "comparator" and len(found) == 1 else ""


def growth(tree: dict[str, Any]) -> int:
    """Give how many times as large as the page a value may become.

    Raises:
        ValueError: a function is used that there is not, or not as it can be.
    """
    kind = tree["type"]
    inner = [growth(child) for child in tree["children"] if isinstance(child, dict)]  # bounds of slices are numbers
    if kind == "function_expression":
        factor = function(tree["value"], tree["children"], inner)
    elif kind.startswith("multi_select"):
        factor = sum(inner)
    elif kind == "literal":
        factor = len(tree["value"]) if isinstance(tree["value"], (list, dict)) else 1
    elif kind in ONE_OF:
        factor = max(inner)
    else:
        factor = prod(inner)  # what comes next works on what came before
    return min(max(factor, 1), GROWTH_MAX + 1)


def function(name: str, arguments: list[dict[str, Any]], inner: list[int]) -> int:
    """Check the use of a function; give the growth of its value."""
    from jmespath.functions import Functions

    known = Functions.FUNCTION_TABLE
    if name not in known:
        raise ValueError(f"there is no function {name}(); JMESPath has {', '.join(sorted(known))}")
    signature = known[name]["signature"]
    variadic = any(part.get("variadic") for part in signature)
    if len(arguments) < len(signature) or (len(arguments) > len(signature) and not variadic):
        least = "at least " * variadic
        raise ValueError(f"{name}() is given {len(arguments)} arguments, wants {least}{len(signature)}")
    if name == "join":
        if arguments[0]["type"] != "literal" or not isinstance(arguments[0]["value"], str):
            raise ValueError("the first argument of join() must be a text like ', '")
        return inner[1] * max(1, len(arguments[0]["value"]))
    if name == "to_string":
        return inner[0] * TO_STRING_GROWTH
    return prod(inner) if name in MAPPING else sum(inner)
