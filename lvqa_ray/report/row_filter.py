"""Row filters: an expression such as ``solve_rate < 1 and category == "goal"`` as an Arrow expression."""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import SCHEMAS

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_GRAMMAR = (
    "Compare columns with values (<, <=, >, >=, ==, !=, in, not in, is None, is not None), and join comparisons with "
    "and, or, not; for example: solve_rate < 1 and category == 'goal'."
)


class RowFilter:
    """A condition on the columns of `data/`, in the syntax of Python comparisons.

    A comparison with a null holds for no row, as in SQL.

    Attributes:
        columns: Columns that it reads.

    Raises:
        ConfigError: It is not such a condition, or names no column of `data/`.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.columns: list[str] = []
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError) as error:
            raise self._wrong(f"{getattr(error, 'msg', None) or error}") from None
        try:  # finds a comparison of a number with a text before any row is read
            self._expression = self._condition(tree.body)
            SCHEMAS["data"].empty_table().filter(self._expression)
        except (pa.ArrowException, OverflowError, TypeError):
            raise self._wrong("it compares a column with a value of another type") from None

    def __str__(self) -> str:
        """The condition as written."""
        return self._text

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows for which the condition holds."""
        kept = pa.Table.from_batches([rows]).filter(self._expression).combine_chunks()
        return kept.to_batches()[0] if kept.num_rows else rows.slice(0, 0)

    def _wrong(self, why: str) -> ConfigError:
        return ConfigError(f"--where {self._text!r}: {why}{'' if why[-1] == '?' else '.'} {_GRAMMAR}")

    def _condition(self, node: ast.expr) -> pc.Expression:
        if isinstance(node, ast.BoolOp):
            parts = [self._condition(value) for value in node.values]
            joined = parts[0]
            for part in parts[1:]:
                joined = joined & part if isinstance(node.op, ast.And) else joined | part
            return joined
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._condition(node.operand)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        raise self._wrong(f"{ast.unparse(node)} is not a comparison")

    def _comparison(self, node: ast.Compare) -> pc.Expression:
        left, made = node.left, None
        for op, right in zip(node.ops, node.comparators, strict=True):
            part = self._compared(left, op, right)
            made = part if made is None else made & part
            left = right
        assert made is not None  # noqa: S101 - a comparison has at least one operator
        return made

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pc.Expression:
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._wrong("is and is not take None only")
            missing = self._operand(left).is_null()
            return ~missing if isinstance(op, ast.IsNot) else missing
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set):
                raise self._wrong("in and not in take a list, as in category in ['goal', 'plot']")
            operand = self._operand(left)
            found = operand.isin([self._value(value) for value in right.elts])
            return ~found & operand.is_valid() if isinstance(op, ast.NotIn) else found
        made: pc.Expression = _COMPARISONS[type(op)](self._operand(left), self._operand(right))
        return made

    def _operand(self, node: ast.expr) -> pc.Expression:
        names: list[str] = []
        at = node
        while isinstance(at, ast.Attribute):
            names.insert(0, at.attr)
            at = at.value
        if isinstance(at, ast.Name):
            return self._column([at.id, *names])
        return pc.scalar(self._value(node))

    def _column(self, names: list[str]) -> pc.Expression:
        column, schema = names[0], SCHEMAS["data"]
        if column not in schema.names:
            near = difflib.get_close_matches(column, schema.names, 1)
            hint = f"; did you mean {near[0]}?" if near else " (a text is written in quotes)"
            raise self._wrong(f"data/ has no column {column}{hint}")
        kind = schema.field(column).type
        for name in names[1:]:
            if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
                raise self._wrong(f"{column} has no field {name}")
            kind = kind.field(name).type
        if column not in self.columns:
            self.columns.append(column)
        return pc.field(*names) if len(names) == 1 else pc.field(tuple(names))

    def _value(self, node: ast.expr) -> str | float | bool:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError):
            raise self._wrong(f"{ast.unparse(node)} is neither a column nor a value") from None
        if not isinstance(value, str | int | float):
            raise self._wrong(f"{ast.unparse(node)} is no text, number, True or False")
        return value
