# SPDX-License-Identifier: MIT
"""Everything that an image says of itself, as dictionaries and lists."""
from typing import Any, Dict, List, Optional, Sequence, Union

from ._handle import Failure, Handle, callback
from ._native import ffi, lib
from ._text import c_text, name_of, text_of
from .errors import ErrorCode, LimitError
from .problems import Problem, problem_of

Value = Union[None, bool, int, str, bytes, "Dict[str, Value]", "List[Value]"]


class _Builder:
    """Hears of a walk and makes dictionaries of it."""

    def __init__(self, most: int) -> None:
        self.top: Dict[str, Value] = {}
        self.problems: List[Problem] = []
        self.handle = ffi.new_handle(self)
        self.failed: Optional[BaseException] = None
        self._stack: List[Union[Dict[str, Value], List[Value]]] = []
        self._left = most

    def _charge(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise LimitError("the dump has more values than asked for: choose fewer structures, or "
                             "raise most_values", ErrorCode.LIMIT)

    def _put(self, key: Optional[str], value: Value) -> None:
        inner = self._stack[-1]
        if isinstance(inner, list):
            inner.append(value)
        elif key is not None:
            inner[key] = value

    def begin(self, node: Any, value: "Dict[str, Value] | List[Value]") -> None:
        """A structure or a list begins."""
        self._charge(1)
        if self._stack:
            self._put(text_of(node.key) if node.key else None, value)
        elif isinstance(value, dict):
            self.top = value
        if isinstance(value, dict):
            if node.index != lib.QCOW2_NO_INDEX:
                value["index"] = node.index
            if node.offset_key and node.offset_bytes != lib.QCOW2_NO_OFFSET:
                value[text_of(node.offset_key)] = node.offset_bytes
        self._stack.append(value)

    def end(self) -> None:
        """It ends."""
        self._stack.pop()

    def field(self, value: Any) -> None:
        """A value of the structure that was begun last."""
        if value.audience == lib.QCOW2_FOR_PEOPLE:
            return
        self._charge(1)
        found: Value = None
        if value.kind == lib.QCOW2_VALUE_NUMBER:
            found = value.number
        elif value.kind == lib.QCOW2_VALUE_BOOL:
            found = bool(value.number)
        elif value.kind == lib.QCOW2_VALUE_TEXT:
            found = name_of(value.bytes)
        elif value.kind == lib.QCOW2_VALUE_BYTES:
            found = bytes(ffi.buffer(value.bytes.data, value.bytes.size)) \
                if value.bytes.size else b""
        self._put(text_of(value.name), found)

    def rows(self, rows: Any) -> None:
        """Many rows of a table at once."""
        width = rows.column_count
        self._charge(rows.count * width)
        names = [text_of(rows.columns[i].name) for i in range(width)]
        values = ffi.buffer(rows.values, rows.count * width * 8)
        numbers = memoryview(values).cast("Q")
        for row in range(rows.count):
            made: Dict[str, Value] = {"index": rows.index + row}
            for i in range(width):
                column = rows.columns[i]
                if column.audience != lib.QCOW2_FOR_PEOPLE:
                    number = numbers[row * width + i]
                    known = column.texts and number < column.text_count
                    made[names[i]] = text_of(column.texts[number]) if known else number
            self._put(None, made)

    def hear(self, work: Any, *arguments: Any) -> int:
        """Runs a callback; what it raises ends the walk."""
        try:
            work(*arguments)
            return 0
        except BaseException as error:  # pylint: disable=broad-except
            self.failed = error
            return 1


def _builder(opaque: Any) -> _Builder:
    found: _Builder = ffi.from_handle(opaque)
    return found


@callback("binding_begin_struct")
def _begin_struct(opaque: Any, node: Any) -> int:
    builder = _builder(opaque)
    return builder.hear(builder.begin, node, {})


@callback("binding_begin_list")
def _begin_list(opaque: Any, node: Any) -> int:
    builder = _builder(opaque)
    return builder.hear(builder.begin, node, [])


@callback("binding_end")
def _end(opaque: Any, _node: Any) -> int:
    builder = _builder(opaque)
    return builder.hear(builder.end)


@callback("binding_field")
def _field(opaque: Any, value: Any) -> int:
    builder = _builder(opaque)
    return builder.hear(builder.field, value)


@callback("binding_rows")
def _rows(opaque: Any, rows: Any) -> int:
    builder = _builder(opaque)
    return builder.hear(builder.rows, rows)


@callback("binding_walk_problem")
def _walk_problem(opaque: Any, problem: Any) -> int:
    builder = _builder(opaque)

    def add() -> None:
        builder._charge(1)
        builder.problems.append(problem_of(problem))

    return builder.hear(add)


def dump(image: Handle, selectors: Sequence[str], headers_only: bool,
         most_values: int) -> "tuple[Dict[str, Value], List[Problem]]":
    """See :meth:`qcow2.Image.dump`."""
    builder = _Builder(most_values)
    visitor = ffi.new("struct qcow2_visitor *", {
        "size": ffi.sizeof("struct qcow2_visitor"), "begin_struct": lib.binding_begin_struct,
        "end_struct": lib.binding_end, "begin_list": lib.binding_begin_list,
        "end_list": lib.binding_end, "field": lib.binding_field,
        "problem": lib.binding_walk_problem, "rows": lib.binding_rows})
    texts = [ffi.new("char[]", c_text(text)) for text in selectors]
    selection = ffi.new("struct qcow2_selection **")
    with image as pointer:
        failure = Failure(image.filename)
        failure.check(lib.qcow2_selection_new(ffi.new("const char *[]", texts), len(texts),
                                              selection, failure.err))
        try:
            status = lib.qcow2_walk(pointer, selection[0],
                                    lib.QCOW2_WALK_NO_TABLES if headers_only else 0, visitor,
                                    builder.handle, failure.err)
        finally:
            lib.qcow2_selection_free(selection[0])
        if builder.failed is not None:
            try:
                raise builder.failed
            finally:
                builder.failed = None
        failure.check(status)
    return builder.top, builder.problems
