// Rows of tables by the integers of a network's input, and these integers as floats. Integers lie in the arena.
#include "device.h"

DEVICE const int64_t *integers_of(const float *arena, uint64_t place) { return (const int64_t *)(arena + place); }

// Negative numbers count from the table's end.
DEVICE uint64_t row_of(int64_t integer, uint32_t rows) { return (uint64_t)(integer < 0 ? integer + rows : integer); }

KERNEL(gather, Gather, 256, 4) {
    const Gather &gather = arguments;
    const uint64_t row = row_of(read(integers_of(arena, gather.integers) + block_x()), gather.rows);
    const float *from = arena + gather.table + row * gather.width;
    float *to = arena + gather.out + (uint64_t)block_x() * gather.width;
    for (uint32_t i = block_y() * 256 + thread_index(); i < gather.width; i += blocks_y() * 256) {
        write(to + i, read(from + i));
    }
}

KERNEL(lookup, Lookup, 256, 4) {
    const Lookup &lookup = arguments;
    const uint64_t row = row_of(read(integers_of(arena, lookup.integers) + block_x()), lookup.rows);
    float *to = arena + lookup.out + (uint64_t)block_x() * lookup.width;
    for (uint32_t i = block_y() * 256 + thread_index(); i < lookup.width; i += blocks_y() * 256) {
        const uint64_t at = row * lookup.width + i;
        write(to + i, lookup.encoding == ENCODING_F16 ? from_f16(read((const unsigned short *)lookup.table + at))
                                                      : read((const float *)lookup.table + at));
    }
}

KERNEL(integers, Integers, 256, 4) {
    const uint32_t i = block_x() * 256 + thread_index();
    if (i >= arguments.count) return;
    write(arena + arguments.out + i, (float)read(integers_of(arena, arguments.integers) + i));
}
