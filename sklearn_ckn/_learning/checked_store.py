"""Storage backend for joblib.Memory that protects its entries by checksums."""

import os
from hashlib import blake2b

import joblib
from joblib._store_backends import FileSystemStoreBackend
from joblib.memory import extract_first_line

from sklearn_ckn._common.user_warnings import warn_user

BACKEND_NAME = "sklearn_ckn"

# A file is read in parts of this size, so that Ctrl-C takes effect between two parts.
CHUNK_BYTES = 2**24


class CheckedStoreBackend(FileSystemStoreBackend):
    """joblib's file store, which reads an entry only if its checksum is right.

    Reading a damaged pickle can raise any exception, use up all memory, or return a
    wrong result without an error. Therefore a checksum, stored in a separate file next
    to the pickle, is compared before the pickle is read.
    """

    def contains_item(self, call_id):
        """Return whether the entry exists and is undamaged.

        Warns
        -----
        UserWarning
            The entry is damaged; it is removed.
        """
        path = os.path.join(self.location, *call_id, "output.pkl")
        try:
            checksum = self._checksum(path, path)
        except FileNotFoundError:
            return False
        except OSError as error:
            checksum, reason = None, str(error)
        else:
            reason = "its checksum is wrong"
        if checksum is not None and checksum == _read(_checksum_path(path)):
            return True
        warn_user(
            f"The entry {path} of the memory is damaged and is computed again: "
            f"{reason}.",
        )
        self.clear_item(call_id)
        return False

    def get_cached_func_code(self, call_id):
        """Return the source code of the function that computed the entries."""
        try:
            code = super().get_cached_func_code(call_id)
            extract_first_line(code)
        except ValueError:
            # The file is not text, or has no line number. joblib takes this result for
            # the code of another function, and removes the entries.
            return "damaged"
        return code

    def clear_path(self, call_id):
        """Remove all entries of a function; joblib does this when its code has changed.

        Warns
        -----
        UserWarning
            Always, because without the entries long computations are repeated.
        """
        path = os.path.join(self.location, *call_id)
        warn_user(
            f"The memory {path} was written by another version, or is damaged: its "
            "entries are removed and computed again.",
        )
        super().clear_path(call_id)

    def _concurrency_safe_write(self, to_write, filename, write_func):
        def write_with_checksum(to_write, temporary):
            write_func(to_write, temporary)
            # The checksum is written before the pickle gets its final name, so that no
            # other process sees the pickle without a checksum.
            checksum = self._checksum(temporary, filename)
            super(CheckedStoreBackend, self)._concurrency_safe_write(
                checksum, _checksum_path(filename), _write
            )

        is_entry = os.path.basename(filename) == "output.pkl"
        super()._concurrency_safe_write(
            to_write, filename, write_with_checksum if is_entry else write_func
        )

    def _checksum(self, path, filename):
        """Return the checksum of the content of a file and of its final name."""
        name = os.path.relpath(filename, self.location)
        checksum = blake2b("/".join(name.split(os.sep)).encode(), digest_size=20)
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                checksum.update(chunk)
        return checksum.hexdigest().encode()


joblib.register_store_backend(BACKEND_NAME, CheckedStoreBackend)


def _checksum_path(filename):
    return os.path.join(os.path.dirname(filename), "checksum.txt")


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _write(content, path):
    with open(path, "wb") as file:
        file.write(content)
