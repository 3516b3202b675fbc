"""WebSocket frames, case by case from RFC 6455, each in one piece and byte by byte; and under any bytes at all."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reminder.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_FRAGMENTS,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameParser,
    close_frame,
    frame,
    unmask,
)

MAX = 100_000
FIN = 0x80
MASK = b'\x37\xfa\x21\x3d'
LARGEST_HEADER = 14

Message = tuple[int, str | bytes]
Pieces = Callable[[bytes], Sequence[bytes]]


def head(first: int, length: int, form: int | None = None, masked: bool = True, mask: bytes = MASK) -> bytes:
    """A client's frame header; `form` is the length field's size in bytes (0, 2, 8), the shortest by default."""
    if form is None:
        form = 0 if length < 126 else 2 if length < 65_536 else 8
    code = {0: length, 2: 126, 8: 127}[form]
    return bytes((first, masked << 7 | code)) + (length.to_bytes(form, 'big') if form else b'') + mask * masked


def encode(first: int, payload: bytes = b'', form: int | None = None, mask: bytes = MASK) -> bytes:
    """A client's frame; the mask is applied byte by byte, as the RFC's text says."""
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return head(first, len(payload), form, mask=mask) + masked


def in_one_piece(data: bytes) -> Sequence[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> Sequence[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


@pytest.fixture(params=[in_one_piece, byte_by_byte])
def pieces(request: pytest.FixtureRequest) -> Any:
    return request.param


def parse(pieces: Sequence[bytes], limit: int = MAX) -> tuple[list[Message], int | None]:
    """The messages in `pieces`, and the close code of the error that ended them, if one did."""
    parser = FrameParser(limit)
    messages: list[Message] = []
    try:
        for piece in pieces:
            messages.extend(parser.feed(piece))
    except FrameError as error:
        return messages, error.code
    return messages, None


class TestServerFrames:
    """RFC 6455 section 5.7 has these as examples."""

    def test_text(self) -> None:
        assert frame(b'Hello') == bytes.fromhex('81 05 48 65 6c 6c 6f')

    def test_pong(self) -> None:
        assert frame(b'Hello', PONG) == bytes.fromhex('8a 05 48 65 6c 6c 6f')

    @pytest.mark.parametrize(
        ('length', 'header'),
        [
            (0, '81 00'),
            (125, '81 7d'),
            (126, '81 7e 00 7e'),
            (256, '81 7e 01 00'),
            (65_535, '81 7e ff ff'),
            (65_536, '81 7f 00 00 00 00 00 01 00 00'),
        ],
    )
    def test_the_length_takes_as_few_bytes_as_it_can(self, length: int, header: str) -> None:
        assert frame(b'x' * length) == bytes.fromhex(header) + b'x' * length

    def test_a_close_is_its_code_and_nothing_else(self) -> None:
        assert close_frame(1001) == b'\x88\x02\x03\xe9'


class TestMessages:
    def test_masked_hello_of_section_5_7(self, pieces: Pieces) -> None:
        assert parse(pieces(bytes.fromhex('81 85 37 fa 21 3d 7f 9f 4d 51 58'))) == ([(TEXT, 'Hello')], None)

    @pytest.mark.parametrize('length', [0, 1, 3, 4, 5, 125, 126, 127, 65_535, 65_536])
    def test_every_form_of_length(self, length: int) -> None:
        payload = bytes(place % 128 for place in range(length))
        assert parse([encode(FIN | TEXT, payload)]) == ([(TEXT, payload.decode())], None)
        assert parse([encode(FIN | BINARY, payload)]) == ([(BINARY, payload)], None)

    @pytest.mark.parametrize('length', [0, 125, 126, 300])
    def test_every_form_of_length_in_pieces(self, length: int, pieces: Pieces) -> None:
        assert parse(pieces(encode(FIN | TEXT, b'x' * length) * 2)) == ([(TEXT, 'x' * length)] * 2, None)

    @pytest.mark.parametrize('mask', [b'\0\0\0\0', b'\xff\xff\xff\xff', b'\0\0\0\x01', b'\x80\0\0\0'])
    def test_every_kind_of_mask(self, mask: bytes, pieces: Pieces) -> None:
        assert parse(pieces(encode(FIN | TEXT, 'gr\u00fc\u00df dich'.encode(), mask=mask))) == (
            [(TEXT, 'gr\u00fc\u00df dich')],
            None,
        )

    @settings(deadline=None)  # this machine may be busy
    @given(st.binary(max_size=40), st.binary(min_size=4, max_size=4))
    def test_unmasking_is_the_masking_of_section_5_3(self, payload: bytes, mask: bytes) -> None:
        assert unmask(payload, mask) == bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))

    def test_a_header_alone_is_no_message(self, pieces: Pieces) -> None:
        assert parse(pieces(head(FIN | TEXT, 5) + b'Hell')) == ([], None)


class TestFragments:
    """Section 5.4."""

    @pytest.mark.parametrize('kind', [TEXT, BINARY])
    def test_are_put_together(self, kind: int, pieces: Pieces) -> None:
        data = encode(kind, b'Hel') + encode(CONTINUATION, b'') + encode(FIN | CONTINUATION, b'lo')
        ((opcode, payload),), code = parse(pieces(data))
        assert (opcode, payload, code) == (kind, 'Hello' if kind == TEXT else b'Hello', None)

    def test_control_frames_may_come_between_them_and_come_out_first(self, pieces: Pieces) -> None:
        data = (
            encode(TEXT, b'Hel')
            + encode(FIN | PING, b'1')
            + encode(CONTINUATION, b'l')
            + encode(FIN | PONG, b'2')
            + encode(FIN | CONTINUATION, b'o')
        )
        assert parse(pieces(data)) == ([(PING, b'1'), (PONG, b'2'), (TEXT, 'Hello')], None)

    def test_a_close_may_come_between_them(self, pieces: Pieces) -> None:
        data = encode(TEXT, b'Hel') + encode(FIN | CLOSE, b'\x03\xe8')
        assert parse(pieces(data)) == ([(CLOSE, b'\x03\xe8')], None)

    def test_a_message_may_follow(self, pieces: Pieces) -> None:
        data = encode(TEXT, b'a') + encode(FIN | CONTINUATION, b'b') + encode(FIN | TEXT, b'c')
        assert parse(pieces(data)) == ([(TEXT, 'ab'), (TEXT, 'c')], None)

    @pytest.mark.parametrize(
        'data',
        [
            encode(FIN | CONTINUATION, b'of nothing'),
            encode(CONTINUATION, b'of nothing'),
            encode(FIN | TEXT, b'whole') + encode(FIN | CONTINUATION, b'of nothing'),
            encode(TEXT, b'begun') + encode(FIN | CONTINUATION) + encode(CONTINUATION, b'of nothing'),
            encode(TEXT, b'begun') + encode(FIN | TEXT, b'another'),
            encode(TEXT, b'begun') + encode(BINARY, b'another'),
        ],
    )
    def test_out_of_order_break_the_protocol(self, data: bytes, pieces: Pieces) -> None:
        assert parse(pieces(data))[1] == 1002

    def test_may_be_many_but_not_endless(self) -> None:
        allowed = encode(TEXT) + encode(CONTINUATION) * (MAX_FRAGMENTS - 2) + encode(FIN | CONTINUATION, b'x')
        assert parse([allowed]) == ([(TEXT, 'x')], None)
        assert parse([encode(TEXT), encode(CONTINUATION) * MAX_FRAGMENTS]) == ([], 1008)


class TestHeaders:
    """Section 5.2. Each is refused for its header, before any payload came."""

    @pytest.mark.parametrize('bit', [0x40, 0x20, 0x10])
    def test_reserved_bits_are_refused(self, bit: int, pieces: Pieces) -> None:
        assert parse(pieces(head(FIN | bit | TEXT, 5))) == ([], 1002)

    @pytest.mark.parametrize('opcode', [*range(0x3, 0x8), *range(0xB, 0x10)])
    @pytest.mark.parametrize('fin', [FIN, 0])
    def test_reserved_opcodes_are_refused(self, opcode: int, fin: int, pieces: Pieces) -> None:
        assert parse(pieces(head(fin | opcode, 0))) == ([], 1002)
        assert parse(pieces(encode(TEXT, b'begun') + head(fin | opcode, 0))) == ([], 1002)

    @pytest.mark.parametrize('opcode', [TEXT, BINARY, CLOSE, PING, PONG])
    def test_frames_without_a_mask_are_refused(self, opcode: int, pieces: Pieces) -> None:
        assert parse(pieces(head(FIN | opcode, 5, masked=False) + b'Hello')) == ([], 1002)

    @pytest.mark.parametrize(
        ('length', 'form'), [(0, 2), (5, 2), (125, 2), (0, 8), (5, 8), (125, 8), (126, 8), (65_535, 8)]
    )
    def test_lengths_that_take_more_bytes_than_they_need_are_refused(
        self, length: int, form: int, pieces: Pieces
    ) -> None:
        assert parse(pieces(head(FIN | TEXT, length, form))) == ([], 1002)

    @pytest.mark.parametrize('length', [1 << 63, (1 << 64) - 1])
    def test_a_length_with_its_highest_bit_set_is_refused(self, length: int, pieces: Pieces) -> None:
        assert parse(pieces(head(FIN | BINARY, length, 8)))[1] in (1002, 1009)


class TestControlFrames:
    """Section 5.5."""

    @pytest.mark.parametrize('opcode', [PING, PONG])
    @pytest.mark.parametrize('length', [0, 1, 125])
    def test_up_to_125_bytes_are_taken(self, opcode: int, length: int, pieces: Pieces) -> None:
        assert parse(pieces(encode(FIN | opcode, b'\xff' * length))) == ([(opcode, b'\xff' * length)], None)

    @pytest.mark.parametrize('opcode', [CLOSE, PING, PONG])
    @pytest.mark.parametrize(('length', 'form'), [(126, 2), (65_536, 8), (1 << 40, 8), (5, 2), (5, 8)])
    def test_longer_ones_are_refused(self, opcode: int, length: int, form: int, pieces: Pieces) -> None:
        assert parse(pieces(head(FIN | opcode, length, form))) == ([], 1002)

    @pytest.mark.parametrize('opcode', [CLOSE, PING, PONG])
    def test_fragments_of_them_are_refused(self, opcode: int, pieces: Pieces) -> None:
        assert parse(pieces(head(opcode, 0))) == ([], 1002)

    @pytest.mark.parametrize('code', [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
    @pytest.mark.parametrize('reason', [b'', b'bye', 'tsch\u00fc\u00df'.encode(), b'x' * 123])
    def test_closes_with_these_codes_are_taken(self, code: int, reason: bytes, pieces: Pieces) -> None:
        payload = code.to_bytes(2, 'big') + reason
        assert parse(pieces(encode(FIN | CLOSE, payload))) == ([(CLOSE, payload)], None)

    def test_a_close_without_a_code_is_taken(self, pieces: Pieces) -> None:
        assert parse(pieces(encode(FIN | CLOSE))) == ([(CLOSE, b'')], None)

    @pytest.mark.parametrize('code', [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
    def test_closes_with_other_codes_are_refused(self, code: int, pieces: Pieces) -> None:
        assert parse(pieces(encode(FIN | CLOSE, code.to_bytes(2, 'big')))) == ([], 1002)

    def test_a_close_with_half_a_code_is_refused(self, pieces: Pieces) -> None:
        assert parse(pieces(encode(FIN | CLOSE, b'\x03'))) == ([], 1002)

    @pytest.mark.parametrize('reason', [b'\xff', 'tsch\u00fc\u00df'.encode()[:-1]])
    def test_a_close_whose_reason_is_no_utf_8_is_refused(self, reason: bytes, pieces: Pieces) -> None:
        assert parse(pieces(encode(FIN | CLOSE, b'\x03\xe8' + reason))) == ([], 1007)


class TestText:
    """Section 8.1; the samples are those of Unicode's table of well-formed byte sequences, and their neighbours."""

    @pytest.mark.parametrize(
        'text', ['\0', '\x7f', '\x80', '\u07ff', '\u0800', '\ud7ff', '\ue000', '\uffff', '\U0010ffff']
    )
    @pytest.mark.parametrize('cut', [0, 1, 2, 3])
    def test_a_character_may_be_cut_by_fragments(self, text: str, cut: int, pieces: Pieces) -> None:
        payload = f'{text}.'.encode()
        data = encode(TEXT, payload[:cut]) + encode(FIN | CONTINUATION, payload[cut:])
        assert parse(pieces(data)) == ([(TEXT, f'{text}.')], None)

    @pytest.mark.parametrize(
        'payload',
        [
            b'\x80',
            b'\xc0\x80',
            b'\xc1\xbf',
            b'\xc3',
            b'\xe0\x80\x80',
            b'\xe2\x82',
            b'\xed\xa0\x80',
            b'\xed\xbf\xbf',
            b'\xf0\x8f\xbf\xbf',
            b'\xf4\x90\x80\x80',
            b'\xf5\x80\x80\x80',
            b'\xff',
            b'Hello\xff',
        ],
    )
    @pytest.mark.parametrize('cut', [0, 1, None])
    def test_what_is_no_utf_8_is_refused(self, payload: bytes, cut: int | None, pieces: Pieces) -> None:
        data = encode(FIN | TEXT, payload)
        if cut is not None:
            data = encode(TEXT, payload[:cut]) + encode(FIN | CONTINUATION, payload[cut:])
        assert parse(pieces(data)) == ([], 1007)

    def test_binary_messages_need_be_no_utf_8(self, pieces: Pieces) -> None:
        assert parse(pieces(encode(FIN | BINARY, b'\xff'))) == ([(BINARY, b'\xff')], None)


