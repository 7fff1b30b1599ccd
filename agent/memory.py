"""The only place where a PIN exists: locked, wiped buffers in a process that leaves no dump."""

import ctypes
import mmap
import os
import resource
import signal

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
ROOM = 4096  # one page: an Assuan line has at most 1000 bytes, a PIN at most 255


def leave_no_dump() -> None:
    """See to it that no core file is written and no process of the same user can look inside."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """See to it that this process, however its parent ends, does not outlive it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class SecretRoom:
    """One page of memory that is not swapped out and is filled with zeros by ``wipe``."""

    def __init__(self) -> None:
        self.bytes = mmap.mmap(-1, ROOM)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        _libc.mlock(ctypes.c_void_p(self._address), ctypes.c_size_t(ROOM))
        self.length = 0

    def receive(self, descriptor: int) -> int:
        """Add what can be read now, straight into the page; return how many bytes came."""
        room = memoryview(self.bytes)[self.length : ROOM]
        try:
            count = os.readv(descriptor, [room]) if len(room) else 0
        finally:
            room.release()
        self.length += count
        return count

    def address(self) -> int:
        return self._address

    def wipe(self) -> None:
        """Leave zeros."""
        ctypes.memset(self._address, 0, ROOM)
        self.length = 0


class Pin:
    """A PIN that python-pkcs11 takes for text: it calls nothing but ``encode``.

    What ``encode`` returns is handed to C_Login as it is, so wiping it afterwards leaves no copy.
    """

    def __init__(self) -> None:
        self.room = SecretRoom()
        self._exact = bytearray()

    def __len__(self) -> int:
        return self.room.length

    def __repr__(self) -> str:
        return "<a PIN>"

    def encode(self, _encoding: str = "utf-8") -> bytearray:
        """Return the PIN in a buffer of its own length, made once, locked, and wiped with it."""
        if len(self._exact) != self.room.length:
            self._exact = bytearray(self.room.length)
            address = _address_of(self._exact)
            _libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(self.room.length))
            ctypes.memmove(address, self.room.address(), self.room.length)
        return self._exact

    def wipe(self) -> None:
        """Leave zeros wherever the PIN was."""
        if self._exact:
            ctypes.memset(_address_of(self._exact), 0, len(self._exact))
        self.room.wipe()


def _address_of(buffer: bytearray) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
