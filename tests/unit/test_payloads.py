"""Bodies of POSTs, packet by packet."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminder.websocket.payloads import (
    MAX_MESSAGE,
    MAX_POST,
    MAX_POST_PACKETS,
    PIECE,
    Malformed,
    check_attachment,
    packets,
)


def split(body: bytes) -> list[str]:
    return list(packets(io.BytesIO(body).read, len(body)))


@given(st.lists(st.integers(0, 3 * PIECE), min_size=1, max_size=8))
def test_packets_are_whole_wherever_pieces_end(lengths: list[int]) -> None:
    sent = ['é' * (length // 2) for length in lengths]
    assert split('\x1e'.join(sent).encode()) == sent


def test_each_is_there_as_soon_as_it_has_come() -> None:
    body = io.BytesIO(b'4a\x1e' + b'x' * PIECE)
    assert next(packets(body.read, len(body.getvalue()))) == '4a'
    assert body.tell() == PIECE


def test_no_more_than_a_message_and_a_piece_is_read_of_one_that_is_too_long() -> None:
    body = io.BytesIO(b'x' * MAX_POST)
    with pytest.raises(Malformed):
        list(packets(body.read, MAX_POST))
    assert body.tell() <= MAX_MESSAGE + PIECE


def test_the_longest_and_the_most_are_taken() -> None:
    assert split(b'x' * MAX_MESSAGE) == ['x' * MAX_MESSAGE]
    assert len(split(b'\x1e' * (MAX_POST_PACKETS - 1))) == MAX_POST_PACKETS


@pytest.mark.parametrize('body', [b'x' * (MAX_MESSAGE + 1), b'\x1e' * MAX_POST_PACKETS, b'4\xff', b'4\xc3\x1e\xa9'])
def test_what_is_more_or_no_text_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        split(body)


def test_attachments_are_base64() -> None:
    check_attachment('AQID')
    for text in ('AQI', 'AQ*D', 'ä'):
        with pytest.raises(Malformed):
            check_attachment(text)