class TestLimit:
    LIMIT = 1000

    def test_a_message_of_that_size_is_taken(self, pieces: Pieces) -> None:
        data = encode(FIN | TEXT, b'x' * self.LIMIT)
        assert parse(pieces(data), self.LIMIT) == ([(TEXT, 'x' * self.LIMIT)], None)

    @pytest.mark.parametrize('opcode', [TEXT, BINARY])
    @pytest.mark.parametrize('length', [LIMIT + 1, 65_536, 1 << 40])
    def test_a_larger_one_is_refused_for_its_header(self, opcode: int, length: int, pieces: Pieces) -> None:
        without_mask = head(FIN | opcode, length)[: -len(MASK)]
        assert parse(pieces(without_mask), self.LIMIT) == ([], 1009)

    def test_it_holds_over_all_fragments(self, pieces: Pieces) -> None:
        begin = encode(TEXT, b'x' * 500) + encode(CONTINUATION, b'x' * 400)
        taken = begin + encode(FIN | CONTINUATION, b'x' * 100)
        assert parse(pieces(taken), self.LIMIT) == ([(TEXT, 'x' * 1000)], None)
        assert parse(pieces(begin + head(FIN | CONTINUATION, 101)), self.LIMIT) == ([], 1009)
        assert parse(pieces(begin + head(CONTINUATION, 101)), self.LIMIT) == ([], 1009)

    def test_it_holds_for_each_message_anew(self, pieces: Pieces) -> None:
        message = encode(TEXT, b'x' * 600) + encode(FIN | CONTINUATION, b'x' * 400)
        assert parse(pieces(message * 3), self.LIMIT) == ([(TEXT, 'x' * 1000)] * 3, None)

    def test_control_frames_between_fragments_do_not_count(self, pieces: Pieces) -> None:
        data = encode(TEXT, b'x' * 1000) + encode(FIN | PING, b'y' * 125) + encode(FIN | CONTINUATION)
        assert parse(pieces(data), self.LIMIT) == ([(PING, b'y' * 125), (TEXT, 'x' * 1000)], None)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Message]]:
    """What a client that keeps the protocol may send, and what the server should read of it."""
    data = b''
    messages: list[Message] = []
    masks = st.binary(min_size=4, max_size=4)
    for _ in range(draw(st.integers(1, 5))):
        text = draw(st.text(max_size=200) | st.just('\u20ac' * 22_000))
        binary = draw(st.booleans())
        payload = text.encode()
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        parts = [payload[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, part in enumerate(parts):
            opcode = CONTINUATION if number else BINARY if binary else TEXT
            last = number == len(parts) - 1
            data += encode(opcode | FIN * last, part, mask=draw(masks))
            if draw(st.booleans()) and not last:
                control = draw(st.sampled_from([PING, PONG]))
                content = draw(st.binary(max_size=125))
                data += encode(FIN | control, content, mask=draw(masks))
                messages.append((control, content))
        messages.append((BINARY, payload) if binary else (TEXT, text))
    return data, messages


def splits(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    for begin, end in zip([0, *places], [*places, len(data)], strict=True):
        yield data[begin:end]


@settings(deadline=None)  # this machine may be busy
@given(conversations(), st.lists(st.integers(0, 1_000_000), max_size=12))
def test_any_conversation_is_read_whole_however_it_is_split(
    conversation: tuple[bytes, list[Message]], cuts: list[int]
) -> None:
    data, messages = conversation
    assert parse(list(splits(data, cuts))) == (messages, None)


def held(parser: FrameParser) -> int:
    """How many bytes a parser keeps between two pieces."""
    values = [getattr(parser, name) for name in FrameParser.__slots__]
    return sum(
        len(value) if isinstance(value, bytes) else sum(map(len, value))
        for value in values
        if isinstance(value, bytes | list)
    )


frames_of_any_kind = st.builds(
    encode,
    st.sampled_from([TEXT, BINARY, CONTINUATION, CONTINUATION, CLOSE, PING, PONG, 0x3]).flatmap(
        lambda opcode: st.sampled_from([opcode, FIN | opcode, FIN | opcode, 0x40 | opcode])
    ),
    st.binary(max_size=70) | st.text(max_size=30).map(str.encode),
)


@settings(deadline=None)  # this machine may be busy
@given(st.lists(st.binary(max_size=300) | frames_of_any_kind, max_size=30), st.integers(0, 500))
def test_any_bytes_raise_nothing_else_and_never_make_it_hold_more_than_its_limit(
    pieces: list[bytes], limit: int
) -> None:
    parser = FrameParser(limit)
    try:
        for piece in pieces:
            for opcode, payload in parser.feed(piece):
                assert opcode in (TEXT, BINARY, CLOSE, PING, PONG)
                assert isinstance(payload, str) == (opcode == TEXT)
                if opcode in (TEXT, BINARY):
                    assert len(payload.encode() if isinstance(payload, str) else payload) <= limit
            assert held(parser) <= max(limit, 125) + LARGEST_HEADER
    except FrameError as error:
        assert error.code in (1002, 1007, 1008, 1009)


def test_a_message_that_never_ends_is_not_kept_beyond_the_limit() -> None:
    parser = FrameParser(1000)
    list(parser.feed(head(TEXT, 600)))
    for _ in range(599):
        list(parser.feed(b'x'))
    list(parser.feed(b'x' + head(CONTINUATION, 400) + b'x' * 399))
    assert held(parser) <= 1000 + LARGEST_HEADER
