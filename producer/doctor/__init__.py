"""`darkroom doctor`: checks of servers, processes and stored data, one finding for each."""

from producer.doctor.examination import (
    Finding,
    connect_for_examination,
    examine,
    examine_books,
)

__all__ = ["Finding", "connect_for_examination", "examine", "examine_books"]
