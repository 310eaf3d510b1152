# SPDX-License-Identifier: MIT
"""Lifetimes of what the library made.

A :class:`Handle` owns one object of the library and knows what it was made from. What was made from
it is ended first, whatever order Python chooses; and nothing is ended while a call uses it, in
whatever thread. Nothing here takes a lock, as ``__del__`` may run at any place of any thread: lists
and dictionaries are used by single operations that Python does as a whole.
"""
import threading
import weakref
from typing import (Any, Callable, Dict, Generic, Iterator, List, NoReturn, Optional, Sequence,
                    SupportsIndex, TypeVar)

from ._native import ffi
from .errors import ArgumentError, ClosedError, ErrorCode, exception

Item = TypeVar("Item")
Function = TypeVar("Function", bound=Callable[..., Any])


class Single:
    """What stands for an object of the library: a copy of it would end the same object."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{type(self).__name__} objects can be neither copied nor pickled")


class Handle(Single):
    """Owns an object of the library.

    pointer: the object. end: the function that ends it. what: how an error calls it.
    parents: of what it was made; they live longer. keep: Python objects that have to live as long.
    filename: for errors.
    """

    def __init__(self, pointer: Any, end: Callable[[Any], Any], what: str,
                 parents: "Sequence[Handle]" = (), keep: object = None,
                 filename: Optional[str] = None) -> None:
        self._live = [pointer]
        self._users: List[None] = []
        self._closing = False
        self._children: "Dict[int, weakref.ref[Handle]]" = {}
        self._end = end
        self._what = what
        self._parents: List[Handle] = []
        self._keep = keep
        self.filename = filename
        for parent in parents:
            self._adopt(parent)

    def _adopt(self, parent: "Handle") -> None:
        """Keeps a parent alive; it has to be in use by the caller."""
        parent._users.append(None)
        parent._children[id(self)] = weakref.ref(self)
        self._parents.append(parent)
        if parent._closing:  # closed meanwhile by another thread, which did not see the child
            self.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed, or is being closed."""
        return self._closing

    def __enter__(self) -> Any:
        """Uses it: gives the pointer, which is good until ``__exit__``."""
        self._users.append(None)
        if self._closing:
            self._leave()
            raise ClosedError(f"{self._what} is closed")
        return self._live[0]

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._users.pop()
        if self._closing and not self._users:
            self._release()

    def close(self) -> None:
        """Ends it, after what was made of it, and after calls that are under way. Twice is fine."""
        self._closing = True
        for child in list(self._children.values()):
            found = child()
            if found is not None:
                found.close()
        if not self._users:
            self._release()

    def _release(self) -> None:
        try:
            pointer = self._live.pop()
        except IndexError:
            return
        self._end(pointer)
        self._keep = None
        while self._parents:
            parent = self._parents.pop()
            parent._children.pop(id(self), None)
            parent._leave()

    def __del__(self) -> None:
        if getattr(self, "_parents", None) is not None:
            self.close()


class Exclusive(Handle):
    """Owns an object that one call at a time may use, from whatever thread.

    Another thread's call, and one from a callback of a call, is refused: nobody can wait for what
    is further up in its own stack.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._turn = threading.Lock()
        super().__init__(*arguments, **named)

    def __enter__(self) -> Any:
        if not self._turn.acquire(blocking=False):
            raise ArgumentError(f"{self._what} is used by another call just now",
                                ErrorCode.ARGUMENT, filename=self.filename)
        try:
            return super().__enter__()
        except BaseException:
            self._turn.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            super().__exit__()
        finally:
            self._turn.release()


class Failure:
    """Where a call says why it failed."""

    def __init__(self, filename: Optional[str] = None) -> None:
        self.err = ffi.new("struct qcow2_error *")
        self._filename = filename

    def check(self, status: int) -> int:
        """Raises if a call failed; else gives its result."""
        if status < 0:
            raise exception(self.err, self._filename)
        return status


class Hearer:
    """What callbacks of one call share: whom they tell, and what went wrong there.

    An exception in a callback stops the call; :meth:`check` raises it again.
    """

    def __init__(self, tell: Optional[Callable[..., object]]) -> None:
        self._tell = tell
        self.handle = ffi.new_handle(self)
        self.failed: Optional[BaseException] = None

    def hear(self, make: Callable[..., object], *what: Any) -> int:
        """Tells what ``make`` makes of the arguments of a callback. Returns 0 to go on."""
        try:
            if self._tell is not None:
                self._tell(make(*what))
            return 0
        except BaseException as error:  # pylint: disable=broad-except
            self.failed = error
            return 1

    def check(self, failure: Failure, status: int) -> int:
        """As :meth:`Failure.check`, but an exception of a callback comes first."""
        if self.failed is not None:
            try:
                raise self.failed
            finally:
                self.failed = None
        return failure.check(status)


def _keep(_kind: object, error: BaseException, traceback: Any) -> None:
    """Keeps what was raised outside of the ``try`` of a callback, as signals do at its first line."""
    ffi.from_handle(traceback.tb_frame.f_locals["opaque"]).failed = error


def callback(name: str) -> Callable[[Function], Function]:
    """Makes a function one that the library calls.

    Its first parameter is ``opaque``: the handle of an object whose ``failed`` is raised by whoever
    made the call.
    """
    return ffi.def_extern(name=name, error=-1, onerror=_keep)


class Stream(Single, Iterator[Item], Generic[Item]):
    """An iterator over what the library finds, a bounded batch at a time.

    Nothing is collected: memory is that of one batch. The interpreter is free for other threads while
    the library looks for the next batch. Several threads may share a stream; each item goes to one of
    them. A stream is closed at its end, by ``close()``, at the end of a ``with`` block, and when
    what it was made from is closed; then it raises :class:`ClosedError`, but at its end it just ends.
    So does one whose ``next()`` was interrupted, by Ctrl-C or by what a handler of a signal raises: it
    cannot know which items were lost on the way.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._turn = threading.Lock()
        self._ready: Iterator[Item] = iter(())
        self._started = False
        self._ended = False
        self._interrupted = False

    def _take(self, pointer: Any, failure: Failure) -> Optional[Iterator[Item]]:
        """The next batch, which may be empty; None at the end."""
        raise NotImplementedError

    def __iter__(self) -> "Stream[Item]":
        return self

    def __next__(self) -> Item:
        try:
            with self._turn:
                return self._next()
        except (StopIteration, ClosedError):
            raise
        except BaseException:
            self._interrupted = True
            raise

    def _next(self) -> Item:
        if self._ended:
            raise StopIteration
        if self._handle.closed:
            raise ClosedError(f"{self._handle._what} is closed")
        if self._interrupted:
            raise ClosedError(f"{self._handle._what} was interrupted: items of it may be lost")
        for item in self._ready:
            return item
        return self._next_batch()

    def _next_batch(self) -> Item:
        self._started = True
        while True:
            try:
                with self._handle as pointer:
                    batch = self._take(pointer, Failure(self._handle.filename))
            except Exception:
                self._handle.close()
                raise
            if batch is None:
                self._ended = True
                self._handle.close()
                raise StopIteration
            self._ready = batch
            for item in batch:
                return item

    def close(self) -> None:
        """Ends the stream early. Twice is fine."""
        self._ready = iter(())
        self._handle.close()

    def __enter__(self) -> "Stream[Item]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
