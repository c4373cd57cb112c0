"""The C library is told to keep memory where it listens."""

from __future__ import annotations

import ctypes
import sys

import pytest

from perception.engine.memory import keep_freed_memory


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_glibc_accepts_to_keep_freed_memory():
    assert keep_freed_memory() == hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
