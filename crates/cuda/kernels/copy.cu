// The elements of one view to another, in the order of what is written.
#include "views.h"

KERNEL(copy, Copy, 256, 4) {
    const uint32_t element = block_x() * 256 + thread_index();
    if (element >= arguments.elements) return;
    const Index index(element, arguments.shape, arguments.rank);
    write(arena + index.in(arguments.to), read(arena + index.in(arguments.from)));
}
