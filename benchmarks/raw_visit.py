"""The yardstick of ``bench_visit``: a visit's PKCS#11 calls by ctypes, with nothing around them."""

import os
from collections.abc import Callable
from ctypes import CDLL, Structure, byref, c_char_p, c_ubyte, c_ulong, c_void_p, cast, pointer
from ctypes import create_string_buffer as buffer

# PKCS#11 3.0, names as there
CKF_SERIAL_SESSION, CKF_RW_SESSION, CKU_USER = 4, 2, 1
CKO_CERTIFICATE, CKC_X_509, CKK_EC = 1, 0, 3
CKM_EC_KEY_PAIR_GEN, CKM_ECDSA = 0x1040, 0x1041
CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_VALUE = 0, 1, 2, 3, 0x11
CKA_CERTIFICATE_TYPE, CKA_KEY_TYPE, CKA_SUBJECT, CKA_ID = 0x80, 0x100, 0x101, 0x102
CKA_SENSITIVE, CKA_SIGN, CKA_VERIFY, CKA_EXTRACTABLE = 0x103, 0x108, 0x10A, 0x162
CKA_EC_PARAMS, CKA_EC_POINT = 0x180, 0x181
P_256 = bytes.fromhex("06082a8648ce3d030107")
YES, NO = b"\1", b"\0"
MOST = 4096  # bytes of an attribute, and objects of a search
LOOKED_AT = (CKA_CLASS, CKA_ID, CKA_LABEL)


class Attribute(Structure):
    """CK_ATTRIBUTE."""

    _fields_ = [("type", c_ulong), ("value", c_void_p), ("length", c_ulong)]


class Mechanism(Structure):
    """CK_MECHANISM without a parameter."""

    _fields_ = [("mechanism", c_ulong), ("value", c_void_p), ("length", c_ulong)]


def number(value: int) -> bytes:
    """Return a CK_ULONG."""
    return bytes(c_ulong(value))


class Template:
    """An array of CK_ATTRIBUTE and the bytes that it points to."""

    def __init__(self, values: dict[int, bytes]) -> None:
        self._kept = [buffer(value, len(value)) for value in values.values()]
        cells = [
            Attribute(kind, cast(kept, c_void_p), len(kept))
            for kind, kept in zip(values, self._kept, strict=True)
        ]
        self.array = (Attribute * len(cells))(*cells)


class RawVisit:
    """The calls that a visit makes, on the module that the product uses."""

    def __init__(self, module: str, serial: str, pin: str, issue: Callable[[], bytes]) -> None:
        self._library = CDLL(module)
        self._pin, self._issue = pin.encode(), issue
        self._session = c_ulong()
        self._old = b""
        self._slot = self._slot_of(serial)

    def run(self, clock: Callable[[], float]) -> float:
        """Return the seconds at the card; issuing the certificate in between is excluded."""
        cka_id, before = os.urandom(20), clock()
        self._do("C_OpenSession", c_ulong(self._slot), c_ulong(CKF_SERIAL_SESSION | CKF_RW_SESSION),
                 None, None, byref(self._session))  # fmt: skip
        self._in("C_Login", c_ulong(CKU_USER), c_char_p(self._pin), c_ulong(len(self._pin)))
        self._look()
        private, public = self._key_pair(cka_id)
        self._read(public, CKA_EC_POINT)
        self._sign(private, os.urandom(32))
        at_the_card = clock() - before
        der = self._issue()
        before = clock()
        self._sign(private, os.urandom(32))
        certificate = self._write(cka_id, der)
        assert self._read(certificate, CKA_VALUE) == der
        self._sign(private, os.urandom(32))
        for found in self._found({CKA_ID: self._old}) if self._old else ():
            self._in("C_DestroyObject", c_ulong(found))
        self._look()
        self._in("C_CloseSession")
        self._old = cka_id
        return at_the_card + clock() - before

    def _slot_of(self, serial: str) -> int:
        slots, count = (c_ulong * MOST)(), c_ulong(MOST)
        self._do("C_GetSlotList", c_ubyte(1), slots, byref(count))
        for slot in slots[: count.value]:
            info = buffer(512)
            self._do("C_GetTokenInfo", c_ulong(slot), info)
            if info.raw[80:96].decode().strip() == serial:  # after label, maker and model
                return slot
        msg = f"no token {serial}"
        raise LookupError(msg)

    def _look(self) -> None:
        for found in self._found({}):
            for kind in LOOKED_AT:
                self._read(found, kind)
            if self._read(found, CKA_CLASS) == number(CKO_CERTIFICATE):
                self._read(found, CKA_VALUE)

    def _found(self, wanted: dict[int, bytes]) -> list[int]:
        template, handles, count = Template(wanted), (c_ulong * MOST)(), c_ulong()
        self._in("C_FindObjectsInit", template.array, c_ulong(len(wanted)))
        self._in("C_FindObjects", handles, c_ulong(MOST), byref(count))
        self._in("C_FindObjectsFinal")
        return list(handles[: count.value])

    def _read(self, handle: int, kind: int) -> bytes:
        space = buffer(MOST)
        attribute = Attribute(kind, cast(space, c_void_p), MOST)
        name = "C_GetAttributeValue"
        self._in(name, c_ulong(handle), byref(attribute), c_ulong(1))
        return space.raw[: attribute.length]

    def _key_pair(self, cka_id: bytes) -> tuple[int, int]:
        shown = Template({CKA_TOKEN: YES, CKA_ID: cka_id, CKA_LABEL: b"logon", CKA_VERIFY: YES,
                          CKA_EC_PARAMS: P_256})  # fmt: skip
        hidden = Template({CKA_TOKEN: YES, CKA_ID: cka_id, CKA_LABEL: b"logon", CKA_SIGN: YES,
                           CKA_PRIVATE: YES, CKA_SENSITIVE: YES, CKA_EXTRACTABLE: NO})  # fmt: skip
        public, private = c_ulong(), c_ulong()
        self._in("C_GenerateKeyPair", byref(Mechanism(CKM_EC_KEY_PAIR_GEN, None, 0)),
                 shown.array, c_ulong(len(shown.array)), hidden.array, c_ulong(len(hidden.array)),
                 byref(public), byref(private))  # fmt: skip
        return private.value, public.value

    def _sign(self, private: int, digest: bytes) -> bytes:
        signature, length = buffer(64), c_ulong(64)
        self._in("C_SignInit", byref(Mechanism(CKM_ECDSA, None, 0)), c_ulong(private))
        self._in("C_Sign", c_char_p(digest), c_ulong(len(digest)), signature, byref(length))
        return signature.raw

    def _write(self, cka_id: bytes, der: bytes) -> int:
        template, handle = Template({
            CKA_CLASS: number(CKO_CERTIFICATE), CKA_CERTIFICATE_TYPE: number(CKC_X_509),
            CKA_TOKEN: YES, CKA_ID: cka_id, CKA_LABEL: b"logon", CKA_SUBJECT: b"0\0",
            CKA_VALUE: der,
        }), c_ulong()  # fmt: skip
        self._in("C_CreateObject", template.array, c_ulong(len(template.array)), pointer(handle))
        return handle.value

    def _in(self, name: str, *arguments: object) -> None:
        self._do(name, self._session, *arguments)

    def _do(self, name: str, *arguments: object) -> None:
        answer = getattr(self._library, name)(*arguments)
        if answer:
            msg = f"{name} returned {answer:#x}"
            raise RuntimeError(msg)
