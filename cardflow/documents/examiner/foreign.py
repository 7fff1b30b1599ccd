"""Files that are also something else: what one program shows is not what another would open."""

import codecs
import io
import re
import zipfile

from cardflow.errors import Refused

_ARCHIVES = {
    "a RAR archive": b"Rar!\x1a\x07",
    "a 7-Zip archive": b"7z\xbc\xaf\x27\x1c",
    "a cabinet archive": b"MSCF\0\0\0\0",
}
_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body|script|svg|iframe|\?php)[\s>/]", re.I)
codecs.lookup("cp437")  # zipfile's; a confined process can load nothing
_VOLUME = slice(0x8001, 0x8006)  # ECMA-119 8.1.2: after sixteen sectors that anything may fill
_SNIFFED = 4096  # more than browsers look at before they decide what a file is


def refuse_foreign(data: bytes) -> None:
    """Refuse a file that another program would open as an archive or as a web page."""
    hidden = [name for name, mark in _ARCHIVES.items() if mark in data]
    if _opens_as_zip(data):
        hidden.append("a ZIP archive")
    if data[_VOLUME] == b"CD001":
        hidden.append("a disk image")
    if _PAGE.search(data, 0, _SNIFFED):
        hidden.append("a web page")
    if hidden:
        raise Refused(f"the file is also {hidden[0]}; scan the signed form again and upload that")


def _opens_as_zip(data: bytes) -> bool:
    if b"PK\x05\x06" not in data:
        return False
    try:
        return bool(zipfile.ZipFile(io.BytesIO(data)).namelist())
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError):
        return False
