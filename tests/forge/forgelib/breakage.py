# SPDX-License-Identifier: MIT
"""Breaking a finished image: any field by its name, any byte by its offset."""

import re

from .errors import ForgeError
from .values import evaluate, to_bytes, words


def names(layout):
    """What @PATH, $PATH and bare words mean in a sum."""
    def look(kind, word):
        if kind == "@":
            return layout.where(word)
        if kind == "$":
            return layout.value(word)
        if word == "eof":
            return layout.store.size
        if word == "cluster":
            return layout.cluster_size
        raise ForgeError(f"{word} is not a number, @PATH, $PATH, eof or cluster")
    return look


def split_path(text):
    """The first word, which may be quoted like bitmaps/"a b"/flags, and the rest."""
    match = re.match(r'((?:"(?:\\.|[^"\\])*"|\S)+)\s*(.*)', text, re.S)
    if not match:
        raise ForgeError("a path is missing")
    return words(match[1])[0], match[2]


def strip_comment(text):
    return text if '"' in text else text.split(" #")[0].strip()


def data_of(text):
    """Bytes for poke and append: hex digits (blanks between are fine), "string", zeros:N."""
    if text.startswith(('"', "hex:", "zeros:")):
        return to_bytes(words(text)[0])
    return to_bytes("hex:" + "".join(text.split()))


def apply(layout, word, rest):
    """Do one breakage."""
    rest, look, store = strip_comment(rest), names(layout), layout.store
    if word == "set":
        path, value = split_path(rest)
        if value.startswith(('"', "hex:", "zeros:")):
            layout.put(layout.place(path), to_bytes(words(value)[0]))
        else:
            layout.put(layout.place(path), evaluate(value, look))
    elif word == "poke":
        at, _, data = rest.partition(" ")
        store.write(evaluate(at, look), data_of(data))
    elif word == "append":
        store.write(store.size, data_of(rest))
    elif word == "truncate":
        store.resize(evaluate(rest, look))
    elif word == "sparse":
        store.resize(max(store.size, evaluate(rest, look)))
    elif word == "trim":
        store.trim()
    elif word == "copy":
        source, target, length = rest.split()
        store.write(evaluate(target, look),
                    store.read(evaluate(source, look), evaluate(length, look)))
    elif word == "erase":
        store.resize(0)
