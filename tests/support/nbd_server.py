# SPDX-License-Identifier: MIT
# An NBD server that lies, hangs and breaks off as it is told. The protocol is that of the document
# "The NBD protocol"; the numbers below are its names.
"""A server of NBD that can be hostile."""
import os
import socket
import struct
import threading

MULTI_CONN, HAS_FLAGS, READ_ONLY = 1 << 8, 1, 2
OPT_EXPORT_NAME, OPT_INFO, OPT_GO, OPT_STRUCTURED, OPT_CONTEXT = 1, 6, 7, 8, 10
REP_ACK, REP_INFO, REP_CONTEXT, REP_UNSUPPORTED = 1, 3, 4, (1 << 31) + 1
READ, DISCONNECT, STATUS = 0, 2, 7
CHUNK_DATA, CHUNK_STATUS, CHUNK_ERROR = 1, 5, 32769
CONTEXT = 7


def take(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


class Server:
    """Serves bytes on a socket of a folder. `how` says what is wrong; `after`: from which read on."""

    def __init__(self, folder, data, how="", after=0, size=None):
        self.data, self.how, self.after = data, how, after
        self.size = len(data) if size is None else size
        self.connections = self.reads = self.questions = 0
        self.held, self.ended = [], threading.Event()
        self.path = str(folder / f"hostile-{how or 'none'}.socket")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(16)
        self.uri = f"nbd+unix:///?socket={self.path}"

    def __enter__(self):
        threading.Thread(target=self.welcome, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.held:
            connection.close()

    def welcome(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.greet(connection) and self.negotiate(connection):
                while self.answer(connection):
                    pass
        except (EOFError, OSError):
            pass
        if self.how == "hang":
            self.held.append(connection)
        connection.close()

    def greet(self, connection):
        if self.how == "silent":
            self.ended.wait()
        if self.how in ("silent", "closed"):
            return False
        if self.how == "noise":
            connection.sendall(os.urandom(4096))
            return False
        connection.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
        take(connection, 4)
        if self.how == "half-way":
            self.ended.wait()
        return True

    def negotiate(self, connection):
        """Options until the client is served."""
        while True:
            _, option, length = struct.unpack(">QII", take(connection, 16))
            take(connection, length)

            def reply(kind, data=b"", number=option):
                connection.sendall(struct.pack(">QIII", 0x3e889045565a9, number, kind, len(data)) + data)
            if option == OPT_STRUCTURED and self.how != "simple":
                reply(REP_ACK)
            elif option == OPT_CONTEXT and self.how != "simple":
                reply(REP_CONTEXT, struct.pack(">I", CONTEXT) + b"base:allocation")
                reply(REP_ACK)
            elif option == OPT_GO:
                if self.how == "blocks":
                    reply(REP_INFO, struct.pack(">HIII", 3, 3, 5, 7))
                flags = HAS_FLAGS | READ_ONLY | MULTI_CONN
                reply(REP_INFO, struct.pack(">HQH", 0, self.size, flags))
                reply(REP_ACK)
                return True
            else:
                reply(REP_UNSUPPORTED)

    def answer(self, connection):
        """One request. False: the client has gone."""
        _, _, kind, cookie, offset, length = struct.unpack(">IHHQQI", take(connection, 28))

        def chunk(number, data):
            connection.sendall(struct.pack(">IHHQI", 0x668e33ef, 1, number, cookie, len(data)) + data)
        if kind == STATUS:
            self.questions += 1
            extents = {"no-length": (0, 3), "tiny": (1, self.questions % 2 * 3),
                       "long-hole": (0xfffffe00, 0)}.get(self.how, (length, 0))
            chunk(CHUNK_STATUS, struct.pack(">III", CONTEXT, *extents))
        elif kind == READ:
            self.reads += 1
            self.give(connection, chunk, cookie, offset, length)
        return kind != DISCONNECT

    def give(self, connection, chunk, cookie, offset, length):
        """Answers a read, rightly or not."""
        data = self.data[offset:offset + length].ljust(length, b"\0")
        place = struct.pack(">Q", offset)
        how = self.how if self.reads > self.after else ""
        if how == "error":
            chunk(CHUNK_ERROR, struct.pack(">IH", 5, 0))
        elif how == "junk":
            connection.sendall(os.urandom(4096))
        elif how == "hang":
            self.ended.wait()
            raise EOFError
        elif how == "dies":
            raise EOFError
        elif how == "short":
            chunk(CHUNK_DATA, place + data[:length // 2])
        elif how == "long":
            chunk(CHUNK_DATA, place + data + bytes(4096))
        elif how == "elsewhere":
            chunk(CHUNK_DATA, struct.pack(">Q", offset + 4096) + data)
        elif how == "torn":
            connection.sendall(struct.pack(">IHHQI", 0x668e33ef, 1, CHUNK_DATA, cookie, 8 + length))
            raise EOFError
        elif self.how == "simple":
            connection.sendall(struct.pack(">IIQ", 0x67446698, 0, cookie) + data)
        else:
            chunk(CHUNK_DATA, place + data)
