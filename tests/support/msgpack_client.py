"""msgpack as much as a client of the service needs; hostile bytes are built by hand where they are needed."""
import struct


def packed(value):
    """A value of a request; the widest form of each, numbers as float64."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, str):
        data = value.encode()
        return b"\xda" + struct.pack(">H", len(data)) + data
    if isinstance(value, (int, float)):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(packed(v) for v in value)
    return b"\xdf" + struct.pack(">I", len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())


def unpack(data):
    """A reply as the service writes it; anything else fails."""
    at = 0

    def take(n):
        nonlocal at
        at += n
        assert at <= len(data), "cut off"
        return data[at - n:at]

    def number(form):
        return struct.unpack(">" + form, take(struct.calcsize(form)))[0]

    def value():
        head = take(1)[0]
        if head < 0x80:
            return head
        if 0xA0 <= head < 0xC0:
            return take(head & 31).decode()
        simple = {0xC0: None, 0xC2: False, 0xC3: True}
        if head in simple:
            return simple[head]
        if head in (0xC4, 0xC5, 0xC6):
            return take(number("BHI"[head - 0xC4]))
        if head in (0xD9, 0xDA, 0xDB):
            return take(number("BHI"[head - 0xD9])).decode()
        if head == 0xDD:
            return [value() for _ in range(number("I"))]
        if head == 0xDF:
            pairs = [(value(), value()) for _ in range(number("I"))]
            assert len(dict(pairs)) == len(pairs), "names repeat"
            return dict(pairs)
        return number({0xCA: "f", 0xCB: "d", 0xCE: "I", 0xD3: "q"}[head])
    whole = value()
    assert at == len(data), "bytes after the value"
    return whole
