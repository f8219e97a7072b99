"""ref_pack_reader.py: a slow, obvious reader of packs, written from spec/pack.md and section 4 of spec/record.md alone, with nothing but the
standard library.

    python3 tests/ref/ref_pack_reader.py FILE ...      one JSON object for each file: {"status", "entries", "kernels"}

It verifies everything first (spec/pack.md section 7, full verification), so it knows no partly damaged packs: a file is good or it is not.
Floats are given as the hexadecimal digits of their bits, so that nothing is lost in printing."""
import json
import struct
import sys

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


# ---- XXH3, 64 bits, as the xxHash specification describes it --------------------------------------------------------------

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364ea"
    "c5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
PRIME_MX1, PRIME_MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25


def u32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def u64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def rotl(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK64


def fold(a, b):
    product = a * b
    return (product & MASK64) ^ (product >> 64)


def avalanche(h):
    h ^= h >> 37
    h = h * PRIME_MX1 & MASK64
    return h ^ h >> 32


def avalanche64(h):
    h ^= h >> 33
    h = h * P64_2 & MASK64
    h ^= h >> 29
    h = h * P64_3 & MASK64
    return h ^ h >> 32


def mix16(data, at, secret_at, seed):
    return fold(u64(data, at) ^ (u64(SECRET, secret_at) + seed & MASK64), u64(data, at + 8) ^ (u64(SECRET, secret_at + 8) - seed & MASK64))


def xxh3_short(data, seed):
    n = len(data)
    if n == 0:
        return avalanche64(seed ^ u64(SECRET, 56) ^ u64(SECRET, 64))
    if n <= 3:
        combined = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return avalanche64(combined ^ ((u32(SECRET, 0) ^ u32(SECRET, 4)) + seed & MASK64))
    if n <= 8:
        seed ^= swap(seed & MASK32, 4) << 32
        value = u32(data, n - 4) + (u32(data, 0) << 32)
        h = value ^ ((u64(SECRET, 8) ^ u64(SECRET, 16)) - seed & MASK64)
        h ^= rotl(h, 49) ^ rotl(h, 24)
        h = h * PRIME_MX2 & MASK64
        h ^= (h >> 35) + n & MASK64
        h = h * PRIME_MX2 & MASK64
        return h ^ h >> 28
    low = u64(data, 0) ^ ((u64(SECRET, 24) ^ u64(SECRET, 32)) + seed & MASK64)
    high = u64(data, n - 8) ^ ((u64(SECRET, 40) ^ u64(SECRET, 48)) - seed & MASK64)
    return avalanche(n + swap(low, 8) + high + fold(low, high) & MASK64)


def xxh3_middle(data, seed):
    n = len(data)
    total = n * P64_1 & MASK64
    if n <= 128:
        pairs = (n - 1) // 32
        for i in range(pairs, -1, -1):
            total += mix16(data, 16 * i, 32 * i, seed) + mix16(data, n - 16 * (i + 1), 32 * i + 16, seed)
        return avalanche(total & MASK64)
    for i in range(8):
        total += mix16(data, 16 * i, 16 * i, seed)
    total = avalanche(total & MASK64)
    for i in range(8, n // 16):
        total += mix16(data, 16 * i, 16 * (i - 8) + 3, seed)
    total += mix16(data, n - 16, 136 - 17, seed)
    return avalanche(total & MASK64)


def accumulate(acc, data, at, secret, secret_at):
    for i in range(8):
        value = u64(data, at + 8 * i)
        key = value ^ u64(secret, secret_at + 8 * i)
        acc[i ^ 1] = acc[i ^ 1] + value & MASK64
        acc[i] = acc[i] + (key & MASK32) * (key >> 32) & MASK64


def xxh3_long(data, seed):
    secret = bytearray()
    for at in range(0, 192, 16):
        secret += (u64(SECRET, at) + seed & MASK64).to_bytes(8, "little") + (u64(SECRET, at + 8) - seed & MASK64).to_bytes(8, "little")
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    n, stripes_in_block = len(data), (192 - 64) // 8
    block = 64 * stripes_in_block
    blocks = (n - 1) // block
    for b in range(blocks):
        for s in range(stripes_in_block):
            accumulate(acc, data, b * block + 64 * s, secret, 8 * s)
        for i in range(8):
            acc[i] = (acc[i] ^ acc[i] >> 47 ^ u64(secret, 192 - 64 + 8 * i)) * P32_1 & MASK64
    for s in range((n - 1 - block * blocks) // 64):
        accumulate(acc, data, blocks * block + 64 * s, secret, 8 * s)
    accumulate(acc, data, n - 64, secret, 192 - 64 - 7)
    total = n * P64_1 & MASK64
    for i in range(4):
        total += fold(acc[2 * i] ^ u64(secret, 11 + 16 * i), acc[2 * i + 1] ^ u64(secret, 11 + 16 * i + 8))
    return avalanche(total & MASK64)


def xxh3(data, seed):
    if len(data) <= 16:
        return xxh3_short(data, seed)
    return xxh3_middle(data, seed) if len(data) <= 240 else xxh3_long(data, seed)


# ---- the pack --------------------------------------------------------------------------------------------------------------

class Corrupt(Exception):
    pass


class Version(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Corrupt(what)


RECORDS, INDEX, GROUPS, STRINGS, STRING_BYTES, KERNEL_BYTES, KERNELS = range(7)
INLINE = 0xFFFFFFFF
LINES = ("strategy", "model", "stop", "tool_version", "host", "driver", "toolkit")


def text_of(data, limit):
    need(len(data) <= limit and 0 not in data, "text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Corrupt("UTF-8") from None


def split(text):
    """A text as pattern and values, as section 4 says; None when it holds a marker itself."""
    pattern, values, i = bytearray(), [], 0
    if 1 in text or 2 in text:
        return None
    while i < len(text):
        run = i
        while run < len(text) and 48 <= text[run] <= 57:
            run += 1
        digits = text[i:run]
        if digits:
            if len(digits) <= 18 and (digits == b"0" or digits[0] != 48):
                pattern.append(1)
                values.append(int(digits))
            else:
                pattern += digits
            i = run
        elif text[i:i + 4] == b"true" or text[i:i + 5] == b"false":
            pattern.append(2)
            values.append(1 if text[i:i + 4] == b"true" else 0)
            i += 4 if values[-1] else 5
        else:
            pattern.append(text[i])
            i += 1
    return bytes(pattern), values


class Pack:
    def __init__(self, data):
        self.data = data
        self.read_header()
        for number, (start, size) in enumerate(self.section):
            checksum = number
            for at in range(start, start + size, 65536):
                checksum = xxh3(data[at:min(at + 65536, start + size)], checksum)
            need(checksum == self.section_checksum[number], "section %d" % number)
        self.strings = self.read_strings()
        self.mentioned = 0
        self.entries = self.read_entries()
        need(self.mentioned == len(self.strings), "strings that nobody mentions")
        self.kernels = self.read_kernels()

    def read_header(self):
        data = self.data
        need(len(data) >= 256 and data[:8] == b"\x89HPK\r\n\x1a\n", "magic")
        reader, writer = struct.unpack_from("<HH", data, 8)
        length = u32(data, 12)
        need(256 <= length <= min(65536, len(data)) and u64(data, length - 8) == xxh3(data[:length - 8], 0) and 1 <= reader <= writer, "header")
        if reader > 1:
            raise Version("reader %d" % reader)
        need(length == 256, "header bytes")
        size, entries, groups, strings, kernels = struct.unpack_from("<5Q", data, 16)
        need(not any(data[56:64]) and not any(data[176:248]), "reserved")
        need(entries <= 1 << 40 and groups <= entries and (groups == 0) == (entries == 0) and strings <= 65536 and kernels <= 1 << 20, "counts")
        need(size == len(data), "size")
        self.counts = {INDEX: entries, GROUPS: groups, STRINGS: strings, KERNELS: kernels}
        self.section, self.section_checksum, at = [], [], 256
        for number in range(7):
            size = u64(data, 64 + 16 * number)
            self.section.append((at, size))
            self.section_checksum.append(u64(data, 72 + 16 * number))
            at += size
        need(at == len(data), "sections")
        for number, count in self.counts.items():
            need(self.section[number][1] == 24 * count + 16 * ((count + 169) // 170), "table size")
        need(self.section[STRING_BYTES][1] <= 16 << 20, "strings")

    def table(self, number):
        start, count = self.section[number][0], self.counts[number]
        items, block = [], 0
        while block * 170 < count:
            here = min(170, count - 170 * block)
            at = start + 4096 * block
            trailer = at + 24 * here
            need(u64(self.data, trailer) == 8 * block + number, "block")
            need(u64(self.data, trailer + 8) == xxh3(self.data[at:trailer + 8], 0), "block checksum")
            items += [self.data[at + 24 * i:at + 24 * i + 24] for i in range(here)]
            block += 1
        return items

    def ranges(self, number, offsets, longest):
        """Where things lie that follow one another and fill a section."""
        start, size = self.section[number]
        ends = offsets[1:] + [size]
        if not offsets:
            need(size == 0, "bytes that belong to nothing")
        result = []
        for i, offset in enumerate(offsets):
            need((i > 0 or offset == 0) and offset < ends[i] <= size and ends[i] - offset <= longest, "offset")
            result.append(self.data[start + offset:start + ends[i]])
        return result

    def read_strings(self):
        items = self.table(STRINGS)
        strings = self.ranges(STRING_BYTES, [u64(item, 0) for item in items], 32768)
        for number, (item, string) in enumerate(zip(items, strings)):
            need(u32(item, 8) == len(string) and u32(item, 12) == 0, "string")
            need(u64(item, 16) == xxh3(string, number), "string checksum")
        need(len(set(strings)) == len(strings), "a string twice")
        self.string_checksum = [item[16:24] for item in items]
        return strings

    def read_entries(self):
        index, groups = self.table(INDEX), self.table(GROUPS)
        records = self.ranges(RECORDS, [u64(item, 16) for item in index], 16 << 20)
        firsts = [u64(item, 16) for item in groups] + [len(index)]
        need(not groups or firsts[0] == 0, "groups")
        entries, last = [], b""
        for g, group in enumerate(groups):
            need(firsts[g] < firsts[g + 1] <= len(index), "group")
            for i in range(firsts[g], firsts[g + 1]):
                slot = group[:16] + index[i][:16]
                need(slot > last, "order")
                last = slot
                entries.append(self.read_record(slot, records[i]))
        return entries

    def string(self, reference):
        need(1 <= reference <= len(self.strings), "reference")
        return self.strings[reference - 1]

    def read_record(self, slot, record):
        need(len(record) >= 187, "record")
        n = u32(record, 76)
        rest = 80 + 40 * n
        need(n <= 5 and len(record) >= rest + 99 + 8, "alternatives")
        places = [0, 4, 24, 28, 32, 36] + [80 + 40 * i for i in range(n)] + [rest + 35 + 4 * i for i in range(7)]
        patterns = set([3, 5] + [6 + i for i in range(n)])
        limits = [16, 16, 64, 4096, 16384] + [32768] * (1 + n) + [1024] * 7
        references = [u32(record, place) for place in places]
        kept = [r for r in references if r not in (0, INLINE)]
        for reference in kept:
            self.string(reference)
        seed = xxh3(b"".join(self.string_checksum[r - 1] for r in kept), xxh3(slot, 0))
        need(u64(record, len(record) - 8) == xxh3(record[:-8], seed), "record checksum")
        texts, at, end = [], rest + 99, len(record) - 8
        for number, reference in enumerate(references):
            text, at = self.read_text(record, reference, at, end, number in patterns)
            need(number > 1 or len(text) == 16, "id")
            texts.append(text if number < 2 else text_of(text, limits[number]))
        need(at == end, "tail")
        need(texts[0][:8] == slot[:8] and texts[1][:8] == slot[8:16], "ids")
        best = [self.ranked(record, 36, texts[5])]
        alternatives = [self.ranked(record, 80 + 40 * i, texts[6 + i]) for i in range(n)]
        effort, accuracy, tie = record[rest + 32:rest + 35]
        need(effort < 4 and accuracy < 3 and tie < 2, "enum")
        rounds, trials, failed, tokens = struct.unpack_from("<IIIQ", record, rest + 63)
        need(u64(record, rest + 91) < 1 << 63, "created")
        entry = {"kernel_id": texts[0].hex(), "device_id": texts[1].hex(), "problem_id": record[8:24].hex(), "key": slot[16:].hex(),
                 "kernel_name": texts[2], "sizes": texts[3], "device": texts[4], "best": best[0], "alternatives": alternatives,
                 "numbers": [self.double(record, rest + 8 * i) for i in range(4)], "effort": effort, "accuracy": accuracy, "tie": tie,
                 "lines": texts[6 + n:], "rounds": rounds, "trials": trials, "failed": failed, "tokens": tokens,
                 "seconds": self.double(record, rest + 83), "created": u64(record, rest + 91)}
        return entry

    def had_room(self, wanted):
        """Would a writer have kept this as a string, after those that were mentioned so far?"""
        before = self.strings[:self.mentioned]
        return wanted in before or (len(before) < 65536 and sum(map(len, before)) + len(wanted) <= 16 << 20)

    def read_text(self, record, reference, at, end, is_pattern):
        if reference == 0:
            return b"", at
        if reference == INLINE:
            need(at + 4 <= end and 0 < u32(record, at) <= end - at - 4, "inline")
            text = record[at + 4:at + 4 + u32(record, at)]
            parts = split(text) if is_pattern else (text, [])
            need(parts is None or not self.had_room(parts[0]), "inline text for which there is room")
            return text, at + 4 + len(text)
        string = self.string(reference)
        if reference > self.mentioned:
            need(reference == self.mentioned + 1, "numbering of strings")
            self.mentioned = reference
        if not is_pattern:
            return string, at
        text_of(string, 32768)
        text = bytearray()
        values = []
        for byte in string:
            if byte > 2:
                text.append(byte)
                continue
            value, at = self.varint(record, at, end)
            need(byte == 1 or value < 2, "bool")
            values.append(value)
            text += (b"%d" % value) if byte == 1 else (b"true" if value else b"false")
        need(split(bytes(text)) == (string, values), "pattern")
        return bytes(text), at

    @staticmethod
    def varint(record, at, end):
        value = shift = 0
        while True:
            need(at < end and shift < 63, "varint")
            byte = record[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                need((byte != 0 or shift == 7) and value < 10 ** 18, "varint")
                return value, at

    @staticmethod
    def double(record, at):
        need(u64(record, at) < 0x7FF0000000000000, "double")
        return "%016x" % u64(record, at)

    def ranked(self, record, at, config):
        return {"config": config, "numbers": [self.double(record, at + 4 + 8 * i) for i in range(4)], "samples": u32(record, at + 36)}

    def read_kernels(self):
        items = self.table(KERNELS)
        records = self.ranges(KERNEL_BYTES, [u64(item, 16) for item in items], 16 << 20)
        kernels, last = [], b""
        for item, record in zip(items, records):
            need(item[:16] > last, "order of kernels")
            last = item[:16]
            need(len(record) >= 24, "kernel")
            need(u64(record, len(record) - 8) == xxh3(record[:-8], xxh3(last, 0)), "kernel checksum")
            lengths, at, texts = struct.unpack_from("<4I", record, 0), 16, []
            need(sum(lengths) + 24 == len(record), "kernel lengths")
            for length, limit in zip(lengths, (64, 64, 1 << 20, 1 << 20)):
                texts.append(text_of(record[at:at + length], limit))
                at += length
            kernels.append({"id": last.hex(), "name": texts[0], "language": texts[1], "space": texts[2], "source": texts[3]})
        return kernels


def read(data):
    """{"status": "OK" | "E_CORRUPT" | "E_VERSION", "why", "entries", "kernels"}"""
    try:
        pack = Pack(bytes(data))
    except Corrupt as why:
        return {"status": "E_CORRUPT", "why": str(why)}
    except Version as why:
        return {"status": "E_VERSION", "why": str(why)}
    return {"status": "OK", "entries": pack.entries, "kernels": pack.kernels}


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            print(json.dumps(read(file.read()), ensure_ascii=True))
