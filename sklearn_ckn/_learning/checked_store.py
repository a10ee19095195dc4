"""A store of joblib's whose entries carry a checksum."""

import os
from hashlib import blake2b

import joblib
from joblib._store_backends import FileSystemStoreBackend
from joblib.memory import extract_first_line

from sklearn_ckn._common.user_warnings import warn_user

BACKEND_NAME = "sklearn_ckn"

# Bytes between two looks at signals.
CHUNK_BYTES = 2**24


class CheckedStoreBackend(FileSystemStoreBackend):
    """Files of which none is read whose checksum does not hold.

    Damaged pickles can raise anything, take all memory, or give another result in
    silence: the checksum, in a file of its own beside the pickle, is compared before.
    """

    def contains_item(self, call_id):
        """Return whether there is such an entry, undamaged.

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
            reason = "its checksum does not hold"
        if checksum is not None and checksum == _read(_checksum_path(path)):
            return True
        warn_user(
            f"The entry {path} of the memory is damaged, and is computed again: "
            f"{reason}.",
        )
        self.clear_item(call_id)
        return False

    def get_cached_func_code(self, call_id):
        """Return the code that the entries of a function come from."""
        try:
            code = super().get_cached_func_code(call_id)
            extract_first_line(code)
        except ValueError:
            # Not text, or no number of a line: joblib takes it for other code.
            return "damaged"
        return code

    def clear_path(self, call_id):
        """Remove all entries of a function, as joblib does when its code is another.

        Warns
        -----
        UserWarning
            So that long work is not repeated without a reason given.
        """
        path = os.path.join(self.location, *call_id)
        warn_user(
            f"The memory {path} comes from another release, or is damaged: its entries "
            "are removed and computed again.",
        )
        super().clear_path(call_id)

    def _concurrency_safe_write(self, to_write, filename, write_func):
        def write_with_checksum(to_write, temporary):
            write_func(to_write, temporary)
            # Before the pickle gets its name: no other process sees it without.
            checksum = self._checksum(temporary, filename)
            super(CheckedStoreBackend, self)._concurrency_safe_write(
                checksum, _checksum_path(filename), _write
            )

        is_entry = os.path.basename(filename) == "output.pkl"
        super()._concurrency_safe_write(
            to_write, filename, write_with_checksum if is_entry else write_func
        )

    def _checksum(self, path, filename):
        """Return the checksum of a file and of the name that it is to have."""
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
